"""`rushes audit`: proof that the books are right."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cyclopts import App

from rushes.cli import ExitCode
from rushes.cli.options import Json

if TYPE_CHECKING:
    from rushes.engine.audit import AuditReport

app = App(name="audit", help="Prove that the books are right.")


@app.default
def audit(*, json: Json = False) -> int:
    """Replay the ledger against every task and batch; fails when anything is wrong."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.engine.views import iso_time

    async def check() -> int:
        async with opened() as rushes:
            report = await rushes.audit()
        if json:
            print_json(report.as_dict())
        else:
            print_line(audit_line(report))
            for submit in report.unconfirmed_submits:
                print_line(
                    f"unconfirmed: {submit.batch_id} item {submit.item_index} attempt {submit.attempt}"
                    f" since {iso_time(submit.since_ms)} ({submit.state})"
                )
            for violation in report.violations:
                print_line(_violation_line(violation.as_dict()))
        return ExitCode.DONE if report.ok else ExitCode.ERROR

    return run_async(check())


def audit_line(report: "AuditReport") -> str:
    """The report in one line."""
    verdict = "clean" if report.ok else f"NOT clean, violations: {len(report.violations)}"
    return (
        f"audit {verdict}; accounts: {report.accounts}, batches: {report.batches}, tasks: {report.tasks},"
        f" unconfirmed submits: {len(report.unconfirmed_submits)}"
    )


def _violation_line(violation: Mapping[str, Any]) -> str:
    """`CODE (account default, seq 7): what is wrong`."""
    place = ", ".join(
        f"{name} {value}"
        for name, value in violation.items()
        if name not in ("code", "message") and value is not None
    )
    return f"{violation['code']} ({place}): {violation['message']}"
