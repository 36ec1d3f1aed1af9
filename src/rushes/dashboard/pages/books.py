"""The proof of the books: when it was made last and what it found, and making it now."""

import asyncio
from typing import Final

from rushes import telemetry
from rushes.dashboard.acting import Act, Ask, Do, Done, Form, Question, act_link
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import card, chip, moment_of, number, with_code
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import StoreError
from rushes.money.audit.audit import audit
from rushes.store import installation
from rushes.store.action_log import Actor
from rushes.store.connections.bounds import LONG_TRANSACTION_SECONDS_MAX
from rushes.store.installation import Proof

PROOF_IS_OLD_MS: Final = 86_400_000

log = telemetry.logger()


def books_card(visit: Visit, proof: Proof | None) -> Markup:
    """What the last proof said, and how old that is."""
    act = act_link(visit, "/system/prove", tr("Prove the books…"), class_="button small")
    if proof is None:
        said = joined(chip(tr("Not proved yet"), "warn"))
    elif proof.violations:
        said = joined(
            chip(tr_count(proof.violations, "1 violation", "{n} violations"), "bad"),
            " ",
            tag("span", with_code(tr("`rushes audit` names the rows.")), class_="muted"),
        )
    else:
        is_old = visit.now_ms - proof.at_ms > PROOF_IS_OLD_MS
        said = joined(chip(tr("The books are right"), "warn" if is_old else "ok"))
    facts = None
    if proof is not None:
        facts = tag(
            "p",
            tr("proved"),
            " ",
            moment_of(proof.at_ms, now_ms=visit.now_ms),
            " · ",
            tr("{batches} batches, {tasks} tasks", batches=number(proof.batches), tasks=number(proof.tasks)),
            " · ",
            tr("by {who}", who=proof.operator),
            class_="hint",
        )
    hint = tr("Every ledger is replayed against its tasks and batches, as `rushes audit` does.")
    return card(tr("Books"), tag("p", said), facts, tag("p", with_code(hint), class_="hint"), end=act)


class Prover:
    """Proves the books beside the requests, one proof at a time in a process."""

    def __init__(self, parts: DashboardParts) -> None:
        self._parts = parts
        self._running: asyncio.Task[None] | None = None

    @property
    def act(self) -> Act:
        """The act that starts it."""
        ask: Ask = self._ask
        do: Do = self._do
        return Act("/system/prove", "system", Role.OPERATOR, ask, do)

    async def _ask(self, _visit: Visit, _form: Form) -> Question:
        return Question(
            title=tr("Prove the books now?"),
            action=tr("Prove"),
            note=tr("It reads everything once and changes nothing; with millions of tasks it takes minutes."),
            refusal=tr("A proof is being made.") if self._is_running else None,
        )

    async def _do(self, visit: Visit, _form: Form) -> Done:
        if not self._is_running:
            self._running = asyncio.create_task(self._prove(visit.actor))
        return Done(tr("The proof was started; this page shows what it finds."), "/system")

    @property
    def _is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    async def _prove(self, actor: Actor) -> None:
        parts = self._parts
        own = await asyncio.to_thread(parts.own_public_key)
        try:
            report = await parts.database.within(LONG_TRANSACTION_SECONDS_MAX).read(
                audit, trusted_keys=None if own is None else {own}
            )
            at_ms = parts.now_ms()
            proof = Proof(at_ms, len(report.violations), report.batches, report.tasks, actor.operator)
            await parts.database.transact(installation.note_proof, proof, actor, now_ms=at_ms)
        except StoreError as error:
            log.error(telemetry.DATABASE_TROUBLE, error=str(error))
