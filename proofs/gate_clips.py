"""Clips made by a script, each with the faults that it has: sound ones, and every fault that the gate names.

Sound ones are hard on purpose: dark scenes, slow pans, title cards, small movement, grain, pauses, re-encoded
files. Pictures and sounds are drawn by FFmpeg's own sources, so the faults are known and nothing is downloaded.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av import AudioResampler

SIZES: Final = ((320, 180), (180, 320), (240, 240), (426, 240))
RATES: Final = (24, 25, 30)


@dataclass(frozen=True, slots=True)
class Clip:
    """How a clip is made (`video` and `sound` are FFmpeg's graphs) and what is wrong with it."""

    kind: str
    video: str
    sound: str | None = "sine=frequency=330:sample_rate=44100,volume=-12dB"
    faults: frozenset[str] = frozenset()
    size: tuple[int, int] = (320, 180)
    rate: int = 24
    seconds: float = 3.0
    crf: int = 28
    codec: str = "libx264"
    options: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[bytes], bytes] | None = None


def written(clip: Clip, path: Path) -> Path:
    """Make the file."""
    _encode(clip, path)
    if clip.kind.startswith("re-encoded"):
        again = replace(clip, video=f"movie={path}", crf=36)
        second = path.with_suffix(".again.mp4")
        _encode(again, second)
        second.replace(path)
    if clip.spoil is not None:
        path.write_bytes(clip.spoil(path.read_bytes()))
    return path


def _encode(clip: Clip, path: Path) -> None:
    width, height = clip.size
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        video: Any = out.add_stream(clip.codec, rate=clip.rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"crf": str(clip.crf), "preset": "veryfast"}
        video.thread_type, video.time_base = "NONE", Fraction(1, clip.rate)
        sound: Any = None
        if clip.sound is not None:
            sound = out.add_stream("aac", rate=44_100)
            sound.layout, sound.bit_rate = "stereo", 96_000
        graph = f"{clip.video},fps={clip.rate},trim=duration={clip.seconds}"
        with av.open(graph, format="lavfi") as source:
            for number, frame in enumerate(source.decode(video=0)):
                scaled = frame.reformat(width=width, height=height, format="yuv420p")
                scaled.pts, scaled.time_base, scaled.pict_type = number, Fraction(1, clip.rate), 0
                out.mux(video.encode(scaled))
        out.mux(video.encode(None))
        if sound is not None:
            resampler = AudioResampler(format="fltp", layout="stereo", rate=44_100)
            with av.open(f"{clip.sound},atrim=duration={clip.seconds}", format="lavfi") as source:
                for block in source.decode(audio=0):
                    for converted in resampler.resample(block):
                        out.mux(sound.encode(converted))
            out.mux(sound.encode(None))


# --- pictures -------------------------------------------------------------------------------------------


def _moving(draw: random.Random) -> str:
    return draw.choice(
        (
            f"testsrc2=size=320x180:rate=30,hue=h={draw.randrange(360)}",
            f"mandelbrot=size=320x180:rate=30:maxiter=80:start_scale={draw.uniform(1, 3):.2f}:end_scale=0.3"
            ":end_pts=300",
            f"life=size=160x90:mold=10:rate=30:seed={draw.randrange(10**6)}:ratio=0.3:death_color=#304080",
            f"gradients=size=320x180:rate=30:speed=0.05:seed={draw.randrange(10**6)}",
        )
    )


def _still(draw: random.Random) -> str:
    first = draw.randrange(1, 40)
    source = draw.choice(
        (
            "mandelbrot=size=640x360:rate=30:maxiter=80",
            f"testsrc2=size=640x360:rate=30,hue=h={draw.randrange(360)}",
        )
    )
    return f"{source},trim=start_frame={first}:end_frame={first + 1},setpts=0,loop=loop=-1:size=1,fps=30"


def _dim(share: float) -> str:
    return f"format=yuv420p,lutyuv=y=16+(val-16)*{share:.3f}:u=128+(val-128)*{share:.3f}:v=128+(val-128)*{share:.3f}"


def _card(seconds: float) -> str:
    """A title card: bars of text on one colour, for that long."""
    bars = ",".join(f"drawbox=x={60 + 14 * n}:y=80:w=8:h=20:color=white:t=fill" for n in range(14))
    return f"color=0x203040:size=320x180:rate=30:duration={seconds:.2f},{bars},format=yuv420p,setsar=1"


def _then(first: str, second: str) -> str:
    return f"{first}[first];{second},scale=320:180,format=yuv420p,setsar=1[second];[first][second]concat=n=2"


def _panned(draw: random.Random, pixels_per_frame: float) -> str:
    return f"{_still(draw)},crop=320:180:x='40+n*{pixels_per_frame:.2f}':y=60"


# --- kinds ----------------------------------------------------------------------------------------------


def _sound_ones(draw: random.Random) -> Iterator[Clip]:
    yield Clip("moving", _moving(draw))
    yield Clip("re-encoded", _moving(draw))
    yield Clip("dark scene", f"{_moving(draw)},{_dim(draw.uniform(0.12, 0.25))}")
    yield Clip("slow pan", _panned(draw, draw.uniform(0.25, 1.0)))
    yield Clip("re-encoded slow pan", _panned(draw, draw.uniform(0.4, 1.0)))
    yield Clip("title card", _then(_card(draw.uniform(0.6, 1.2)), _moving(draw)))
    yield Clip("fade from black", f"{_moving(draw)},fade=t=in:st=0:d={draw.uniform(0.4, 1.0):.2f}")
    yield Clip(
        "small movement",
        f"{_still(draw)},scale=320:180[back];color=white:size=24x24:rate=30[dot];"
        f"[back][dot]overlay=x='20+t*{draw.uniform(20, 60):.0f}':y={draw.randrange(20, 140)}",
    )
    yield Clip("grain", f"{_moving(draw)},noise=alls={draw.randrange(8, 20)}:allf=t")
    yield Clip(
        "slow zoom", f"{_still(draw)},zoompan=z='1+on*{draw.uniform(0.001, 0.003):.4f}':d=1:s=320x180:fps=30"
    )
    yield Clip(
        "pauses",
        _moving(draw),
        "sine=frequency=220,volume='if(lt(mod(t,1),0.4),0.3,0)':eval=frame",
        options={"sound": True},
    )
    yield Clip(
        "quiet sound",
        _moving(draw),
        f"anoisesrc=c=pink:seed={draw.randrange(10**6)},volume=-26dB",
        options={"sound": True},
    )
    yield Clip("loud sound", _moving(draw), "sine=frequency=200,volume=17dB", options={"sound": True})
    yield Clip("no sound asked", _moving(draw), None)
    yield Clip("older codec", _moving(draw), codec="mpeg4")


def _faulty_ones(draw: random.Random) -> Iterator[Clip]:
    black, frozen, silent = frozenset({"black"}), frozenset({"frozen"}), frozenset({"silent"})
    start = draw.uniform(0.2, 1.2)
    yield Clip("black", "color=black:size=320x180:rate=30", faults=black)
    yield Clip("black with grain", "color=black:size=320x180:rate=30,noise=alls=4:allf=t", faults=black)
    yield Clip("turns black", f"{_moving(draw)},fade=t=out:st={start:.2f}:d=0.2", faults=black)
    yield Clip("frozen", _still(draw), faults=frozen)
    yield Clip("re-encoded frozen", _still(draw), faults=frozen)
    yield Clip(
        "freezes", f"{_moving(draw)},trim=duration={start:.2f},tpad=stop_mode=clone:stop=-1", faults=frozen
    )
    wants = {"sound": True}
    yield Clip("no track of sound", _moving(draw), None, silent, options=wants)
    yield Clip("silence", _moving(draw), "anullsrc=r=44100:cl=stereo", silent, options=wants)
    yield Clip("hiss", _moving(draw), "anoisesrc=c=white,volume=-66dB", silent, options=wants)
    yield Clip(
        "one click",
        _moving(draw),
        "sine=frequency=500,volume='if(lt(t,0.1),0.5,0)':eval=frame",
        silent,
        options=wants,
    )
    clipped = frozenset({"clipped"})
    yield Clip(
        "clipped tone", _moving(draw), f"sine=frequency=300,volume={draw.randrange(24, 36)}dB", clipped
    )
    yield Clip("clipped noise", _moving(draw), "anoisesrc=c=pink:a=1,volume=24dB", clipped)
    yield Clip("too short", _moving(draw), faults=frozenset({"length"}), options={"duration": 8})
    yield Clip("too long", _moving(draw), faults=frozenset({"length"}), seconds=5.0, options={"duration": 3})
    yield Clip(
        "upright for wide",
        _moving(draw),
        faults=frozenset({"ratio"}),
        size=(180, 320),
        options={"aspect_ratio": "16:9"},
    )
    yield Clip(
        "wide for upright", _moving(draw), faults=frozenset({"ratio"}), options={"aspect_ratio": "9:16"}
    )
    yield Clip(
        "small for large", _moving(draw), faults=frozenset({"resolution"}), options={"resolution": "720p"}
    )
    yield Clip(
        "slow frames",
        _moving(draw),
        faults=frozenset({"frame_rate"}),
        rate=8,
        thresholds={"frames_per_second_min": 24},
    )
    broken = frozenset({"broken"})
    yield Clip("zeroed end", _moving(draw), faults=broken, spoil=lambda data: _spoiled(data, 0.5, b"\0"))
    yield Clip("scrambled end", _moving(draw), faults=broken, spoil=lambda data: _spoiled(data, 0.4, b"\xa5"))
    yield Clip("cut off", _moving(draw), faults=broken, spoil=lambda data: data[: len(data) * 2 // 3])


def _spoiled(data: bytes, from_share: float, filler: bytes) -> bytes:
    """The media data overwritten from there on; the boxes stay whole."""
    start = data.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(data[start - 8 : start - 4])
    cut = start + int((end - start) * from_share)
    return data[:cut] + filler * (end - cut) + data[end:]


def clips(count: int, seed: int) -> list[Clip]:
    """That many clips, sound and faulty in turn, of every kind as often as any other."""
    draw = random.Random(seed)
    found: list[Clip] = []
    while len(found) < count:
        for clip in (*_sound_ones(draw), *_faulty_ones(draw)):
            rate = clip.rate if clip.kind == "slow frames" else draw.choice(RATES)
            found.append(replace(clip, rate=rate, crf=clip.crf if clip.crf > 30 else draw.randrange(22, 33)))
    return found[:count]
