"""The videos that each client makes, as rushes says them and as the client does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PICTURE: Final = "https://pictures.example/first.png"
PROMPT: Final = "a paper boat on a puddle"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One video: a model of rushes with its options, and the client's own words for it.

    `base` follows the recorder's URL for both, `client_base` where the client adds some of it itself.
    `left_out` are fields that only one of them can send, each with the reason.
    """

    client: str
    script: str
    model: str
    options: Mapping[str, Any]
    client_model: str
    parameters: Mapping[str, Any]
    base: str
    client_base: str | None = None
    files: tuple[tuple[str, str, str], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def _ark(model: str, api_model: str, options: Mapping[str, Any], **more: Any) -> Case:
    return Case(
        client="ark",
        script="ark_sdk.py",
        model=model,
        options=options,
        client_model=api_model,
        base="/api/v3" if api_model.startswith("doubao") else "/intl/api/v3",
        **more,
    )


def _dashscope(model: str, api_model: str, options: Mapping[str, Any], **more: Any) -> Case:
    return Case(
        client="dashscope",
        script="dashscope_sdk.py",
        model=model,
        options=options,
        client_model=api_model,
        base="/api/v1",
        **more,
    )


def _litellm(model: str, client_model: str, options: Mapping[str, Any], **more: Any) -> Case:
    return Case(
        client="litellm",
        script="litellm_sdk.py",
        model=model,
        options=options,
        client_model=client_model,
        **more,
    )


def _replicate(model: str, client_model: str, options: Mapping[str, Any], **more: Any) -> Case:
    return Case(
        client="replicate",
        script="replicate_sdk.py",
        model=model,
        options=options,
        client_model=client_model,
        base="",
        **more,
    )


CASES: Final = (
    _ark(
        "seedance-2.0",
        "doubao-seedance-2-0-260128",
        {"duration": 5, "resolution": "1080p", "aspect_ratio": "9:16", "sound": False, "seed": 7},
        parameters={
            "duration": 5,
            "resolution": "1080p",
            "ratio": "9:16",
            "generate_audio": False,
            "seed": 7,
        },
    ),
    _ark(
        "ark-intl/seedance-2.5",
        "dreamina-seedance-2-5-260628",
        {"duration": 30, "first_frame": PICTURE, "last_frame": PICTURE},
        parameters={"duration": 30, "resolution": "720p", "generate_audio": True},
        files=(("image_url", "first_frame", PICTURE), ("image_url", "last_frame", PICTURE)),
    ),
    _ark(
        "seedance-2.0-fast",
        "doubao-seedance-2-0-fast-260128",
        {"references": [PICTURE], "audio": [PICTURE]},
        parameters={"duration": 5, "resolution": "720p", "generate_audio": True},
        files=(("image_url", "reference_image", PICTURE), ("audio_url", "reference_audio", PICTURE)),
    ),
    _dashscope(
        "wan-3.0",
        "wan3.0-video",
        {"duration": 10, "resolution": "1080p", "aspect_ratio": "9:16", "seed": 7},
        parameters={"duration": 10, "resolution": "1080P", "ratio": "9:16", "seed": 7},
    ),
    _dashscope(
        "wan-2.7",
        "wan2.7-i2v",
        {"first_frame": PICTURE},
        parameters={"duration": 5, "resolution": "720P"},
        files=(("", "first_frame", PICTURE),),
    ),
    _dashscope(
        "happyhorse-1.1",
        "happyhorse-1.1-r2v",
        {"references": [PICTURE]},
        parameters={"duration": 5, "resolution": "720P"},
        files=(("", "reference_image", PICTURE),),
    ),
    _litellm(
        "seedance-2.0-mini",
        "volcengine/doubao-seedance-2-0-mini-260615",
        {"duration": 5, "resolution": "720p", "aspect_ratio": "16:9", "sound": True},
        parameters={"seconds": "5", "size": "1280x720", "extra_body": {"generate_audio": True}},
        base="/api/v3",
    ),
    _litellm(
        "wan-3.0-prime",
        "dashscope/wan3.0-video-prime",
        {"duration": 5, "resolution": "720p", "aspect_ratio": "16:9"},
        parameters={"seconds": "5", "size": "1280x720"},
        base="/api/v1",
        client_base="",
    ),
    _litellm(
        "minimax-h3-official",
        "minimax/MiniMax-H3",
        {"duration": 5, "resolution": "768p", "aspect_ratio": "16:9"},
        parameters={"seconds": "5", "size": "16x9", "extra_body": {"resolution": "768P"}},
        base="",
    ),
    _replicate(
        "replicate-veo3.1-fast",
        "google/veo-3.1-fast",
        {"duration": 6, "resolution": "1080p", "aspect_ratio": "9:16", "sound": False, "seed": 7},
        parameters={
            "duration": 6,
            "resolution": "1080p",
            "aspect_ratio": "9:16",
            "generate_audio": False,
            "seed": 7,
        },
    ),
    _replicate(
        "replicate-hailuo2.3",
        "minimax/hailuo-2.3",
        {"first_frame": PICTURE},
        parameters={"duration": 6, "resolution": "768p"},
        files=(("", "first_frame_image", PICTURE),),
    ),
)

NOT_COMPARED: Final = {
    "xai-sdk": "speaks gRPC, not the HTTP API that rushes and the simulator speak",
}
"""Clients that cannot be compared, and why."""
