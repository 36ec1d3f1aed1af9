"""One file of a chain: its clips in their order, streams copied where they fit, encoded where they do not."""

from pathlib import Path
from typing import Any

import pytest

from rushes.domain.errors import InputError
from rushes.files.chains.choosing import chosen_chain
from rushes.files.chains.joining import Clip, join
from rushes.files.chains.last_frame import cut_last_frame
from rushes.files.media_check import checked_media
from rushes.files.video_check import BadFile, checked_mp4
from rushes.store.inputs.chains import ChainItem
from tests.chains.clips import make_clip, pictures, sound_seconds


def clips_of(folder: Path, *wanted: dict[str, Any]) -> list[Clip]:
    return [
        Clip(f"shot-{number}", make_clip(folder / f"{number}.mp4", **its))
        for number, its in enumerate(wanted, start=1)
    ]


@pytest.mark.parametrize("more", [{}, {"b_frames": 2}, {"sound": True}, {"sound": True, "b_frames": 3}])
def test_clips_that_fit_are_copied(tmp_path: Path, more: dict[str, Any]) -> None:
    clips = clips_of(tmp_path, {"shade": 20, **more}, {"shade": 80, **more}, {"shade": 140, **more})
    out = tmp_path / "film.mp4"
    assert join(clips, out) is None
    found = pictures(out)
    assert len(found) == 72
    times = [time for time, _ in found]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(71 / 24, abs=0.1)
    expected = [shade + 2 * number for shade in (20, 80, 140) for number in range(24)]
    assert [light for _, light in found] == pytest.approx(expected, abs=3)
    assert sound_seconds(out) == pytest.approx(3.0 if "sound" in more else 0.0, abs=0.15)
    assert out.stat().st_size < sum(clip.path.stat().st_size for clip in clips) + 4096
    assert checked_mp4(out).duration_ms == pytest.approx(3000, abs=120)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"size": (180, 320)}, '"shot-2" has 180 x 320 pixels, "shot-1" has 320 x 180'),
        ({"sound": True}, '"shot-2" has sound, "shot-1" has none'),
        ({"codec": "mpeg4"}, '"shot-2" is mpeg4, "shot-1" is h264'),
        ({"b_frames": 2}, '"shot-2" was encoded with other parameters than "shot-1"'),
    ],
)
def test_clips_that_do_not_fit_are_encoded_and_it_is_said_why(
    tmp_path: Path, second: dict[str, Any], reason: str
) -> None:
    clips = clips_of(tmp_path, {"shade": 20}, {"shade": 80, **second}, {"shade": 140})
    out = tmp_path / "film.mp4"
    assert join(clips, out) == reason
    found = pictures(out)
    assert len(found) == 72
    assert [time for time, _ in found] == pytest.approx([number / 24 for number in range(72)], abs=0.1)
    assert found[-1][1] == pytest.approx(186, abs=4)
    facts = checked_mp4(out)
    assert (facts.width, facts.height) == (320, 180)
    if "sound" in second:
        assert sound_seconds(out) == pytest.approx(3.0, abs=0.15)


def test_a_clip_that_is_none_is_named(tmp_path: Path) -> None:
    clips = clips_of(tmp_path, {}, {})
    clips[1].path.write_bytes(b"no video")
    with pytest.raises(BadFile, match=r'^"shot-2" cannot be decoded'):
        join(clips, tmp_path / "film.mp4")


@pytest.mark.parametrize("b_frames", [0, 3])
def test_the_last_frame_is_the_one_that_is_shown_last(tmp_path: Path, b_frames: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=50, shade=20, b_frames=b_frames)
    frame = cut_last_frame(clip)
    assert frame == cut_last_frame(clip)  # to the byte: the same upload, however often it is cut
    (tmp_path / "frame.jpg").write_bytes(frame)
    facts = checked_media(tmp_path / "frame.jpg")
    assert (facts.content_type, facts.width, facts.height) == ("image/jpeg", 320, 180)
    assert pictures(tmp_path / "frame.jpg")[0][1] == pytest.approx((20 + 98 - 16) * 255 / 219, abs=16)


# --- which clips -------------------------------------------------------------------------------------------


def items_of(*links: tuple[str, int | None, str]) -> list[ChainItem]:
    return [
        ChainItem(index, name, before, "succeeded", state, f"{name}.mp4", "")
        for index, (name, before, state) in enumerate(links)
    ]


TWO = items_of(
    ("a-1", None, "stored"),
    ("a-2", 0, "stored"),
    ("a-3", 1, "expired"),
    ("b-2", 4, "stored"),
    ("b-1", None, "stored"),
    ("alone", None, "stored"),
)


def test_the_only_chain_needs_no_name() -> None:
    assert [item.custom_id for item in chosen_chain(TWO[:2], None)] == ["a-1", "a-2"]


def test_a_chain_is_named_by_its_last_item() -> None:
    assert [item.custom_id for item in chosen_chain(TWO, "b-2")] == ["b-1", "b-2"]
    assert [item.custom_id for item in chosen_chain(TWO, "a-2")] == ["a-1", "a-2"]


@pytest.mark.parametrize(
    ("items", "name", "message"),
    [
        (TWO, None, "chain: the batch has 2 chains; name the last item of one: a-3, b-2"),
        (TWO, "a-3", '"a-3" has no stored clip: its file is expired; --chain a-2 joins those before it'),
        (TWO, "a-1", 'chain: "a-1" starts from no other item; name the last item of a chain'),
        (TWO, "c", 'chain: no item of the batch has the custom_id "c"'),
        (TWO, "b2", 'chain: no item of the batch has the custom_id "b2"; did you mean "b-2"?'),
        (TWO[5:], None, "the batch has no chain: none of its items starts from another's last frame"),
    ],
)
def test_what_is_no_whole_chain_is_refused(items: list[ChainItem], name: str | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen_chain(items, name)
    assert str(caught.value) == message
