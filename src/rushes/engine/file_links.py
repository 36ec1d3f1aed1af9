"""Links to stored files that work without a key, for a while: for browsers, which send none.

Nothing of a link is stored: it names the file and the moment of its end, and carries a MAC of both.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes.domain.archive import VIDEO_DELETED, ArchiveState
from rushes.engine.views import iso_time

LINK_STEP_SECONDS: Final = 3600
"""Links made within the same hour are the same, so that a browser fetches a file once; each lives on for
at least one hour and at most two."""

TOKEN_CHARACTERS_MAX: Final = 100
_MAC_CHARACTERS: Final = 40

VARIANTS: Final[Mapping[str, tuple[str, str]]] = {
    "video": ("video_key", "video/mp4"),
    "thumbnail": ("thumbnail_key", "image/jpeg"),
    "spritesheet": ("poster_key", "image/jpeg"),
}
"""What is kept of a video, in the words of OpenAI's SDK: the column that names it, and its media type."""


_FACTS: Final = ("bytes", "sha256", "width", "height")


@dataclass(frozen=True, slots=True)
class FileLinks:
    """Makes and reads links. `key` is the operator's secret, `base` is put before the path."""

    key: bytes
    base: str = ""

    def at(self, base: str) -> "FileLinks":
        """The same with another base."""
        return FileLinks(self.key, base)

    def link(self, task_id: int, variant: str, *, now_ms: int) -> str:
        """`{base}/files/{token}`."""
        ends_at = (now_ms // 1000 // LINK_STEP_SECONDS + 2) * LINK_STEP_SECONDS
        name = f"{task_id}-{variant}-{ends_at}"
        return f"{self.base}/files/{name}-{self._mac(name)}"

    def read(self, token: str, *, now_ms: int) -> tuple[int, str] | None:
        """`(task_id, variant)` of a token that has not ended, or None for any other text."""
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        name, _, mac = token.rpartition("-")
        if not hmac.compare_digest(mac, self._mac(name)):
            return None
        task_id, variant, ends_at = name.split("-")
        return (int(task_id), variant) if now_ms < int(ends_at) * 1000 else None

    def _mac(self, name: str) -> str:
        return hmac.new(self.key, f"file:{name}".encode(), hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]


def file_fields(
    item: Mapping[str, Any], archived: Mapping[str, Any] | None, *, links: FileLinks, now_ms: int
) -> dict[str, Any]:
    """`video_url, thumbnail_url, archive` of an item whose row of the archive this is.

    The provider's link until the file is stored, then our own; none for a file that is not to be had, whose
    `archive.reason` says why. `item` is a row as `without_deleted` gives it.
    """
    if item["is_deleted"]:
        facts = dict.fromkeys((*_FACTS, "duration_seconds", "stored_at", "spritesheet_url"))
        removed = {"state": ArchiveState.REMOVED.value, "reason": VIDEO_DELETED} | facts
        return {"video_url": None, "thumbnail_url": None, "archive": removed}
    if archived is None:
        return {"video_url": item["video_url"], "thumbnail_url": None, "archive": None}

    def link(variant: str) -> str | None:
        if archived["state"] != ArchiveState.STORED or archived[VARIANTS[variant][0]] is None:
            return None
        return links.link(archived["task_id"], variant, now_ms=now_ms)

    duration_ms = archived["duration_ms"]
    return {
        "video_url": item["video_url"] if archived["state"] == ArchiveState.DUE else link("video"),
        "thumbnail_url": link("thumbnail"),
        "archive": {
            "state": archived["state"],
            "reason": archived["reason"],
            **{name: archived[name] for name in _FACTS},
            "duration_seconds": None if duration_ms is None else duration_ms / 1000,
            "stored_at": iso_time(archived["stored_at_ms"]),
            "spritesheet_url": link("spritesheet"),
        },
    }
