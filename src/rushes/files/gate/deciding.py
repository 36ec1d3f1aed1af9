"""A fetched file is checked, measured where its batch has a gate, and recorded with its verdict.

The record of the file and the verdict are one transaction: what follows from a verdict (`OnDecided`) happens
in it too, so a crash leaves all of it or none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.acceptance.gate import Thresholds, judged
from rushes.domain.acceptance.verdicts import Reason, Verdict
from rushes.domain.archive import ArchiveState, VideoFacts, disagreement
from rushes.files.gate.measuring import measured
from rushes.files.provenance import can_read_manifests, manifest_of
from rushes.files.video_check import checked_mp4
from rushes.files.video_pictures import Pictures, can_decode, decoded_pictures
from rushes.store import archive, batches
from rushes.store.acceptance import verdicts
from rushes.store.acceptance.gates import thresholds_in
from rushes.store.acceptance.verdicts import Decision
from rushes.store.archive import ClaimedFile, StoredFile

OnDecided: TypeAlias = Callable[[Connection, Sequence[int], int], object]
"""What happens in the transaction that decides about the clips of these tasks, at that time in epoch
milliseconds."""


def nothing_more(_connection: Connection, _task_ids: Sequence[int], _now_ms: int) -> None:
    """Nothing follows from a verdict."""


def no_gate_here(*, keeps_files: bool) -> str | None:
    """Why no clip can be judged by this installation; None where it can."""
    if not keeps_files:
        return "RUSHES_ARCHIVE_URL is none: the gate looks at stored files"
    if not can_decode():
        return "the gate needs the extra video: pip install 'rushes[video]'"
    return None


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A whole video: what it is, in what it is not what was asked for, its manifest, the gate's decision."""

    facts: VideoFacts
    reason: str | None
    pictures: Pictures | None
    manifest: Mapping[str, Any] | None
    decision: Decision | None


def checked_file(path: Path, file: ClaimedFile) -> CheckedFile:
    """Check the file and, where its batch has a gate, measure it. For a thread: it decodes.

    Raises `BadFile` for one that is no whole video.
    """
    facts = checked_mp4(path)
    options = msgspec.json.decode(file.options)
    pictures = decoded_pictures(path)
    decision = None if file.gate is None else _decided(path, options, thresholds_in(file.gate))
    manifest = manifest_of(path) or {"state": "none"} if can_read_manifests() else None
    return CheckedFile(facts, disagreement(facts, options), pictures, manifest, decision)


def _decided(path: Path, options: Mapping[str, Any], thresholds: Thresholds) -> Decision:
    measures = measured(path)
    if measures is None:
        return Decision(Verdict.UNDECIDED, [Reason.NOT_MEASURED])
    verdict, reasons = judged(measures, thresholds, options)
    return Decision(verdict, reasons, measures)


# --- transactions ---------------------------------------------------------------------------------------


def record_stored(
    connection: Connection,
    file: ClaimedFile,
    stored: StoredFile,
    decision: Decision | None,
    *,
    now_ms: int,
    on_decided: OnDecided,
    on_bad_file: OnDecided = nothing_more,
) -> bool:
    """The file is in the archive, and its clip decided; False when the claim was another's by then."""
    if not archive.record_stored_if_claimed(connection, file, stored, now_ms=now_ms):
        return False
    if decision is not None:
        _decide(connection, file.task_id, decision, now_ms, on_decided)
    if stored.reason is not None:
        on_bad_file(connection, [file.task_id], now_ms)
    batches.append_event_of_task(connection, file.task_id, telemetry.VIDEO_STORED, now_ms=now_ms)
    return True


def record_failure(
    connection: Connection,
    file: ClaimedFile,
    *,
    state: ArchiveState,
    reason: str,
    bad_files: int,
    next_attempt_at_ms: int,
    is_broken: bool,
    now_ms: int,
    on_decided: OnDecided,
    on_bad_file: OnDecided = nothing_more,
) -> bool:
    """The try failed. A clip that will never be stored is decided: `broken` where the file came and was no
    whole video, undecided where it did not come.
    """
    recorded = archive.record_failure_if_claimed(
        connection,
        file,
        state=state,
        reason=reason,
        bad_files=bad_files,
        next_attempt_at_ms=next_attempt_at_ms,
    )
    if recorded and file.gate is not None and state is not ArchiveState.DUE:
        broken = Decision(Verdict.REJECTED, [Reason.BROKEN])
        decision = broken if is_broken else Decision(Verdict.UNDECIDED, [Reason.NO_FILE])
        _decide(connection, file.task_id, decision, now_ms, on_decided)
    if recorded and is_broken and state is ArchiveState.REFUSED:
        on_bad_file(connection, [file.task_id], now_ms)
    if recorded and state is not ArchiveState.DUE:
        batches.append_event_of_task(connection, file.task_id, telemetry.VIDEO_LOST, now_ms=now_ms)
    return recorded


def _decide(
    connection: Connection, task_id: int, decision: Decision, now_ms: int, on_decided: OnDecided
) -> None:
    if verdicts.decide_if_measured(connection, task_id, decision, now_ms=now_ms):
        on_decided(connection, [task_id], now_ms)
