"""Visits of pages without a browser."""

import pytest

from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import Role, Session
from rushes.dashboard.visit import Visit
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.files.links import FileLinks
from rushes.read.scope import ReadOnly
from rushes.store.database import Database
from tests.forecasts import forecaster


def parts_on(database: Database, *, now_ms: int) -> DashboardParts:
    """What pages work with, on this database."""
    return DashboardParts(
        secret="operator-secret-1234",
        database=database,
        read=ReadOnly(database),
        now_ms=lambda: now_ms,
        new_nonce=lambda: "nonce",
        new_batch_id=lambda: "bat_new",
        on_work=lambda: None,
        catalogue=DEFAULT_CATALOGUE,
        forecaster=forecaster(),
        links=FileLinks(b"any"),
        base_url=None,
        signing_key=lambda: pytest.fail("nothing is signed here"),
        objects=None,
        uploads=None,  # type: ignore[arg-type]
        adopt=lambda *_: pytest.fail("nothing is adopted here"),
    )


def visit_on(
    database: Database,
    *,
    now_ms: int,
    path: str = "/",
    query: dict[str, str] | None = None,
    names: dict[str, str] | None = None,
    role: Role = Role.OWNER,
) -> Visit:
    """Somebody looks at a page."""
    return Visit(
        parts=parts_on(database, now_ms=now_ms),
        session=Session("ada", role, now_ms + 1000),
        root="/dashboard",
        path=path,
        query=query or {},
        names=names or {},
        language="en",
        theme="system",
        now_ms=now_ms,
    )
