"""Uploads: what customers give to go into videos. One is known by its account and its content."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from rushes.domain.catalogue.media import MediaFacts

UPLOAD_BYTES_MAX: Final = 50 * 1024 * 1024
"""The largest upload, unless the operator says otherwise."""

UPLOAD_KEEP_DAYS: Final = 30.0
"""How long an upload is kept after its last use, unless the operator says otherwise. What a batch that is
not finished needs is kept in any case."""

_DATA_URI: Final = re.compile(r"data:([A-Za-z0-9!#$&^_.+/-]*)((?:;[^;,]*)*),", re.ASCII)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload of an account as it is kept. `object_key` names its bytes in the store."""

    upload_id: str
    sha256: str
    facts: MediaFacts
    object_key: str
    created_at_ms: int
    expires_at_ms: int


def upload_id_of(account: str, sha256: str) -> str:
    """The id of that content as an upload of that account: the same whenever it is uploaded again."""
    digest = hashlib.sha256(f"{len(account)}:{account}:{sha256}".encode("utf-8", "surrogatepass"))
    return f"upl_{digest.hexdigest()[:32]}"


def upload_key(*, account: str, sha256: str, nonce: str, suffix: str) -> str:
    """The name of an upload's bytes in the store; the nonce tells it from one that is being removed."""
    owner = _UNSAFE.sub("_", account)[:60] or "_"
    return f"uploads/{owner}/{sha256}-{nonce}{suffix}"


def bytes_of_data_uri(text: str, *, bytes_max: int) -> bytes:
    """What is in a Base64 data URI; raises `ValueError` with a one-line reason.

    The content type that it announces is not looked at: the bytes say what they are.
    """
    match = _DATA_URI.match(text)
    if match is None or not match[2].lower().endswith(";base64"):
        raise ValueError("must be a data URI in Base64, such as data:image/png;base64,…")
    encoded = text[match.end() :]
    if len(encoded) > (bytes_max + 2) // 3 * 4 + 4:
        raise ValueError(f"a data URI of more than {bytes_max} bytes")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the data URI is not Base64") from None
    if len(data) > bytes_max:
        raise ValueError(f"a data URI of {len(data)} bytes, more than {bytes_max}")
    return data
