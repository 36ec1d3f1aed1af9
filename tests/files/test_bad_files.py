"""A success whose file is bad: charged or given back, and tried again where its batch wants that."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.credits import LotKind
from rushes.domain.errors import InputError, ItemNotRefundable
from rushes.domain.retries import RetryPolicy, read_policy
from rushes.domain.task import Succeeded
from rushes.files.due import recording_successes
from rushes.money.accept import accept_batch
from rushes.money.audit.audit import audit
from rushes.money.bad_files import AfterBadFile
from rushes.money.giving_back import refund_item
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.store import ledger
from rushes.store.tasks import retries
from tests.books import REFUSED, WORKER, request
from tests.files.file_host import CLIP, Reply
from tests.files.vault import LINK_SECONDS, Vault, run

HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"
LONGER = json.dumps({"duration": 10})  # the clip has two seconds


def policy(**fields: Any) -> RetryPolicy:
    return read_policy({"max": 1, "reasons": ["bad_file"], **fields}, DEFAULT_CATALOGUE, [], 0.0)


def accept(vault: Vault, wanted: RetryPolicy | None, options: str = LONGER) -> None:
    """A batch of one item of 3 credits, whose options are these."""
    asked = request(vault.account_id, [3], request_id="bad")
    if wanted is not None:
        asked = _with(asked, wanted)
    vault.books.database.run(accept_batch, asked, public_id="bat_bad", now_ms=vault.books.now_ms)
    vault.books.sql("UPDATE video_tasks SET options = :options", options=options)


def _with(asked: Any, wanted: RetryPolicy) -> Any:
    return replace(asked, retry_policy=wanted)


def succeed(vault: Vault, *replies: Reply) -> None:
    """The item's newest try succeeds, and its file is answered so."""
    (task,) = vault.books.claim()
    vault.books.name([task])
    path = f"/{task.task_id}.mp4"
    vault.host.replies[path] = list(replies)
    group = Group(verdicts=[(task.task_id, task.attempt, Succeeded(f"{vault.host.origin}{path}"))])
    vault.books.database.run(
        apply_group,
        group,
        worker_id=WORKER,
        now_ms=vault.books.now_ms,
        before_closing=recording_successes({"grsai": LINK_SECONDS}, retry_failed),
    )


def fetch(vault: Vault, after: AfterBadFile, *, seconds: int = 0) -> None:
    archiver = vault.archiver()
    archiver._on_bad_file = after
    run(partial(vault.work, archiver, seconds=seconds))


def balance(vault: Vault) -> int:
    return vault.books.database.run_reading(ledger.available_credits, vault.account_id, vault.books.now_ms)


def statuses(vault: Vault) -> list[tuple[str, int, int]]:
    rows = vault.books.rows("SELECT status, retry_number, is_current FROM video_tasks ORDER BY id")
    return [(row["status"], row["retry_number"], row["is_current"]) for row in rows]


def assert_sound(vault: Vault) -> None:
    report = vault.books.database.run_reading(audit)
    assert report.ok, report.violations


@pytest.mark.parametrize(
    ("reply", "options", "seconds"),
    [(Reply(CLIP), LONGER, 0), (Reply(HTML), "{}", 200)],
    ids=["another length", "broken"],
)
def test_a_bad_file_is_charged_unless_the_operator_gives_its_credits_back(
    vault: Vault, reply: Reply, options: str, seconds: int
) -> None:
    before = balance(vault)
    accept(vault, None, options)
    succeed(vault, *[reply] * 8)
    fetch(vault, AfterBadFile(), seconds=seconds)
    assert balance(vault) == before - 3
    assert statuses(vault) == [("succeeded", 0, 1)]
    assert_sound(vault)


def test_credits_come_back_once_in_the_kind_that_they_had(vault: Vault) -> None:
    ends_ms = vault.books.now_ms + 10_000_000
    vault.books.grant(vault.account_id, 2, expires_at_ms=ends_ms)
    before = balance(vault)
    accept(vault, None)
    succeed(vault, Reply(CLIP))
    fetch(vault, AfterBadFile(gives_back=True))
    assert balance(vault) == before
    rows = vault.books.rows(
        "SELECT type, delta, description FROM ledger_entries WHERE description LIKE 'given back%'"
    )
    assert sorted((row["type"], row["delta"]) for row in rows) == [("bonus", 2), ("purchase", 1)]
    assert {row["description"] for row in rows} == {"given back: the file of bat_bad-0 is bad"}
    bonus = vault.books.rows(
        "SELECT expires_at_ms FROM credit_lots WHERE kind = :kind", kind=LotKind.BONUS.value
    )
    assert {row["expires_at_ms"] for row in bonus} == {ends_ms}
    fetch(vault, AfterBadFile(gives_back=True), seconds=100)
    assert balance(vault) == before
    with pytest.raises(ItemNotRefundable, match="before"):
        vault.books.database.run(refund_item, "bat_bad", 0, reason="again", now_ms=vault.books.now_ms)
    assert_sound(vault)


def test_a_batch_that_names_bad_files_tries_again_within_its_bounds(vault: Vault) -> None:
    accept(vault, policy())
    succeed(vault, Reply(CLIP))
    fetch(vault, AfterBadFile())
    assert statuses(vault) == [("succeeded", 0, 0), ("pending", 1, 1)]
    assert vault.books.row("SELECT status, pending_count, succeeded_count FROM batches") == {
        "status": "processing",
        "pending_count": 1,
        "succeeded_count": 0,
    }
    assert_sound(vault)
    succeed(vault, Reply(CLIP))
    fetch(vault, AfterBadFile())
    assert statuses(vault) == [("succeeded", 0, 0), ("succeeded", 1, 1)], "one re-roll was asked for"
    assert vault.books.row("SELECT status, credits_settled FROM batches") == {
        "status": "succeeded",
        "credits_settled": 6,
    }
    assert_sound(vault)


def test_a_re_roll_of_a_bad_file_counts_among_those_of_failures(vault: Vault) -> None:
    accept(vault, policy(reasons=["bad_file", "output_moderation"]))
    succeed(vault, Reply(CLIP))
    fetch(vault, AfterBadFile())
    (task,) = vault.books.claim()
    vault.books.name([task])
    vault.books.database.run(
        apply_group,
        Group(verdicts=[(task.task_id, task.attempt, REFUSED)]),
        worker_id=WORKER,
        now_ms=vault.books.now_ms,
        before_closing=retry_failed,
    )
    assert statuses(vault) == [("succeeded", 0, 0), ("failed", 1, 1)], "one re-roll was asked for"
    assert_sound(vault)


@pytest.mark.parametrize(
    "wanted",
    [policy(reasons=["timeout"]), policy(credits_max=2), read_policy(2, DEFAULT_CATALOGUE, [], 0.0)],
    ids=["another reason", "no room in the cap", "no reason named"],
)
def test_nothing_is_tried_again_otherwise(vault: Vault, wanted: RetryPolicy) -> None:
    accept(vault, wanted)
    succeed(vault, Reply(CLIP))
    fetch(vault, AfterBadFile())
    assert statuses(vault) == [("succeeded", 0, 1)]
    assert_sound(vault)


def test_the_policy_is_kept_as_it_was_asked_for(vault: Vault) -> None:
    wanted = policy(max=3, reasons=["bad_file", "timeout"])
    accept(vault, wanted)
    (row,) = vault.books.rows("SELECT id FROM batches")
    found = vault.books.database.run_reading(retries.of_batch, row["id"])
    assert found is not None
    assert found.policy == wanted
    assert found.policy.as_dict()["reasons"] == ["bad_file", "timeout"]


def test_a_reason_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"^retries\.reasons\[1\]: must be one of bad_file, "):
        policy(reasons=["bad_file", "ugly"])
