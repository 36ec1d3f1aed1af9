"""Verdicts through `Rushes`: given by a person, and what they came to."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.database_wiring import wall_clock_ms
from rushes.domain.acceptance.bandit import Record, choose
from rushes.domain.acceptance.judging import read_judgement
from rushes.domain.catalogue.options import NOWHERE
from rushes.domain.input.auto import LEARNED_MS, NO_BOUNDS, candidates, no_candidate, read_auto
from rushes.library.opened import DEFAULT_ACCOUNT, Opened
from rushes.money.judge import judge_item
from rushes.read.acceptance import repairs, reports
from rushes.read.scope import OPERATOR
from rushes.store import batches, ledger
from rushes.store.acceptance import choices


class WithVerdicts(Opened):
    """What people say of clips, and what accepted ones have cost."""

    async def judge(
        self, batch_id: str, index: int, judgement: Mapping[str, Any], *, person: str = ""
    ) -> dict[str, Any]:
        """Give an item's newest clip a person's verdict: `{verdict, reason, score}`, as in the HTTP API.

        It stands before every other verdict, once. A rejected clip's item buys another one where its batch
        asked for that (`buys`). Raises `InputError`, `NotFound`, `ItemNotJudgeable`.
        """
        said = read_judgement(judgement)

        def run(connection: Connection) -> dict[str, Any]:
            done = judge_item(
                connection,
                batch_id,
                index,
                said,
                person=person,
                now_ms=wall_clock_ms(),
                reprice=self.catalogue.charge,
            )
            if done.is_new:
                facts = {"item": index, "verdict": said.verdict.value, "buys": done.buys}
                self.acted(connection, "item.judge", f"batch {batch_id}", after=facts)
            row_id = batches.batch_row_id(connection, batch_id)
            (item,) = batches.list_items(connection, row_id, limit=1, offset=index)
            return {
                "batch_id": batch_id,
                "index": index,
                "verdict": said.verdict.value,
                "buys": done.buys,
                "status": item["status"],
            }

        return await self.database.transact(run)

    async def verdicts(self, batch_id: str) -> dict[str, Any]:
        """What a batch asked of its clips, their verdicts and reasons, and what an accepted one cost."""
        return await self.database.read(reports.batch_verdicts, OPERATOR, batch_id)

    async def choose_model(
        self,
        among: Sequence[str] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        credits_max: int | None = None,
        seed: int | None = None,
        account: str = DEFAULT_ACCOUNT,
    ) -> dict[str, Any]:
        """The model to take next for items with these options, and the `reason`: `domain.acceptance.bandit`.

        Of those on sale or `among` these; decided by the account's own clips that have a verdict. The same
        seed and clips give the same choice. Raises `InputError` where no model is left, and `UnknownModel`.
        """
        now_ms = wall_clock_ms()
        rule = read_auto({"among": among, "credits_max": credits_max}, self.catalogue, now_ms) or NO_BOUNDS
        found = candidates(self.catalogue, rule, options or {}, now_ms / 1000)
        if not found:
            raise no_candidate(rule, NOWHERE)
        prices = {each.model.name: each.charge.credits for each in found}

        def read(connection: Connection) -> dict[str, Record]:
            account_id = ledger.account_id_if_any(connection, account)
            if account_id is None:
                return {}
            return choices.records(connection, account_id, since_ms=now_ms - LEARNED_MS)

        records = await self.database.read(read)
        choice = choose(prices, records, random.Random(seed).betavariate)
        return {"model": choice.model, "credits": prices[choice.model], "reason": choice.reason}

    async def models_chosen(self, batch_id: str) -> dict[str, int]:
        """How many tries of the batch each model was chosen for; `auto` are still to be chosen."""
        return await self.database.read(reports.models_chosen, OPERATOR, batch_id)

    async def repair_gains(self, *, since_ms: int = 0) -> list[dict[str, Any]]:
        """What each repair has gained since then, beside tries that were left without it."""
        return await self.database.read(repairs.gains, OPERATOR, since_ms=since_ms)

    async def accepted_costs(self, *, since_ms: int = 0) -> list[dict[str, Any]]:
        """By model: clips, accepted ones, and what one of those has cost; the cheapest first."""
        return await self.database.read(reports.cost_by_model, OPERATOR, since_ms=since_ms)
