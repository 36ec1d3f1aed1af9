"""Webhooks out: events become deliveries, deliveries are signed and sent until they are taken.

Its own loop beside everything else: it reads what settling has committed and never makes it wait. Any
number of processes may run it on one database; each delivery is claimed by one of them, and a claim that
was never recorded runs out and is taken again. So each event arrives at least once, with one `webhook-id`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from sqlalchemy import Connection
from standardwebhooks import Webhook

from rushes import telemetry
from rushes.concurrency import until_stopped
from rushes.domain.errors import RushesError, StoreError
from rushes.domain.notation import iso_time
from rushes.files.guard.client import Answer, GuardedHttp
from rushes.notify.secrets import WebhookSecrets, delivery_id, webhook_id
from rushes.read.events import encoded_event, event_document
from rushes.store import archive, deliveries
from rushes.store.database import Database
from rushes.store.deliveries import ClaimedDelivery
from rushes.store.webhook_keys import KeyVersions, versions_of
from rushes.store.webhooks import endpoints

RETRY_SECONDS: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after each failure: 5 s, 5 and 30 min, 2, 5, 10, 14, 20, 24 h. After the last it is given up."""

TIMEOUT_SECONDS: Final = 20.0
CLAIM_SECONDS: Final = 60.0
"""How long a claim lasts: longer than a request can take, so that nobody else sends the same meanwhile."""

IDLE_SECONDS: Final = 0.4
"""How often the notifier looks for events and due deliveries."""

CLAIM_ANSWER_SECONDS_MAX: Final = 1.0
"""How long a stopping notifier waits for what it just asks of the database; a claim runs out by itself."""

DELIVERIES_AT_ONCE_MAX: Final = 64
DELIVERIES_AT_ONCE_PER_ENDPOINT_MAX: Final = 8
"""So one slow receiver cannot take all the places."""

DELIVERIES_AT_ONCE_PER_ACCOUNT_MAX: Final = 16
"""Nor can one account that names many URLs."""

FAILURES_IN_ROW_MAX: Final = 3
"""An endpoint that failed so often in a row gets one delivery at a time, until it takes one."""

DELIVERIES_AT_ONCE_TO_FAILING_MAX: Final = 32
"""All endpoints and accounts that failed so often in a row: the rest is for those that are well."""

REMEMBERED_MAX: Final = 10_000
FEEDS_MAX: Final = 64
FEED_EVENTS_MAX: Final = 1000
UPKEEP_SECONDS: Final = 30.0
KEPT_SECONDS: Final = 30 * 86_400
"""How long a delivery that has ended is kept, for lists and replays."""

PURGE_ROWS_MAX: Final = 1000
RETRY_AFTER_SECONDS_MAX: Final = 86_400

log = telemetry.logger()


class _Known:
    """What this process knows of an endpoint, or of an account by all of its endpoints."""

    __slots__ = ("failures", "under_way")

    def __init__(self) -> None:
        self.failures = 0
        self.under_way = 0

    @property
    def is_failing(self) -> bool:
        return self.failures >= FAILURES_IN_ROW_MAX


class Notifier:
    """Sends webhooks until stopped.

    `secrets` are the accounts' signing secrets; `now_ms()` is the wall clock in epoch milliseconds.
    `base` is the service's address, before the paths of videos; `retry_seconds` is the ladder of waits after
    each failure.
    """

    def __init__(
        self,
        database: Database,
        *,
        http: GuardedHttp,
        secrets: WebhookSecrets,
        now_ms: Callable[[], int],
        base: str = "",
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._database = database
        self._http = http
        self._secrets = secrets
        self._now_ms = now_ms
        self._base = base
        self._retry_seconds = retry_seconds
        self._timeout_seconds = timeout_seconds
        self._endpoints: dict[int, _Known] = {}
        self._accounts: dict[int, _Known] = {}
        self._served_account_id = 0
        self._sending: dict[asyncio.Task[None], ClaimedDelivery] = {}
        self.outcomes: dict[str, int] = {"delivered": 0, "failed": 0, "given_up": 0, "disabled": 0}

    async def run(self, stop: asyncio.Event) -> None:
        """Fan out and send until `stop` is set, then let what is under way end."""
        await until_stopped(stop, self._send_until(stop), grace_seconds=CLAIM_ANSWER_SECONDS_MAX)
        if self._sending:
            _, late = await asyncio.wait(set(self._sending), timeout=self._timeout_seconds)
            for task in late:  # their claims run out, and another process tries again
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _send_until(self, stop: asyncio.Event) -> None:
        now, upkeep_at = asyncio.get_running_loop().time, 0.0
        while not stop.is_set():
            try:
                if now() >= upkeep_at:
                    upkeep_at = now() + UPKEEP_SECONDS
                    await self._database.transact(
                        deliveries.purge,
                        before_ms=self._now_ms() - KEPT_SECONDS * 1000,
                        limit=PURGE_ROWS_MAX,
                    )
                busy = await self.fan_out() + await self.start_due() > 0
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                busy = False
            if not busy:
                await until_stopped(stop, asyncio.sleep(IDLE_SECONDS))

    async def fan_out(self) -> int:
        """Make deliveries of new events, of batches' own addresses and of one account's endpoints.

        Returns how many events were dealt with.
        """
        of_batches, of_endpoints = await self._database.read(_news)
        count = 0
        if of_batches:
            count += await self._database.transact(
                deliveries.fan_out, feeds_max=FEEDS_MAX, events_max=FEED_EVENTS_MAX, now_ms=self._now_ms()
            )
        if of_endpoints:
            self._served_account_id, events = await self._database.transact(
                endpoints.fan_out, after_account_id=self._served_account_id, now_ms=self._now_ms()
            )
            count += events
        return count

    async def start_due(self) -> int:
        """Start to send what is due and has a place; returns how many."""
        if len(self._sending) >= DELIVERIES_AT_ONCE_MAX:
            return 0
        endpoints, accounts = self._without_room()
        due = await self._database.read(
            deliveries.endpoints_with_due,
            now_ms=self._now_ms(),
            limit=DELIVERIES_AT_ONCE_MAX,
            except_endpoints=endpoints,
            except_accounts=accounts,
        )
        started = 0
        for endpoint_id, account_id in due:
            room = self._room(endpoint_id, account_id)
            if room <= 0:
                continue
            claimed = await self._database.transact(
                deliveries.claim_if_due,
                endpoint_id,
                limit=room,
                now_ms=self._now_ms(),
                claimed_until_ms=self._now_ms() + int(CLAIM_SECONDS * 1000),
            )
            for delivery in claimed:
                self._start(delivery)
            started += len(claimed)
        return started

    async def finished(self) -> None:
        """Wait until nothing is under way."""
        while self._sending:
            await asyncio.wait(set(self._sending))

    # --- places -----------------------------------------------------------------------------------------

    def _room(self, endpoint_id: int, account_id: int) -> int:
        """How many more this endpoint of this account may be sent now."""
        endpoint, account = _known(self._endpoints, endpoint_id), _known(self._accounts, account_id)
        room = min(
            DELIVERIES_AT_ONCE_MAX - len(self._sending),
            _endpoint_room(endpoint),
            DELIVERIES_AT_ONCE_PER_ACCOUNT_MAX - account.under_way,
        )
        if endpoint.is_failing or account.is_failing:
            room = min(room, self._room_to_failing())
        return room

    def _room_to_failing(self) -> int:
        taken = sum(
            self._endpoints[delivery.endpoint_id].is_failing or self._accounts[delivery.account_id].is_failing
            for delivery in self._sending.values()
        )
        return DELIVERIES_AT_ONCE_TO_FAILING_MAX - taken

    def _without_room(self) -> tuple[list[int], list[int]]:
        """Endpoints, and accounts, that may be sent nothing more now."""
        none_to_failing = self._room_to_failing() <= 0
        endpoints = [
            key
            for key, endpoint in self._endpoints.items()
            if _endpoint_room(endpoint) <= 0 or (none_to_failing and endpoint.is_failing)
        ]
        accounts = [
            key
            for key, account in self._accounts.items()
            if account.under_way >= DELIVERIES_AT_ONCE_PER_ACCOUNT_MAX
            or (none_to_failing and account.is_failing)
        ]
        return endpoints, accounts

    # --- sending ----------------------------------------------------------------------------------------

    def _start(self, delivery: ClaimedDelivery) -> None:
        _known(self._endpoints, delivery.endpoint_id).under_way += 1
        _known(self._accounts, delivery.account_id).under_way += 1
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._sending[task] = delivery
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        delivery = self._sending.pop(task)
        self._endpoints[delivery.endpoint_id].under_way -= 1
        self._accounts[delivery.account_id].under_way -= 1

    async def _deliver(self, delivery: ClaimedDelivery) -> None:
        try:
            answer, error = await self._send(delivery)
            for known in (self._endpoints[delivery.endpoint_id], self._accounts[delivery.account_id]):
                known.failures = 0 if error is None else known.failures + 1
            await self._record(delivery, answer, error)
        except StoreError as trouble:  # the claim runs out, and it is sent again: at least once
            log.warning(telemetry.DATABASE_TROUBLE, error=trouble.message)

    async def _send(self, delivery: ClaimedDelivery) -> tuple[Answer | None, str | None]:
        """The answer, if any, and why it does not count as taken."""
        batch, task, kept, versions = await self._database.read(_rows_of, delivery, self._now_ms())
        body = encoded_event(
            event_document(delivery.type, delivery.event_at_ms, batch, task, kept, base=self._base)
        )
        headers = signed_headers(
            self._secrets.all(delivery.endpoint or delivery.account_id, versions),
            webhook_id(batch["public_id"], delivery.seq),
            body,
            now_ms=self._now_ms(),
        )
        return await post_signed(
            self._http,
            delivery.url,
            headers=headers,
            body=body,
            account_id=delivery.account_id,
            timeout_seconds=self._timeout_seconds,
        )

    async def _record(self, delivery: ClaimedDelivery, answer: Answer | None, error: str | None) -> None:
        if error is None:
            assert answer is not None
            self.outcomes["delivered"] += 1
            await self._database.transact(
                deliveries.record_delivered_if_claimed,
                delivery,
                http_status=answer.status,
                now_ms=self._now_ms(),
            )
            return
        wait_seconds = self._wait_seconds(delivery, answer)
        self.outcomes["failed" if wait_seconds is not None else "given_up"] += 1
        log.info(
            telemetry.WEBHOOK_FAILED,
            delivery_id=delivery.delivery_id,
            attempt=delivery.try_number,
            error=error,
            retry_in_seconds=wait_seconds,
        )
        await self._database.transact(
            _record_failure,
            delivery,
            http_status=None if answer is None else answer.status,
            error=error,
            next_attempt_at_ms=None if wait_seconds is None else self._now_ms() + int(wait_seconds * 1000),
            now_ms=self._now_ms(),
        )
        if answer is not None and answer.status == GONE:
            self.outcomes["disabled"] += 1
            log.warning(telemetry.WEBHOOK_DISABLED, endpoint_id=delivery.endpoint_id)

    def _wait_seconds(self, delivery: ClaimedDelivery, answer: Answer | None) -> float | None:
        """The ladder's next wait, or a longer one that the receiver asks for; None at its end."""
        if delivery.try_number > len(self._retry_seconds):
            return None
        asked = "" if answer is None else answer.headers.get("retry-after", "")
        asked_seconds = seconds_asked_for(asked, self._now_ms())
        return max(self._retry_seconds[delivery.try_number - 1], min(asked_seconds, RETRY_AFTER_SECONDS_MAX))


GONE: Final = 410
"""The receiver's way of saying that it wants no more, ever."""


async def post_signed(
    http: GuardedHttp,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    account_id: int,
    timeout_seconds: float,
) -> tuple[Answer | None, str | None]:
    """The receiver's answer, if any, and why the event does not count as taken."""
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await http.post(
                url,
                headers=headers,
                body=body,
                timeout_seconds=timeout_seconds,
                asker=f"account {account_id}",
            )
    except TimeoutError:
        return None, "timed out"
    except RushesError as error:
        return None, error.message
    return answer, None if 200 <= answer.status < 300 else f"HTTP {answer.status}"


def signed_headers(secrets: Sequence[str], message_id: str, body: bytes, *, now_ms: int) -> Mapping[str, str]:
    """The headers of Standard Webhooks, signed by its official library with each of these secrets."""
    sent_at = datetime.fromtimestamp(now_ms // 1000, UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_ms // 1000),
        "webhook-signature": " ".join(
            Webhook(secret).sign(message_id, sent_at, body.decode()) for secret in secrets
        ),
    }


def _rows_of(
    connection: Connection, delivery: ClaimedDelivery, now_ms: int
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None, Mapping[str, Any] | None, KeyVersions]:
    """The event's batch, task and file, and the versions of the secret that signs it."""
    batch, tasks = deliveries.event_rows(connection, delivery.batch_id, [delivery.seq])
    task = tasks.get(delivery.seq)
    kept = None if task is None else archive.files_of(connection, [task["id"]]).get(task["id"])
    if delivery.endpoint is not None:
        return batch, task, kept, endpoints.versions_of(delivery.secret_facts, now_ms=now_ms)
    return batch, task, kept, versions_of(connection, delivery.account_id, now_ms=now_ms)


def _news(connection: Connection) -> tuple[bool, bool]:
    """Whether there are events without deliveries: of batches with an address, of accounts with endpoints."""
    return deliveries.any_news(connection), endpoints.any_behind(connection)


def _known(all_known: dict[int, _Known], key: int) -> _Known:
    """What is known of this one; when it is too much, half of those without a request are forgotten."""
    if key not in all_known and len(all_known) >= REMEMBERED_MAX:
        idle = [other for other, known in all_known.items() if not known.under_way]
        for other in idle[: REMEMBERED_MAX // 2]:
            del all_known[other]
    return all_known.setdefault(key, _Known())


def _endpoint_room(endpoint: _Known) -> int:
    return (1 if endpoint.is_failing else DELIVERIES_AT_ONCE_PER_ENDPOINT_MAX) - endpoint.under_way


def seconds_asked_for(retry_after: str, now_ms: int) -> float:
    """What a `Retry-After` asks to wait, a number of seconds or an HTTP date; 0 for what is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return int(text)
    try:
        until = parsedate_to_datetime(text[:40])
        return max(0.0, until.timestamp() - now_ms / 1000)
    except (ValueError, OverflowError):
        return 0


def _record_failure(
    connection: Connection,
    delivery: ClaimedDelivery,
    *,
    http_status: int | None,
    error: str,
    next_attempt_at_ms: int | None,
    now_ms: int,
) -> None:
    deliveries.record_failure_if_claimed(
        connection,
        delivery,
        http_status=http_status,
        error=error,
        next_attempt_at_ms=next_attempt_at_ms,
    )
    if http_status == GONE:
        deliveries.disable_endpoint(connection, delivery.endpoint_id, now_ms=now_ms)


def delivery_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """A delivery's row as the API answers it."""
    return {
        "delivery_id": delivery_id(row["public_id"], row["seq"], row["endpoint"]),
        "type": row["type"],
        "batch_id": row["public_id"],
        "endpoint_id": row["endpoint"],
        "url": row["url"],
        "status": row["status"],
        "attempts": row["attempts"],
        "http_status": row["http_status"],
        "error": row["error"],
        "created_at": iso_time(row["created_at_ms"]),
        "delivered_at": iso_time(row["delivered_at_ms"]),
        "next_attempt_at": iso_time(row["next_attempt_at_ms"]) if row["status"] == "pending" else None,
    }
