"""Callback tokens: unguessable, one per attempt, and nothing of them is stored."""

import hashlib
import hmac

_MAC_CHARACTERS = 40
"""Hex characters of the MAC that a token carries: 160 bits."""

TOKEN_CHARACTERS_MAX = 100


def callback_token(key: bytes, *, task_id: int, attempt: int) -> str:
    """`task_id-attempt-mac`: names the attempt and proves that this system made the name."""
    name = f"{task_id}-{attempt}"
    return f"{name}-{_mac(key, name)}"


def attempt_of_token(key: bytes, token: str) -> tuple[int, int] | None:
    """`(task_id, attempt)` of a token made with `key`, or None for any other text."""
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        return None
    name, _, mac = token.rpartition("-")
    if not hmac.compare_digest(mac, _mac(key, name)):
        return None
    task_id, _, attempt = name.partition("-")
    return int(task_id), int(attempt)


def _mac(key: bytes, name: str) -> str:
    return hmac.new(key, f"callback:{name}".encode(), hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]
