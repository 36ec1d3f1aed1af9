"""`rushes migrate` and `rushes doctor`: for whoever runs an installation."""

import os
import platform
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from rushes import __version__
from rushes.cli.commands.storage import disk_warnings, exposed_files, size_facts
from rushes.cli.exits import DEBUG_VARIABLE, ExitCode
from rushes.cli.options import Json
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.settings import Settings

INTEGRITY_SECONDS_MAX = 20.0
"""How long `doctor` lets SQLite check its file."""

_WITH_PREVIOUS = ("RUSHES_WEBHOOK_SECRET", "RUSHES_WORKER_SECRET", "RUSHES_METRICS_TOKEN")

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


def doctor(
    *,
    online: Annotated[
        bool, Parameter(negative="", help="Also reach each provider and ask it, for free, with its key.")
    ] = False,
    json: Json = False,
) -> int:
    """Show the effective settings and what may be wrong; fails when something is broken.

    Changes nothing and, without --online, asks no provider. In the archive it writes, reads and deletes
    one small object; where a folder would have to be made, it makes and deletes an empty one beside it.
    """
    from rushes.cli.session import configure_logs
    from rushes.cli.show import print_json
    from rushes.settings import Settings

    configure_logs("error")
    settings = Settings.load()
    database, problems = _database(settings)
    problems += _archive(settings)
    warnings = [
        *exposed_files(settings),
        *database["notes"],
        *_misspelt(settings),
        *_plugin_warnings(settings),
        *_sqlite_warnings(settings),
        *disk_warnings(settings, database["sizes"]),
    ]
    warnings += [
        f"{counted(held['count'], 'task')} of {held['model']} held: {held['reason']}"
        for held in database["held"]
    ]
    warnings += [trouble["text"] for trouble in database["troubles"]]
    problems += _weak_secrets(settings)
    providers = _providers(settings)
    if not any(provider["has_key"] for provider in providers):
        wanted = ", ".join(sorted({str(provider["missing"]) for provider in providers}))
        warnings.append(
            f"no provider has a key: set one of {wanted} to run batches; `rushes demo` needs none"
        )
    reached = _online(settings) if online else None
    problems += _out_of_reach(reached or [])
    report = {
        "ok": not problems,
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "settings": [setting._asdict() for setting in settings.effective()],
        "database": database,
        "providers": providers,
        "online": reached,
        "problems": problems,
        "warnings": warnings,
    }
    if json:
        print_json(report)
    else:
        _print_report(report)
    return ExitCode.ERROR if problems else ExitCode.DONE


def _weak_secrets(settings: "Settings") -> list[str]:
    return [
        f"{variable} is too weak: it {problem}; `rushes keys secret` makes one, and with"
        f" {variable}_PREVIOUS nothing breaks meanwhile"
        if variable in _WITH_PREVIOUS
        else f"{variable} is too weak: it {problem}; `rushes keys secret` makes one"
        for variable, problem in settings.weak_secrets().items()
    ]


def _database(settings: "Settings") -> tuple[dict[str, Any], list[str]]:
    """What is known of the database, and what is broken about it."""
    from rushes.cli.session import run_async
    from rushes.database_wiring import missing_sqlite_file
    from rushes.domain.errors import RushesError
    from rushes.library import Rushes
    from rushes.setting_values import masked_database_url
    from rushes.store.connections.failures import WHEN_DAMAGED
    from rushes.store.migrations.revisions import mismatch as schema_mismatch

    facts: dict[str, Any] = {
        "url": masked_database_url(settings.database_url),
        "reachable": False,
        "revision": None,
        "head": None,
        "workers": [],
        "held": [],
        "troubles": [],
        "sizes": None,
        "notes": [],
    }
    missing = missing_sqlite_file(settings)
    if missing is not None:
        if obstacle := _obstacle(missing.parent):
            return facts, [f"the database {missing} cannot be made: {obstacle}"]
        facts["note"] = "not there yet; the first batch or grant makes it"
        return facts, []
    try:
        rushes = Rushes(settings, migrated=False, reads_only=True)
        try:
            facts["revision"], facts["head"] = rushes.schema_revisions()
            facts["reachable"] = True
            if facts["revision"] == facts["head"]:
                facts["workers"] = run_async(rushes.live_workers())
                facts["held"] = run_async(rushes.held_tasks())
                facts["troubles"] = run_async(rushes.troubles())
                facts["sizes"] = run_async(rushes.sizes()).as_dict()
            damage = run_async(rushes.damage(seconds_max=INTEGRITY_SECONDS_MAX))
        finally:
            rushes.close()
    except RushesError as error:
        return facts, [error.message]
    if damage is None:
        facts["notes"].append(
            f"the database file was not checked to its end in {INTEGRITY_SECONDS_MAX:.0f} s;"
            " `rushes audit` checks all of it"
        )
    elif damage:
        return facts, [f"the database file is damaged ({damage[0]}); {WHEN_DAMAGED}"]
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
    from rushes.files.objects import local_folder

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
            "like": settings.provider_instances[name].like if name in settings.provider_instances else None,
            "has_key": account.missing is None,
            "host": account.host or None,
            "missing": account.missing,
        }
        for name, account in settings.provider_accounts().items()
    ]


def _online(settings: "Settings") -> list[dict[str, Any]]:
    """How far each provider can be reached, and whether it takes the key."""
    from rushes.cli.session import run_async
    from rushes.online import check_providers

    return [
        {
            "provider": check.provider,
            "ok": check.ok,
            "steps": [{"step": step.name, "ok": step.ok, "text": step.text} for step in check.steps],
        }
        for check in run_async(check_providers(settings))
    ]


def _out_of_reach(reached: list[dict[str, Any]]) -> list[str]:
    """What is broken about the way to the providers: the step that failed."""
    return [
        f"{check['provider']}: {step['step']}: {step['text']}"
        for check in reached
        for step in check["steps"]
        if not step["ok"]
    ]


def _misspelt(settings: "Settings") -> list[str]:
    return [
        f"{unknown.name} is no setting"
        + (f"; did you mean {unknown.suggestion}?" if unknown.suggestion else "")
        for unknown in settings.unknown_variables
        if unknown.name != DEBUG_VARIABLE
    ]


def _plugin_warnings(settings: "Settings") -> list[str]:
    from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
    from rushes.provider_wiring import try_providers
    from rushes.providers.registry import installed_providers, plugin_models, variables_of

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

    for problem in report["problems"]:
        print_line(f"broken: {problem}")
    if report["ok"]:
        print_line("nothing is broken")
    for warning in report["warnings"]:
        print_line(f"warning: {warning}")
    print_line("")
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
            **size_facts(database["sizes"]),
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
    steps = [(check["provider"], step) for check in report["online"] or [] for step in check["steps"]]
    if steps:
        print_table(
            ("online", "step", "result", ""),
            [(name, step["step"], "ok" if step["ok"] else "broken", step["text"]) for name, step in steps],
        )
