"""A chain runs as a graph: each item once the one before it is stored, and nothing after a broken link."""

import asyncio
import json
from pathlib import Path

import pytest

from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.archive import ArchiveState
from rushes.domain.errors import ItemNotRetryable
from rushes.domain.input.duplicates import duplicates
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.retries import RetryPolicy
from rushes.files.chains.last_frame import last_frame_of
from rushes.files.gate.deciding import nothing_more, record_failure
from rushes.files.uploads import check_bytes
from rushes.money import accept, acts, retry
from rushes.money.settle import Group, apply_group
from rushes.run.inputs.last_frames import LastFrames
from rushes.store import archive
from rushes.store.acceptance.verdicts import Decision
from rushes.store.database import Database
from rushes.store.inputs import last_frames
from tests.books import REFUSED, WORKER, Books, assert_sound, batch, video
from tests.chains.world import MODELS, World, shots


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(Books(database), tmp_path / "archive")


def test_each_item_waits_for_the_stored_file_of_the_one_before(world: World) -> None:
    world.accept([*shots(3), {"prompt": "alone"}])
    first = world.claim()
    assert [task.prompt for task in first] == ["shot 1", "alone"]
    assert world.claim() == []
    world.end(first[0])
    assert (world.cut(), world.claim()) == (0, [])  # it succeeded, and its file is not there yet
    world.store()
    assert world.claim() == []  # the file is there, and its frame is not cut
    assert world.cut() == 1
    (second,) = world.claim()
    assert second.prompt == "shot 2"
    upload_id = second.options["first_frame"]
    (upload,) = world.books.rows("SELECT public_id, content_type FROM uploads")
    assert upload == {"public_id": upload_id, "content_type": "image/jpeg"}
    assert world.cut() == 0
    world.end(second)
    world.end(first[1])
    world.store()
    assert world.cut() == 1
    assert world.step() == [2]
    assert batch(world.books)["status"] == "succeeded"
    assert [json.loads(row[0]).get("first_frame", "")[:4] for row in world.items("options")] == [
        "",
        "upl_",
        "upl_",
        "",
    ]
    assert_sound(world.books)


def test_a_broken_link_ends_its_tail_alone_and_refunds_it_once(world: World) -> None:
    world.accept([*shots(4), *shots(2, start=11)])
    assert world.step() == [0, 4]
    second, other = world.claim()
    world.end(second, REFUSED)
    world.end(other)
    while world.cut():
        pass
    assert world.items("status", "failure_type") == [
        ("succeeded", None),
        ("failed", "output_moderation"),
        ("failed", "cancelled"),
        ("failed", "cancelled"),
        ("succeeded", None),
        ("succeeded", None),
    ]
    errors = [row[0] for row in world.items("error")]
    assert errors[2] == errors[3]
    assert errors[2] == (
        'CHAIN_BROKEN: "shot-2", which comes before it in its chain, failed: output_moderation'
    )
    found = batch(world.books)
    assert (found["status"], found["credits_settled"], found["credits_refunded"]) == ("partial", 15, 15)
    assert world.cut() == 0
    assert_sound(world.books)


def test_a_chain_may_branch_and_stand_in_any_order(world: World) -> None:
    world.accept(
        [
            {"prompt": "b", "custom_id": "b", "first_frame": "@a.last_frame"},
            {"prompt": "c", "custom_id": "c", "first_frame": "@b.last_frame"},
            {"prompt": "d", "custom_id": "d", "first_frame": "@a.last_frame"},
            {"prompt": "a", "custom_id": "a"},
        ]
    )
    assert [world.step(), world.step(), world.step()] == [[3], [0, 2], [1]]
    assert batch(world.books)["status"] == "succeeded"
    # the clips are all the same here, and so is the frame: it is stored once
    assert len(world.books.rows("SELECT id FROM uploads")) == 1


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_cancelled_item_ends_those_after_it(world: World, index: int) -> None:
    batch_id = world.accept(shots(4))
    world.books.database.run(accept.cancel_item, batch_id, index, now_ms=world.books.now_ms)
    while world.cut():
        pass
    statuses = [row[0] for row in world.items("status")]
    assert statuses == ["pending"] * index + ["failed"] * (4 - index)
    errors = [row[0] for row in world.items("error")][index + 1 :]
    assert set(errors) == {
        f'CHAIN_BROKEN: "shot-{index + 1}", which comes before it in its chain, was cancelled'
    }
    assert batch(world.books)["credits_refunded"] == 5 * (4 - index)
    assert_sound(world.books)


def test_a_cancelled_batch_ends_what_waits_at_once(world: World) -> None:
    batch_id = world.accept(shots(3))
    (first,) = world.claim()
    refunded = world.books.database.run(accept.cancel_batch, batch_id, now_ms=world.books.now_ms)
    assert refunded == 10
    world.end(first)
    world.store()
    assert world.cut() == 0
    assert batch(world.books)["status"] == "cancelled"
    assert_sound(world.books)


def test_a_retried_item_carries_its_chain_on(world: World) -> None:
    world.accept(shots(3), retry_policy=RetryPolicy(max=2))
    (first,) = world.claim()
    world.end(first, REFUSED)
    assert world.cut() == 0  # it was replaced by another try
    assert [row[0] for row in world.items("status")] == ["failed", "pending", "pending", "pending"]
    assert [world.step(), world.step(), world.step()] == [[0], [1], [2]]
    assert batch(world.books)["status"] == "succeeded"
    assert_sound(world.books)


def test_a_tail_is_retried_with_what_broke_it(world: World) -> None:
    batch_id = world.accept(shots(3))
    assert world.step(REFUSED) == [0]
    assert batch(world.books)["status"] == "failed"
    with pytest.raises(ItemNotRetryable, match='starts from "shot-1", which failed; retry that one too'):
        world.books.database.run(retry.retry_all, batch_id, [1, 2], now_ms=world.books.now_ms)
    done = world.books.database.run(
        acts.retry_failed, "bat_1", failure_type=None, from_index=0, now_ms=world.books.now_ms
    )
    assert done.count == 3
    assert [world.step(), world.step(), world.step()] == [[0], [1], [2]]
    assert batch(world.books)["status"] == "succeeded"
    assert_sound(world.books)


def test_an_item_that_was_cancelled_is_retried_once_the_one_before_has_its_clip(world: World) -> None:
    batch_id = world.accept(shots(2))
    world.books.database.run(accept.cancel_item, batch_id, 1, now_ms=world.books.now_ms)
    assert world.step() == [0]
    assert batch(world.books)["status"] == "partial"
    world.books.database.run(retry.retry_item, batch_id, 1, now_ms=world.books.now_ms)
    assert world.claim() == []
    assert world.cut() == 1
    assert world.step() == [1]
    assert batch(world.books)["status"] == "succeeded"
    assert_sound(world.books)


def test_with_a_gate_the_next_one_waits_for_an_accepted_clip(world: World) -> None:
    gate = Acceptance(DEFAULT_THRESHOLDS, BestOf(2))
    world.accept(shots(2), acceptance=gate)
    (first,) = world.claim()
    world.end(first)
    assert world.cut() == 0
    world.store(decision=Decision(Verdict.REJECTED, ["black"]))
    assert world.cut() == 1
    (again,) = world.claim()
    assert again.prompt == "shot 1"
    world.end(again)
    world.store(decision=Decision(Verdict.ACCEPTED, []))
    assert world.cut() == 1
    (second,) = world.claim()
    assert second.prompt == "shot 2"


def test_a_rejected_clip_that_buys_no_other_breaks_the_chain(world: World) -> None:
    world.accept(shots(3), acceptance=Acceptance(DEFAULT_THRESHOLDS))
    (first,) = world.claim()
    world.end(first)
    world.store(decision=Decision(Verdict.REJECTED, ["black", "silent"]))
    assert world.cut() == 1
    assert (
        world.items("status", "error")[1:]
        == [
            (
                "failed",
                'CHAIN_BROKEN: "shot-1", which comes before it in its chain, was rejected: black, silent',
            )
        ]
        * 2
    )
    assert_sound(world.books)


def test_a_clip_that_is_never_stored_breaks_the_chain(world: World) -> None:
    world.accept(shots(2))
    (first,) = world.claim()
    world.end(first)
    (file,) = world.books.database.run(
        archive.claim_if_due, limit=1, now_ms=world.books.now_ms, claimed_until_ms=world.books.now_ms
    )
    world.books.database.run(
        record_failure,
        file,
        state=ArchiveState.EXPIRED,
        reason="gone",
        bad_files=0,
        next_attempt_at_ms=0,
        is_broken=False,
        now_ms=world.books.now_ms,
        on_decided=nothing_more,
    )
    assert world.cut() == 1
    assert world.items("status", "error")[1][1].endswith("has no stored video")
    assert_sound(world.books)


def test_a_clip_without_a_frame_breaks_the_chain(world: World) -> None:
    world.accept(shots(2))
    (first,) = world.claim()
    world.end(first)
    world.store(b"no video at all")
    assert world.cut() == 1
    assert "cannot be decoded" in world.items("error")[1][0]
    assert batch(world.books)["credits_refunded"] == 5
    assert_sound(world.books)


def test_a_process_that_dies_between_any_two_steps_leaves_nothing_twice(world: World) -> None:
    world.accept(shots(2))
    (first,) = world.claim()
    world.end(first)
    world.store()
    claim = {"limit": 8, "now_ms": world.books.now_ms, "claimed_until_ms": world.books.now_ms + 60_000}
    (ended,) = world.books.database.run(last_frames.claim_if_ready, **claim)
    assert world.cut() == 0  # it is another process's
    # that one has cut the frame and stored it, and dies before it hands it out
    frame = asyncio.run(last_frame_of(world.objects, str(ended.video_key)))
    asyncio.run(world.uploads.keep(world.account_id, "acme", check_bytes(frame)))
    assert world.claim() == []
    world.books.now_ms += 61_000
    assert world.cut() == 1
    assert len(world.books.rows("SELECT id FROM uploads")) == 1
    assert [task.prompt for task in world.claim()] == ["shot 2"]


def test_a_success_that_is_never_fetched_breaks_the_chain(world: World) -> None:
    """The archive was turned off after the batch was accepted."""
    world.accept(shots(3))
    (first,) = world.claim()
    group = Group(verdicts=[(first.task_id, first.attempt, video(first))])
    world.books.database.run(apply_group, group, worker_id=WORKER, now_ms=world.books.now_ms)
    assert world.cut() == 1
    assert [row[0] for row in world.items("status")] == ["succeeded", "failed", "failed"]
    assert world.items("error")[1][0].endswith("has no stored video")
    assert_sound(world.books)


def test_a_disk_without_space_for_a_copy_is_tried_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.accept(shots(2))
    (first,) = world.claim()
    world.end(first)
    world.store()
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "not-there"))
        assert world.cut() == 1
    assert (world.frames.outcomes["failed"], world.claim()) == (1, [])
    world.books.now_ms += 2_000
    assert world.cut() == 1
    assert [task.prompt for task in world.claim()] == ["shot 2"]


def test_an_end_that_nobody_foresaw_ends_the_process_too(world: World) -> None:
    """So that it is seen, and started again."""

    def broken_clock() -> int:
        raise ZeroDivisionError

    frames = LastFrames(world.books.database, world.objects, world.uploads, now_ms=broken_clock)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(asyncio.wait_for(frames.run(asyncio.Event()), 5))


def test_equal_items_of_a_chain_are_all_bought(world: World) -> None:
    """What they start from is not there yet: they equal nothing, and nobody says that they do."""
    twice = [{"prompt": "b", "custom_id": name, "first_frame": "@a.last_frame"} for name in ("b", "c")]
    items = [{"prompt": "a", "custom_id": "a"}, *twice, {"prompt": "a"}]
    drafts = validate_drafts(drafts_from_objects(items, Defaults.of(MODELS, "sora-2")), MODELS, 0.0)
    assert duplicates(drafts) == [(3, 0)]
    world.accept(items, reuse=True)
    assert batch(world.books)["credits_reserved"] == 15
    assert [world.step(), world.step()] == [[0], [1, 2]]
