"""`rushes quote` and `rushes run --dry-run`: the price before anything is made."""

import json
import re
from datetime import UTC, datetime, timedelta

from rushes.cli.commands.quote import expected_lines
from tests.cli.process import Shell

ITEMS = [
    {"prompt": "a", "model": "runway-gen4.5", "duration": 2},
    {"prompt": "b", "model": "runway-gen4.5", "duration": 10},
    {"prompt": "c", "model": "sora-2"},
    {"prompt": "d", "model": "gemini-omni", "options": {"resolution": "4k", "duration": 3}},
]


def test_a_quote_needs_no_database_and_tells_credits_and_costs(shell: Shell) -> None:
    shell.write("p.jsonl", "\n".join(json.dumps(item) for item in ITEMS))
    for arguments in (("quote", "p.jsonl"), ("run", "p.jsonl", "--dry-run")):
        ended = shell.call(*arguments, "--json", GRSAI_API_KEY="")
        assert ended.code == 0, ended.stderr
        found = ended.document
        finish = found.pop("finish_seconds")
        assert 0 < finish["p50"] < finish["p95"]
        assert found == {
            "duplicates": [],
            "bought_before": [],
            "reuse_saves_credits": 0,
            "credits_with_reuse": 325,
            "accept": None,
            "credits": 325,
            "credits_max": 325,
            "total": 4,
            "items": [
                *(
                    {
                        "index": index,
                        "model": "runway-gen4.5",
                        "credits": price,
                        "provider_cost": {"amount": amount, "currency": "USD"},
                    }
                    for index, price, amount in ((0, 30, "0.24"), (1, 150, "1.2"))
                ),
                {
                    "index": 2,
                    "model": "sora-2",
                    "credits": 10,
                    "provider_cost": {"amount": "0.08", "currency": "CNY"},
                },
                {"index": 3, "model": "gemini-omni", "credits": 135, "provider_cost": None},
            ],
            "models": {
                "runway-gen4.5": {
                    "items": 2,
                    "credits": 180,
                    "provider_cost": {"amount": "1.44", "currency": "USD"},
                },
                "sora-2": {
                    "items": 1,
                    "credits": 10,
                    "provider_cost": {"amount": "0.08", "currency": "CNY"},
                },
                "gemini-omni": {"items": 1, "credits": 135, "provider_cost": None},
            },
            "provider_cost": {"USD": "1.44", "CNY": "0.08"},
        }
    assert not (shell.folder / "rushes-data").exists(), "nothing is made"


def test_options_of_the_command_line_are_for_items_that_name_none(shell: Shell) -> None:
    shell.write("p.csv", "prompt,duration\na,\nb,4\n")
    arguments = ("quote", "p.csv", "--model", "runway-gen4.5", "--option", "duration=10", "--json")
    found = shell.call(*arguments, GRSAI_API_KEY="")
    assert [item["credits"] for item in found.document["items"]] == [150, 60]
    for option, message in (
        ("duration=long", "--option duration: must be a whole number"),
        ("colour=red", "no model has an option colour"),
        ("sound=yes", "sora-2 has no such option; it takes aspect_ratio"),
        ("duration", "--option takes NAME=VALUE"),
    ):
        refused = shell.call("quote", "p.csv", "--option", option)
        assert refused.code == 1
        assert message in refused.stderr


def test_a_quote_names_items_that_are_there_twice(shell: Shell) -> None:
    shell.write("p.txt", "a kite\na fox\na kite\na kite\n")
    ended = shell.call("quote", "p.txt")
    assert "2 items ask for the same as an earlier one: 2 as 0, 3 as 0\n" in ended.stdout
    assert "4 items, 40 credits" in ended.stdout
    assert "--reuse takes the files that are there, and saves 20 credits\n" in ended.stdout
    reused = shell.call("quote", "p.txt", "--reuse")
    assert "4 items, 20 credits" in reused.stdout
    assert "20 credits saved: equal items take one file\n" in reused.stdout


def test_a_quote_by_a_time_has_the_prices_of_the_cheap_lane_and_of_the_model(shell: Shell) -> None:
    shell.write("rushes.toml", '[models.sora-flex]\nlane_of = "sora-2"\ncredits = 4\n')
    shell.write("a.txt", "a kite\na boat\n")
    asked = ("quote", "a.txt", "--model", "sora-2", "--by")
    in_time = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
    found = shell.call(*asked, in_time, "--json").document
    assert (found["credits"], found["credits_max"]) == (8, 20)
    assert "2 items, 8 to 20 credits" in shell.call(*asked, in_time.removeprefix("0")).stdout
    assert "--by" in shell.call(*asked, "25:00").one_line_error()
    other = shell.call("quote", "a.txt", "--model", "veo-flash", "--by", "06:00")
    assert "veo-flash has no cheap lane" in other.one_line_error()


def test_a_time_that_has_passed_or_cannot_be_met_is_refused_with_the_earliest(shell: Shell) -> None:
    shell.write("rushes.toml", '[models.sora-flex]\nlane_of = "sora-2"\ncredits = 4\n')
    shell.write("a.txt", "a kite\na boat\n")
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    for command in ("quote", "run"):
        asked = (command, "a.txt", "--model", "sora-2", "--by")
        passed = shell.call(*asked, "2020-01-01").one_line_error()
        found = re.search(r"auto.finish_by: has passed: the earliest is (\S+Z), when 2 videos", passed)
        assert found is not None, passed
        later = datetime.fromisoformat(found[1]) + timedelta(minutes=2)
        assert "cannot be met: the earliest is" in shell.call(*asked, soon).one_line_error()
    asked = ("quote", "a.txt", "--model", "sora-2", "--by")
    assert shell.call(*asked, later.isoformat()).code == 0
    assert shell.call("init").code == 0
    assert "has passed: the earliest is" in shell.call(*asked, "2020-01-01").one_line_error()
    assert shell.call(*asked, later.isoformat()).code == 0


def test_best_of_n_without_a_history_is_unknown_yet(shell: Shell) -> None:
    shell.write("a.txt", "a kite\na boat\n")
    for command in (("quote",), ("run", "--dry-run")):
        asked = (*command, "a.txt", "--model", "sora-2", "--best-of", "3")
        assert "best of 3, sora-2: unknown yet, 0 of 0 clips accepted\n" in shell.call(*asked).stdout
        found = shell.call(*asked, "--json").document["accept"]
        assert (found["n_max"], found["expected_credits"]) == (3, None)
    assert shell.call("init").code == 0
    assert "unknown yet" in shell.call("quote", "a.txt", "--best-of", "3").stdout
    assert shell.call("quote", "a.txt", "--json").document["accept"] is None
    low = shell.call("quote", "a.txt", "--model", "sora-2", "--best-of", "3", "--clip-credits-max", "9")
    assert "9 is less than one clip of item 0 costs" in low.one_line_error()


def test_the_line_says_cost_chance_and_count() -> None:
    model = {
        "model": "sora-2",
        "items": 40,
        "clips": 50,
        "accepted": 40,
        "credits_per_item": 12.4,
        "chance": 0.992,
        "chance_interval": [0.9635, 0.9986],
    }
    found = {"n_max": 3, "expected_credits": 496.0, "expected_accepted": 39.7, "models": [model]}
    assert expected_lines(found) == [
        "best of 3: 40 items expected to cost 496.0 credits; 39.7 of them get an accepted clip",
        "sora-2: 12.4 credits an item, accepted in 99 of 100 (96 to 100; 40 of 50 clips accepted)",
    ]
