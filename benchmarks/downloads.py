"""Many finished videos fetched into a folder: by what `rushes batch download` uses, and by `curl`.

Both fetch the same files, eight at a time and in turns, from a server that only sends them (`_plain_files`).
Ours also hashes each file and checks that it is a whole MP4, so `curl` is measured a second time with
`sha256sum` after it. There is no archive: the files come from their provider.
"""

import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks._installation import median
from benchmarks.report import write_section
from benchmarks.transfers import plain_server
from rushes.concurrency import at_once
from rushes.files.downloads import Downloader
from rushes.files.guard.client import GuardedHttp

SIZES: Final = ((200, 5_000_000), (1000, 200_000))
AT_ONCE: Final = 8
ROUNDS: Final = 3
SHARE_OF_CURL_MIN: Final = 0.8


def run(*, sizes: tuple[tuple[int, int], ...] = SIZES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Print the table and write the section `downloads`; returns it."""
    data: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        for files, size in sizes:
            video.write_bytes(_video(size))
            with plain_server(video) as url:
                found = _in_turns(url, files, size, rounds)
            data[f"{files}_of_{size}"] = found
            share = found["to_curl"]
            print(
                f"  {files:,} files of {size:,} bytes: {found['mb_per_s']:,.0f} MB/s, CPU"
                f" {found['cpu_seconds']:.2f} s; curl {found['curl_mb_per_s']:,.0f} MB/s, CPU"
                f" {found['curl_cpu_seconds']:.2f} s: {share:.2f} ×, by"
                f" processor time {found['to_curl_cpu']:.2f} ×; at least {SHARE_OF_CURL_MIN} ×:"
                f" {'met' if share >= SHARE_OF_CURL_MIN else 'MISSED'}; with sha256sum"
                f" {found['to_curl_and_hash']:.2f} ×, {found['to_curl_and_hash_cpu']:.2f} ×",
                flush=True,
            )
    write_section("downloads", data)
    return data


def _video(size: int) -> bytes:
    """A whole MP4 of that size: a short clip, and a box that players skip."""
    clip = package_files("rushes.simulator").joinpath("media", "portrait.mp4").read_bytes()
    room = size - len(clip)
    return clip + room.to_bytes(4, "big") + b"free" + bytes(room - 8)


def _in_turns(url: str, files: int, size: int, rounds: int) -> dict[str, float]:
    megabytes = files * size / 1_000_000
    found = []
    for _ in range(rounds):
        seconds, cpu = _timed(
            resource.RUSAGE_SELF, lambda folder: uvloop.run(_download(url, files, folder)), files, size
        )
        curl_seconds, curl_cpu = _timed(
            resource.RUSAGE_CHILDREN, lambda folder: _curl(url, files, folder), files, size
        )
        hashed_seconds, hashed_cpu = _timed(
            resource.RUSAGE_CHILDREN, lambda folder: _curl(url, files, folder, hashes=True), files, size
        )
        found.append(
            {
                "mb_per_s": megabytes / seconds,
                "cpu_seconds": cpu,
                "curl_mb_per_s": megabytes / curl_seconds,
                "curl_cpu_seconds": curl_cpu,
                "to_curl": curl_seconds / seconds,
                "to_curl_cpu": curl_cpu / cpu,
                "to_curl_and_hash": hashed_seconds / seconds,
                "to_curl_and_hash_cpu": hashed_cpu / cpu,
            }
        )
    return {name: median([each[name] for each in found]) for name in found[0]}


def _timed(who: int, fetch: Callable[[Path], None], files: int, size: int) -> tuple[float, float]:
    """The seconds that pass, and those that the fetching process computes."""
    with tempfile.TemporaryDirectory() as folder:
        before, started = resource.getrusage(who), time.perf_counter()
        fetch(Path(folder))
        seconds, after = time.perf_counter() - started, resource.getrusage(who)
        sizes = [path.stat().st_size for path in Path(folder).iterdir()]
    assert sizes == [size] * files, (len(sizes), set(sizes))
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


async def _download(url: str, files: int, folder: Path) -> None:
    http = GuardedHttp(allow_private=True)
    downloader = Downloader(folder, objects=None, http=http, files_of={})

    async def one(index: int) -> None:
        item = {
            "index": index,
            "item_id": f"bat_1-{index}",
            "custom_id": None,
            "status": "succeeded",
            "provider": "grsai",
            "video_url": f"{url}{index}",
            "is_deleted": False,
            "error": None,
        }
        line, _ = await downloader.download(item, None, f"{index}.mp4")
        assert line["file"] is not None, line

    try:
        await at_once(AT_ONCE, range(files), one)
    finally:
        await downloader.close()


def _curl(url: str, files: int, folder: Path, *, hashes: bool = False) -> None:
    wanted = "".join(f'url = "{url}{index}"\noutput = "{folder}/{index}.mp4"\n' for index in range(files))
    parallel = ("--parallel", "--parallel-max", str(AT_ONCE))
    subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", *parallel, "--config", "-"],
        input=wanted.encode(),
        stderr=subprocess.DEVNULL,  # it shows a meter even so
        check=True,
    )
    if hashes:
        paths = [str(path) for path in folder.iterdir()]
        subprocess.run(["sha256sum", *paths], stdout=subprocess.DEVNULL, check=True)
