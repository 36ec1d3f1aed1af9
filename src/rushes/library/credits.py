"""Credits through `Rushes`: what was granted, what is spent and earned, what may be spent in a day."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.database_wiring import wall_clock_ms
from rushes.domain.credits import LotKind
from rushes.library.opened import DEFAULT_ACCOUNT, Opened
from rushes.money.audit import audit
from rushes.money.audit.heads import LedgerHead
from rushes.money.day_caps import cap_views
from rushes.read import margins
from rushes.read.acceptance import pass_rates
from rushes.read.ledger import LedgerFilter, balance, ledger_entries
from rushes.read.scope import OPERATOR, Scope
from rushes.store import batches, caps, ledger
from rushes.store.connections.bounds import LONG_TRANSACTION_SECONDS_MAX
from rushes.wiring import own_public_key


class WithCredits(Opened):
    """Balances, ledger entries, day caps, margins, and the audit of them all."""

    async def grant(
        self,
        amount: int,
        *,
        account: str = DEFAULT_ACCOUNT,
        kind: LotKind = LotKind.PERMANENT,
        expires_at_ms: int | None = None,
        description: str = "",
    ) -> dict[str, Any]:
        """Give an account credits, making it when it is new; returns its balance."""
        now_ms = wall_clock_ms()

        def run(connection: Connection) -> None:
            self.grant_in(
                connection,
                account,
                amount,
                kind=kind,
                expires_at_ms=expires_at_ms,
                description=description,
                now_ms=now_ms,
            )

        await self.database.transact(run)
        return await self.balance(account)

    async def balance(self, account: str = DEFAULT_ACCOUNT) -> dict[str, Any]:
        """`available, reserved, total, lots, further_lots, further_credits` of an account; see
        `read.ledger.balance`."""
        return await self.database.read(balance, account, now_ms=wall_clock_ms())

    async def ledger(
        self, account: str = DEFAULT_ACCOUNT, *, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The account's ledger entries, newest first."""
        return await self.database.read(
            ledger_entries, OPERATOR, LedgerFilter(account), limit=limit, offset=offset
        )

    async def set_day_cap(self, cap: caps.DayCap) -> None:
        """Set what may be spent in a day; it holds at once, for every process of this database.

        Raises `NotFound` for an account or a key that does not exist.
        """

        def run(connection: Connection) -> None:
            caps.require_subject(connection, cap.scope, cap.subject)
            caps.set_cap(connection, cap)
            facts = {"unit": cap.unit, "amount": cap.amount}
            self.acted(connection, "caps.set", _capped(cap.scope, cap.subject), after=facts)

        await self.database.transact(run)

    async def remove_day_caps(self, scope: caps.CapScope, subject: str) -> int:
        """Remove the caps of an account, a key, a model or everything; returns how many there were."""

        def run(connection: Connection) -> int:
            removed = caps.remove_caps(connection, scope, subject)
            if removed:
                self.acted(connection, "caps.remove", _capped(scope, subject), before={"caps": removed})
            return removed

        return await self.database.transact(run)

    async def day_caps(self) -> list[dict[str, Any]]:
        """Every cap with what has been spent today: `scope, subject, unit, cap, spent, left, renews_at`."""
        return await self.database.read(cap_views, now_ms=wall_clock_ms())

    async def model_stats(
        self, *, days: int = 7, prompts: int = 20, account: str | None = None
    ) -> dict[str, Any]:
        """Pass rates by model and by prompt, of the last days, of all accounts or of one."""

        now_ms = wall_clock_ms()

        def run(connection: Connection) -> dict[str, Any]:
            account_id = None if account is None else ledger.account_id(connection, account)
            found = pass_rates.pass_rates(
                connection, Scope(account_id), days=days, prompts_max=prompts, now_ms=now_ms
            )
            since_ms = now_ms - days * margins.DAY_MS
            by_model = margins.margins(
                connection, "model", self.settings.valuation, since_ms=since_ms, account_id=account_id
            )
            return found | {"margins": by_model}

        return await self.database.read(run)

    async def model_history(self, *, days: int = 30) -> dict[str, dict[str, Any]]:
        """What was measured of each model: `tries, pass_rate` of the last days, and the learned render times
        `render_time_p50_seconds, render_time_p95_seconds`, None where too few were seen."""
        return await self.database.read(
            pass_rates.model_history, OPERATOR, self.catalogue, days=days, now_ms=wall_clock_ms()
        )

    async def margins(
        self, group: margins.MarginGroup, *, days: int = 7, account: str | None = None
    ) -> list[dict[str, Any]]:
        """What was earned in the last days by model, account or day (UTC), of all accounts or of one."""
        since_ms = wall_clock_ms() - days * margins.DAY_MS

        def run(connection: Connection) -> list[dict[str, Any]]:
            account_id = None if account is None else ledger.account_id(connection, account)
            return margins.margins(
                connection, group, self.settings.valuation, since_ms=since_ms, account_id=account_id
            )

        return await self.database.read(run)

    async def batch_margin(self, batch_id: str) -> dict[str, Any]:
        """What was earned with a batch: `credits_settled, revenue, provider_cost, margin` and more."""

        def run(connection: Connection) -> dict[str, Any]:
            row_id = batches.batch_row_id(connection, batch_id)
            return margins.batch_margin(connection, row_id, self.settings.valuation)

        return await self.database.read(run)

    async def audit(
        self, earlier: Sequence[LedgerHead] = (), *, trusted_keys: Sequence[str] = ()
    ) -> audit.AuditReport:
        """Replay the ledger against tasks and batches; an `earlier` report's heads must still be there.

        Folds must be signed with this installation's key or one of the `trusted_keys` (hex); where there are
        neither, with any.
        """
        own = await asyncio.to_thread(own_public_key, self.settings)
        trusted = {*trusted_keys, *([] if own is None else [own])}
        return await self.database.within(LONG_TRANSACTION_SECONDS_MAX).read(
            audit.audit, earlier, trusted_keys=trusted or None
        )


def _capped(scope: caps.CapScope, subject: str) -> str:
    return f"{scope} {subject}".rstrip()
