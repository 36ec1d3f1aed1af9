"""What people write first: a loop over the open rows, one poll and one committed row update at a time."""

import json
import sys
import time

import psycopg

from benchmarks._peers.question import poll


def main(url: str, base_url: str, tasks: int) -> float:
    """Seconds from the first poll to the last row."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE tasks"
            " (id int PRIMARY KEY, status text NOT NULL, polls int NOT NULL, video_url text)"
        )
        connection.execute(
            "INSERT INTO tasks SELECT n, 'running', 0, NULL FROM generate_series(1, %s) AS n", (tasks,)
        )
        started = time.perf_counter()
        while rows := connection.execute(
            "SELECT id FROM tasks WHERE status = 'running' ORDER BY id"
        ).fetchall():
            for (task_id,) in rows:
                video_url = poll(base_url, f"task-{task_id:06}")
                connection.execute(
                    "UPDATE tasks SET polls = polls + 1, status = %s, video_url = %s WHERE id = %s",
                    ("running" if video_url is None else "succeeded", video_url, task_id),
                )
        return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": main(sys.argv[1], sys.argv[2], int(sys.argv[3]))}))
