"""`rushes migrate` and `rushes doctor`: for whoever runs an installation."""

import os
import platform
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushes import __version__
from rushes.cli import DEBUG_VARIABLE, ExitCode
from rushes.cli.options import Json

if TYPE_CHECKING:
    from rushes.settings import Settings

SQLITE_WAL_SAFE = (3, 51, 3)
"""From this version on, a WAL survives one connection checkpointing while another writes."""


def migrate(*, json: Json = False) -> None:
    """Bring the database to this version's schema; safe at any time."""
    from rushes.cli.session import configure_logs
    from rushes.cli.show import print_json, print_line
    from rushes.library import Rushes
    from rushes.settings import Settings

    configure_logs("warning")
    rushes = Rushes(Settings.load(), migrated=False)
    try:
        before, after = rushes.migrate()
    finally:
        rushes.close()
    if json:
        print_json({"ok": True, "before": before, "after": after, "changed": before != after})
    elif before == after:
        print_line(f"the database is at revision {after} already")
    else:
        print_line(f"the database went from {before or 'nothing'} to revision {after}")


def doctor(*, json: Json = False) -> int:
    """Show the effective settings and what may be wrong; fails when something is broken.

    Changes nothing. In the archive it writes, reads and deletes one small object; where a folder would have
    to be made, it makes and deletes an empty one beside it.
    """
    from rushes.cli.session import configure_logs
    from rushes.cli.show import print_json
    from rushes.settings import Settings

    configure_logs("error")
    settings = Settings.load()
    database, problems = _database(settings)
    problems += _archive(settings)
    warnings = [*_misspelt(settings), *_plugin_warnings(settings), *_sqlite_warnings(settings)]
    warnings += [
        f"{held['count']} tasks of {held['model']} are held: {held['reason']}" for held in database["held"]
    ]
    providers = _providers(settings)
    if not any(provider["has_key"] for provider in providers):
        wanted = ", ".join(sorted({str(provider["missing"]) for provider in providers}))
        warnings.append(
            f"no provider has a key: set one of {wanted} to run batches; `rushes demo` needs none"
        )
    report = {
        "ok": not problems,
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "settings": [setting._asdict() for setting in settings.effective()],
        "database": database,
        "providers": providers,
        "problems": problems,
        "warnings": warnings,
    }
    if json:
        print_json(report)
    else:
        _print_report(report)
    return ExitCode.ERROR if problems else ExitCode.DONE


def _database(settings: "Settings") -> tuple[dict[str, Any], list[str]]:
    """What is known of the database, and what is broken about it."""
    from rushes.cli.session import run_async
    from rushes.domain.errors import RushesError
    from rushes.library import Rushes
    from rushes.settings import masked_database_url
    from rushes.store.migrate import mismatch as schema_mismatch
    from rushes.wiring import missing_sqlite_file

    facts: dict[str, Any] = {
        "url": masked_database_url(settings.database_url),
        "reachable": False,
        "revision": None,
        "head": None,
        "workers": [],
        "held": [],
    }
    missing = missing_sqlite_file(settings)
    if missing is not None:
        if obstacle := _obstacle(missing.parent):
            return facts, [f"the database {missing} cannot be made: {obstacle}"]
        facts["note"] = "not there yet; the first batch or grant makes it"
        return facts, []
    try:
        rushes = Rushes(settings, migrated=False)
        try:
            facts["revision"], facts["head"] = rushes.schema_revisions()
            facts["reachable"] = True
            if facts["revision"] == facts["head"]:
                facts["workers"] = run_async(rushes.live_workers())
                facts["held"] = run_async(rushes.held_tasks())
        finally:
            rushes.close()
    except RushesError as error:
        return facts, [error.message]
    if facts["revision"] is None:
        facts["note"] = "empty; the first batch or grant fills it"
    elif problem := schema_mismatch(facts["revision"]):
        return facts, [problem]
    return facts, []


def _archive(settings: "Settings") -> list[str]:
    """What is broken about the archive; a folder that is not there yet need only be possible to make."""
    from rushes import Rushes
    from rushes.cli.session import run_async
    from rushes.domain.errors import RushesError
    from rushes.store.objects import local_folder

    if settings.archive_place is None:
        return []
    try:
        folder = local_folder(settings.archive_place)
        if folder is not None and not folder.exists():
            if obstacle := _obstacle(folder):
                return [f"the archive {folder} cannot be made: {obstacle}; see RUSHES_ARCHIVE_URL"]
        else:
            rushes = Rushes(settings, migrated=False)
            try:
                run_async(rushes.check_archive())
            finally:
                rushes.close()
    except RushesError as error:
        return [error.message]
    return []


def _obstacle(folder: Path) -> str | None:
    """Why nothing can be made in a folder, or the folder itself; None when it can be.

    Permissions do not tell, on a file system that is read-only, say: the nearest folder that exists is asked.
    """
    while not folder.exists():
        folder = folder.parent
    try:
        Path(tempfile.mkdtemp(prefix=".rushes-doctor-", dir=folder)).rmdir()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


def _providers(settings: "Settings") -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "has_key": account.missing is None,
            "host": account.host or None,
            "missing": account.missing,
        }
        for name, account in settings.provider_accounts().items()
    ]


def _misspelt(settings: "Settings") -> list[str]:
    return [
        f"{unknown.name} is no setting"
        + (f"; did you mean {unknown.suggestion}?" if unknown.suggestion else "")
        for unknown in settings.unknown_variables
        if unknown.name != DEBUG_VARIABLE
    ]


def _plugin_warnings(settings: "Settings") -> list[str]:
    from rushes.domain.models import DEFAULT_CATALOGUE
    from rushes.providers.registry import installed_providers, plugin_models, variables_of
    from rushes.wiring import try_providers

    of_installed = {variable for name in installed_providers() for variable in variables_of(name)}
    given = {**settings.plugin_keys, **settings.plugin_hosts}
    troubles = {**plugin_models(DEFAULT_CATALOGUE).troubles, **try_providers(settings)[1]}
    return [
        *(f"{name}: no such provider is installed" for name in given if name not in of_installed),
        *(f"the provider {name} cannot be used: {reason}" for name, reason in troubles.items()),
    ]


def _sqlite_warnings(settings: "Settings") -> list[str]:
    if not settings.database_url.startswith("sqlite") or not (
        (3, 7, 0) <= sqlite3.sqlite_version_info < SQLITE_WAL_SAFE
    ):
        return []
    return [
        f"SQLite {sqlite3.sqlite_version}: versions from 3.7.0 and before 3.51.3 can, rarely, corrupt a WAL"
        " when one connection checkpoints while another writes (some distributions have the fix in older"
        " versions); rushes lets one process checkpoint, and others only write"
    ]


def _print_report(report: dict[str, Any]) -> None:
    from rushes.cli.show import print_facts, print_line, print_table

    database = report["database"]
    state = database.get("note") or (
        f"revision {database['revision']}" if database["reachable"] else "cannot be used"
    )
    print_facts(
        {
            "rushes": report["version"],
            "python": report["python"],
            "sqlite": report["sqlite"],
            "database": f"{database['url']} ({state})",
            "workers": ", ".join(worker["worker_id"] for worker in database["workers"]) or "none alive",
            "debug": DEBUG_VARIABLE if os.environ.get(DEBUG_VARIABLE) else "off",
        }
    )
    settings = report["settings"]
    print_table(("setting", "value", "from"), [(s["name"], s["value"], s["source"]) for s in settings])
    providers = report["providers"]
    print_table(
        ("provider", "usable", "host"),
        [
            (p["name"], "yes" if p["has_key"] else f"no: {p['missing']} is not set", p["host"])
            for p in providers
        ],
    )
    for warning in report["warnings"]:
        print_line(f"warning: {warning}")
    for problem in report["problems"]:
        print_line(f"broken: {problem}")
    if report["ok"]:
        print_line("nothing is broken")
