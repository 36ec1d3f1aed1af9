"""Campaigns: run in parts they come to the same, and a record of other code or other seeds is refused."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from simulation.report import Outcome, Record, RecordRefused

from simulation import campaign

TASKS = 15


def last_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The two lines of sums at the end of a report."""
    return capsys.readouterr().out.splitlines()[-2:]


def simulate(
    seeds: Iterable[int], *, record: Record | None = None, crash_points_min: int | None = None
) -> int:
    return campaign.simulate(
        seeds=seeds,
        tasks=TASKS,
        processes=1,
        on_postgresql=False,
        shrinks=False,
        record=record,
        crash_points_min=crash_points_min,
    )


def test_parts_of_a_campaign_add_up_to_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(range(1, 5)) == 0
    whole = last_lines(capsys)
    path = tmp_path / "record"
    for seeds in (range(3, 5), range(1, 4), range(1, 5)):
        assert simulate(seeds, record=Record(path, tasks=TASKS)) == 0
    assert last_lines(capsys) == whole
    assert len(path.read_bytes().splitlines()) == 4, "no seed is run twice"


def test_a_campaign_for_crash_points_ends_once_it_has_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(campaign, "ROUND_SEEDS", 1)
    simulate(range(1, 100), crash_points_min=5)
    points, last = last_lines(capsys)
    words = last.split()
    seeds, crashes = int(words[1]), int(words[5])
    assert crashes >= 5
    assert sum(int(point.rsplit(" ", 1)[1]) for point in points.split(", ")) == crashes
    simulate(range(1, seeds))
    assert int(last_lines(capsys)[1].split()[5]) < 5, "one seed less would not have been enough"


def test_a_record_of_another_campaign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record"
    simulate([1], record=Record(path, tasks=TASKS))
    with pytest.raises(RecordRefused, match="15 tasks"):
        Record(path, tasks=16)
    outcome = msgspec.json.decode(path.read_bytes(), type=Outcome)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(outcome, code="0" * 64)))
    with pytest.raises(RecordRefused, match="use a new file"):
        Record(path, tasks=TASKS)
    path.write_text("not JSON")
    with pytest.raises(RecordRefused, match="no record of a campaign"):
        Record(path, tasks=TASKS)
