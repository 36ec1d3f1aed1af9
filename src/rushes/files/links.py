"""Links to stored files that work without a key, for a while: for browsers, which send none.

Nothing of a link is stored: it names the file and the moment of its end, and carries a MAC of both.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rushes.domain.archive import VIDEO_DELETED, ArchiveState
from rushes.domain.catalogue.media import SUFFIX_OF
from rushes.domain.input.uploads import Upload
from rushes.domain.notation import iso_time
from rushes.domain.secrets import derived_key

LINK_STEP_SECONDS: Final = 3600
"""Links made within the same hour are the same, so that a browser fetches a file once; each lives on for
at least one hour and at most two."""

PURPOSE: Final = "file links"
UPLOADS_PURPOSE: Final = "upload links"
UPLOAD_LINK_SECONDS: Final = 3 * 86_400
"""A service may let a task wait before it fetches the task's files."""

TOKEN_CHARACTERS_MAX: Final = 120
_MAC_CHARACTERS: Final = 40

VARIANTS: Final[Mapping[str, tuple[str, str]]] = {
    "video": ("video_key", "video/mp4"),
    "thumbnail": ("thumbnail_key", "image/jpeg"),
    "spritesheet": ("poster_key", "image/jpeg"),
}
"""What is kept of a video, in the words of OpenAI's SDK: the column that names it, and its media type."""


FURTHER_VARIANT: Final = "file"
"""With the number of a file that came besides the video: what a link to it names."""

_FACTS: Final = ("bytes", "sha256", "width", "height")


@dataclass(frozen=True, slots=True)
class FileLinks:
    """Makes and reads links. `secret` is the operator's, `base` is put before the path.

    Links of `older` secrets are read too and, until 0.3, those of version 0.1, whose key was the secret.
    """

    secret: bytes
    base: str = ""
    older: tuple[bytes, ...] = ()

    def at(self, base: str) -> "FileLinks":
        """The same with another base."""
        return FileLinks(self.secret, base, self.older)

    def link(self, task_id: int, variant: str, *, now_ms: int) -> str:
        """`{base}/files/{token}`."""
        ends_at = self.ends_at_ms(now_ms) // 1000
        name = f"{task_id}-{variant}-{ends_at}"
        return f"{self.base}/files/{name}-{_mac(derived_key(self.secret, PURPOSE), name)}"

    @staticmethod
    def ends_at_ms(now_ms: int) -> int:
        """When a link that is made now ends."""
        return (now_ms // 1000 // LINK_STEP_SECONDS + 2) * LINK_STEP_SECONDS * 1000

    def upload_link(self, upload: Upload, *, now_ms: int) -> str:
        """`{base}/uploads/{token}`: where a video service fetches an upload, within three days."""
        ends_at = (now_ms // 1000 // LINK_STEP_SECONDS + 1) * LINK_STEP_SECONDS + UPLOAD_LINK_SECONDS
        name = f"{upload.upload_id}-{ends_at}"
        suffix = SUFFIX_OF[upload.facts.content_type]
        return f"{self.base}/uploads/{name}-{_mac(derived_key(self.secret, UPLOADS_PURPOSE), name)}{suffix}"

    def read_upload(self, token: str, *, now_ms: int) -> str | None:
        """The upload's id in a token that has not ended, or None for any other text."""
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        name, _, mac = token.partition(".")[0].rpartition("-")
        keys = [derived_key(each, UPLOADS_PURPOSE) for each in (self.secret, *self.older)]
        if not any(hmac.compare_digest(mac, _mac(key, name)) for key in keys):
            return None
        upload_id, ends_at = name.split("-")
        return upload_id if now_ms < int(ends_at) * 1000 else None

    def read(self, token: str, *, now_ms: int) -> tuple[int, str] | None:
        """`(task_id, variant)` of a token that has not ended, or None for any other text."""
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        name, _, mac = token.rpartition("-")
        keys = [key for each in (self.secret, *self.older) for key in (derived_key(each, PURPOSE), each)]
        if not any(hmac.compare_digest(mac, _mac(key, name)) for key in keys):
            return None
        task_id, variant, ends_at = name.split("-")
        return (int(task_id), variant) if now_ms < int(ends_at) * 1000 else None


def _mac(key: bytes, name: str) -> str:
    return hmac.new(key, f"file:{name}".encode(), hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]


def content_path(item_id: str) -> str:
    """Where the service serves the item's video, as long as there is one, to keys of its account."""
    return f"/v1/videos/{item_id}/content"


def file_fields(
    item: Mapping[str, Any],
    archived: Mapping[str, Any] | None,
    *,
    item_id: str,
    links: FileLinks,
    now_ms: int,
) -> dict[str, Any]:
    """`video_url, expires_at, content_url, thumbnail_url, archive` of an item with this row of the archive.

    `video_url` is the provider's link until the file is stored, then our own for browsers; none for a file
    that is not to be had, whose `archive.reason` says why. `expires_at` is when it stops working, where that
    is known. `item` is a row as `without_deleted` gives it.
    """
    fields = lasting_fields(item, archived, item_id=item_id, base=links.base)
    if archived is None or item["is_deleted"]:
        return fields | {"thumbnail_url": None}

    def link(variant: str) -> str | None:
        if archived["state"] != ArchiveState.STORED or archived[VARIANTS[variant][0]] is None:
            return None
        return links.link(archived["task_id"], variant, now_ms=now_ms)

    if archived["state"] == ArchiveState.STORED:
        fields |= {"video_url": link("video"), "expires_at": iso_time(links.ends_at_ms(now_ms))}
    fields["archive"] |= {"spritesheet_url": link("spritesheet")}
    return fields | {"thumbnail_url": link("thumbnail")}


def further_fields(
    rows: Sequence[Mapping[str, Any]],
    item: Mapping[str, Any],
    archived: Mapping[str, Any] | None,
    *,
    item_id: str,
    links: FileLinks,
    now_ms: int,
) -> list[dict[str, Any]]:
    """`kind, state, reason, url, content_url, content_type, bytes, sha256` of each file besides the video.

    `url` is the provider's link until the file is stored, then our own for browsers. They go with the video.
    """
    if item["is_deleted"] or (archived is not None and archived["state"] == ArchiveState.REMOVED):
        return []
    found = []
    for row in rows:
        is_stored, is_due = row["state"] == ArchiveState.STORED, row["state"] == ArchiveState.DUE
        variant = f"{FURTHER_VARIANT}{row['position']}"
        link = links.link(row["task_id"], variant, now_ms=now_ms) if is_stored else None
        path = f"{links.base}{content_path(item_id)}?file={row['position']}"
        found.append(
            {
                "kind": row["kind"],
                "state": row["state"],
                "reason": row["reason"],
                "url": row["url"] if is_due else link,
                "content_url": path if is_stored or is_due else None,
                **{name: row[name] for name in ("content_type", "bytes", "sha256")},
            }
        )
    return found


def lasting_fields(
    item: Mapping[str, Any], archived: Mapping[str, Any] | None, *, item_id: str, base: str
) -> dict[str, Any]:
    """`lasting_links`, and under `archive` what is kept of the video."""
    found = lasting_links(item, archived, item_id=item_id, base=base)
    if item["is_deleted"]:
        facts = dict.fromkeys((*_FACTS, "duration_seconds", "stored_at", "spritesheet_url"))
        return found | {"archive": {"state": ArchiveState.REMOVED.value, "reason": VIDEO_DELETED} | facts}
    if archived is None:
        return found | {"archive": None}
    found["archive"] = {
        "state": archived["state"],
        "reason": archived["reason"],
        **{name: archived[name] for name in _FACTS},
        "duration_seconds": duration_seconds(archived),
        "stored_at": iso_time(archived["stored_at_ms"]),
        "spritesheet_url": None,
    }
    return found


def lasting_links(
    item: Mapping[str, Any], archived: Mapping[str, Any] | None, *, item_id: str, base: str
) -> dict[str, Any]:
    """`video_url, expires_at, content_url` for what is kept or sent on: no links that end soon.

    Once the file is stored, `video_url` is the `content_url`, which needs a key and lasts. Without a `base`
    both are paths.
    """
    if item["is_deleted"]:
        return {"video_url": None, "expires_at": None, "content_url": None}
    has_video = item["video_url"] is not None
    content_url = f"{base}{content_path(item_id)}" if has_video else None
    if archived is None:
        return {"video_url": item["video_url"], "expires_at": None, "content_url": content_url}
    state = archived["state"]
    is_stored, is_due = state == ArchiveState.STORED, state == ArchiveState.DUE
    return {
        "video_url": item["video_url"] if is_due else content_url if is_stored else None,
        "expires_at": iso_time(archived["link_dies_at_ms"]) if is_due else None,
        "content_url": content_url if is_due or is_stored else None,
    }


def duration_seconds(archived: Mapping[str, Any]) -> float | None:
    """How long the kept video is, if that is known."""
    duration_ms = archived["duration_ms"]
    return None if duration_ms is None else duration_ms / 1000
