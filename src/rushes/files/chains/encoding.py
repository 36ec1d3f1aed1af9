"""Clips that do not fit each other, encoded anew into one file: H.264 and AAC, in the first clip's size."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rushes.files.video_check import BadFile
from rushes.files.video_pictures import frames_of

if TYPE_CHECKING:
    import av

VIDEO_CODEC: Final = "libx264"
QUALITY: Final = {"crf": "17", "preset": "medium"}
"""So fine that nobody sees the second encoding."""

TICKS: Final = 90_000
SOUND_RATE: Final = 48_000


def encode(paths: Sequence[Path], target: Path, *, options: Mapping[str, str]) -> None:
    """Write the clips, one after the other, to the target. For a thread. Raises `BadFile`."""
    import av

    try:
        with av.open(str(target), mode="w", format="mp4", options=dict(options)) as output:
            writer = _Writer(output, *_shape(paths))
            for path in paths:
                with av.open(str(path), mode="r") as container:
                    writer.append(container)
            writer.close()
    except (av.FFmpegError, ValueError) as error:
        raise BadFile(f"the clips cannot be encoded ({type(error).__name__}: {error})") from error


def _shape(paths: Sequence[Path]) -> tuple[tuple[int, int], Any, bool]:
    """The first clip's size and frame rate, and whether any of the clips has sound."""
    import av

    size, rate, has_sound = (0, 0), None, False
    for path in paths:
        with av.open(str(path), mode="r") as container:
            has_sound = has_sound or bool(container.streams.audio)
            if rate is None:
                stream = container.streams.video[0]
                context = stream.codec_context
                size, rate = (context.width // 2 * 2, context.height // 2 * 2), stream.average_rate or 24
    return size, rate, has_sound


class _Writer:
    """The output's tracks, and how far each has come."""

    def __init__(
        self, output: "av.container.OutputContainer", size: tuple[int, int], rate: Any, has_sound: bool
    ) -> None:
        self._output = output
        self._size = size
        self._video: Any = output.add_stream(VIDEO_CODEC, rate=rate, options=dict(QUALITY))
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = Fraction(1, TICKS)
        self._sound = _Sound(output) if has_sound else None
        self._offset = Fraction(0)
        self._last_tick = -1

    def append(self, container: "av.container.InputContainer") -> None:
        """Encode a whole clip at the end of what is there."""
        stream: Any = container.streams.video[0]
        stream.thread_type = "NONE"
        start, end = (stream.start_time or 0) * stream.time_base, self._offset
        graph = _fitting(stream, self._size)
        length = 1 / Fraction(stream.average_rate or 24)
        for frame in frames_of(container, stream):
            seconds = self._offset + (Fraction(frame.time or 0.0) - start)
            end = max(end, seconds + length)
            graph.push(frame)
            self._encode(graph.pull(), round(seconds * TICKS))
        if self._sound is not None:
            self._sound.fill(self._offset)
            if container.streams.audio:
                container.seek(0)
                self._sound.add(container)
                end = max(end, self._sound.seconds)
        self._offset = end

    def _encode(self, frame: Any, tick: int) -> None:
        frame.pts, frame.time_base = max(tick, self._last_tick + 1), Fraction(1, TICKS)
        frame.pict_type = 0
        self._last_tick = frame.pts
        self._output.mux(self._video.encode(frame))

    def close(self) -> None:
        """Write what the encoders still hold."""
        self._output.mux(self._video.encode(None))
        if self._sound is not None:
            self._sound.fill(self._offset)
            self._sound.close()


def _fitting(stream: Any, size: tuple[int, int]) -> Any:
    """Scales pictures into the size, with black beside what has another shape."""
    from av.filter import Graph

    width, height = size
    graph = Graph()
    steps = [
        graph.add_buffer(template=stream, time_base=stream.time_base),
        graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease"),
        graph.add("pad", f"{width}:{height}:(ow-iw)/2:(oh-ih)/2"),
        graph.add("setsar", "1"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    for one, next_one in pairwise(steps):
        one.link_to(next_one)
    graph.configure()
    return graph


class _Sound:
    """The track of sound: silence where a clip has none, so that pictures and sound stay together."""

    def __init__(self, output: "av.container.OutputContainer") -> None:
        from av import AudioFifo

        self._output = output
        self._track: Any = output.add_stream("aac", rate=SOUND_RATE, layout="stereo")
        self._fifo = AudioFifo()
        self._count = self._sent = 0

    @property
    def seconds(self) -> Fraction:
        """How long the sound is so far."""
        return Fraction(self._count, SOUND_RATE)

    def add(self, container: "av.container.InputContainer") -> None:
        """The clip's first track of sound."""
        from av import AudioResampler

        resampler = AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
        for frame in frames_of(container, container.streams.audio[0]):
            for converted in resampler.resample(frame):
                self._write(converted)
        for converted in resampler.resample(None):
            self._write(converted)

    def fill(self, until: Fraction) -> None:
        """Silence until then."""
        from av import AudioFrame

        missing = round(until * SOUND_RATE) - self._count
        while missing > 0:
            silence = AudioFrame(format="fltp", layout="stereo", samples=min(missing, SOUND_RATE))
            silence.rate = SOUND_RATE
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            missing -= silence.samples
            self._write(silence)

    def _write(self, frame: Any) -> None:
        frame.pts = None
        self._count += frame.samples
        self._fifo.write(frame)
        for chunk in self._chunks():
            self._send(chunk)

    def _chunks(self) -> Iterator[Any]:
        size = self._track.codec_context.frame_size or 1024
        while (chunk := self._fifo.read(size)) is not None:
            yield chunk

    def _send(self, chunk: Any) -> None:
        chunk.pts, chunk.time_base = self._sent, Fraction(1, SOUND_RATE)
        self._sent += chunk.samples
        self._output.mux(self._track.encode(chunk))

    def close(self) -> None:
        """What is left, and what the encoder holds."""
        rest: Any = self._fifo.read(0, partial=True)
        if rest is not None:
            self._send(rest)
        self._output.mux(self._track.encode(None))
