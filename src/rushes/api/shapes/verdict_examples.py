"""Examples of answers about verdicts, for the OpenAPI document."""

from typing import Any, Final

_BATCH_ID: Final = "bat_5f1c0a9d3e7b24680f13579a"
_GATE: Final[dict[str, Any]] = {
    "black_share_max": 0.3,
    "frozen_share_max": 0.5,
    "silent_share_max": 0.9,
    "clipped_share_max": 0.005,
    "sound": None,
    "seconds": None,
    "aspect_ratio": None,
    "resolution": None,
    "frames_per_second_min": None,
    "ignore": [],
    "judge": False,
    "score_min": None,
}

VERDICT_EXAMPLES: Final[dict[str, Any]] = {
    "JudgedItem": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "item_id": f"{_BATCH_ID}-1",
        "verdict": "rejected",
        "buys": True,
    },
    "BatchVerdicts": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "gate": _GATE,
        "accept": {"n_max": 4, "credits_max": 40, "score_min": None},
        "auto": None,
        "clips": 5,
        "replaced": 1,
        "verdicts": {"accepted": 4, "rejected": 1, "undecided": 0, "open": 0},
        "reasons": {"frozen": 1},
        "credits_settled": 50,
        "cost_per_accepted": 12.5,
    },
    "AcceptedCosts": {
        "ok": True,
        "data": [
            {
                "model": "sora-2",
                "clips": 41,
                "accepted": 30,
                "rejected": 11,
                "credits_settled": 410,
                "accepted_share": 0.7317,
                "accepted_share_interval": [0.5807, 0.8431],
                "cost_per_accepted": 13.6667,
            }
        ],
    },
}
