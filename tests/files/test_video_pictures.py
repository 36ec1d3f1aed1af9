"""Pictures of videos are decoded without keeping anything of it."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

import rushes
from rushes.files.video_pictures import can_decode
from tests.files.media_samples import sound, video

USED_IN_TURN = """
import ctypes, gc, sys
from pathlib import Path
import av
from rushes.files.video_pictures import frames_of

class InUse(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = InUse

def bytes_in_use():
    gc.collect()
    found = mallinfo()
    return found.uordblks + found.hblkhd

def first_frame(path):
    with av.open(str(path), mode="r") as container:
        for _ in frames_of(container, container.streams[0]):
            break

def kept(act, path):
    # what is made once is in one of the rounds, what each call leaves in all of them
    rounds = []
    for _ in range(4):
        before = bytes_in_use()
        for _ in range(40):
            act(path)
        rounds.append((bytes_in_use() - before) / 40)
    return min(rounds)

clip, noise = map(Path, sys.argv[1:])
print(kept(first_frame, clip), kept(first_frame, noise))
"""


@pytest.mark.skipif(not can_decode(), reason="PyAV is not installed")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only new glibc tells what is in use")
def test_a_video_or_sound_that_is_left_before_its_end_stays_in_memory_with_nothing(tmp_path: Path) -> None:
    """PyAV's own iterator keeps some 300 bytes each time: a gigabyte in a million videos of five stills."""
    clip, noise = tmp_path / "clip.mp4", tmp_path / "sound.wav"
    clip.write_bytes(video("libx264", "mp4"))
    noise.write_bytes(sound("pcm_s16le", "wav"))
    command = [sys.executable, "-c", USED_IN_TURN, str(clip), str(noise)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert max(map(float, said.split())) < 100, said


def test_all_frames_are_read_so() -> None:
    sources = Path(rushes.__file__).parent.rglob("*.py")
    assert [str(path) for path in sources if "container.decode(" in path.read_text()] == []
