"""Where the database is, from the environment and the `.env` file, without the rest of the settings.

A command that only looks at the books asks here first: all settings, with their models, take a fifth of its
start. What is not plain here is None, and `Settings.load` answers, or says what is wrong.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final, Protocol

from rushes.domain.errors import SettingsError

DEFAULT_ENV_FILE: Final = Path(".env")
ENV_FILE_BYTES_MAX = 1024 * 1024
_DATABASE_SCHEMES = frozenset({"sqlite", "postgresql", "postgres", "postgresql+psycopg"})

NOT_PLAIN: Final = (
    "RUSHES_SQLITE_BUSY_TIMEOUT_SECONDS",
    "RUSHES_DATABASE_TIMEOUT_SECONDS",
    "RUSHES_LEASE_SECONDS",
)
"""With one of these set, the settings decide."""


class DatabaseSettings(Protocol):
    """What opening the database takes from the settings."""

    @property
    def database_url(self) -> str:
        """Its URL."""

    @property
    def sqlite_busy_timeout_seconds(self) -> float:
        """How long another process's lock is waited for."""

    @property
    def database_timeout_seconds(self) -> float:
        """How long a transaction may take."""

    @property
    def lease_seconds(self) -> float:
        """A worker's lease: a process that stands still within a transaction is cut off by then."""


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """The same with the settings' defaults; a test compares them."""

    database_url: str
    sqlite_busy_timeout_seconds: float = 10.0
    database_timeout_seconds: float = 20.0
    lease_seconds: float = 30.0


def plain_place(
    environ: Mapping[str, str] | None = None, env_file: Path = DEFAULT_ENV_FILE
) -> DatabasePlace | None:
    """The database of this process, or None when it takes the settings to know."""
    try:
        layers = (read_env_file(env_file), os.environ if environ is None else environ)
        values = {name: value.strip() for layer in layers for name, value in layer.items() if value.strip()}
        if any(name in values for name in NOT_PLAIN):
            return None
        folder = check_data_dir(Path(values.get("RUSHES_DATA_DIR", "rushes-data")))
        url = check_database_url(values.get("RUSHES_DATABASE_URL", f"sqlite:///{folder}/rushes.db"))
    except (SettingsError, ValueError):
        return None
    return DatabasePlace(url)


def check_database_url(value: str) -> str:
    """A database URL of a kind that there is."""
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise ValueError("must start with sqlite:///, postgresql:// or postgres://")
    if scheme == "sqlite" and rest and not rest.startswith("/"):
        raise ValueError("a SQLite file needs three slashes (sqlite:///file.db), or four for a full path")
    if any(not character.isprintable() for character in value):
        raise ValueError("has control characters")
    return value


def check_data_dir(value: Path) -> Path:
    """A folder whose name can be part of a database URL."""
    if "?" in str(value) or "\0" in str(value):
        raise ValueError('must not have "?" in its name: it becomes part of the database URL')
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("has a ~ that stands for no home folder") from None


def read_env_file(path: Path) -> dict[str, str]:
    """The file's variables; {} when it is not a file (`.env` is also a common name for a folder)."""
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            data = file.read(ENV_FILE_BYTES_MAX + 1)
        if len(data) > ENV_FILE_BYTES_MAX:
            raise SettingsError(f"{path}: more than {ENV_FILE_BYTES_MAX} bytes")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8") from None
    from dotenv import dotenv_values

    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}
