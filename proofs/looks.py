"""`looks`: clips made again (re-encoded, smaller, brighter, another rate) against clips of other scenes.

How often a clip that was made again is named as near-equal, and how often one of another scene is.
"""

import argparse
import random
import tempfile
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final

from proofs.gate_clips import Clip, written
from proofs.result import ProofResult
from rushes.domain.acceptance.looks import NEAR_SHARE_MAX, STILL_BITS, is_even
from rushes.files.video_pictures import decoded_pictures

TASKS = 60
RECALL_MIN: Final = 0.95
WRONG_SHARE_MAX: Final = 0.01
SHARES: Final = (0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)


def add_options(_command: argparse.ArgumentParser) -> None:
    """None of its own."""


def scene(draw: random.Random) -> str:
    """FFmpeg's graph of a scene that looks like no other."""
    number = draw.randrange(10**6)
    x, y = draw.uniform(-1.6, 0.4), draw.uniform(-1.0, 1.0)
    return draw.choice(
        (
            f"mandelbrot=size=320x180:rate=30:maxiter=80:start_x={x:.4f}:start_y={y:.4f}"
            f":start_scale={draw.uniform(0.05, 1):.3f}:end_scale=0.02:end_pts=300",
            f"gradients=size=320x180:rate=30:speed={draw.uniform(0.02, 0.1):.3f}:nb_colors=6:seed={number}",
            f"mandelbrot=size=1280x720:rate=30:maxiter=80:start_x={x:.4f}:start_y={y:.4f}:start_scale=0.4"
            ":end_scale=0.4,trim=start_frame=2:end_frame=3,setpts=0,loop=loop=-1:size=1,fps=30"
            f",crop=640:360:x='{draw.randrange(100)}+n*{draw.uniform(0.5, 4):.2f}':y={draw.randrange(300)}",
            f"life=size=24x14:mold=40:rate=1:seed={number}:ratio=0.4:death_color=#304080:life_color=#e0d080"
            ",scale=320:180:flags=bicubic,fps=30",
        )
    )


def variants(clip: Clip, made: Path) -> dict[str, Clip]:
    """The clip of this file made again."""
    clip = replace(clip, video=f"movie={made}")
    brighter = "format=yuv420p,lutyuv=y='clip(16+(val-16)*1.12,16,235)'"
    return {
        "re-encoded": replace(clip, crf=38),
        "smaller": replace(clip, size=(160, 90), crf=32),
        "brighter": replace(clip, video=f"{clip.video},{brighter}"),
        "another rate": replace(clip, rate=30),
    }


def look_of(clip: Clip, path: Path) -> str:
    """What the clip looks like."""
    pictures = decoded_pictures(written(clip, path))
    if pictures is None:
        raise RuntimeError("looks need the extra video")
    return pictures.look


def apart(one: str, other: str) -> int:
    """In how many bits two looks differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def run(options: argparse.Namespace) -> ProofResult:
    """The clips are made in a folder that goes."""
    result = ProofResult("looks")
    draw, started_at = random.Random(options.seed), time.monotonic()
    alike: dict[str, list[int]] = {}
    looks, even = [], 0
    bits = 5 * STILL_BITS
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.tasks):
            clip = Clip("scene", scene(draw), sound=None)
            made = Path(folder) / f"{number}.mp4"
            look = look_of(clip, made)
            if is_even(look):
                even += 1
                continue
            looks.append(look)
            for kind, again in variants(clip, made).items():
                differing = apart(look, look_of(again, Path(folder) / "again.mp4"))
                alike.setdefault(kind, []).append(differing)
    others = [apart(one, other) for one, other in combinations(looks, 2)]
    made_again = [each for distances in alike.values() for each in distances]
    for share in SHARES:
        recall = sum(each <= share * bits for each in made_again) / len(made_again)
        wrong = sum(each <= share * bits for each in others) / len(others)
        mark = "  <- the threshold" if share == NEAR_SHARE_MAX else ""
        result.fact(f"at {share:4.0%}", f"{recall:6.1%} of clips made again, {wrong:6.2%} of others{mark}")
        if share == NEAR_SHARE_MAX:
            if recall < RECALL_MIN:
                result.differ([f"{recall:.3f} of the clips made again are named, not {RECALL_MIN}"])
            if wrong > WRONG_SHARE_MAX:
                result.differ([f"{wrong:.4f} of the pairs of other scenes are named"])
    for kind, distances in alike.items():
        middle = sorted(distances)[len(distances) // 2]
        result.fact(kind, f"at most {max(distances)} of {bits} bits differ, {middle} in the middle")
    result.fact("even scenes, left out", even)
    result.fact("other scenes", f"{len(others)} pairs, the nearest {min(others)} bits apart")
    result.headline, result.seconds = f"{options.tasks} scenes", time.monotonic() - started_at
    return result
