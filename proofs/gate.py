"""`gate`: clips with known faults; how often each fault is found, how often wrongly, and what a clip costs."""

import argparse
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proofs.gate_clips import Clip, clips, written
from proofs.result import ProofResult
from rushes.domain.acceptance.gate import judged, read_gate
from rushes.domain.acceptance.verdicts import GATE_REASONS
from rushes.files.gate.measuring import measured
from rushes.files.video_check import BadFile, checked_mp4

TASKS = 400
PRECISION_MIN: Final = 0.98
RECALL_MIN: Final = 0.9
COSTLY: Final = {"720p": (1280, 720), "1080p": (1920, 1080)}
COSTLY_SECONDS: Final = 8.0


def add_options(_command: argparse.ArgumentParser) -> None:
    """None of its own."""


@dataclass(slots=True)
class Found:
    """The clips that have a fault, and those on which it was found: rightly or wrongly."""

    rightly: Counter[str]
    wrongly: Counter[str]
    missed: Counter[str]

    def precision(self, reason: str) -> float:
        """The share of findings that are right; 1 without any."""
        found = self.rightly[reason] + self.wrongly[reason]
        return self.rightly[reason] / found if found else 1.0

    def recall(self, reason: str) -> float:
        """The share of faults that are found; 1 without any."""
        there = self.rightly[reason] + self.missed[reason]
        return self.rightly[reason] / there if there else 1.0


def reasons_of(clip: Clip, path: Path) -> frozenset[str]:
    """What the archive and the gate say of the clip's file."""
    try:
        checked_mp4(path)
    except BadFile:
        return frozenset({"broken"})
    measures, thresholds = measured(path), read_gate(clip.thresholds)
    if measures is None or thresholds is None:
        raise RuntimeError("the gate needs the extra video")
    return frozenset(reason.value for reason in judged(measures, thresholds, clip.options)[1])


def look_at(made: list[Clip], folder: Path) -> tuple[Found, list[str], float]:
    """Make each clip and judge it; also the clips that were judged wrongly, and the seconds of processor time."""
    found, wrong, seconds = Found(Counter(), Counter(), Counter()), [], 0.0
    for clip in made:
        path = written(clip, folder / "clip.mp4")
        started = time.process_time()
        reasons = reasons_of(clip, path)
        seconds += time.process_time() - started
        found.rightly.update(reasons & clip.faults)
        found.wrongly.update(reasons - clip.faults)
        found.missed.update(clip.faults - reasons)
        if reasons != clip.faults:
            wrong.append(f"{clip.kind}: {sorted(reasons)} instead of {sorted(clip.faults)}")
    return found, wrong, seconds


def processor_seconds(size: tuple[int, int], folder: Path, seed: int) -> float:
    """What measuring one clip of eight seconds with sound takes; the middle of three."""
    (clip,) = clips(1, seed)
    path = written(replace(clip, size=size, seconds=COSTLY_SECONDS, crf=23), folder / "large.mp4")
    times = []
    for _ in range(3):
        started = time.process_time()
        measured(path)
        times.append(time.process_time() - started)
    return sorted(times)[1]


def run(options: argparse.Namespace) -> ProofResult:
    """All of it."""
    result, started = ProofResult("gate"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rushes-gate-") as folder:
        found, wrong, seconds = look_at(clips(options.tasks, options.seed), Path(folder))
        for reason in sorted(GATE_REASONS):
            there = found.rightly[reason] + found.missed[reason]
            precision, recall = found.precision(reason), found.recall(reason)
            result.fact(f"{reason}: faulty clips, precision, recall", f"{there} {precision:.3f} {recall:.3f}")
            if precision < PRECISION_MIN or recall < RECALL_MIN:
                result.differ([f"{reason}: precision {precision:.3f}, recall {recall:.3f}"])
        for line in wrong:
            result.fact("judged wrongly", line)
        result.fact("processor time per clip, small", f"{1000 * seconds / options.tasks:.0f} ms")
        for name, size in COSTLY.items():
            cost = processor_seconds(size, Path(folder), random.Random(options.seed).randrange(100))
            result.fact(f"processor time per clip of {COSTLY_SECONDS:g} s at {name}", f"{1000 * cost:.0f} ms")
    result.headline, result.seconds = f"{options.tasks} clips", time.monotonic() - started
    return result
