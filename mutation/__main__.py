"""The command line: `python -m mutation --mutants 300 --seed 1 --record build/mutants.jsonl`.

Draws mutants by the seed and judges each by its room's tests (on SQLite) and then by 20 seeds of the simulation
with 300 tasks each, as far as they execute the changed statement. What stands in the record is not judged again, so a run that was stopped goes on; a file that
has changed since makes its mutants new ones. Ends with the survivors as lines of a diff and one line of sums.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from mutation.judges import Baseline, BaselineFailed, Verdict, Workspace
from mutation.mutants import Mutant, draw, mutants_of
from mutation.record import Record, RecordRefused
from mutation.rooms import ROOMS, Room

PROJECT = Path(__file__).resolve().parent.parent
NICENESS = 19


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every drawn mutant was judged, 1 when the time was up or the unchanged source fails."""
    chosen = _parser().parse_args(arguments)
    rooms = [room for room in ROOMS if chosen.room is None or room.name in chosen.room]
    if chosen.list:
        for room in rooms:
            say(
                f"{room.name:10} {len(room.files(PROJECT)):3} files {sum(1 for _ in mutants_of(room, PROJECT)):5} mutants"
            )
        return 0
    try:
        record = Record(chosen.record)
    except RecordRefused as error:
        say(f"error: {error}")
        return 1
    drawn = draw(rooms, PROJECT, seed=chosen.seed, count=chosen.mutants)
    left = [mutant for mutant in drawn if mutant.id not in record.verdicts]
    os.nice(NICENESS - os.nice(0))
    until = time.monotonic() + chosen.hours * 3600
    try:
        _judge_all(
            left, record, until=until, processes=chosen.processes, seeds=chosen.seeds, tasks=chosen.tasks
        )
    except BaselineFailed as error:
        say(f"error: {error}")
        return 1
    report(drawn, record)
    return 0 if all(mutant.id in record.verdicts for mutant in drawn) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("--mutants", type=int, default=300, help="how many to draw")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument(
        "--room", action="append", choices=[room.name for room in ROOMS], help="only of these"
    )
    parser.add_argument("--record", type=Path, default=Path("build/mutants.jsonl"), metavar="FILE")
    parser.add_argument("--hours", type=float, default=3.0, help="start no mutant after so long")
    parser.add_argument("--processes", type=int, default=1, help="mutants judged at the same time")
    parser.add_argument("--seeds", type=int, default=20, help="seeds of the simulation for each mutant")
    parser.add_argument("--tasks", type=int, default=300, help="tasks of each seed")
    parser.add_argument("--list", action="store_true", help="count all mutants of the rooms, and judge none")
    return parser


def _judge_all(
    mutants: Sequence[Mutant], record: Record, *, until: float, processes: int, seeds: int, tasks: int
) -> None:
    rooms: list[Room] = list({mutant.room.name: mutant.room for mutant in mutants}.values())
    if not mutants:
        return
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: SimpleQueue[Workspace] = SimpleQueue()
        baseline: Baseline | None = None
        for number in range(processes):
            space = Path(folder) / str(number)
            space.mkdir()
            workspace = Workspace(PROJECT, space, seeds=seeds, tasks=tasks)
            baseline = workspace.measure(rooms) if baseline is None else baseline
            workspace.baseline = baseline
            free.put(workspace)

        def judge(mutant: Mutant) -> tuple[Mutant, Verdict | None]:
            if time.monotonic() > until:
                return mutant, None
            workspace = free.get()
            try:
                return mutant, workspace.judge(mutant)
            finally:
                free.put(workspace)

        with ThreadPoolExecutor(processes) as pool:
            judging = [pool.submit(judge, mutant) for mutant in mutants]
            for number, judged in enumerate(as_completed(judging), 1):
                mutant, verdict = judged.result()
                if verdict is None:
                    continue
                record.append(mutant, verdict)
                state = "SURVIVED" if verdict.survived else f"{verdict.stage}: {verdict.by}"
                say(f"{number}/{len(mutants)} {mutant.room.name} {mutant.id} {verdict.seconds:.0f} s {state}")


def report(drawn: Sequence[Mutant], record: Record) -> None:
    """Print the survivors, and how many each judge has noticed, room by room."""
    counts: Counter[tuple[str, str]] = Counter()
    for mutant in drawn:
        verdict = record.verdicts.get(mutant.id)
        state = "left" if verdict is None else "survived" if verdict.survived else verdict.stage
        counts[mutant.room.name, state] += 1
        counts["all", state] += 1
        if verdict is not None and verdict.survived:
            seen = "another log" if verdict.log_differs else "the same log"
            say(f"\nsurvived {mutant.id}: {verdict.tests} tests, {seen} of the simulation\n{mutant.diff()}")
    say("")
    for room in dict.fromkeys([*(mutant.room.name for mutant in drawn), "all"]):
        sums = ", ".join(
            f"{counts[room, state]} {text}"
            for state, text in (
                ("tests", "found by tests"),
                ("simulation", "by the simulation"),
                ("survived", "survived"),
                ("left", "not judged yet"),
            )
        )
        say(f"{room:10} {sums}")


if __name__ == "__main__":
    sys.exit(main())
