"""Webhooks out: each event arrives at least once, signed, with one id, whatever the receiver does."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from standardwebhooks import Webhook

from rushes.files.guard.client import Answer, GuardedHttp
from rushes.money import accept
from rushes.money import retry as retries
from rushes.notify.notifier import (
    DELIVERIES_AT_ONCE_MAX,
    DELIVERIES_AT_ONCE_TO_FAILING_MAX,
    FAILURES_IN_ROW_MAX,
    RETRY_SECONDS,
    Notifier,
)
from rushes.notify.secrets import WebhookSecrets, event_of_webhook_id, webhook_id, webhook_secret
from rushes.read.events import EVENT_BYTES_MAX, encoded_event, event_document
from rushes.store import deliveries
from rushes.store.database import Database
from tests.books import REFUSED, Books, request, video

OPERATOR_SECRET = "operator-secret"


@dataclass
class Receiver:
    """A webhook receiver on real HTTP. `answers` are statuses in turn, the last one for ever."""

    answers: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator["Receiver"]:
        """Listens until the end of the `with`."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(receiver.delay_seconds)
                receiver.received.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def documents(self) -> list[dict[str, Any]]:
        """The bodies received."""
        return [json.loads(body) for _, _, body in self.received]


@dataclass
class Shop:
    """Books whose batches have webhooks, and a notifier whose clock runs with them."""

    books: Books
    account_id: int

    def batch(self, url: str, count: int = 2, *, name: str = "bat_1", events: str | None = None) -> int:
        """A batch of so many videos; returns its row id."""
        wanted = request(self.account_id, [1] * count, request_id=name)
        wanted = accept.BatchRequest(
            account_id=wanted.account_id,
            request_scope=wanted.request_scope,
            request_id=wanted.request_id,
            request_hash=wanted.request_hash,
            tasks=wanted.tasks,
            webhook_url=url,
            webhook_events=events,
        )
        made = self.books.database.run(accept.accept_batch, wanted, public_id=name, now_ms=self.books.now_ms)
        return int(made.row["id"])

    def finish(self, *, failed: int = 0) -> None:
        """All pending videos end, so many of them badly."""
        claimed = self.books.claim()
        self.books.name(claimed)
        self.books.finish([(task, REFUSED if n < failed else video(task)) for n, task in enumerate(claimed)])

    def statuses(self) -> list[str]:
        """Of all deliveries, in the order of events."""
        rows = self.books.rows("SELECT status FROM webhook_deliveries ORDER BY batch_id, seq")
        return [row["status"] for row in rows]

    async def work(self, notifier: Notifier) -> None:
        """Fan out and send everything that is due at the books' time."""
        while await notifier.fan_out() + await notifier.start_due():
            await notifier.finished()


@pytest.fixture
def shop(database: Database) -> Shop:
    """An account with credits."""
    books = Books(database, now_ms=1_000_000_000)
    account_id = books.account()
    books.grant(account_id, 10_000)
    return Shop(books, account_id)


@contextlib.asynccontextmanager
async def notifier_of(shop: Shop, **options: Any) -> AsyncIterator[Notifier]:
    """A notifier on the books' clock."""
    http = GuardedHttp(allow_private=options.pop("allow_private", True), resolve=options.pop("resolve", None))
    yield Notifier(
        shop.books.database,
        http=http,
        secrets=options.pop("secrets", WebhookSecrets(OPERATOR_SECRET)),
        now_ms=options.pop("now_ms", lambda: shop.books.now_ms),
        **options,
    )
    await http.close()


def run(scenario: Callable[[], Any]) -> None:
    """A scenario on a loop, bounded."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


async def until(is_so: Callable[[], bool]) -> None:
    """Look until it is so; bounded by the scenario's own time-out."""
    while not is_so():
        await asyncio.sleep(0.02)


def test_every_event_arrives_signed_in_a_body_that_the_official_library_verifies(shop: Shop) -> None:
    now_ms = int(time.time() * 1000)
    shop.books.now_ms = now_ms  # the library refuses old timestamps
    shop.books.worker()
    shop.books.sql("UPDATE workers SET lease_expires_at_ms = :until", until=2 * now_ms)

    async def scenario() -> None:
        with Receiver().running() as receiver:
            shop.batch(receiver.url, 3)
            shop.finish(failed=1)
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
            secret = Webhook(webhook_secret(OPERATOR_SECRET, shop.account_id))
            kinds = []
            for path, headers, body in receiver.received:
                assert path == "/hook"
                assert headers["content-type"] == "application/json"
                document = secret.verify(body, headers)
                assert document.keys() == {"type", "timestamp", "data"}
                kinds.append(document["type"])
                with pytest.raises(Exception, match="No matching signature"):
                    Webhook(webhook_secret(OPERATOR_SECRET, shop.account_id + 1)).verify(body, headers)
            assert sorted(kinds) == sorted(
                ["batch.processing", "video.failed", "video.succeeded", "video.succeeded", "batch.partial"]
            )
            ids = [headers["webhook-id"] for _, headers, _ in receiver.received]
            assert sorted(ids) == [f"msg_bat_1_{n}" for n in range(1, 6)]

    run(scenario)
    assert set(shop.statuses()) == {"delivered"}


def test_a_receiver_that_was_down_gets_each_event_once_it_is_up_with_the_same_id(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            url, port = receiver.url, int(receiver.url.rsplit(":", 1)[1].split("/")[0])
        shop.batch(url, 2)
        shop.finish()
        async with notifier_of(shop) as notifier:
            await shop.work(notifier)
            assert set(shop.statuses()) == {"pending"}
            with Receiver(answers=[500]).running(port) as broken:
                shop.books.now_ms += RETRY_SECONDS[0] * 1000 + 1
                await shop.work(notifier)
            assert len(broken.received) == 4
            with Receiver().running(port) as healthy:
                shop.books.now_ms += RETRY_SECONDS[1] * 1000 - 1000
                await shop.work(notifier)
                assert healthy.received == [], "it is not time yet"
                shop.books.now_ms += 2000
                await shop.work(notifier)
                ids = [headers["webhook-id"] for _, headers, _ in healthy.received]
                assert sorted(ids) == sorted({headers["webhook-id"] for _, headers, _ in broken.received})

    run(scenario)
    assert set(shop.statuses()) == {"delivered"}


def test_the_ladder_is_climbed_to_its_end_and_then_given_up(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[503]).running() as receiver:
            shop.batch(receiver.url, 1)
            async with notifier_of(shop) as notifier:
                shop.books.claim()
                await shop.work(notifier)
                for tries, seconds in enumerate(RETRY_SECONDS, start=1):
                    assert len(receiver.received) == tries
                    shop.books.now_ms += seconds * 1000 - 1
                    await shop.work(notifier)
                    assert len(receiver.received) == tries, "too early"
                    shop.books.now_ms += 1
                    await shop.work(notifier)
                assert len(receiver.received) == len(RETRY_SECONDS) + 1
                assert shop.statuses() == ["failed"]
                shop.books.now_ms += 10 * 86_400_000
                await shop.work(notifier)
                assert len(receiver.received) == len(RETRY_SECONDS) + 1
            assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 1

    run(scenario)


def test_a_receiver_may_ask_for_more_time(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[429], headers={"retry-after": "60"}).running() as receiver:
            shop.batch(receiver.url, 1)
            shop.books.claim()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                shop.books.now_ms += 59_000
                await shop.work(notifier)
                assert len(receiver.received) == 1
                shop.books.now_ms += 1_001
                await shop.work(notifier)
                assert len(receiver.received) == 2

    run(scenario)


def test_410_disables_the_endpoint_and_a_replay_turns_it_on(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[410, 200]).running() as receiver:
            shop.batch(receiver.url, 2)
            shop.books.claim()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                assert shop.statuses() == ["disabled"]
                replayed = shop.books.database.run(
                    deliveries.replay, shop.account_id, "bat_1", 1, now_ms=shop.books.now_ms
                )
                assert replayed["status"] == "pending"
                await shop.work(notifier)
            assert shop.statuses() == ["delivered"]
            assert [headers["webhook-id"] for _, headers, _ in receiver.received] == ["msg_bat_1_1"] * 2

    run(scenario)


def test_events_of_a_disabled_endpoint_are_kept_but_not_sent(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[410]).running() as receiver:
            shop.batch(receiver.url, 2)
            claimed = shop.books.claim()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                shop.books.name(claimed)
                shop.books.finish([(task, video(task)) for task in claimed])
                await shop.work(notifier)
                assert len(receiver.received) == 1
                assert shop.statuses() == ["disabled"] * 4
                shop.batch(receiver.url, 1, name="bat_2")  # 410 is for the address, not for one batch
                receiver.answers = [200]
                shop.finish()
                await shop.work(notifier)
                assert (len(receiver.received), shop.statuses()) == (1, ["disabled"] * 7)

    run(scenario)


def test_a_redirect_is_a_failure_and_is_not_followed(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as elsewhere:
            with Receiver(answers=[302], headers={"location": elsewhere.url}).running() as receiver:
                shop.batch(receiver.url, 1)
                shop.books.claim()
                async with notifier_of(shop) as notifier:
                    await shop.work(notifier)
                assert len(receiver.received) == 1
            assert elsewhere.received == []

    run(scenario)
    (row,) = shop.books.rows("SELECT http_status, error, status FROM webhook_deliveries")
    assert (row["http_status"], row["error"], row["status"]) == (302, "HTTP 302", "pending")


def test_a_receiver_that_says_nothing_is_given_up_after_the_time_out(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(delay_seconds=1.0).running() as receiver:
            shop.batch(receiver.url, 1)
            shop.books.claim()
            async with notifier_of(shop, timeout_seconds=0.2) as notifier:
                started = time.monotonic()
                await shop.work(notifier)
                assert time.monotonic() - started < 0.9

    run(scenario)
    (row,) = shop.books.rows("SELECT http_status, error FROM webhook_deliveries")
    assert (row["http_status"], row["error"]) == (None, "timed out")


def test_a_private_address_is_never_connected_to(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            shop.batch(receiver.url.replace("http:", "https:"), 1)
            shop.batch(receiver.url.replace("http://127.0.0.1", "https://inside.example"), 1, name="bat_2")
            shop.books.claim()

            async def resolve(_host: str, _port: int) -> list[str]:
                return ["127.0.0.1"]

            async with notifier_of(shop, allow_private=False, resolve=resolve) as notifier:
                await shop.work(notifier)
            assert receiver.received == []

    run(scenario)
    errors = {row["error"] for row in shop.books.rows("SELECT error FROM webhook_deliveries")}
    assert errors == {
        "the URL's address is not a public one",
        "the host has an address that is not a public one",
    }


async def assert_soon(shop: Shop, is_so: Callable[[], bool]) -> None:
    """It is so before a receiver that takes 1.5 s has answered anything."""
    async with notifier_of(shop) as notifier:
        stop = asyncio.Event()
        running = asyncio.create_task(notifier.run(stop))
        started = time.monotonic()
        await until(is_so)
        assert time.monotonic() - started < 1.4
        stop.set()
        await running


def test_a_slow_receiver_does_not_hold_up_others(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(delay_seconds=1.5).running() as slow, Receiver().running() as quick:
            shop.batch(slow.url, 60)
            shop.batch(quick.url, 10, name="bat_2")
            shop.finish()
            await assert_soon(shop, lambda: len(quick.received) == 12)

    run(scenario)


def test_one_account_with_many_slow_urls_does_not_hold_up_another(shop: Shop) -> None:
    other = Shop(shop.books, shop.books.account("other"))
    shop.books.grant(other.account_id, 100)

    async def scenario() -> None:
        with Receiver(delay_seconds=1.5).running() as slow, Receiver().running() as quick:
            for n in range(DELIVERIES_AT_ONCE_MAX):
                shop.batch(f"{slow.url}?n={n}", 2, name=f"bat_slow_{n}")
            shop.finish()
            shop.books.now_ms += 1000  # and what is slow has waited longer
            other.batch(quick.url, 1, name="bat_quick")
            other.finish()
            await assert_soon(shop, lambda: len(quick.received) == 3)

    run(scenario)


class Unwell:
    """In place of HTTP: receivers answer 500, from `hang` on nothing; only `well` takes everything."""

    def __init__(self) -> None:
        self.hang = asyncio.Event()
        self.under_way = 0
        self.taken: list[str] = []

    async def post(
        self, url: str, *, headers: Any, body: bytes, timeout_seconds: float, asker: str
    ) -> Answer:
        """Answers, or waits to be cancelled."""
        if "well" in url:
            self.taken.append(url)
            return Answer(200, {})
        self.under_way += 1
        try:
            if self.hang.is_set():
                await asyncio.sleep(timeout_seconds)
            return Answer(500, {})
        finally:
            self.under_way -= 1


def test_accounts_whose_receivers_fail_leave_half_of_the_places_to_the_others(shop: Shop) -> None:
    for n in range(8):
        unlucky = Shop(shop.books, shop.books.account(f"unlucky {n}"))
        shop.books.grant(unlucky.account_id, 100)
        for m in range(8):
            unlucky.batch(f"https://down.example/{n}/{m}", 1, name=f"bat_{n}_{m}")
    shop.books.claim()

    async def scenario() -> None:
        http = Unwell()
        notifier = Notifier(
            shop.books.database,
            http=cast("GuardedHttp", http),
            secrets=WebhookSecrets(OPERATOR_SECRET),
            now_ms=lambda: shop.books.now_ms,
            retry_seconds=(1.0,) * 100,
        )
        for _ in range(FAILURES_IN_ROW_MAX):
            await shop.work(notifier)
            shop.books.now_ms += 1000
        http.hang.set()
        while await notifier.start_due():
            await asyncio.sleep(0.01)
        await until(lambda: http.under_way == DELIVERIES_AT_ONCE_TO_FAILING_MAX)
        shop.batch("https://well.example/", 1, name="bat_well")
        shop.books.claim()
        await notifier.fan_out()
        assert await notifier.start_due() == 1
        await until(lambda: http.taken == ["https://well.example/"])
        assert http.under_way == DELIVERIES_AT_ONCE_TO_FAILING_MAX

    run(scenario)


def test_two_notifiers_send_each_event_once(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(delay_seconds=0.01).running() as receiver:
            shop.batch(receiver.url, 40)
            shop.finish()
            async with notifier_of(shop) as one, notifier_of(shop) as two:
                stop = asyncio.Event()
                running = [asyncio.create_task(notifier.run(stop)) for notifier in (one, two)]
                await until(lambda: shop.statuses().count("delivered") == 42)
                stop.set()
                await asyncio.gather(*running)
            ids = [headers["webhook-id"] for _, headers, _ in receiver.received]
            assert len(ids) == len(set(ids)) == 42

    run(scenario)


def test_what_a_dead_process_had_claimed_is_sent_by_another(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            shop.batch(receiver.url, 1)
            shop.books.claim()
            now_ms = shop.books.now_ms
            database = shop.books.database
            database.run(deliveries.fan_out, feeds_max=10, events_max=10, now_ms=now_ms)
            ((endpoint_id, _account_id),) = database.run(
                deliveries.endpoints_with_due, now_ms=now_ms, limit=10
            )
            claimed = database.run(
                deliveries.claim_if_due,
                endpoint_id,
                limit=10,
                now_ms=now_ms,
                claimed_until_ms=now_ms + 60_000,
            )
            assert len(claimed) == 1  # and now the process dies
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                assert receiver.received == []
                shop.books.now_ms += 60_000
                await shop.work(notifier)
                assert len(receiver.received) == 1
            stale = claimed[0]
            database.run(
                deliveries.record_failure_if_claimed,
                stale,
                http_status=500,
                error="late",
                next_attempt_at_ms=None,
            )
            assert shop.statuses() == ["delivered"], "who comes back from the dead changes nothing"

    run(scenario)


def test_a_retried_item_opens_the_feed_again(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            row_id = shop.batch(receiver.url, 1)
            shop.finish(failed=1)
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                assert len(receiver.received) == 3
                shop.books.database.run(retries.retry_item, row_id, 0, now_ms=shop.books.now_ms)
                shop.finish()
                await shop.work(notifier)
            kinds = [document["type"] for document in receiver.documents()[3:]]
            assert sorted(kinds) == ["batch.succeeded", "video.succeeded"]
            assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == len(
                receiver.received
            )

    run(scenario)


def test_a_batch_without_a_webhook_has_no_feed_and_costs_nothing(shop: Shop) -> None:
    shop.books.accept(shop.account_id, [1, 1], name="bat_quiet")
    shop.finish()
    assert shop.books.rows("SELECT * FROM webhook_feeds") == []
    assert shop.books.database.run_reading(deliveries.any_news) is False


def test_a_body_is_never_larger_than_receivers_expect() -> None:
    task = {
        "item_index": 0, "custom_id": "é" * 128, "status": "failed", "progress": 0, "prompt": "p" * 4000,
        "model": "sora-2", "alias": "é" * 128, "video_url": "https://x/" + "é" * 4000, "error": "é" * 4000,
        "failure_type": "unknown", "choice": None,
        "attempt": 1, "metadata": json.dumps({"m": "é" * 2000}), "created_at_ms": 0, "completed_at_ms": 0,
        "trouble_at_ms": None, "deadline_at_ms": None, "is_deleted": False, "follows_custom_id": "é" * 128,
        **dict.fromkeys(("verdict", "verdict_reasons", "verdict_score", "verdict_by")),
    }  # fmt: skip
    for url in (task["video_url"], "https://x/" + "🚤" * 3990):
        document = event_document("video.failed", 0, {"public_id": "bat_1"}, {**task, "video_url": url})
        encoded = encoded_event(document)
        assert len(encoded) <= EVENT_BYTES_MAX
        assert "prompt" not in json.loads(encoded)["data"]


def test_secrets_differ_by_account_and_follow_the_operators() -> None:
    secrets = {webhook_secret("a", 1), webhook_secret("a", 2), webhook_secret("b", 1)}
    assert len(secrets) == 3
    assert all(secret.startswith("whsec_") for secret in secrets)
    assert webhook_secret("a", 1) == webhook_secret("a", 1)


def test_a_webhook_id_names_its_event() -> None:
    assert event_of_webhook_id(webhook_id("bat_a_b", 7)) == ("bat_a_b", 7)
    for other in (
        "",
        "msg_",
        "msg_bat",
        "msg_bat_x",
        "bat_1_2",
        "msg_bat_1_٣",
        "msg_bat_1_" + "9" * 30,
        "msg__1",
    ):
        assert event_of_webhook_id(other) is None, other
