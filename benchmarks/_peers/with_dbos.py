"""DBOS: a durable workflow per task, a step per poll."""

import json
import os
import sys
import time
from typing import Any

from dbos import DBOS, DBOSConfig

from benchmarks._peers.question import poll

THREADS = 32


@DBOS.step()
def poll_step(base_url: str, remote_task_id: str) -> str | None:
    """One poll; its answer is stored before the next step."""
    return poll(base_url, remote_task_id)


@DBOS.workflow()
def follow(base_url: str, remote_task_id: str) -> str:
    """Until the video is there; its URL is stored as the workflow's result."""
    while True:
        video_url = poll_step(base_url, remote_task_id)
        if video_url is not None:
            return video_url


def main(url: str, base_url: str, tasks: int) -> float:
    """Seconds from starting the first workflow to the last result."""
    config: Any = DBOSConfig(
        name="bench",
        system_database_url=url,
        log_level="ERROR",
        sys_db_pool_size=THREADS,
        max_executor_threads=THREADS,
    )
    DBOS(config=config)
    DBOS.launch()
    started = time.perf_counter()
    handles = [DBOS.start_workflow(follow, base_url, f"task-{number:06}") for number in range(tasks)]
    for handle in handles:
        handle.get_result()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": main(sys.argv[1], sys.argv[2], int(sys.argv[3]))}), flush=True)
    os._exit(0)
