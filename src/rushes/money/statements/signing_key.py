"""The operator's key for signing statements: one Ed25519 key in one file."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from rushes.domain.errors import SettingsError

SIGNING_KEY_FILE = "signing-key.pem"
"""In the data folder; whoever has it can sign statements in the operator's name."""

KEY_SEED_BYTES = 32
"""Random bytes that a new key is made of."""


def public_key_hex(key: Ed25519PrivateKey) -> str:
    """The public key that statements carry, for others to pin: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def load_or_create_signing_key(path: Path, *, seed: bytes) -> Ed25519PrivateKey:
    """The key in the file (PEM, PKCS 8); when there is none yet, the key of `seed` is written, mode 0600.

    `seed` is `KEY_SEED_BYTES` random bytes, unused when the file exists. Two processes that start at once
    end up with one key. Raises `SettingsError` for a file that is no such key, or that others may read.
    """
    if not path.exists():
        _create_key(path, Ed25519PrivateKey.from_private_bytes(seed))
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{path}: others may read the signing key; run `chmod 600` on it")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the signing key: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: not a signing key that rushes wrote") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: not an Ed25519 key")
    return key


def _create_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write the key whole or not at all, and never over another."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{public_key_hex(key)[:16]}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            draft.unlink()
    except FileExistsError:
        return  # another process was faster; its key is the one
    except OSError as error:
        raise SettingsError(f"{path}: cannot write the signing key: {error.strerror}") from error
