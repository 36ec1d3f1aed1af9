"""What the pages work with, put together by `rushes.service`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rushes.domain.acceptance.gate import NO_GATE, GateRules
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.margin import NO_VALUATION, Valuation
from rushes.files.links import FileLinks
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads
from rushes.read.forecasts import Forecaster
from rushes.read.scope import ReadOnly
from rushes.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardParts:
    """Pages read with `read`, and act through `database`. Time and randomness are functions;
    `new_nonce()` is at least 24 random bytes as text.

    `on_work()` tells the worker of this process, if any, that tasks wait. `links` lead to stored videos.
    `base_url` is the service's public URL: its host is one that pages may be asked from. `signing_key()` is
    the key of signed statements, `own_public_key()` its public half where it has been made. `objects` is the
    archive, if there is one. `adopt(batch_id, index, remote task id)` gives an item the remote task that was
    bought for it. `gate` is what a batch may ask of its clips. `settings` are the effective ones: name, value
    with secrets masked, and where it came from.
    """

    secret: str
    database: Database
    read: ReadOnly
    now_ms: Callable[[], int]
    new_nonce: Callable[[], str]
    new_batch_id: Callable[[], str]
    on_work: Callable[[], None]
    catalogue: Catalogue
    forecaster: Forecaster
    links: FileLinks
    base_url: str | None
    signing_key: Callable[[], Ed25519PrivateKey]
    objects: ObjectStore | None
    uploads: Uploads
    adopt: Callable[[str, int, str], Awaitable[Mapping[str, Any]]]
    own_public_key: Callable[[], str | None] = lambda: None
    valuation: Valuation = NO_VALUATION
    gate: GateRules = NO_GATE
    version: str = ""
    settings: Sequence[tuple[str, str, str]] = ()
