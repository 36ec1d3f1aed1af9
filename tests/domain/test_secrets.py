"""Secrets: which are too weak, what is derived from them, and that nothing else is asked of them."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.callback_tokens import attempt_of_token, callback_token
from rushes.domain.secrets import SECRET_RANDOM_BYTES, derived_key, secret_from, weakness
from rushes.files.links import FileLinks


@given(st.binary(min_size=1, max_size=100), st.text(max_size=40))
def test_keys_are_derived_as_rfc_5869_says(secret: bytes, purpose: str) -> None:
    expected = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)
    assert derived_key(secret, purpose) == expected


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("a", "has 1 characters, 16 are needed"),
        ("abcdefghijklmno", "has 15 characters, 16 are needed"),
        ("abcdefgabcdefgabcdefg", "has 7 different characters, 8 are needed"),
        ("abcdefghabcdefgh", None),
        ("password12345678", None),  # length and different characters alone count
    ],
)
def test_only_length_and_different_characters_count(secret: str, problem: str | None) -> None:
    assert weakness(secret) == problem


def test_a_secret_that_is_made_is_strong() -> None:
    assert weakness(secret_from(bytes(range(SECRET_RANDOM_BYTES)))) is None


def test_links_and_callbacks_of_an_older_secret_count_only_while_it_is_named() -> None:
    token = callback_token(b"old", task_id=7, attempt=2)
    assert attempt_of_token(b"new", token) is None
    assert attempt_of_token(b"new", token, older=[b"old"]) == (7, 2)
    link = FileLinks(b"old").link(7, "video", now_ms=0).removeprefix("/files/")
    assert FileLinks(b"new").read(link, now_ms=0) is None
    assert FileLinks(b"new", older=(b"old",)).read(link, now_ms=0) == (7, "video")
    assert FileLinks(b"new", older=(b"old",)).at("https://x").older == (b"old",)


def test_what_version_0_1_signed_still_counts() -> None:
    """Written down from 0.1, whose keys were the secret itself."""
    import hashlib
    import hmac

    mac = hmac.new(b"secret", b"callback:7-2", hashlib.sha256).hexdigest()[:40]
    assert attempt_of_token(b"secret", f"7-2-{mac}") == (7, 2)
    assert attempt_of_token(b"other", f"7-2-{mac}", older=[b"secret"]) == (7, 2)
    assert callback_token(b"secret", task_id=7, attempt=2) != f"7-2-{mac}"
    mac = hmac.new(b"secret", b"file:7-video-7200", hashlib.sha256).hexdigest()[:40]
    assert FileLinks(b"secret").read(f"7-video-7200-{mac}", now_ms=0) == (7, "video")


def test_a_link_is_no_callback() -> None:
    link = FileLinks(b"secret").link(7, "video", now_ms=0)
    mac = link.rpartition("-")[2]
    assert attempt_of_token(b"secret", f"7-video-7200-{mac}") is None
    assert derived_key(b"secret", "callbacks") != derived_key(b"secret", "file links")
