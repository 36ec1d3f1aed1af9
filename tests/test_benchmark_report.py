"""The benchmarks' report keeps every benchmark's section."""

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import main, names
from benchmarks.report import write_section


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
