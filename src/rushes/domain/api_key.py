"""API keys: `rsh_` + 33 random characters + 6 of a checksum. Only a key's SHA-256 is ever stored.

The checksum (CRC-32, as GitHub's tokens have it) tells a mistyped key from a wrong one without a look at
the database. A key is as random as a 192-bit number, so a plain hash of it cannot be turned back.
"""

import hashlib
import re
import zlib

KEY_PREFIX = "rsh_"
KEY_RANDOM_BYTES = 24
"""Random bytes that a key is made of."""

SHOWN_CHARACTERS = 12
"""How much of a key lists show: enough to tell keys apart, far too little to guess one."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARACTERS = 33
_CHECKSUM_CHARACTERS = 6
_FORM = re.compile(rf"rsh_[0-9A-Za-z]{{{_RANDOM_CHARACTERS + _CHECKSUM_CHARACTERS}}}")


def api_key_from(random_bytes: bytes) -> str:
    """The key made of `KEY_RANDOM_BYTES` random bytes."""
    assert len(random_bytes) == KEY_RANDOM_BYTES
    body = KEY_PREFIX + _base62(int.from_bytes(random_bytes, "big"), _RANDOM_CHARACTERS)
    return body + _checksum(body)


def is_api_key(text: str) -> bool:
    """Whether the text has a key's form and checksum; it may still be nobody's."""
    if _FORM.fullmatch(text) is None:
        return False
    return text[-_CHECKSUM_CHARACTERS:] == _checksum(text[:-_CHECKSUM_CHARACTERS])


def api_key_hash(key: str) -> str:
    """What is stored of a key: its SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def shown_part(key: str) -> str:
    """The key's first characters, for lists."""
    return key[:SHOWN_CHARACTERS]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_CHARACTERS)


def _base62(number: int, characters: int) -> str:
    digits = ""
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
