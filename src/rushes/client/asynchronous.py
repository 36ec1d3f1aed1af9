"""`AsyncClient`: everything a tenant can do with a rushes service, for programs that use asyncio."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, cast

from rushes.client import answers
from rushes.client.account import AsyncAccount
from rushes.client.downloads import ITEM_NAMES, OnFile, download, item_id_of
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
from rushes.domain.downloads import DownloadedFile, Manifest, file_names
from rushes.domain.errors import InputError, RushesError
from rushes.video_folder import check_parallel, fill_folder, folder_at

TIMEOUT_SECONDS: Final = 30.0
TRIES_MAX: Final = 4

FIRST_LOOK_SECONDS: Final = 1.0
"""What a first look has, however short a wait is."""

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


class AsyncClient(AsyncAccount):
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
        super().__init__(
            Http(
                base_url,
                api_key,
                timeout_seconds=timeout_seconds,
                tries_max=tries_max,
                root_certificates_pem=root_certificates_pem,
            )
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
        webhook_events: Sequence[str] | None = None,
        retries: int | Mapping[str, Any] | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        deadline: int | str | None = None,
        gate: bool | Mapping[str, Any] | None = None,
        accept: Mapping[str, Any] | None = None,
        auto: Mapping[str, Any] | None = None,
        reuse: bool | None = None,
        **options: Any,
    ) -> answers.AcceptedBatch:
        """Reserve the credits of all items and have them made, or write nothing.

        `items` are prompts or objects; or a `template` with its `variables`. `model` and `options`
        (`aspect_ratio`, `duration`, …) are for items without. `retries` is how often a failed item is
        retried, or a policy; `gate` whether each clip gets a verdict, or with which thresholds; `accept` how
        many clips an item may buy until one is accepted; `auto` bounds the choice of models where items leave
        it open; `reuse` says whether items that ask for the same take one file. `name` and `metadata` are
        yours, to find the batch by; what no provider has by the `deadline` (seconds, or an ISO 8601 time) is
        cancelled. The same `request_id` with the same batch is the same batch; without one a random id is
        used, so that a try whose answer was lost can be repeated.
        """
        document = batch_document(items, template, variables, max_outputs, model, options)
        document["request_id"] = f"client-{secrets.token_hex(16)}" if request_id is None else request_id
        more: dict[str, Any] = {
            "webhook_url": webhook_url,
            "retries": retries,
            "name": name,
            "deadline": deadline,
            "gate": gate,
            "accept": accept,
            "auto": auto,
            "reuse": reuse,
        }
        more["webhook_events"] = None if webhook_events is None else list(webhook_events)
        more["metadata"] = None if metadata is None else dict(metadata)
        document |= {field: value for field, value in more.items() if value is not None}
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

    async def batches(
        self,
        *,
        status: answers.BatchStatus | None = None,
        model: str | None = None,
        request_id: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        metadata: Mapping[str, str] | None = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> AsyncIterator[answers.Batch]:
        """Batches, newest first unless `order` is `asc`, fetched a page at a time.

        Times are ISO 8601. `metadata` names values of the batches' own metadata, which must all agree.
        """
        query: dict[str, Any] = {
            "status": status,
            "model": model,
            "request_id": request_id,
            "created_after": created_after,
            "created_before": created_before,
            "order": order,
        }
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        async for row in self._cursor("/v1/batches", "batch_id", query):
            yield cast(answers.Batch, row)

    async def items(
        self,
        batch_id: str,
        *,
        status: answers.Status | None = None,
        failure_type: str | None = None,
        custom_id: str | None = None,
        model: str | None = None,
        order: Literal["asc", "desc"] = "asc",
    ) -> AsyncIterator[answers.Item]:
        """The batch's items in their order, fetched a page at a time."""
        query = {
            "status": status,
            "failure_type": failure_type,
            "custom_id": custom_id,
            "model": model,
            "order": order,
        }
        async for row in self._pages(f"{batch_path(batch_id)}/items", "items", query):
            yield cast(answers.Item, row)

    async def cancel(self, batch_id: str) -> answers.CancelledBatch:
        """Pending items fail and are refunded; items at a provider run on to their verdict."""
        return await self._post(f"{batch_path(batch_id)}/cancel", answers.CancelledBatch)

    async def cancel_item(self, batch_id: str, item: str | int) -> answers.CancelledItem:
        """A pending item (its id or index) fails and is refunded."""
        return await self._post(
            f"{batch_path(batch_id)}/items/{path_part(item)}/cancel", answers.CancelledItem
        )

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
        self,
        batch_id: str,
        path: str | Path,
        *,
        format: Literal["csv", "jsonl"] = "jsonl",
        raw: bool = False,
    ) -> int:
        """Write every item to the file, whole or not at all; returns its bytes.

        CSV is safe to open in a spreadsheet, which takes an apostrophe before some texts; `raw` is exact.
        """
        target = Path(path)
        part = target.with_name(f"{target.name}.part")
        url = f"{self._http.base_url}{batch_path(batch_id)}/export?format={format}"
        url += "&raw=true" if raw else ""
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

    async def manifest(self, batch_id: str) -> answers.BatchManifest:
        """The batch's videos with their addresses, checksums and sizes, and why items have none."""
        return await self._get(f"{batch_path(batch_id)}/manifest", answers.BatchManifest)

    # --- following --------------------------------------------------------------------------------------

    async def events(self, batch_id: str, *, after: int = 0) -> AsyncGenerator[answers.Event, None]:
        """The batch's events after number `after`, each once and in order, until the batch is finished.

        A broken stream is resumed from the last event; raises what a service says that stays away.
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
        `StillRunning` after `timeout_seconds`, also when the service does not answer; the batch runs on.
        For the first look there are `FIRST_LOOK_SECONDS`, however short the time-out.
        """
        now = asyncio.get_running_loop().time
        looked = now()
        until = None if timeout_seconds is None else looked + max(timeout_seconds, FIRST_LOOK_SECONDS)
        news = asyncio.Event()
        listening = asyncio.create_task(self._listen(batch_id, news))
        seen: object = None
        try:
            while True:
                news.clear()
                try:
                    async with asyncio.timeout_at(until):
                        batch = await self.get_batch(batch_id)
                except TimeoutError:
                    pass
                except RushesError as error:
                    if not error.retryable or now() - looked > PATIENCE_SECONDS:
                        raise
                else:
                    looked = now()
                    facts = {**batch, "eta_seconds": None, "eta_reason": None}
                    if facts != seen:
                        seen = facts
                        yield batch
                    if batch["completed_at"] is not None:
                        return
                if not await self._until_news(news, listening, until):
                    raise StillRunning(f"the batch did not finish within {timeout_seconds:g} s; it runs on")
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _until_news(
        self, news: asyncio.Event, listening: "asyncio.Task[None]", until: float | None
    ) -> bool:
        """Wait until it is worth a look; False when the time is over."""
        longest = LOOK_SECONDS_POLLED if listening.done() else LOOK_SECONDS_STREAMED
        try:
            async with asyncio.timeout_at(until):
                await asyncio.sleep(LOOK_SECONDS_MIN)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(longest):
                        await news.wait()
        except TimeoutError:
            return False
        return True

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

        Complete files are kept, partial ones resumed. What has no file is in the
        manifest with its error, and stops nothing; the manifest is written to `BATCH_ID.manifest.json`.
        """
        check_parallel(parallel)
        target = folder_at(folder)
        wanted = [item async for item in self.items(batch_id)]
        for item in wanted:
            item_id_of(item)

        async def fetch(item: answers.Item, name: str) -> tuple[DownloadedFile, bool]:
            return await download(self._http, item, name, target)

        return await fill_folder(
            batch_id,
            list(zip(wanted, file_names(names, wanted), strict=True)),
            fetch,
            parallel=parallel,
            on_file=on_file or (lambda _line: None),
            manifest_at=target / f"{file_name(batch_id)}.manifest.json",
        )
