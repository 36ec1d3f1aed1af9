"""`AsyncClient`: everything a tenant can do with a rushes service, for programs that use asyncio."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, cast

from rushes.at_once import at_once
from rushes.client import answers
from rushes.client.downloads import (
    ITEM_NAMES,
    PARALLEL_MAX,
    OnFile,
    download,
    folder_at,
    item_id_of,
    write_manifest,
)
from rushes.client.errors import ServiceRefused, ServiceUnreachable, StillRunning, UnexpectedAnswer
from rushes.client.event_stream import BrokenStream, frames_of
from rushes.client.http import Http, chunks_of, refusal_of
from rushes.client.wire import (
    Items,
    as_answer,
    batch_document,
    batch_path,
    event_of,
    file_name,
    path_part,
)
from rushes.domain.downloads import DownloadedFile, Manifest, file_names, manifest_of
from rushes.domain.errors import InputError, RushesError

TIMEOUT_SECONDS: Final = 30.0
TRIES_MAX: Final = 4
PAGE_ITEMS: Final = 500
PAGE_BATCHES: Final = 100

LOOK_SECONDS_MIN: Final = 0.25
"""How soon a watched batch is looked at again, however fast its events come."""

LOOK_SECONDS_STREAMED: Final = 15.0
"""How often it is looked at although no event came: an item's progress has none."""

LOOK_SECONDS_POLLED: Final = 1.0
"""How often it is looked at while its events cannot be had."""

PATIENCE_SECONDS: Final = 120.0
"""How long a watch goes on while the service cannot be reached."""

T = TypeVar("T")
OnProgress = Callable[[answers.Batch], None]


class AsyncClient:
    """A tenant's client of the service at `base_url`.

        async with AsyncClient("https://rushes.example.com", api_key) as client:
            batch = await client.create_batch(["a paper boat"], model="sora-2")
            batch = await client.watch(batch["batch_id"], lambda now: print(now["succeeded_count"]))
            await client.download_all(batch["batch_id"], "videos")

    Answers are dictionaries with the API's field names. Refusals are errors with the API's code, most of
    them those of the library: `InsufficientCredits`, `NotFound`, … Requests that change nothing, and new
    batches, whose request id makes a repeat harmless, are tried up to `tries_max` times; others once.
    `timeout_seconds` is for each try. May be used by many tasks of one event loop at once.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        tries_max: int = TRIES_MAX,
        root_certificates_pem: bytes | None = None,
    ) -> None:
        self._http = Http(
            base_url,
            api_key,
            timeout_seconds=timeout_seconds,
            tries_max=tries_max,
            root_certificates_pem=root_certificates_pem,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the connections."""
        await self._http.close()

    # --- batches ----------------------------------------------------------------------------------------

    async def create_batch(
        self,
        items: Items | None = None,
        *,
        template: str | None = None,
        variables: Mapping[str, Sequence[str]] | None = None,
        max_outputs: int | None = None,
        model: str | None = None,
        request_id: str | None = None,
        webhook_url: str | None = None,
        retries: int | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> answers.AcceptedBatch:
        """Reserve the credits of all items and have them made, or write nothing.

        `items` are prompts or objects; or a `template` with its `variables`. `model` and `options`
        (`aspect_ratio`, `duration`, …) are for items without. `retries` is how often a failed item is
        tried again, or a policy. The same `request_id` with the same batch is
        the same batch; without one a random id is used, so that a try whose answer was lost can be repeated.
        """
        document = batch_document(items, template, variables, max_outputs, model, options)
        document["request_id"] = f"client-{secrets.token_hex(16)}" if request_id is None else request_id
        for name, value in (("webhook_url", webhook_url), ("retries", retries)):
            if value is not None:
                document[name] = value
        return await self._post("/v1/batches", answers.AcceptedBatch, document, repeatable=True)

    async def quote(
        self,
        items: Items | None = None,
        *,
        template: str | None = None,
        variables: Mapping[str, Sequence[str]] | None = None,
        max_outputs: int | None = None,
        model: str | None = None,
        retries: int | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> answers.Quote:
        """What the same batch would cost, and when it would be done. Writes nothing."""
        document = batch_document(items, template, variables, max_outputs, model, options)
        if retries is not None:
            document["retries"] = retries
        return await self._post("/v1/quotes", answers.Quote, document, repeatable=True)

    async def get_batch(self, batch_id: str) -> answers.Batch:
        """The batch as it stands."""
        return await self._get(batch_path(batch_id), answers.Batch)

    async def batches(self) -> AsyncIterator[answers.Batch]:
        """All batches, newest first, fetched a page at a time."""
        async for row in self._cursor("/v1/batches", "batch_id", {}):
            yield cast(answers.Batch, row)

    async def items(
        self, batch_id: str, *, status: answers.Status | None = None
    ) -> AsyncIterator[answers.Item]:
        """The batch's items in their order, fetched a page at a time."""
        query = {"status": status}
        async for row in self._pages(f"{batch_path(batch_id)}/items", "items", query):
            yield cast(answers.Item, row)

    async def cancel(self, batch_id: str) -> answers.CancelledBatch:
        """Pending items fail and are refunded; items at a provider run on to their verdict."""
        return await self._post(f"{batch_path(batch_id)}/cancel", answers.CancelledBatch)

    async def retry(self, batch_id: str, item: str | int) -> answers.RetriedItem:
        """A failed item (its id or index) waits again, with a new reservation."""
        return await self._post(f"{batch_path(batch_id)}/items/{path_part(item)}/retry", answers.RetriedItem)

    async def attempts(self, batch_id: str, item: str | int) -> list[answers.Attempt]:
        """Every attempt of an item (its id or index), oldest first."""
        path = f"{batch_path(batch_id)}/items/{path_part(item)}/attempts"
        answer = await self._http.ask("GET", path, repeatable=True)
        return cast(list[answers.Attempt], answer["attempts"])

    async def rerolls(self, batch_id: str) -> answers.Rerolls:
        """The batch's policy for failed items, and what its tries have come to."""
        return await self._get(f"{batch_path(batch_id)}/retries", answers.Rerolls)

    async def pass_rates(self, *, days: int = 7, prompts: int = 20) -> answers.PassRates:
        """How often the account's tries passed in the last days, by model and by prompt."""
        query = {"days": days, "prompts": prompts}
        answer = await self._http.ask("GET", "/v1/models/stats", query=query, repeatable=True)
        return as_answer(answers.PassRates, answer)

    async def export(
        self, batch_id: str, path: str | Path, *, format: Literal["csv", "jsonl"] = "jsonl"
    ) -> int:
        """Write every item to the file, whole or not at all; returns its bytes."""
        target = Path(path)
        part = target.with_name(f"{target.name}.part")
        url = f"{self._http.base_url}{batch_path(batch_id)}/export?format={format}"
        try:
            async with self._http.open("GET", url) as response:
                if response.status >= 400:
                    raise await refusal_of(response)
                with part.open("wb") as file:
                    async for chunk in chunks_of(response):
                        file.write(chunk)
                    size = file.tell()
            part.replace(target)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", source=str(path)) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return size

    # --- following --------------------------------------------------------------------------------------

    async def events(self, batch_id: str, *, after: int = 0) -> AsyncGenerator[answers.Event, None]:
        """The batch's events after number `after`, each once and in order, until the batch is finished.

        A stream that breaks is gone on with from the last event; raises what a service says that stays away.
        """
        position, failures = after, 0
        url = f"{self._http.base_url}{batch_path(batch_id)}/events"
        while True:
            try:
                headers = {"last-event-id": str(position)} if position else {}
                async with self._http.open("GET", url, headers=headers) as response:
                    if response.status == 204:
                        return
                    if response.status != 200:
                        raise await refusal_of(response)
                    async for frame in frames_of(chunks_of(response)):
                        event = event_of(frame)
                        position, failures = event["id"], 0
                        yield event
                await self._http.pause(LOOK_SECONDS_MIN)
            except (ServiceRefused, ServiceUnreachable) as error:
                failures += 1
                if not error.retryable or failures >= self._http.tries_max:
                    raise
                await self._http.pause(self._http.backoff_seconds(failures))
            except BrokenStream:
                raise UnexpectedAnswer("what came is no stream of events") from None

    async def progress(
        self, batch_id: str, *, timeout_seconds: float | None = None
    ) -> AsyncGenerator[answers.Batch, None]:
        """The batch now, again whenever it has changed, and at last as it ended.

        Its events tell when to look; while they cannot be had, it is looked at every second. Raises
        `StillRunning` after `timeout_seconds`; the batch runs on.
        """
        now = asyncio.get_running_loop().time
        started = looked = now()
        news = asyncio.Event()
        listening = asyncio.create_task(self._listen(batch_id, news))
        seen: object = None
        try:
            while True:
                news.clear()
                try:
                    batch = await self.get_batch(batch_id)
                except RushesError as error:
                    if not error.retryable or now() - looked > PATIENCE_SECONDS:
                        raise
                else:
                    looked = now()
                    facts = {**batch, "eta_seconds": None}
                    if facts != seen:
                        seen = facts
                        yield batch
                    if batch["completed_at"] is not None:
                        return
                left = None if timeout_seconds is None else started + timeout_seconds - now()
                if left is not None and left <= 0:
                    raise StillRunning(f"the batch was not finished within {timeout_seconds:g} s; it runs on")
                await self._until_news(news, listening, left)
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _until_news(
        self, news: asyncio.Event, listening: "asyncio.Task[None]", left: float | None
    ) -> None:
        await asyncio.sleep(LOOK_SECONDS_MIN)
        longest = LOOK_SECONDS_POLLED if listening.done() else LOOK_SECONDS_STREAMED
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), longest if left is None else min(longest, max(left, 0.01)))

    async def _listen(self, batch_id: str, news: asyncio.Event) -> None:
        """Tell of every event; ends when there are no more, or none can be had."""
        with contextlib.suppress(RushesError):
            async with contextlib.aclosing(self.events(batch_id)) as events:
                async for _ in events:
                    news.set()
        news.set()

    async def watch(
        self, batch_id: str, on_progress: OnProgress, *, timeout_seconds: float | None = None
    ) -> answers.Batch:
        """Call `on_progress(batch)` whenever the batch has changed; returns it finished. See `progress`."""
        batch: answers.Batch | None = None
        async with contextlib.aclosing(self.progress(batch_id, timeout_seconds=timeout_seconds)) as changes:
            async for batch in changes:
                on_progress(batch)
        assert batch is not None
        return batch

    async def wait(self, batch_id: str, *, timeout_seconds: float | None = None) -> answers.Batch:
        """The batch when it is finished."""
        return await self.watch(batch_id, lambda _batch: None, timeout_seconds=timeout_seconds)

    # --- files ------------------------------------------------------------------------------------------

    async def download_all(
        self,
        batch_id: str,
        folder: str | Path,
        *,
        names: str = ITEM_NAMES,
        parallel: int = 4,
        on_file: OnFile | None = None,
    ) -> Manifest:
        """Fetch the videos of all succeeded items, `parallel` at a time, under names such as `ITEM_ID.mp4`.

        `names` is a template, see `domain.downloads.file_names`: `{index:04d}-{custom_id}-{slug}.mp4`, say.

        Files that are there are kept, files that broke off are gone on with. What has no file is in the
        manifest with its error, and stops nothing; the manifest is written to `BATCH_ID.manifest.json`.
        """
        if not 1 <= parallel <= PARALLEL_MAX:
            raise InputError(f"must be 1 to {PARALLEL_MAX}", field="parallel")
        target = folder_at(folder)
        wanted = [item async for item in self.items(batch_id)]
        for item in wanted:
            item_id_of(item)
        files: list[DownloadedFile] = []
        present = 0
        named = list(zip(wanted, file_names(names, wanted), strict=True))

        async def fetch(item_and_name: tuple[answers.Item, str]) -> None:
            nonlocal present
            line, was_there = await download(self._http, *item_and_name, target)
            files.append(line)
            present += was_there
            if on_file is not None:
                on_file(line)

        try:
            await at_once(min(parallel, max(1, len(named))), named, fetch)
        finally:
            manifest = manifest_of(batch_id, files, present=present)
            write_manifest(manifest, target / f"{file_name(batch_id)}.manifest.json")
        return manifest

    # --- credits ----------------------------------------------------------------------------------------

    async def balance(self) -> answers.Balance:
        """The account's credits."""
        return await self._get("/v1/credits/balance", answers.Balance)

    async def ledger(
        self,
        *,
        batch_id: str | None = None,
        type: str | None = None,
        from_time: str | None = None,
        to_time: str | None = None,
    ) -> AsyncIterator[answers.LedgerEntry]:
        """Ledger entries, newest first, fetched a page at a time; times are ISO 8601, `to_time` excluded."""
        query = {"batch_id": batch_id, "type": type, "from": from_time, "to": to_time}
        async for row in self._pages("/v1/credits/ledger", "entries", query):
            yield cast(answers.LedgerEntry, row)

    # --- webhooks ---------------------------------------------------------------------------------------

    async def webhook_secret(self) -> str:
        """The secret (`whsec_…`) that the account's webhooks are signed with."""
        answer = await self._http.ask("GET", "/v1/webhooks/secret", repeatable=True)
        return str(answer["secret"])

    async def deliveries(self, *, status: str | None = None) -> AsyncIterator[answers.Delivery]:
        """Webhook deliveries, newest first, fetched a page at a time."""
        async for row in self._cursor("/v1/webhooks/deliveries", "delivery_id", {"status": status}):
            yield cast(answers.Delivery, row)

    async def replay_delivery(self, delivery_id: str) -> answers.Delivery:
        """Send a delivery again, from the beginning of the ladder and with the same `webhook-id`."""
        path = f"/v1/webhooks/deliveries/{path_part(delivery_id)}/replay"
        answer = await self._http.ask("POST", path, repeatable=False)
        return cast(answers.Delivery, answer["delivery"])

    # --- requests ---------------------------------------------------------------------------------------

    async def _get(self, path: str, kind: type[T]) -> T:
        return as_answer(kind, await self._http.ask("GET", path, repeatable=True))

    async def _post(
        self, path: str, kind: type[T], document: Mapping[str, Any] | None = None, *, repeatable: bool = False
    ) -> T:
        return as_answer(kind, await self._http.ask("POST", path, document=document, repeatable=repeatable))

    async def _cursor(
        self, path: str, id_name: str, query: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = await self._http.ask(
                "GET", path, query={**query, "limit": PAGE_BATCHES, "after": after}, repeatable=True
            )
            for row in page["data"]:
                yield row
            if not page["has_more"] or not page["data"]:
                return
            after = page["data"][-1][id_name]

    async def _pages(
        self, path: str, list_name: str, query: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        offset = 0
        while True:
            page = await self._http.ask(
                "GET", path, query={**query, "limit": PAGE_ITEMS, "offset": offset}, repeatable=True
            )
            for row in page[list_name]:
                yield row
            offset += len(page[list_name])
            if not page[list_name] or offset >= page["total"]:
                return
