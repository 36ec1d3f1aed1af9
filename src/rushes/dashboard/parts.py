"""What the pages work with, put together by `rushes.service`."""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rushes.domain.catalogue import Catalogue
from rushes.engine.file_links import FileLinks
from rushes.engine.operator_reads import ReadOnly
from rushes.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardParts:
    """Pages read with `read`, and act through `database`. Time and randomness are functions.

    `on_work()` tells the worker of this process, if any, that tasks wait. `links` lead to stored videos.
    `base_url` is the service's public URL: its host is one that pages may be asked from. `signing_key()` is
    the key of signed statements.
    """

    secret: str
    database: Database
    read: ReadOnly
    now_ms: Callable[[], int]
    new_nonce: Callable[[], str]
    on_work: Callable[[], None]
    catalogue: Catalogue
    links: FileLinks
    base_url: str | None
    signing_key: Callable[[], Ed25519PrivateKey]
