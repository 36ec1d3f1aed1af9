"""`rushes audit`: proof that the books are right, for the operator and for third parties."""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from rushes.cli.exits import ExitCode
from rushes.cli.files import STANDARD_INPUT, read_bounded, write_whole
from rushes.cli.named import BatchId
from rushes.cli.options import Json, Moment
from rushes.domain.notation import counted
from rushes.store.connections.bounds import LONG_TRANSACTION_SECONDS_MAX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509 import Certificate

    from rushes.money.audit.audit import AuditReport, UnconfirmedSubmit
    from rushes.settings import Settings

DIFFERENCES_SHOWN_MAX = 20
"""Of each kind, for people; --json has all."""

TsaCertificates: TypeAlias = Annotated[
    Path | None,
    Parameter(help="Certificates (PEM) of the authority, or of who signed its: so it is known who it was."),
]

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
    key: Annotated[
        list[str] | None,
        Parameter(
            help="An earlier public key of this installation, which signed what was folded; repeatable.",
            negative=(),
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Replay the ledger against every task and batch; fails when anything is wrong."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.money.audit.heads import EARLIER_REPORT_BYTES_MAX, read_heads

    earlier = []
    if against is not None:
        source, data = read_bounded(against, EARLIER_REPORT_BYTES_MAX)
        earlier = read_heads(data, source)

    async def check() -> int:
        async with opened(reads_only=True) as rushes:
            report = await rushes.audit(earlier, trusted_keys=[each.lower() for each in key or ()])
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
    batch_id: BatchId,
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
    from rushes.money.statements.signing_key import public_key_hex
    from rushes.money.statements.statement import make_statement

    async def write() -> None:
        async with opened(reads_only=True) as rushes:
            key = _signing_key(rushes.settings)
            now_ms = time.time_ns() // 1_000_000
            document = await rushes.database.within(LONG_TRANSACTION_SECONDS_MAX).read(
                make_statement, await rushes.batch_id_like(batch_id), key, now_ms=now_ms
            )
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
    from rushes.money.statements.signing_key import public_key_hex
    from rushes.settings import Settings

    public_key = public_key_hex(_signing_key(Settings.load()))
    if json:
        print_json({"public_key": public_key})
    else:
        print_line(public_key)


def _signing_key(settings: "Settings") -> "Ed25519PrivateKey":
    from rushes.money.statements.signing_key import (
        KEY_SEED_BYTES,
        SIGNING_KEY_FILE,
        load_or_create_signing_key,
    )

    seed = secrets.token_bytes(KEY_SEED_BYTES)
    return load_or_create_signing_key(settings.data_dir / SIGNING_KEY_FILE, seed=seed)


@app.command
def anchor(
    files: Annotated[
        list[Path] | None, Parameter(help="Statements; without any, the heads of all ledgers are anchored.")
    ] = None,
    /,
    *,
    tsa: Annotated[str, Parameter(help="The URL of an authority for time stamps (RFC 3161).")],
    tsa_ca: TsaCertificates = None,
    out: Annotated[Path, Parameter(help="The folder for the heads.")] = Path(),
    json: Json = False,
) -> None:
    """Have an outside authority sign that these files are there now; its answer lies beside each as FILE.tsr.

    Whoever holds a file and its .tsr can show later that nothing before that moment was rewritten.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.money.audit.heads import encoded_heads, ledger_heads
    from rushes.money.statements.check import STATEMENT_BYTES_MAX
    from rushes.money.statements.time_stamps import stamp_beside

    trusted = _certificates(tsa_ca)

    async def write() -> list[dict[str, object]]:
        async with opened(reads_only=True) as rushes:
            chosen = {path: read_bounded(str(path), STATEMENT_BYTES_MAX)[1] for path in files or ()}
            if not chosen:
                heads = await rushes.database.read(ledger_heads)
                now_ms = time.time_ns() // 1_000_000
                path = out / f"rushes-heads-{now_ms}.json"
                chosen = {path: encoded_heads(heads, now_ms=now_ms)}
            stamps = [await rushes.time_stamp(data, tsa, trusted=trusted) for data in chosen.values()]
            for (path, data), (answer, _stamp) in zip(chosen.items(), stamps, strict=True):
                if not files:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(path, [data])
                write_whole(stamp_beside(path), [answer])
        return [
            {"file": str(path), "time_stamp": str(stamp_beside(path)), **stamp.as_dict()}
            for path, (_answer, stamp) in zip(chosen, stamps, strict=True)
        ]

    found = run_async(write())
    if json:
        print_json({"ok": True, "anchored": found})
        return
    for each in found:
        print_line(
            f"{each['time_stamp']}: {each['file']} was there at {each['at']}, says {each['authority']}"
        )


def _certificates(path: Path | None) -> "list[Certificate] | None":
    from rushes.money.statements.time_stamps import CERTIFICATES_BYTES_MAX, read_certificates

    if path is None:
        return None
    source, data = read_bounded(str(path), CERTIFICATES_BYTES_MAX)
    return read_certificates(data, source)


def _stamp_of(
    file: str, data: bytes, given: Path | None, trusted: "list[Certificate] | None"
) -> dict[str, object] | None:
    """What the time stamp beside the file says, or the given one; None without any, `problem` if it fails."""
    from rushes.money.statements.time_stamps import (
        STAMP_BYTES_MAX,
        TimeStampRefused,
        checked_stamp,
        stamp_beside,
    )

    path = given or stamp_beside(Path(file))
    if given is None and (file == STANDARD_INPUT or not path.exists()):
        return None
    _, answer = read_bounded(str(path), STAMP_BYTES_MAX)
    try:
        return checked_stamp(answer, data, trusted=trusted).as_dict()
    except TimeStampRefused as refused:
        return {"problem": f"{path}: {refused.message}"}


@app.command
def verify(
    file: Annotated[
        str, Parameter(help="A statement, or heads of ledgers; - reads stdin.", allow_leading_hyphen=True)
    ],
    /,
    *,
    time_stamp: Annotated[Path | None, Parameter(help="Its time stamp; FILE.tsr if that is there.")] = None,
    tsa_ca: TsaCertificates = None,
    public_key: Annotated[str | None, Parameter(help="The key it must be signed with, in hex.")] = None,
    with_ledger: Annotated[
        bool, Parameter(negative=(), help="Compare it with this installation's ledger too.")
    ] = False,
    json: Json = False,
) -> int:
    """Verify a signed statement, or heads of ledgers, and the time stamp beside it.

    Needs no database and no network. Without --tsa-ca it is not known who made the time stamp.
    """
    from rushes.cli.show import print_facts, print_json, print_line
    from rushes.money.audit.heads import is_heads
    from rushes.money.statements.check import STATEMENT_BYTES_MAX

    source, data = read_bounded(file, STATEMENT_BYTES_MAX)
    stamp = _stamp_of(file, data, time_stamp, _certificates(tsa_ca))
    if is_heads(data):
        document = _verified_heads(data, source, with_ledger=with_ledger)
        if stamp is None and not with_ledger:
            problem = "nothing was checked: no time stamp lies beside it, and --with-ledger was not asked for"
            document |= {"ok": False, "problems": [problem]}
    else:
        document = _verified_statement(data, public_key, with_ledger=with_ledger)
    if stamp is not None:
        document["time_stamp"] = stamp
        document["ok"] = document["ok"] and "problem" not in stamp
    if json:
        print_json(document)
    else:
        lists = ("problems", "ledger_violations", "time_stamp")
        print_facts({name: value for name, value in document.items() if name not in lists})
        if stamp is not None:
            print_line(_stamp_line(stamp))
        for problem in document["problems"]:
            print_line(f"problem: {problem}")
        for violation in document.get("ledger_violations", ()):
            print_line(_violation_line(violation))
    return ExitCode.DONE if document["ok"] else ExitCode.ERROR


def _verified_statement(data: bytes, public_key: str | None, *, with_ledger: bool) -> dict[str, Any]:
    from rushes.money.statements.check import verify_statement

    check = verify_statement(data, public_key)
    violations = _differences(data) if with_ledger and check.ok else []
    document: dict[str, Any] = check.as_dict()
    if with_ledger:
        note = check.note_beside_ledger(agrees=not violations)
        document |= {"note": note, "ledger_violations": violations}
    return document | {"ok": check.ok and not violations}


def _verified_heads(data: bytes, source: str, *, with_ledger: bool) -> dict[str, Any]:
    """Heads say nothing by themselves: with the ledger, whether all of them are still in it."""
    from rushes.cli.session import opened, run_async
    from rushes.money.audit.heads import check_heads, read_heads
    from rushes.money.audit.violations import Findings

    heads = read_heads(data, source)
    document: dict[str, Any] = {"ok": True, "ledger_heads": len(heads), "problems": []}
    if not with_ledger:
        return document | {"note": "they were not compared with the ledgers: --with-ledger"}
    found = Findings()

    async def compare() -> None:
        async with opened(reads_only=True) as rushes:
            await rushes.database.within(LONG_TRANSACTION_SECONDS_MAX).read(check_heads, heads, found)

    run_async(compare())
    violations = [violation.as_dict() for violation in found.violations]
    note = "every head is in its ledger" if not violations else "the ledgers are not those of these heads"
    return document | {"ok": not violations, "note": note, "ledger_violations": violations}


def _stamp_line(stamp: Mapping[str, object]) -> str:
    if "problem" in stamp:
        return f"time stamp: {stamp['problem']}"
    who = f"{stamp['authority']}"
    if not stamp["trusted"]:
        who += ", which was not compared with the authority that you expect (--tsa-ca)"
    return f"time stamp: it was there at {stamp['at']}, says {who}"


def _differences(statement: bytes) -> list[dict[str, object]]:
    from rushes.cli.session import opened, run_async
    from rushes.money.statements.check import differences_from_ledger

    async def compare() -> list[dict[str, object]]:
        async with opened(reads_only=True) as rushes:
            found = await rushes.database.within(LONG_TRANSACTION_SECONDS_MAX).read(
                differences_from_ledger, statement
            )
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
    since: Annotated[Moment | None, Parameter(help="The bill starts here: 2027-01-31.")] = None,
    until: Annotated[Moment | None, Parameter(help="The bill ends before this.")] = None,
    json: Json = False,
) -> int:
    """Compare a provider's bill or export with the books; fails when they disagree."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json
    from rushes.domain.input.encodings import decode
    from rushes.money.audit.reconcile import BILL_BYTES_MAX, ReconcileReport, parse_bill
    from rushes.money.audit.reconcile import reconcile as compare_with

    source, data = read_bounded(file, BILL_BYTES_MAX)
    lines = parse_bill(decode(data, source), source)

    async def compare() -> ReconcileReport:
        async with opened(reads_only=True) as rushes:
            return await rushes.database.within(LONG_TRANSACTION_SECONDS_MAX).read(
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
            values = ", ".join(f"{key} {value}" for key, value in each.items() if value not in (None, []))
            print_line(f"{name}: {values}")
        if len(found) > DIFFERENCES_SHOWN_MAX:
            print_line(f"{name}: … and {len(found) - DIFFERENCES_SHOWN_MAX} more; --json has all")


def audit_line(report: "AuditReport") -> str:
    """The report in one line."""
    verdict = "clean" if report.ok else f"NOT clean, violations: {len(report.violations)}"
    return (
        f"audit {verdict}; accounts: {report.accounts}, batches: {report.batches}, tasks: {report.tasks},"
        f" unconfirmed submits: {len(report.unconfirmed_submits)}"
        + (f", folded: {counted(report.folded_batches, 'batch', 'batches')}" if report.folded_batches else "")
    )


def _unconfirmed_line(submit: "UnconfirmedSubmit") -> str:
    facts = submit.as_dict()
    return (
        f"unconfirmed: {facts['batch_id']} item {facts['item_index']} attempt {facts['attempt']}"
        f" since {facts['since']} ({facts['state']})"
        + (f": {facts['reason']}, {facts['contested_id']!r}" if "reason" in facts else "")
    )


def _violation_line(violation: Mapping[str, Any]) -> str:
    """`CODE (account default, seq 7): what is wrong`."""
    place = ", ".join(
        f"{name} {value}" for name, value in violation.items() if name not in ("code", "message")
    )
    return f"{violation['code']}" + (f" ({place})" if place else "") + f": {violation['message']}"
