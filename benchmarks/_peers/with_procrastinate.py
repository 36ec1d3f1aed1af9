"""Procrastinate: a job per poll, which defers the next one until the video is there."""

import asyncio
import json
import sys
import time

import procrastinate
import psycopg

from benchmarks._peers.question import poll

CONCURRENCY = 32


async def main(url: str, base_url: str, tasks: int) -> float:
    """Seconds from the worker's start, with all first jobs deferred, to the last row."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=CONCURRENCY)
    )
    done = asyncio.Event()
    finished = 0

    @app.task(name="follow")
    async def follow(remote_task_id: str) -> None:
        nonlocal finished
        video_url = await asyncio.to_thread(poll, base_url, remote_task_id)
        if video_url is None:
            await follow.defer_async(remote_task_id=remote_task_id)
            return
        await app.connector.execute_query_async(
            "UPDATE tasks SET video_url = %(video_url)s WHERE id = %(id)s",
            video_url=video_url,
            id=remote_task_id,
        )
        finished += 1
        if finished == tasks:
            done.set()

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE tasks (id text PRIMARY KEY, video_url text)")
        connection.execute(
            "INSERT INTO tasks SELECT 'task-' || lpad(n::text, 6, '0') FROM generate_series(1, %s) AS n",
            (tasks,),
        )
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await follow.batch_defer_async(
            *[{"remote_task_id": f"task-{number:06}"} for number in range(1, tasks + 1)]
        )
        started = time.perf_counter()
        worker = asyncio.create_task(
            app.run_worker_async(
                concurrency=CONCURRENCY,
                install_signal_handlers=False,
                delete_jobs="always",
                fetch_job_polling_interval=0.05,
            )
        )
        await done.wait()
        seconds = time.perf_counter() - started
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))}))
