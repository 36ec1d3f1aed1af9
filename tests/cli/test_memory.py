"""Memory that was freed goes back to the system, while the process goes on."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is free")

HOLES = """
import asyncio, threading
from rushes.cli.memory import bound_heaps, long_lived

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

def threads(count, kept):
    ready, full = threading.Barrier(count), threading.Barrier(count)
    def run():
        ready.wait()
        pieces = [bytearray(2000) for _ in range(15_000)]
        full.wait()
        kept.extend(pieces[::50])
    started = [threading.Thread(target=run) for _ in range(count)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()

async def work():
    kept = []
    threads(4, kept)
    before = resident_mb()
    await asyncio.sleep(SECONDS)
    return before, resident_mb()

async def alone():
    return await work()
"""


def _resident_mb(end: str) -> tuple[float, float]:
    said = subprocess.run(
        [sys.executable, "-c", f"{HOLES}\n{end}"], capture_output=True, text=True, timeout=300, check=True
    )
    before, after = map(float, said.stdout.split())
    return before, after


def test_what_was_freed_is_given_back_while_the_work_goes_on() -> None:
    before, after = _resident_mb("SECONDS = 2\nprint(*asyncio.run(long_lived(work(), every_seconds=0.2)))")
    assert before - after > 60, (before, after)
    before, after = _resident_mb("SECONDS = 2\nprint(*asyncio.run(alone()))")
    assert before - after < 20, "nobody else does it"


def test_the_work_is_what_it_would_be_without() -> None:
    end = """
async def fails():
    raise LookupError
async def counts():
    return len(asyncio.all_tasks())
try:
    asyncio.run(long_lived(fails()))
except LookupError:
    print(asyncio.run(long_lived(counts())), 0)
"""
    assert _resident_mb(end) == (2, 0)


def test_all_threads_share_a_heap_unless_the_operator_says_how_many() -> None:
    count = """
def heaps():
    import re
    parts = open("/proc/self/maps").read().splitlines()
    starts = [line.split("-")[0] for line in parts if " rw-p " in line and line.split()[-1] == "0"]
    return sum(int(start, 16) % (64 * 2**20) == 0 for start in starts)
"""
    end = f"{count}\nbound_heaps()\nthreads(8, [])\nprint(heaps(), 0)"
    assert _resident_mb(end)[0] == 0, "beside the first one"
    assert _resident_mb(end.replace("bound_heaps()", ""))[0] > 2
    said = f"import os\nos.environ['MALLOC_ARENA_MAX'] = '8'\n{end}"
    assert _resident_mb(said)[0] > 2


def test_what_is_large_is_given_back_when_it_is_freed() -> None:
    end = """
def large():
    del [b"x" * 8_000_000][:]
    frames, kept = [], []
    for _ in range(10):
        frames.append(b"x" * 4_000_000)
        kept.extend(bytearray(2000) for _ in range(10))
    before = resident_mb()
    frames.clear()
    print(before, resident_mb())
bound_heaps()
large()
"""
    before, after = _resident_mb(end)
    assert before - after > 35, (before, after)
    before, after = _resident_mb(end.replace("bound_heaps()", ""))
    assert before - after < 10, "glibc keeps it"
    before, after = _resident_mb(f"import os\nos.environ['MALLOC_MMAP_THRESHOLD_'] = 'mine'\n{end}")
    assert before - after < 10, "the operator has said how it is to be"
