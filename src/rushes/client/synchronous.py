"""`Client`: `AsyncClient` for programs without asyncio. Its event loop runs in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from rushes.client import answers
from rushes.client.asynchronous import TIMEOUT_SECONDS, TRIES_MAX, AsyncClient, OnProgress
from rushes.client.downloads import ITEM_NAMES, OnFile
from rushes.client.errors import ClientClosed
from rushes.client.wire import Items
from rushes.domain.downloads import Manifest

T = TypeVar("T")


class Client:
    """A tenant's client of the service at `base_url`; see `AsyncClient` for what each method promises.

        with Client("https://rushes.example.com", api_key) as client:
            batch = client.create_batch(["a paper boat"], model="sora-2")
            batch = client.watch(batch["batch_id"], lambda now: print(now["succeeded_count"]))
            client.download_all(batch["batch_id"], "videos")

    May be used by many threads at once, and within a running event loop (whose thread it then blocks).
    Callbacks of `watch` are called in the calling thread, those of `download_all` in the client's own.
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
        self._client = AsyncClient(
            base_url,
            api_key,
            timeout_seconds=timeout_seconds,
            tries_max=tries_max,
            root_certificates_pem=root_certificates_pem,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rushes-client", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return repr(self._client).removeprefix("Async")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections and end the thread; again does nothing."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- batches ----------------------------------------------------------------------------------------

    def create_batch(
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
        """Reserve the credits of all items and have them made, or write nothing."""
        return self._run(
            self._client.create_batch(
                items,
                template=template,
                variables=variables,
                max_outputs=max_outputs,
                model=model,
                request_id=request_id,
                webhook_url=webhook_url,
                retries=retries,
                **options,
            )
        )

    def quote(
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
        return self._run(
            self._client.quote(
                items,
                template=template,
                variables=variables,
                max_outputs=max_outputs,
                model=model,
                retries=retries,
                **options,
            )
        )

    def get_batch(self, batch_id: str) -> answers.Batch:
        """The batch as it stands."""
        return self._run(self._client.get_batch(batch_id))

    def batches(self) -> Iterator[answers.Batch]:
        """All batches, newest first, fetched a page at a time."""
        return self._each(self._client.batches())

    def items(self, batch_id: str, *, status: answers.Status | None = None) -> Iterator[answers.Item]:
        """The batch's items in their order, fetched a page at a time."""
        return self._each(self._client.items(batch_id, status=status))

    def cancel(self, batch_id: str) -> answers.CancelledBatch:
        """Pending items fail and are refunded; items at a provider run on to their verdict."""
        return self._run(self._client.cancel(batch_id))

    def retry(self, batch_id: str, item: str | int) -> answers.RetriedItem:
        """A failed item (its id or index) waits again, with a new reservation."""
        return self._run(self._client.retry(batch_id, item))

    def attempts(self, batch_id: str, item: str | int) -> list[answers.Attempt]:
        """Every attempt of an item (its id or index), oldest first."""
        return self._run(self._client.attempts(batch_id, item))

    def rerolls(self, batch_id: str) -> answers.Rerolls:
        """The batch's policy for failed items, and what its tries have come to."""
        return self._run(self._client.rerolls(batch_id))

    def pass_rates(self, *, days: int = 7, prompts: int = 20) -> answers.PassRates:
        """How often the account's tries passed in the last days, by model and by prompt."""
        return self._run(self._client.pass_rates(days=days, prompts=prompts))

    def export(self, batch_id: str, path: str | Path, *, format: Literal["csv", "jsonl"] = "jsonl") -> int:
        """Write every item to the file, whole or not at all; returns its bytes."""
        return self._run(self._client.export(batch_id, path, format=format))

    # --- following and files ----------------------------------------------------------------------------

    def events(self, batch_id: str, *, after: int = 0) -> Iterator[answers.Event]:
        """The batch's events after number `after`, each once and in order, until the batch is finished."""
        return self._each(self._client.events(batch_id, after=after))

    def progress(self, batch_id: str, *, timeout_seconds: float | None = None) -> Iterator[answers.Batch]:
        """The batch now, again whenever it has changed, and at last as it ended."""
        return self._each(self._client.progress(batch_id, timeout_seconds=timeout_seconds))

    def watch(
        self, batch_id: str, on_progress: OnProgress, *, timeout_seconds: float | None = None
    ) -> answers.Batch:
        """Call `on_progress(batch)` whenever the batch has changed; returns it finished."""
        batch: answers.Batch | None = None
        with contextlib.closing(
            self._each(self._client.progress(batch_id, timeout_seconds=timeout_seconds))
        ) as changes:
            for batch in changes:
                on_progress(batch)
        assert batch is not None
        return batch

    def wait(self, batch_id: str, *, timeout_seconds: float | None = None) -> answers.Batch:
        """The batch when it is finished."""
        return self._run(self._client.wait(batch_id, timeout_seconds=timeout_seconds))

    def download_all(
        self,
        batch_id: str,
        folder: str | Path,
        *,
        names: str = ITEM_NAMES,
        parallel: int = 4,
        on_file: OnFile | None = None,
    ) -> Manifest:
        """Fetch the videos of all succeeded items, `parallel` at a time, and write a manifest."""
        return self._run(
            self._client.download_all(batch_id, folder, names=names, parallel=parallel, on_file=on_file)
        )

    # --- credits and webhooks ---------------------------------------------------------------------------

    def balance(self) -> answers.Balance:
        """The account's credits."""
        return self._run(self._client.balance())

    def ledger(
        self,
        *,
        batch_id: str | None = None,
        type: str | None = None,
        from_time: str | None = None,
        to_time: str | None = None,
    ) -> Iterator[answers.LedgerEntry]:
        """Ledger entries, newest first, fetched a page at a time; times are ISO 8601, `to_time` excluded."""
        return self._each(
            self._client.ledger(batch_id=batch_id, type=type, from_time=from_time, to_time=to_time)
        )

    def webhook_secret(self) -> str:
        """The secret (`whsec_…`) that the account's webhooks are signed with."""
        return self._run(self._client.webhook_secret())

    def deliveries(self, *, status: str | None = None) -> Iterator[answers.Delivery]:
        """Webhook deliveries, newest first, fetched a page at a time."""
        return self._each(self._client.deliveries(status=status))

    def replay_delivery(self, delivery_id: str) -> answers.Delivery:
        """Send a delivery again, from the beginning of the ladder and with the same `webhook-id`."""
        return self._run(self._client.replay_delivery(delivery_id))

    # --- the loop in its thread -------------------------------------------------------------------------

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; an interrupt of the calling thread cancels it."""
        if self._loop.is_closed():
            coroutine.close()
            raise ClientClosed("the client is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _each(self, iterator: AsyncIterator[T]) -> "_Each[T]":
        return _Each(self, iterator)


class _Each(Iterator[T]):
    """An asynchronous iterator, stepped from the calling thread."""

    def __init__(self, client: Client, iterator: AsyncIterator[T]) -> None:
        self._client = client
        self._iterator = iterator

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._client._run(_step(self._iterator))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Let go of what the iterator holds open."""
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            self._client._run(_await(close()))


async def _step(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)


async def _await(awaitable: Any) -> None:
    await awaitable
