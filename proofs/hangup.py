"""`hangup`: the terminal of `rushes run` is closed, and a worker gets a SIGHUP, while submits are under way."""

import argparse
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

from proofs.processes import Process
from proofs.result import ProofResult
from proofs.stage import Stage, stage
from proofs.stops import SPARE_SECONDS, ended, environment, pace, slow_weather, wait_for_submits

TASKS = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """How slow, and how often."""
    parser.add_argument("--submit-seconds", type=float, default=6.0, help="default: %(default)s")
    parser.add_argument("--hangups", type=int, default=2, help="of each kind (default: %(default)s)")


def run(options: argparse.Namespace) -> ProofResult:
    """Close terminals, send SIGHUPs, let a last worker finish, compare."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the processes would ignore it, too
    try:
        return _run(options)
    finally:
        signal.signal(signal.SIGHUP, before)


def _run(options: argparse.Namespace) -> ProofResult:
    seconds = options.submit_seconds
    with stage(
        "hangup",
        options,
        database_url=None,
        pace=pace(),
        weather=slow_weather(seconds),
        environment=environment(seconds),
    ) as on:
        under_way, longest = 0, 0.0
        seconds_max = seconds + SPARE_SECONDS
        for _ in range(options.hangups):
            process, terminal = _start_on_a_terminal(on, on.work.next_run())
            under_way += wait_for_submits(on, process)
            os.close(terminal)
            longest = max(longest, ended(process, on.result, code=129, seconds_max=seconds_max))
        for _ in range(options.hangups):
            on.work.accept(on.site.environment)
            worker = on.site.start("worker")
            under_way += wait_for_submits(on, worker)
            worker.popen.send_signal(signal.SIGHUP)
            longest = max(longest, ended(worker, on.result, code=0, seconds_max=seconds_max))
        on.finish_with_a_last_worker()
        counted = on.compare(lossless=False)
        on.result.fact("terminals closed under `rushes run`", options.hangups)
        on.result.fact("SIGHUPs to `rushes worker`", options.hangups)
        on.result.fact("submits under way then", under_way)
        on.result.fact("seconds until the end, at most", longest)
        if counted.unknown:
            on.result.differ([f"{counted.unknown} submits of unknown outcome"])
        on.result.headline = f"{2 * options.hangups} hang-ups with {under_way} submits under way"
        return on.result


def _start_on_a_terminal(on: Stage, arguments: tuple[str, ...]) -> tuple[Process, int]:
    """The command as the leader of a session with a terminal of its own, whose other end is returned."""
    ours, theirs = pty.openpty()
    log = on.site.folder / f"{len(on.site.processes):04}-{arguments[0]}.log"
    log.touch()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUSHES_")}
    popen = subprocess.Popen(
        [sys.executable, "-m", "rushes", *arguments],
        cwd=on.site.folder,
        env={**inherited, "TERM": "xterm", "LANG": "C.UTF-8", **on.site.environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # there are no threads
    )
    os.close(theirs)
    process = Process(arguments, popen, log)
    on.site.processes.append(process)
    return process, ours
