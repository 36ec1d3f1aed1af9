"""Content as a list of typed items with roles, as Ark and MiniMax take it."""

from typing import Annotated, Final, Literal

import msgspec

Address = Annotated[str, msgspec.Meta(min_length=1)]


class _Media(msgspec.Struct, forbid_unknown_fields=True):
    url: Address


class Text(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """The prompt."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]


class Image(msgspec.Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    """A picture; without a role the services refuse it."""

    image_url: _Media
    role: Literal["first_frame", "last_frame", "reference_image"]


class Video(msgspec.Struct, tag_field="type", tag="video_url", forbid_unknown_fields=True):
    """A video to be used as a reference."""

    video_url: _Media
    role: Literal["reference_video"]


class Audio(msgspec.Struct, tag_field="type", tag="audio_url", forbid_unknown_fields=True):
    """A sound to be used as a reference."""

    audio_url: _Media
    role: Literal["reference_audio"]


Item = Text | Image | Video | Audio

_FRAMES: Final = ("first_frame", "last_frame")


def problem_of_content(content: list[Item], references_max: int) -> str | None:
    """What the services refuse of a list that is well formed; None when they take it."""
    if sum(isinstance(item, Text) for item in content) != 1:
        return "content must have exactly one text"
    roles = [item.role for item in content if not isinstance(item, Text)]
    frames = [role for role in roles if role in _FRAMES]
    if len(frames) != len(set(frames)):
        return "there is one first frame and one last frame"
    if "last_frame" in frames and "first_frame" not in frames:
        return "a last frame needs a first frame"
    if frames and len(frames) != len(roles):
        return "first and last frame cannot be mixed with reference media content"
    if "reference_audio" in roles and len(set(roles)) == 1 and references_max < 10:
        return "a sound needs a picture or a video beside it"
    if roles.count("reference_image") > references_max:
        return f"at most {references_max} reference images"
    return None


def prompt_of(content: list[Item]) -> str:
    """The text of a list without a problem."""
    return next(item.text for item in content if isinstance(item, Text))
