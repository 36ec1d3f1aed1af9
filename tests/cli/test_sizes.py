"""Sizes and growth in `rushes doctor`."""

import pytest

from rushes.cli.commands.storage import disk_warnings, size_facts
from rushes.domain.notation import in_bytes
from rushes.settings import Settings
from tests.cli.process import Shell


def test_doctor_says_how_large_the_installation_is(shell: Shell) -> None:
    assert shell.call("credits", "grant", "100").code == 0
    shell.ask(lambda rushes: rushes.create_batch(["a", "b", "c"], model="sora-2"))
    report = shell.call("doctor", "--json").document
    sizes = report["database"]["sizes"]
    assert (sizes["tasks"], sizes["tasks_a_day"], sizes["stored_videos"]) == (3, 0.4, 0)
    assert sizes["database"]["bytes"] > 100_000
    assert sizes["database"]["bytes_a_day"] is None, "three tasks say nothing of growth"
    said = shell.call("doctor").stdout
    assert "3 tasks, " in said
    assert "0 videos, 0 B" in said


def test_growth_is_said_with_what_it_comes_to_in_a_year() -> None:
    growth = {"bytes": 45_000_000, "bytes_a_day": 1_440_000, "bytes_in_a_year": 570_600_000}
    none = {"bytes": 0, "bytes_a_day": 0, "bytes_in_a_year": 0}
    facts = size_facts({"tasks": 37_500, "database": growth, "stored_videos": 1, "videos": none})
    assert facts == {
        "size": "37,500 tasks, 45 MB; 1.4 MB a day lately, 571 MB in a year",
        "videos": "1 video, 0 B",
    }


def test_a_disk_that_will_soon_be_full_is_warned_of(shell: Shell) -> None:
    file = shell.folder / "r.db"
    file.touch()
    settings = Settings.load({"RUSHES_DATABASE_URL": f"sqlite:///{file}", "RUSHES_ARCHIVE_URL": "none"}, None)
    growth = {"bytes": 1, "bytes_a_day": 10**18, "bytes_in_a_year": 10**20}
    none = {"bytes": 0, "bytes_a_day": 0, "bytes_in_a_year": 0}
    (warning,) = disk_warnings(settings, {"database": growth, "videos": none})
    assert warning == f"the disk of {shell.folder} is full in 0 days at 1000000 TB a day"
    assert disk_warnings(settings, {"database": {**growth, "bytes_a_day": 1}, "videos": none}) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1249, "1.2 kB"),
        (43_200_000_000, "43 GB"),
        (999_600, "1.0 MB"),
    ],
)
def test_bytes_in_words(count: int, words: str) -> None:
    assert in_bytes(count) == words
