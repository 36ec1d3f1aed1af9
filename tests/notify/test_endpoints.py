"""An account's webhook endpoints: what each gets, by ids against the outbox; none lost, none doubled."""

from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from rushes.domain.errors import InputError, NotFound
from rushes.domain.input.event_filter import EVENT_TYPES, read_event_filter, types_in
from rushes.notify.notifier import seconds_asked_for
from rushes.notify.secrets import WebhookSecrets, named_by_delivery_id, webhook_secret
from rushes.store import deliveries
from rushes.store.deliveries import DeliveryName
from rushes.store.webhook_keys import KeyVersions
from rushes.store.webhooks import endpoints, event_log
from tests.notify.test_notify import OPERATOR_SECRET, Receiver, Shop, notifier_of, run, shop

__all__ = ["shop"]


def created(shop: Shop, url: str, *events: str, name: str = "we_1", **more: Any) -> dict[str, Any]:
    return shop.books.database.run(
        endpoints.create,
        shop.account_id,
        public_id=name,
        url=url,
        events=",".join(events) or None,
        description=None,
        is_enabled=more.pop("is_enabled", True),
        now_ms=shop.books.now_ms,
    )


def changed(shop: Shop, name: str = "we_1", **values: Any) -> dict[str, Any]:
    return shop.books.database.run(endpoints.change, shop.account_id, name, values, now_ms=shop.books.now_ms)


def plain_batch(shop: Shop, count: int = 2, *, name: str = "bat_1") -> int:
    return shop.books.accept(shop.account_id, [1] * count, name=name)


def outbox(shop: Shop, *kinds: str) -> list[str]:
    """The ids of all events of these kinds, of all batches, as a receiver should have seen them."""
    rows = shop.books.rows(
        "SELECT b.public_id, e.seq, e.type FROM batch_events e JOIN batches b ON b.id = e.batch_id"
    )
    return sorted(f"msg_{row['public_id']}_{row['seq']}" for row in rows if row["type"] in kinds or not kinds)


def ids(receiver: Receiver) -> list[str]:
    return sorted(headers["webhook-id"] for _, headers, _ in receiver.received)


def test_every_endpoint_gets_what_it_asks_for_of_all_batches_once(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as every, Receiver().running() as videos, Receiver().running() as ends:
            created(shop, every.url)
            created(shop, videos.url, "video.*", name="we_2")
            created(shop, ends.url, "batch.partial", "batch.succeeded", name="we_3")
            plain_batch(shop, 3)
            shop.finish(failed=1)
            plain_batch(shop, 1, name="bat_2")
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
            assert ids(every) == outbox(shop)
            assert ids(videos) == outbox(shop, "video.succeeded", "video.failed")
            assert ids(ends) == outbox(shop, "batch.partial", "batch.succeeded")
            assert len(ids(ends)) == 2

    run(scenario)


def test_a_batch_sends_to_its_own_address_what_it_names_and_an_endpoint_there_gets_the_rest(
    shop: Shop,
) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            created(shop, receiver.url)
            shop.batch(receiver.url, events="video.*")
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
            assert ids(receiver) == outbox(shop)
            rows = shop.books.rows("SELECT type, endpoint_id FROM webhook_deliveries")
            assert len({row["endpoint_id"] for row in rows}) == 2

    run(scenario)


def test_what_happened_before_an_endpoint_was_made_is_no_news_to_it(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            plain_batch(shop)
            shop.finish()
            shop.books.now_ms += 1
            created(shop, receiver.url)
            plain_batch(shop, name="bat_2")
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
            assert ids(receiver) == [one for one in outbox(shop) if "bat_2" in one]

    run(scenario)


def test_an_endpoint_that_was_off_gets_all_it_missed_by_a_replay_and_nothing_twice(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            created(shop, receiver.url)
            changed(shop, is_enabled=False)
            plain_batch(shop)
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                assert (receiver.received, shop.statuses()) == ([], ["disabled"] * 4)
                with pytest.raises(InputError, match="enable it first"):
                    replayed(shop)
                assert changed(shop, is_enabled=True)["disabled_reason"] is None
                await shop.work(notifier)
                assert receiver.received == []
                assert [replayed(shop), replayed(shop)] == [4, 0]
                await shop.work(notifier)
                assert ids(receiver) == outbox(shop)
                assert replayed(shop) == 0

    run(scenario)


def replayed(shop: Shop, since_ms: int = 0) -> int:
    return shop.books.database.run(
        endpoints.replay_since, shop.account_id, "we_1", since_ms=since_ms, now_ms=shop.books.now_ms
    )


def test_410_turns_the_endpoint_off_for_all_batches_and_no_other_endpoint(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[410, 200]).running() as gone, Receiver().running() as other:
            created(shop, gone.url, "video.*")
            created(shop, other.url, "video.*", name="we_2")
            plain_batch(shop, 1)
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                row = shop.books.database.run_reading(endpoints.find, shop.account_id, "we_1")
                assert (row["disabled_reason"], len(gone.received)) == ("gone", 1)
                plain_batch(shop, 1, name="bat_2")
                shop.finish()
                await shop.work(notifier)
                assert len(gone.received) == 1
                assert ids(other) == outbox(shop, "video.succeeded")
                changed(shop, is_enabled=True)
                assert replayed(shop) == 2
                await shop.work(notifier)
                assert sorted(set(ids(gone))) == outbox(shop, "video.succeeded")

    run(scenario)


def test_both_secrets_of_an_endpoint_sign_until_the_overlap_ends(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            created(shop, receiver.url, "video.*")
            plain_batch(shop, 1)
            shop.books.database.run(
                endpoints.rotate, shop.account_id, "we_1", overlap_seconds=60, now_ms=shop.books.now_ms
            )
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
                shop.books.now_ms += 60_000
                plain_batch(shop, 1, name="bat_2")
                shop.finish()
                await shop.work(notifier)
        (during, _), (after, _) = ((headers, body) for _, headers, body in receiver.received)
        new, old = (webhook_secret(OPERATOR_SECRET, "we_1", version) for version in (2, 1))
        assert len(during["webhook-signature"].split()) == 2
        assert len(after["webhook-signature"].split()) == 1
        verify(receiver, 0, new, old)
        verify(receiver, 1, new)
        for secret in (old, webhook_secret(OPERATOR_SECRET, shop.account_id)):
            with pytest.raises(WebhookVerificationError):
                verify(receiver, 1, secret)

    run(scenario)


def verify(receiver: Receiver, number: int, *secrets: str) -> None:
    """By the official library, whose clock is this test's: the times are the books' own."""
    _, headers, body = receiver.received[number]
    for secret in secrets:
        sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        signature = Webhook(secret).sign(headers["webhook-id"], sent_at, body.decode())
        if signature not in headers["webhook-signature"].split():
            raise WebhookVerificationError("no signature of this secret")


def test_an_address_that_was_changed_gets_what_waits(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[500]).running() as old, Receiver().running() as new:
            created(shop, old.url, "video.*")
            plain_batch(shop, 1)
            shop.finish()
            async with notifier_of(shop, retry_seconds=(10.0,)) as notifier:
                await shop.work(notifier)
                changed(shop, url=new.url, events="video.failed")
                shop.books.now_ms += 10_000
                await shop.work(notifier)
            assert ids(new) == outbox(shop, "video.succeeded")

    run(scenario)


def test_a_deleted_endpoint_is_not_found_and_gets_nothing(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver().running() as receiver:
            created(shop, receiver.url)
            shop.books.database.run(endpoints.delete, shop.account_id, "we_1", now_ms=shop.books.now_ms)
            plain_batch(shop)
            shop.finish()
            async with notifier_of(shop) as notifier:
                await shop.work(notifier)
            assert (receiver.received, shop.statuses()) == ([], [])
            with pytest.raises(NotFound):
                changed(shop, is_enabled=True)
            created(shop, receiver.url, name="we_2")

    run(scenario)


def test_one_address_one_endpoint_and_not_too_many(shop: Shop) -> None:
    for number in range(endpoints.ENDPOINTS_MAX):
        created(shop, f"https://example.com/{number}", name=f"we_{number}")
    with pytest.raises(InputError, match="has this URL"):
        created(shop, "https://example.com/0", name="we_x")
    with pytest.raises(InputError, match="at most 20 endpoints"):
        created(shop, "https://example.com/x", name="we_x")
    with pytest.raises(InputError, match="has this URL"):
        changed(shop, "we_0", url="https://example.com/1")
    other = shop.books.account("other")
    with pytest.raises(NotFound):
        shop.books.database.run_reading(endpoints.find, other, "we_0")


def test_a_replay_of_what_is_to_be_sent_changes_nothing(shop: Shop) -> None:
    async def scenario() -> None:
        with Receiver(answers=[500, 200]).running() as receiver:
            shop.batch(receiver.url, 1, events="video.*")
            shop.finish()
            async with notifier_of(shop, retry_seconds=(600.0,)) as notifier:
                await shop.work(notifier)
                row = shop.books.row("SELECT * FROM webhook_deliveries")

                def replay() -> dict[str, Any]:
                    return shop.books.database.run(deliveries.replay_row, row["id"], now_ms=shop.books.now_ms)

                assert replay()["next_attempt_at_ms"] == shop.books.now_ms  # instead of in ten minutes
                first = shop.books.row("SELECT * FROM webhook_deliveries")
                shop.books.now_ms += 1
                replay()
                assert shop.books.row("SELECT * FROM webhook_deliveries") == first
                await shop.work(notifier)
                assert len(receiver.received) == 2

    run(scenario)


def test_a_log_has_every_event_once_in_an_order_that_stays(shop: Shop) -> None:
    database = shop.books.database
    for number in range(1, 4):
        plain_batch(shop, 2, name=f"bat_{number}")
        shop.finish()
        shop.books.now_ms += 10
        if number != 2:
            database.run(event_log.number_new, shop.account_id, now_ms=shop.books.now_ms)
    assert not database.run_reading(event_log.has_news, shop.account_id)
    rows = shop.books.rows("SELECT position, batch_id, seq FROM account_events ORDER BY position")
    assert [row["position"] for row in rows] == list(range(1, 13))
    assert [row["batch_id"] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4
    assert [row["seq"] for row in rows] == [1, 2, 3, 4] * 3
    assert database.run(event_log.number_new, shop.account_id, now_ms=shop.books.now_ms) == 0


def test_filters_name_types_and_groups() -> None:
    assert types_in(None) == list(EVENT_TYPES)
    assert types_in("video.*,batch.failed") == [
        name for name in EVENT_TYPES if name.startswith("video.") or name == "batch.failed"
    ]
    assert read_event_filter(["video.*", "video.*"], field="events") == "video.*"
    assert read_event_filter(["batch.failed", "*"], field="events") is None


@pytest.mark.parametrize("value", [[], "video.*", ["video"], ["video.succeded"], [1], [None], {"a": 1}, True])
def test_a_filter_that_cannot_be_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="events"):
        read_event_filter(value, field="events")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40),
        ("Thu, 01 Jan 1970 00:00:40 GMT", 0),
        ("", 0),
        ("-1", 0),
        ("soon", 0),
        ("9" * 30, 0),
        ("\u0667", 0),
        ("Thu, 99 Jan 1970 00:00:40 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float) -> None:
    assert seconds_asked_for(text, 60_000) == seconds


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("msg_bat_1_2", DeliveryName("bat_1", 2)),
        ("msg_bat_1_2-we_3", DeliveryName("bat_1", 2, "we_3")),
        ("msg_bat_1_2-", None),
        ("msg_bat-we_3", None),
        ("-we_3", None),
        ("", None),
    ],
)
def test_a_deliverys_name_is_read_back(text: str, name: DeliveryName | None) -> None:
    assert named_by_delivery_id(text) == name


def test_an_endpoints_secret_is_no_accounts() -> None:
    owners: list[int | str] = [1, "1", "we_1", "we_2"]
    assert len({webhook_secret("s", owner) for owner in owners}) == 4
    assert len({WebhookSecrets("s").current(owner, KeyVersions()) for owner in owners}) == 4
