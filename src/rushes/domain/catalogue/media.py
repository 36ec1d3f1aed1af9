"""Media that go into a video: pictures, videos and sounds, by the part that each plays.

A media input is an option of the model whose value is a URL or an upload (`upl_…`). Data URIs, and paths on
the command line and in the library, have become uploads before a model sees them. `MediaInput.ways` says in
which forms the provider takes the files; `way_of` finds the one to use, or why there is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from rushes.domain.catalogue.options import Described, OptionSpec, OptionValue, check_url, quoted

Content: TypeAlias = Literal["image", "video", "audio"]

Way: TypeAlias = Literal["url", "data_uri", "bytes", "own_upload"]
"""How a provider takes a file: by its address, as a data URI, as bytes in the request, or through an upload
to the service itself before the request."""

WAYS: Final[tuple[Way, ...]] = ("own_upload", "bytes", "data_uri", "url")

MEDIA_ROLES: Final[Mapping[str, Content]] = {
    "first_frame": "image",
    "last_frame": "image",
    "references": "image",
    "source_video": "video",
    "audio": "audio",
}
"""The names of media inputs, and what they usually are."""

OLDER_NAMES: Final[Mapping[str, str]] = {
    "first_frame_url": "first_frame",
    "last_frame_url": "last_frame",
    "reference_url": "references",
    "reference_urls": "references",
    "source_video_url": "source_video",
    "audio_url": "audio",
    "audio_urls": "audio",
}
"""The names that media inputs had before; they are taken as the new ones."""

FILES_MAX: Final = 50
"""The most files that one input may be declared to take."""

UPLOAD_ID: Final = re.compile(r"upl_[0-9a-f]{32}")

LISTS: Final = (list, tuple)
"""What holds several values of an option; `list | tuple` would be made anew each time that it is asked."""

LAST_FRAME: Final = re.compile(r"@(.+)\.last_frame")
"""The place of a picture that is not there yet: the last frame of another item of the batch, by its name."""

_NOUNS: Final[Mapping[Content, str]] = {"image": "image", "video": "video", "audio": "sound"}

SUFFIX_OF: Final = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mp4": ".m4a",
}
"""The usual end of a file's name, by content type."""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What an upload is, as its bytes say. Pixels and seconds are None where there are none to know."""

    content_type: str
    bytes: int
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None

    @property
    def content(self) -> str:
        """`image`, `video` or `audio`."""
        return self.content_type.partition("/")[0]


CUT_FRAME: Final = MediaFacts("image/jpeg", 0)
"""What is known beforehand of a last frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInput(Described):
    """One file, or with `is_list` up to `count_max` files, of one kind. Of its `ways` the best comes first.

    `bytes_max` is the largest file that the service takes; `data_uri_bytes_max` the largest that may go as a
    data URI, counted before it is encoded. `content_types` names the formats, where the service has fewer
    than all of its kind.
    """

    content: Content = "image"
    is_list: bool = False
    count_max: int = 1
    ways: tuple[Way, ...] = ("url",)
    bytes_max: int | None = None
    data_uri_bytes_max: int | None = None
    url_characters_max: int | None = None
    content_types: tuple[str, ...] = ()

    def normalise(self, value: object) -> OptionValue:
        """The address or upload id, unchanged; of a list a tuple, for which one text counts as one file."""
        if not self.is_list:
            if isinstance(value, list | tuple) and len(value) == 1:
                (value,) = value
            return self._one(value)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"must be a list of 1 to {self.count_max} {self._files}, not {quoted(value)}")
        if len(values) > self.count_max:
            raise ValueError(f"{len(values)} files, more than the {self.count_max} that the model takes")
        return tuple(self._one(each) for each in values)

    @property
    def _files(self) -> str:
        return f"{_NOUNS[self.content]} URLs or uploads"

    def _one(self, value: object) -> str:
        if isinstance(value, str) and (UPLOAD_ID.fullmatch(value) or LAST_FRAME.fullmatch(value)):
            return value
        if isinstance(value, str) and value.startswith("upl_"):
            raise ValueError(f"is no upload id: {quoted(value)}")
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            noun = _NOUNS[self.content]
            raise ValueError(f"must be the URL, upload id or data URI of one {noun}, not {quoted(value)}")
        url = check_url(value)
        if self.url_characters_max is not None and len(url) > self.url_characters_max:
            raise ValueError(
                f"a URL of {len(url)} characters, more than the {self.url_characters_max} that the model"
                " takes; upload the file"
            )
        if "url" not in self.ways:
            raise ValueError("the model takes no URL here: upload the file and give its upload id")
        return url

    def describe(self) -> str:
        """`up to 3 images: URLs or uploads`."""
        noun = _NOUNS[self.content]
        if self.is_list:
            return f"up to {self.count_max} {noun}{'' if self.count_max == 1 else 's'}: URLs or uploads"
        return f"one {noun}: a URL or an upload"

    def problem(self, facts: MediaFacts, *, makes_links: bool) -> str | None:
        """Why this upload cannot be handed on to the provider, or None. See `way_of` for `makes_links`."""
        if facts.content != self.content:
            return f"the upload is {facts.content_type}, and the model takes {_NOUNS[self.content]}s here"
        if self.content_types and facts.content_type not in self.content_types:
            return f"the upload is {facts.content_type}; the model takes {', '.join(self.content_types)}"
        if self.bytes_max is not None and facts.bytes > self.bytes_max:
            return f"the upload has {facts.bytes} bytes, more than the {self.bytes_max} that the model takes"
        if way_of(self, facts, makes_links=makes_links) is not None:
            return None
        if "data_uri" in self.ways:
            return (
                f"the upload has {facts.bytes} bytes, more than the {self.data_uri_bytes_max} that may be"
                " sent within the request; uploads have no public link here, so give the file's URL"
            )
        return "the model takes URLs only, and uploads have no public link here; give the file's URL"


@dataclass(frozen=True, slots=True)
class KnownUploads:
    """The uploads that a batch may name, by id, and whether an upload can be handed on by its address.

    With `are_all` false there may be others, which are looked up later. `no_last_frames` says why no last
    frame can be cut here, if so.
    """

    facts_of: Mapping[str, MediaFacts]
    makes_links: bool = False
    are_all: bool = True
    no_last_frames: str | None = None

    def problem(self, spec: "MediaInput", value: str) -> str | None:
        """Why this upload, or last frame, cannot be handed on as that input; None for any other value too."""
        if LAST_FRAME.fullmatch(value):
            return self.no_last_frames or self._frame_problem(spec)
        if not value.startswith("upl_"):
            return None
        facts = self.facts_of.get(value)
        if facts is not None:
            return spec.problem(facts, makes_links=self.makes_links)
        return f"there is no upload {value}: it expired, or was never yours" if self.are_all else None

    def _frame_problem(self, spec: "MediaInput") -> str | None:
        if way_of(spec, CUT_FRAME, makes_links=self.makes_links) is None:
            return "the model takes URLs only, and last frames have no public link here: set RUSHES_BASE_URL"
        return spec.problem(CUT_FRAME, makes_links=self.makes_links)


def way_of(spec: MediaInput, facts: MediaFacts, *, makes_links: bool) -> Way | None:
    """The first of its ways in which an upload can be handed on; None when there is none.

    `makes_links`: the operator has a public base URL, so that an upload has an address of its own.
    """
    for way in spec.ways:
        if way == "url" and not makes_links:
            continue
        limit = spec.data_uri_bytes_max
        if way == "data_uri" and limit is not None and facts.bytes > limit:
            continue
        return way
    return None


def own_name(name: str, options: Mapping[str, OptionSpec]) -> str:
    """The name under which a model with these options has the input that is called `name`.

    A model of another package may still have an older name, and be asked by the new one.
    """
    if name in options:
        return name
    new = OLDER_NAMES.get(name, name)
    if new in options:
        return new
    if new in MEDIA_ROLES:
        return next((older for older, of in OLDER_NAMES.items() if of == new and older in options), name)
    return name


def same_input(name: str) -> str:
    """One name for all the names of an input; other options have their own."""
    return OLDER_NAMES.get(name, name)


def uploads_in(options: Mapping[str, Any]) -> list[str]:
    """The ids of the uploads among the values of these options, in their order."""
    return [
        each
        for value in options.values()
        for each in (value if isinstance(value, LISTS) else (value,))
        if isinstance(each, str) and UPLOAD_ID.fullmatch(each)
    ]
