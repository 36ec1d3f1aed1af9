"""Callback tokens: unguessable, one per attempt, and nothing of them is stored."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from rushes.domain.secrets import derived_key

PURPOSE: Final = "callbacks"

_MAC_CHARACTERS = 40
"""Hex characters of the MAC that a token carries: 160 bits."""

TOKEN_CHARACTERS_MAX = 100


def callback_token(secret: bytes, *, task_id: int, attempt: int) -> str:
    """`task_id-attempt-mac`: names the attempt and proves that this system made the name."""
    name = f"{task_id}-{attempt}"
    return f"{name}-{_mac(derived_key(secret, PURPOSE), name)}"


def attempt_of_token(secret: bytes, token: str, *, older: Sequence[bytes] = ()) -> tuple[int, int] | None:
    """`(task_id, attempt)` of a token made with `secret` or an `older` one, or None for any other text.

    Until 0.3 tokens of version 0.1 are taken too, which were made with the secret itself: their tasks may be
    in flight.
    """
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        return None
    name, _, mac = token.rpartition("-")
    keys = [key for each in (secret, *older) for key in (derived_key(each, PURPOSE), each)]
    if not any(hmac.compare_digest(mac, _mac(key, name)) for key in keys):
        return None
    task_id, _, attempt = name.partition("-")
    return int(task_id), int(attempt)


def _mac(key: bytes, name: str) -> str:
    return hmac.new(key, f"callback:{name}".encode(), hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]
