"""`rushes audit`: proof that the books are right, for the operator and for third parties."""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from rushes.cli import ExitCode
from rushes.cli.files import read_bounded, write_whole
from rushes.cli.options import Json, Moment

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from rushes.engine.audit import AuditReport, UnconfirmedSubmit
    from rushes.settings import Settings

DIFFERENCES_SHOWN_MAX = 20
"""Of each kind, for people; --json has all."""

app = App(name="audit", help="Prove that the books are right; make, verify and reconcile statements.")


@app.default
def audit(
    *,
    against: Annotated[
        str | None,
        Parameter(
            help="An earlier report (--json), kept elsewhere: its ledgers must still be here.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Replay the ledger against every task and batch; fails when anything is wrong."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.engine.audit_heads import EARLIER_REPORT_BYTES_MAX, read_heads

    earlier = []
    if against is not None:
        source, data = read_bounded(against, EARLIER_REPORT_BYTES_MAX)
        earlier = read_heads(data, source)

    async def check() -> int:
        async with opened() as rushes:
            report = await rushes.audit(earlier)
        if json:
            print_json(report.as_dict())
        else:
            print_line(audit_line(report))
            for submit in report.unconfirmed_submits[:DIFFERENCES_SHOWN_MAX]:
                print_line(_unconfirmed_line(submit))
            if len(report.unconfirmed_submits) > DIFFERENCES_SHOWN_MAX:
                print_line(f"unconfirmed: … {len(report.unconfirmed_submits)} in all; --json has them")
            for violation in report.violations:
                print_line(_violation_line(violation.as_dict()))
        return ExitCode.DONE if report.ok else ExitCode.ERROR

    return run_async(check())


@app.command
def statement(
    batch_id: Annotated[str, Parameter(help="The batch's id.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write to this file instead of stdout.")] = None,
    json: Json = False,
) -> None:
    """Write a signed statement of a batch, which anybody can verify without the database.

    It is a JSON document with or without --json. The signing key is made when there is none.
    """
    import sys

    from rushes.cli.session import opened, run_async
    from rushes.cli.show import say
    from rushes.engine.signing_key import public_key_hex
    from rushes.engine.statement import make_statement

    async def write() -> None:
        async with opened() as rushes:
            key = _signing_key(rushes.settings)
            now_ms = time.time_ns() // 1_000_000
            document = await rushes.database.read(make_statement, batch_id, key, now_ms=now_ms)
        if out is not None:
            write_whole(out, [document])
        else:
            sys.stdout.buffer.write(document)
            sys.stdout.buffer.flush()
        say(f"rushes: signed with the key {public_key_hex(key)}")

    run_async(write())


@app.command
def key(*, json: Json = False) -> None:
    """Show the public key of this installation's statements, for others to compare."""
    from rushes.cli.show import print_json, print_line
    from rushes.engine.signing_key import public_key_hex
    from rushes.settings import Settings

    public_key = public_key_hex(_signing_key(Settings.load()))
    if json:
        print_json({"public_key": public_key})
    else:
        print_line(public_key)


def _signing_key(settings: "Settings") -> "Ed25519PrivateKey":
    from rushes.engine.signing_key import KEY_SEED_BYTES, SIGNING_KEY_FILE, load_or_create_signing_key

    seed = secrets.token_bytes(KEY_SEED_BYTES)
    return load_or_create_signing_key(settings.data_dir / SIGNING_KEY_FILE, seed=seed)


@app.command
def verify(
    file: Annotated[str, Parameter(help="A statement; - reads stdin.", allow_leading_hyphen=True)],
    /,
    *,
    public_key: Annotated[str | None, Parameter(help="The key it must be signed with, in hex.")] = None,
    with_ledger: Annotated[
        bool, Parameter(negative=(), help="Compare it with this installation's ledger too.")
    ] = False,
    json: Json = False,
) -> int:
    """Verify a signed statement; needs no database and no network."""
    from rushes.cli.show import print_facts, print_json, print_line
    from rushes.engine.statement_check import STATEMENT_BYTES_MAX, verify_statement

    _, data = read_bounded(file, STATEMENT_BYTES_MAX)
    check = verify_statement(data, public_key)
    violations = _differences(data) if with_ledger and check.ok else []
    document = check.as_dict()
    if with_ledger:
        note = check.note_beside_ledger(agrees=not violations)
        document |= {"note": note, "ledger_violations": violations}
    document["ok"] = check.ok and not violations
    if json:
        print_json(document)
    else:
        lists = ("problems", "ledger_violations")
        print_facts({name: value for name, value in document.items() if name not in lists})
        for problem in check.problems:
            print_line(f"problem: {problem}")
        for violation in violations:
            print_line(_violation_line(violation))
    return ExitCode.DONE if document["ok"] else ExitCode.ERROR


def _differences(statement: bytes) -> list[dict[str, object]]:
    from rushes.cli.session import opened, run_async
    from rushes.engine.statement_check import differences_from_ledger

    async def compare() -> list[dict[str, object]]:
        async with opened() as rushes:
            found = await rushes.database.read(differences_from_ledger, statement)
        return [violation.as_dict() for violation in found]

    return run_async(compare())


@app.command
def reconcile(
    file: Annotated[
        str,
        Parameter(
            help="The bill as CSV, with a column remote_task_id; - is stdin.", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    provider: Annotated[str, Parameter(help="Whose bill it is.")] = "grsai",
    since: Annotated[Moment | None, Parameter(help="The bill begins here: 2027-01-31.")] = None,
    until: Annotated[Moment | None, Parameter(help="The bill ends before this.")] = None,
    json: Json = False,
) -> int:
    """Compare a provider's bill or export with the books; fails when they disagree."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json
    from rushes.domain.prompts import decode
    from rushes.engine.reconcile import BILL_BYTES_MAX, ReconcileReport, parse_bill
    from rushes.engine.reconcile import reconcile as compare_with

    source, data = read_bounded(file, BILL_BYTES_MAX)
    lines = parse_bill(decode(data, source), source)

    async def compare() -> ReconcileReport:
        async with opened() as rushes:
            return await rushes.database.read(
                compare_with,
                lines,
                provider=provider,
                since_ms=None if since is None else int(since.timestamp() * 1000),
                until_ms=None if until is None else int(until.timestamp() * 1000),
            )

    report = run_async(compare())
    document = report.as_dict()
    if json:
        print_json(document)
    else:
        _print_reconciliation(document)
    return ExitCode.DONE if report.ok else ExitCode.ERROR


def _print_reconciliation(document: Mapping[str, Any]) -> None:
    from rushes.cli.show import print_facts, print_line

    facts = {name: len(value) if isinstance(value, list) else value for name, value in document.items()}
    print_facts(facts)
    for name, found in document.items():
        if not isinstance(found, list):
            continue
        for each in found[:DIFFERENCES_SHOWN_MAX]:
            told = ", ".join(f"{key} {value}" for key, value in each.items() if value not in (None, []))
            print_line(f"{name}: {told}")
        if len(found) > DIFFERENCES_SHOWN_MAX:
            print_line(f"{name}: … and {len(found) - DIFFERENCES_SHOWN_MAX} more; --json has all")


def audit_line(report: "AuditReport") -> str:
    """The report in one line."""
    verdict = "clean" if report.ok else f"NOT clean, violations: {len(report.violations)}"
    return (
        f"audit {verdict}; accounts: {report.accounts}, batches: {report.batches}, tasks: {report.tasks},"
        f" unconfirmed submits: {len(report.unconfirmed_submits)}"
    )


def _unconfirmed_line(submit: "UnconfirmedSubmit") -> str:
    told = submit.as_dict()
    return (
        f"unconfirmed: {told['batch_id']} item {told['item_index']} attempt {told['attempt']}"
        f" since {told['since']} ({told['state']})"
    )


def _violation_line(violation: Mapping[str, Any]) -> str:
    """`CODE (account default, seq 7): what is wrong`."""
    place = ", ".join(
        f"{name} {value}" for name, value in violation.items() if name not in ("code", "message")
    )
    return f"{violation['code']}" + (f" ({place})" if place else "") + f": {violation['message']}"
