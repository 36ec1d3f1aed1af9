"""`Client`: `AsyncClient` for programs without asyncio, over an event loop in a thread.

Made by `python -m reference.sync_client` from `asynchronous.py` and `account.py`: change those.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rushes.client import answers
from rushes.client.asynchronous import TIMEOUT_SECONDS, TRIES_MAX, AsyncClient, OnProgress
from rushes.client.downloads import ITEM_NAMES, OnFile
from rushes.client.loop_thread import LoopThread
from rushes.client.wire import Items
from rushes.domain.downloads import Manifest


class Client:
    """A tenant's client of the service at `base_url`; `AsyncClient` says what it answers and repeats.

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
        self._loop = LoopThread("rushes-client")

    def __repr__(self) -> str:
        return repr(self._client).removeprefix("Async")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections and end the thread; again does nothing."""
        if not self._loop.is_closed:
            self._loop.run(self._client.close())
            self._loop.close()

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
        return self._loop.run(
            self._client.create_batch(
                items,
                template=template,
                variables=variables,
                max_outputs=max_outputs,
                model=model,
                request_id=request_id,
                webhook_url=webhook_url,
                webhook_events=webhook_events,
                retries=retries,
                name=name,
                metadata=metadata,
                deadline=deadline,
                gate=gate,
                accept=accept,
                auto=auto,
                reuse=reuse,
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
        return self._loop.run(
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
        return self._loop.run(self._client.get_batch(batch_id))

    def batches(
        self,
        *,
        status: answers.BatchStatus | None = None,
        model: str | None = None,
        request_id: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        metadata: Mapping[str, str] | None = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> Iterator[answers.Batch]:
        """Batches, newest first unless `order` is `asc`, fetched a page at a time.

        Times are ISO 8601. `metadata` names values of the batches' own metadata, which must all agree.
        """
        return self._loop.each(
            self._client.batches(
                status=status,
                model=model,
                request_id=request_id,
                created_after=created_after,
                created_before=created_before,
                metadata=metadata,
                order=order,
            )
        )

    def items(
        self,
        batch_id: str,
        *,
        status: answers.Status | None = None,
        failure_type: str | None = None,
        custom_id: str | None = None,
        model: str | None = None,
        order: Literal["asc", "desc"] = "asc",
    ) -> Iterator[answers.Item]:
        """The batch's items in their order, fetched a page at a time."""
        return self._loop.each(
            self._client.items(
                batch_id,
                status=status,
                failure_type=failure_type,
                custom_id=custom_id,
                model=model,
                order=order,
            )
        )

    def cancel(self, batch_id: str) -> answers.CancelledBatch:
        """Pending items fail and are refunded; items at a provider run on to their verdict."""
        return self._loop.run(self._client.cancel(batch_id))

    def cancel_item(self, batch_id: str, item: str | int) -> answers.CancelledItem:
        """A pending item (its id or index) fails and is refunded."""
        return self._loop.run(self._client.cancel_item(batch_id, item))

    def retry(self, batch_id: str, item: str | int) -> answers.RetriedItem:
        """A failed item (its id or index) waits again, with a new reservation."""
        return self._loop.run(self._client.retry(batch_id, item))

    def attempts(self, batch_id: str, item: str | int) -> list[answers.Attempt]:
        """Every attempt of an item (its id or index), oldest first."""
        return self._loop.run(self._client.attempts(batch_id, item))

    def rerolls(self, batch_id: str) -> answers.Rerolls:
        """The batch's policy for failed items, and what its tries have come to."""
        return self._loop.run(self._client.rerolls(batch_id))

    def pass_rates(self, *, days: int = 7, prompts: int = 20) -> answers.PassRates:
        """How often the account's tries passed in the last days, by model and by prompt."""
        return self._loop.run(self._client.pass_rates(days=days, prompts=prompts))

    def export(
        self, batch_id: str, path: str | Path, *, format: Literal["csv", "jsonl"] = "jsonl", raw: bool = False
    ) -> int:
        """Write every item to the file, whole or not at all; returns its bytes.

        CSV is safe to open in a spreadsheet, which takes an apostrophe before some texts; `raw` is exact.
        """
        return self._loop.run(self._client.export(batch_id, path, format=format, raw=raw))

    def manifest(self, batch_id: str) -> answers.BatchManifest:
        """The batch's videos with their addresses, checksums and sizes, and why items have none."""
        return self._loop.run(self._client.manifest(batch_id))

    def events(self, batch_id: str, *, after: int = 0) -> Iterator[answers.Event]:
        """The batch's events after number `after`, each once and in order, until the batch is finished.

        A broken stream is resumed from the last event; raises what a service says that stays away.
        """
        return self._loop.each(self._client.events(batch_id, after=after))

    def progress(self, batch_id: str, *, timeout_seconds: float | None = None) -> Iterator[answers.Batch]:
        """The batch now, again whenever it has changed, and at last as it ended.

        Its events tell when to look; while they cannot be had, it is looked at every second. Raises
        `StillRunning` after `timeout_seconds`, also when the service does not answer; the batch runs on.
        For the first look there are `FIRST_LOOK_SECONDS`, however short the time-out.
        """
        return self._loop.each(self._client.progress(batch_id, timeout_seconds=timeout_seconds))

    def watch(
        self, batch_id: str, on_progress: OnProgress, *, timeout_seconds: float | None = None
    ) -> answers.Batch:
        """Call `on_progress(batch)` whenever the batch has changed; returns it finished. See `progress`."""
        batch: answers.Batch | None = None
        changes = self._loop.each(self._client.progress(batch_id, timeout_seconds=timeout_seconds))
        with contextlib.closing(changes):
            for batch in changes:
                on_progress(batch)
        assert batch is not None
        return batch

    def wait(self, batch_id: str, *, timeout_seconds: float | None = None) -> answers.Batch:
        """The batch when it is finished."""
        return self._loop.run(self._client.wait(batch_id, timeout_seconds=timeout_seconds))

    def download_all(
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
        return self._loop.run(
            self._client.download_all(batch_id, folder, names=names, parallel=parallel, on_file=on_file)
        )

    def balance(self) -> answers.Balance:
        """The account's credits."""
        return self._loop.run(self._client.balance())

    def ledger(
        self,
        *,
        batch_id: str | None = None,
        type: str | None = None,
        from_time: str | None = None,
        to_time: str | None = None,
    ) -> Iterator[answers.LedgerEntry]:
        """Ledger entries, newest first, fetched a page at a time; times are ISO 8601, `to_time` excluded."""
        return self._loop.each(
            self._client.ledger(batch_id=batch_id, type=type, from_time=from_time, to_time=to_time)
        )

    def keys(self) -> list[answers.Key]:
        """The account's keys, valid ones before revoked ones, without what would let anyone use them."""
        return self._loop.run(self._client.keys())

    def create_key(
        self,
        *,
        name: str | None = None,
        scope: Literal["read", "submit", "admin"] | None = None,
        rate_limit_per_min: int | None = None,
        credits_per_day_max: int | None = None,
    ) -> answers.NewKey:
        """A new key of the account; `key` is seen this once."""
        return self._loop.run(
            self._client.create_key(
                name=name,
                scope=scope,
                rate_limit_per_min=rate_limit_per_min,
                credits_per_day_max=credits_per_day_max,
            )
        )

    def revoke_key(self, key_id: int) -> None:
        """End a key permanently, within two seconds."""
        return self._loop.run(self._client.revoke_key(key_id))

    def usage(
        self,
        *,
        by: Sequence[Literal["day", "model", "key"]] = ("day",),
        from_time: str | None = None,
        to_time: str | None = None,
    ) -> answers.Usage:
        """What the batches of a time came to, of the last 30 days by default."""
        return self._loop.run(self._client.usage(by=by, from_time=from_time, to_time=to_time))

    def account_events(self, *, after: int = 0) -> Iterator[answers.AccountEvent]:
        """What happened over all batches after that position, in order, as far as it is known now."""
        return self._loop.each(self._client.account_events(after=after))

    def upload(self, file: str | Path | bytes) -> answers.Upload:
        """Keep a picture, video or sound: its path, or its bytes. Any media input takes the `upload_id`.

        The same bytes again are the same upload. Raises `InputError` for a file that cannot be read.
        """
        return self._loop.run(self._client.upload(file))

    def webhook_secret(self) -> str:
        """The secret (`whsec_…`) that the account's webhooks are signed with."""
        return self._loop.run(self._client.webhook_secret())

    def endpoints(self) -> list[answers.Endpoint]:
        """The account's webhook endpoints, oldest first."""
        return self._loop.run(self._client.endpoints())

    def create_endpoint(
        self, url: str, *, events: Sequence[str] | None = None, description: str | None = None
    ) -> answers.EndpointWithSecret:
        """A new endpoint for the events of all batches, or for those of them that `events` names."""
        return self._loop.run(self._client.create_endpoint(url, events=events, description=description))

    def endpoint(self, endpoint_id: str) -> answers.EndpointWithSecret:
        """One endpoint, with its signing secret."""
        return self._loop.run(self._client.endpoint(endpoint_id))

    def change_endpoint(self, endpoint_id: str, **changes: Any) -> answers.EndpointWithSecret:
        """Change `url`, `events` (None: all), `description` or `enabled`; what is not named stays."""
        return self._loop.run(self._client.change_endpoint(endpoint_id, **changes))

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Send it nothing more; its deliveries stay listed."""
        return self._loop.run(self._client.delete_endpoint(endpoint_id))

    def rotate_endpoint(
        self, endpoint_id: str, *, overlap_seconds: int | None = None
    ) -> answers.EndpointWithSecret:
        """Replace its secret; the one before signs as well for a day, or for `overlap_seconds`."""
        return self._loop.run(self._client.rotate_endpoint(endpoint_id, overlap_seconds=overlap_seconds))

    def send_test_event(self, endpoint_id: str) -> answers.EndpointTest:
        """Have one `webhook.test` posted to it now: what the receiver made of it."""
        return self._loop.run(self._client.send_test_event(endpoint_id))

    def replay_endpoint(self, endpoint_id: str, *, since: str | None = None) -> int:
        """Send again what it did not take, of all 30 days or since an ISO 8601 time; returns how many."""
        return self._loop.run(self._client.replay_endpoint(endpoint_id, since=since))

    def deliveries(
        self,
        *,
        status: str | None = None,
        batch_id: str | None = None,
        event: str | None = None,
        endpoint_id: str | None = None,
    ) -> Iterator[answers.Delivery]:
        """Webhook deliveries, newest first, fetched a page at a time."""
        return self._loop.each(
            self._client.deliveries(status=status, batch_id=batch_id, event=event, endpoint_id=endpoint_id)
        )

    def replay_delivery(self, delivery_id: str) -> answers.Delivery:
        """Send a delivery again, from the start of the ladder and with the same `webhook-id`."""
        return self._loop.run(self._client.replay_delivery(delivery_id))
