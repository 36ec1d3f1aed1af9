"""The thresholds of a gate as they are written, and what a clip's measures come to under them."""

from dataclasses import replace

import pytest

from rushes.domain.acceptance.gate import (
    DEFAULT_THRESHOLDS,
    GateRules,
    Measures,
    Thresholds,
    judged,
    read_gate,
    thresholds_of,
)
from rushes.domain.acceptance.verdicts import Reason, Verdict
from rushes.domain.errors import InputError

SOUND_CLIP = Measures(1280, 720, 8.0, 24.0, 0.0, 0.1, True, 0.0, 0.0, None)


def test_true_is_the_operators_thresholds_and_an_object_changes_some() -> None:
    mine = Thresholds(black_share_max=0.1)
    assert read_gate(True, mine) == mine
    assert read_gate({"sound": True, "seconds": None}, mine) == replace(mine, sound=True)
    assert read_gate(None) is read_gate(False) is None


def test_thresholds_are_stored_and_read_again() -> None:
    written = {
        "black_share_max": 0,
        "sound": False,
        "seconds": 5,
        "aspect_ratio": "9:16",
        "resolution": "1080p",
        "frames_per_second_min": 23.5,
        "ignore": ["frozen", "ratio"],
    }
    found = read_gate(written)
    assert found is not None
    assert thresholds_of(found.as_dict()) == found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yes", "gate: must be true, false or an object"),
        (1, "gate: must be true, false or an object"),
        ({"frozen_max": 1}, 'gate: unknown field "frozen_max"; did you mean "frozen_share_max"?'),
        ({"black_share_max": 1.5}, "gate.black_share_max: must be a share from 0 to 1"),
        ({"black_share_max": True}, "gate.black_share_max: must be a share"),
        ({"black_share_max": float("nan")}, "gate.black_share_max: must be a share"),
        ({"seconds": 0}, "gate.seconds: must be seconds from 0.1"),
        ({"aspect_ratio": "16x9"}, 'gate.aspect_ratio: must be a ratio such as "16:9"'),
        ({"aspect_ratio": "0:9"}, "gate.aspect_ratio: must be a ratio"),
        ({"aspect_ratio": "9:0"}, "gate.aspect_ratio: must be a ratio"),
        ({"aspect_ratio": "x:9"}, "gate.aspect_ratio: must be a ratio"),
        ({"aspect_ratio": "16:x"}, "gate.aspect_ratio: must be a ratio"),
        ({"aspect_ratio": "１６:9"}, "gate.aspect_ratio: must be a ratio"),
        ({"aspect_ratio": "123456:1"}, "gate.aspect_ratio: must be a ratio"),
        ({"resolution": 720}, "gate.resolution: must be one of 360p"),
        ({"sound": "on"}, "gate.sound: must be true or false"),
        ({"ignore": "frozen"}, "gate.ignore: must be a list of reasons"),
        ({"ignore": ["ugly"]}, "gate.ignore: must be reasons among black"),
        ({"ignore": ["no_file"]}, "gate.ignore: must be reasons among black"),
    ],
)
def test_what_is_no_threshold_is_refused_by_name(value: object, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_gate(value)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"black_share": 0.4}, Reason.BLACK),
        ({"frozen_share": 0.6}, Reason.FROZEN),
        ({"has_sound": False, "silent_share": None}, Reason.SILENT),
        ({"silent_share": 0.95}, Reason.SILENT),
        ({"clipped_share": 0.01}, Reason.CLIPPED),
        ({"seconds": 5.0}, Reason.LENGTH),
        ({"width": 720, "height": 1280}, Reason.RATIO),
        ({"width": 640, "height": 360}, Reason.RESOLUTION),
        ({"frames_per_second": 12.0}, Reason.FRAME_RATE),
        ({"broken": "the picture breaks off"}, Reason.BROKEN),
    ],
)
def test_each_measure_has_its_reason(changes: dict[str, object], reason: Reason) -> None:
    options = {"duration": 8, "aspect_ratio": "16:9", "resolution": "720p", "sound": True, "fps": 24}
    assert judged(SOUND_CLIP, DEFAULT_THRESHOLDS, options) == (Verdict.ACCEPTED, [])
    measures = replace(SOUND_CLIP, **changes)  # type: ignore[arg-type]
    assert judged(measures, DEFAULT_THRESHOLDS, options) == (Verdict.REJECTED, [reason])
    ignoring = replace(DEFAULT_THRESHOLDS, ignore=frozenset({reason}))
    assert judged(measures, ignoring, options) == (Verdict.ACCEPTED, [])


def test_what_an_item_does_not_name_is_not_judged() -> None:
    odd = Measures(100, 700, 1.0, 2.0, 0.0, 0.0, False, None, None, None)
    assert judged(odd, DEFAULT_THRESHOLDS, {}) == (Verdict.ACCEPTED, [])
    assert judged(odd, DEFAULT_THRESHOLDS, {"duration": "8", "aspect_ratio": "wide", "sound": False}) == (
        Verdict.ACCEPTED,
        [],
    )
    of_batch = Thresholds(seconds=8, aspect_ratio="16:9", resolution="720p", frames_per_second_min=24)
    assert judged(odd, of_batch, {"duration": 1})[1] == [
        Reason.LENGTH,
        Reason.RATIO,
        Reason.RESOLUTION,
        Reason.FRAME_RATE,
    ]


def test_an_installation_that_cannot_judge_refuses_batches_that_ask() -> None:
    rules = GateRules(refusal="needs the extra video")
    assert rules.read(None) is None
    with pytest.raises(InputError, match="gate: needs the extra video"):
        rules.read(True)
    by_default = GateRules(is_on=True)
    assert by_default.read(None) == replace(DEFAULT_THRESHOLDS, judge=False), "no judge is installed"
    assert by_default.read(False) is None
