"""Batches as they are: what commands that only look need, and nothing that works or pays."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.database_wiring import wall_clock_ms
from rushes.library.opened import DEFAULT_ACCOUNT, Opened
from rushes.read.batch_views import DONE, Eta
from rushes.read.batches import BatchFilter, batch, batch_page, open_batch_id, public_id_like
from rushes.read.scope import OPERATOR, Scope
from rushes.store import ledger


class _WhereOpen:
    """Asks the forecaster only where a batch is open: it needs every model and the settings."""

    def __init__(self, of: Opened) -> None:
        self._of = of

    def etas(self, connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> dict[int, Eta]:
        """The time left of each batch, by row id."""
        if any(row["pending_count"] + row["processing_count"] for row in rows):
            return self._of.forecaster.etas(connection, rows, now_ms)
        return {row["id"]: DONE for row in rows}


class Reading(Opened):
    """Questions about batches and their items."""

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch with its `account`, and whether it `is_cancelled`."""
        return await self.database.read(
            batch, OPERATOR, batch_id, forecaster=_WhereOpen(self), now_ms=wall_clock_ms()
        )

    async def batch_files(self, batch_id: str) -> dict[str, int]:
        """The files of the batch's successes by their state: `due, stored, expired, refused, removed`."""
        from rushes.store import archive

        counts, _ = await self.database.read(archive.files_of_batch, batch_id)
        return counts

    async def batch_likeness(self, batch_id: str) -> dict[str, Any]:
        """What a batch has twice: `reused_count, credits_saved`, and as `near_equal` the `index` of each clip
        that looks like an earlier one, that one's (`like`), and in how many `bits` their looks differ.
        """

        from rushes.store import batches  # not for those who only list them
        from rushes.store.acceptance import likeness

        def run(connection: Connection) -> dict[str, Any]:
            count, saved, near = likeness.of_batch(connection, batches.batch_row_id(connection, batch_id))
            pairs = [{"index": row.item_index, "like": row.like_index, "bits": row.near_bits} for row in near]
            return {"reused_count": count, "credits_saved": saved, "near_equal": pairs}

        return await self.database.read(run)

    async def batch_verdicts(self, batch_id: str) -> dict[str, int]:
        """The batch's clips by verdict, `open` being those without one yet; empty without a gate."""
        from rushes.store.acceptance import verdicts

        return await self.database.read(verdicts.counts_of_batch, batch_id)

    async def batch_chains(self, batch_id: str) -> dict[str, int]:
        """How many `chains` the batch has, how many `items` they are, and how many are `waiting` for a frame.

        A chain ends with an item that no other starts from.
        """
        from rushes.store.inputs import chains

        return await self.database.read(chains.counts_of_batch, batch_id)

    async def list_batches(
        self, *, limit: int = 20, after: str | None = None, account: str | None = None
    ) -> list[dict[str, Any]]:
        """Batches with their `account`, newest first; of one account when it is named."""
        found, _ = await self.database.read(
            batch_page,
            OPERATOR,
            BatchFilter(account=account),
            limit=limit,
            after=after,
            forecaster=_WhereOpen(self),
            now_ms=wall_clock_ms(),
        )
        return found

    async def items(
        self, batch_id: str, *, status: str | None = None, limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The batch's items, each with the fields of the API and of `views.OPERATOR_EXPORT_FIELDS`."""

        from rushes.read.items import items_in_full

        return await self.database.read(
            items_in_full,
            batch_id,
            status=status,
            limit=limit,
            offset=offset,
            catalogue=self.catalogue,
            valuation=self.settings.valuation,
            now_ms=wall_clock_ms(),
        )

    async def attempts(self, batch_id: str, index: int) -> list[dict[str, Any]]:
        """Every attempt of an item, oldest first, with the fields of the API."""
        from rushes.read import tries

        found = await self.database.read(tries.item_attempts, OPERATOR, batch_id, index)
        attempts: list[dict[str, Any]] = found["attempts"]
        return attempts

    async def rerolls(self, batch_id: str) -> dict[str, Any]:
        """What a batch asked for when its items fail, and what its tries have come to."""
        from rushes.read import tries

        return await self.database.read(tries.batch_rerolls, OPERATOR, batch_id)

    async def batch_id_like(self, text: str, *, account: str | None = None) -> str:
        """The id of the batch that is meant: its id, the start of it that no other has, or `last`.

        Of one account when it is named. Raises `NotFound`, and `InputError` for a start that several have.
        """

        def run(connection: Connection) -> str:
            scope = OPERATOR if account is None else Scope(ledger.account_id(connection, account))
            return public_id_like(connection, scope, text)

        return await self.database.read(run)

    async def open_batch_id(self, account: str = DEFAULT_ACCOUNT) -> str | None:
        """The account's newest batch that has not finished, or whose files or verdicts are still to come."""

        def run(connection: Connection) -> str | None:
            account_id = ledger.account_id_if_any(connection, account)
            return None if account_id is None else open_batch_id(connection, Scope(account_id))

        return await self.database.read(run)
