"""Secrets of the operator: how strong they must be, and the keys derived from them, one per purpose."""

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Final

SECRET_CHARACTERS_MIN: Final = 16
SECRET_DIFFERENT_CHARACTERS_MIN: Final = 8
SECRET_RANDOM_BYTES: Final = 32
"""Random bytes that a new secret is made of."""


def secret_from(random_bytes: bytes) -> str:
    """A secret of `SECRET_RANDOM_BYTES` random bytes: 43 characters of URL-safe base64."""
    assert len(random_bytes) == SECRET_RANDOM_BYTES
    return base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def weakness(secret: str) -> str | None:
    """What makes the secret too weak, or None. Only its length and its different characters count."""
    if len(secret) < SECRET_CHARACTERS_MIN:
        return f"has {len(secret)} characters, {SECRET_CHARACTERS_MIN} are needed"
    different = len(set(secret))
    if different < SECRET_DIFFERENT_CHARACTERS_MIN:
        return f"has {different} different characters, {SECRET_DIFFERENT_CHARACTERS_MIN} are needed"
    return None


@lru_cache(maxsize=64)
def derived_key(secret: bytes, purpose: str) -> bytes:
    """The secret's key for one purpose: HKDF-SHA256 (RFC 5869) without salt, 32 bytes.

    Who knows one purpose's key knows neither the secret nor another purpose's key.
    """
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, purpose.encode() + b"\x01", hashlib.sha256)
