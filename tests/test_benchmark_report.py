"""The benchmarks' report keeps every benchmark's section."""

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import main, names
from benchmarks.report import write_section

from benchmarks import _targets


def test_sections_are_merged_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    write_section("one", {"a": 1}, path=path)
    write_section("two", {"b": 2}, path=path)
    write_section("one", {"c": 3}, path=path)
    assert json.loads(path.read_text("utf-8")) == {"one": {"c": 3}, "two": {"b": 2}}


@pytest.mark.parametrize("spoilt", ["", "{", "[]"])
def test_a_report_that_cannot_be_read_is_started_anew(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(spoilt, "utf-8")
    write_section("one", {"a": 1}, path=path)
    assert json.loads(path.read_text("utf-8")) == {"one": {"a": 1}}


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_such_thing"]) == 2
    assert "no_such_thing" in capsys.readouterr().err
    assert "poll_times" in names()
    assert not [name for name in names() if name.startswith("_") or name == "report"]


def test_a_benchmark_that_ends_with_an_error_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away() -> None:
        raise ConnectionError("the database is away")

    ran: list[str] = []
    monkeypatch.setattr("benchmarks.memory.run", away)
    monkeypatch.setattr("benchmarks.settle.run", lambda: ran.append("settle"))
    monkeypatch.setattr("benchmarks._targets.show", lambda: ran.append("aims"))
    assert main(["memory", "settle"]) == 1
    assert ran == ["settle", "aims"]
    error = capsys.readouterr().err
    assert "the database is away" in error
    assert error.endswith("ended with an error: memory\n")


def test_aims_are_shown_beside_what_was_measured_before_and_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, before = tmp_path / "bench.json", tmp_path / "before.json"
    write_section("settle", {"sqlite": {"settled_per_s": 150.0, "ratio_to_raw": 0.61}}, path=now)
    write_section("commands", {"rushes tick": {"to_sqlalchemy": 3.5}}, path=now)
    write_section("settle", {"sqlite": {"settled_per_s": 100.0}}, path=before)
    monkeypatch.setenv("BEFORE", str(before))
    _targets.show(path=now)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [
        "settled a second: sqlite 100 150 ≥ 1.4 × before met",
        "… to raw statements: sqlite – 0.61 ≥ 0.6 met",
        "rushes tick, to import sqlalchemy – 3.5 ≤ 3 MISSED",
    ]


def test_no_aim_is_met_that_was_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _targets.show(path=tmp_path / "bench.json")
    assert capsys.readouterr().out == ""
