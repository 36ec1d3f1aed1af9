"""The gate: each stored clip of a batch that asks for it gets one verdict; status and credits stay."""

import asyncio
from pathlib import Path

import pytest
from proofs.gate_clips import clips, written

from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS, Thresholds, judged, read_gate
from rushes.files.fetch import BadStatus
from rushes.files.gate.measuring import measured
from rushes.files.video_check import BadFile, checked_mp4
from rushes.files.video_pictures import can_decode
from tests.books import assert_sound
from tests.files.file_host import CLIP, Reply
from tests.files.vault import Vault, run

pytestmark = pytest.mark.skipif(not can_decode(), reason="PyAV is not installed")

KINDS = 36
"""Every kind of clip once."""


def test_each_fault_is_found_and_nothing_else(tmp_path: Path) -> None:
    wrong = {}
    made = clips(KINDS, seed=11)
    assert len({clip.kind for clip in made}) == KINDS
    for clip in made:
        path = written(clip, tmp_path / "clip.mp4")
        try:
            checked_mp4(path)
        except BadFile:  # the archive refuses it
            found = ["broken"]
        else:
            measures = measured(path)
            assert measures is not None
            thresholds = read_gate(clip.thresholds)
            assert thresholds is not None
            found = [reason.value for reason in judged(measures, thresholds, clip.options)[1]]
        if set(found) != clip.faults:
            wrong[clip.kind] = found
    assert wrong == {}


def test_a_clip_is_stored_and_judged_at_its_first_fetch(vault: Vault) -> None:
    vault.settle(
        Reply(CLIP), Reply(CLIP), options={"aspect_ratio": "16:9", "duration": 2}, gate=DEFAULT_THRESHOLDS
    )
    assert vault.verdicts() == [("file", None, None)] * 2
    run(lambda: vault.work(vault.archiver()))
    assert vault.verdicts() == [("decided", "accepted", "")] * 2
    measures = vault.books.rows("SELECT measures, decided_by FROM clip_verdicts")[0]
    assert measures["decided_by"] == "gate"
    assert '"seconds":2.0' in measures["measures"]
    assert_sound(vault.books)


def test_what_was_not_asked_for_is_stored_and_rejected_with_each_reason(vault: Vault) -> None:
    vault.settle(
        Reply(CLIP),
        options={"aspect_ratio": "9:16", "duration": 10},
        gate=Thresholds(resolution="720p", frames_per_second_min=60, sound=True),
    )
    before = vault.books.everything()
    run(lambda: vault.work(vault.archiver()))
    (row,) = vault.files()
    assert (row["state"], row["attempts"]) == ("stored", 1)
    reasons = "silent,length,ratio,resolution,frame_rate"
    assert vault.verdicts() == [("decided", "rejected", reasons)]
    after = vault.books.everything()
    told = after.pop("batch_events")[len(before.pop("batch_events")) :]
    assert [event["type"] for event in told] == ["video.stored"]
    (batch,), (batch_before,) = after.pop("batches"), before.pop("batches")
    changed = {name for name, value in batch.items() if value != batch_before[name]}
    assert len(changed) == 1, changed  # the number of its last event
    assert after == before, "no status and no credit"


def test_what_the_thresholds_ignore_is_no_reason(vault: Vault) -> None:
    gate = read_gate({"ignore": ["length"]})
    vault.settle(Reply(CLIP), options={"duration": 10}, gate=gate)
    run(lambda: vault.work(vault.archiver()))
    assert vault.verdicts() == [("decided", "accepted", "")]


def test_a_broken_file_is_refused_as_ever_and_rejected_as_broken(vault: Vault) -> None:
    vault.settle(Reply(CLIP[: len(CLIP) * 2 // 3]), gate=DEFAULT_THRESHOLDS)
    run(lambda: vault.work(vault.archiver(), seconds=200))
    assert vault.files()[0]["state"] == "refused"
    assert vault.verdicts() == [("decided", "rejected", "broken")]


def test_nobody_can_tell_of_a_file_that_never_came(vault: Vault) -> None:
    vault.settle(
        Reply(status=410),
        Reply(status=302, headers={"location": "http://10.0.0.1/"}),
        gate=DEFAULT_THRESHOLDS,
    )
    run(lambda: vault.work(vault.archiver(), seconds=200))
    assert [row["state"] for row in vault.files()] == ["expired", "refused"]
    assert vault.verdicts() == [("decided", "undecided", "no_file")] * 2


def test_batches_without_a_gate_have_no_verdicts(vault: Vault) -> None:
    vault.settle(Reply(CLIP))
    run(lambda: vault.work(vault.archiver()))
    assert vault.verdicts() == []


def test_two_archivers_give_each_clip_one_verdict(vault: Vault) -> None:
    vault.settle(*[Reply(CLIP)] * 6, gate=DEFAULT_THRESHOLDS)
    decided: list[int] = []

    def on_decided(_connection: object, task_ids: object, _now_ms: int) -> None:
        assert isinstance(task_ids, list)
        decided.extend(task_ids)

    async def scenario() -> None:
        archivers = [vault.archiver(), vault.archiver()]
        for archiver in archivers:
            archiver._on_decided = on_decided
        await asyncio.gather(*(vault.work(archiver) for archiver in archivers))

    run(scenario)
    assert sorted(decided) == [row["task_id"] for row in vault.files()]
    assert vault.verdicts() == [("decided", "accepted", "")] * 6


def test_without_a_decoder_a_clip_is_stored_and_undecided(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.files.gate.deciding.measured", lambda _path: None)
    vault.settle(Reply(CLIP), gate=DEFAULT_THRESHOLDS)
    run(lambda: vault.work(vault.archiver()))
    assert vault.files()[0]["state"] == "stored"
    assert vault.verdicts() == [("decided", "undecided", "not_measured")]


def test_a_verdict_that_cannot_follow_takes_its_file_back(vault: Vault) -> None:
    """What follows from a verdict is in its transaction: when that fails, the clip is judged again."""
    vault.settle(Reply(CLIP), gate=DEFAULT_THRESHOLDS)

    def fails(_connection: object, _task_ids: object, _now_ms: int) -> None:
        raise BadStatus(500)

    archiver = vault.archiver()
    archiver._on_decided = fails
    with pytest.raises(BadStatus):
        run(lambda: _work_once(vault, archiver))
    assert vault.verdicts() == [("file", None, None)]
    assert vault.files()[0]["state"] == "due"


async def _work_once(vault: Vault, archiver: object) -> None:
    from rushes.files.archive import Archiver

    assert isinstance(archiver, Archiver)
    await archiver.start_due()
    (task,) = archiver._fetching
    await task
