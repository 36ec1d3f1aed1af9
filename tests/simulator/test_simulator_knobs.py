"""Knobs: every bad value is named, every fault knob has a fault, presets are valid."""

import dataclasses
from pathlib import Path

import pytest

from rushes.domain.errors import InputError
from rushes.simulator import PRESETS, Outcome, SimulatorKnobs, describe_knobs, parse_knobs
from rushes.simulator.faults import Fault


def test_assignments_are_read_in_each_knob_s_own_type() -> None:
    knobs = parse_knobs(
        [
            "seed=11",
            "time_scale=0.5",
            "callbacks=off",
            "render_seconds=2",
            "balance_submits=3",
            "api_key=sk-1",
        ]
    )
    assert (knobs.seed, knobs.time_scale, knobs.callbacks, knobs.render_seconds) == (11, 0.5, False, 2.0)
    assert (knobs.balance_submits, knobs.api_key) == (3, "sk-1")
    assert parse_knobs(["render_seconds=none", "balance_submits="], base=knobs).render_seconds is None


def test_assignments_build_on_a_preset() -> None:
    knobs = parse_knobs(["render_seconds=2"], PRESETS["stormy"])
    assert knobs == dataclasses.replace(PRESETS["stormy"], render_seconds=2.0)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("seed", ["name=value", "seed"]),
        ("sed=1", ["sed", "seed"]),
        ("=1", ["no such knob"]),
        ("seed=abc", ["seed", "whole number"]),
        ("seed=1.5", ["seed", "whole number"]),
        ("seed=-1", ["seed", "0 to"]),
        ("error=1.5", ["error", "0 to 1"]),
        ("error=-0.1", ["error", "0 to 1"]),
        ("error=nan", ["error", "0 to 1"]),
        ("time_scale=inf", ["time_scale"]),
        ("callbacks=maybe", ["callbacks", "on or off"]),
        ("outage_kind=boom", ["outage_kind", "server_error"]),
        ("file_expired_status=405", ["file_expired_status", "403"]),
        ("file_redirect_url=http://a\r\nx: y", ["file_redirect_url", "printable"]),
        ("time_scale=none", ["time_scale", "a number"]),
        ("latency_min_seconds=2", ["latency_max_seconds"]),
    ],
)
def test_a_bad_assignment_is_refused_with_its_name(assignment: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_knobs([assignment])
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "pair",
    [
        ("error", "stuck"),
        ("submit_html", "submit_slow"),
        ("poll_html", "poll_slow"),
        ("file_html", "file_slow"),
    ],
)
def test_exclusive_shares_sum_to_at_most_one(pair: tuple[str, str]) -> None:
    parse_knobs([f"{pair[0]}=0.5", f"{pair[1]}=0.5"])
    with pytest.raises(InputError, match="at most 1"):
        parse_knobs([f"{pair[0]}=0.6", f"{pair[1]}=0.5"])


@pytest.mark.parametrize("value", [True, "7", None, 7.0, 10**30])
def test_the_constructor_checks_like_the_parser(value: object) -> None:
    with pytest.raises(InputError, match="seed"):
        SimulatorKnobs().replaced({"seed": value})


def test_every_share_of_a_group_has_its_fault_or_outcome() -> None:
    prefixes = {f"{kind} faults": f"{kind}_" for kind in ("submit", "poll", "file", "cancel", "find")}
    faults, outcomes = {fault.value for fault in Fault}, {outcome.value for outcome in Outcome}
    checked = 0
    for knob in dataclasses.fields(SimulatorKnobs):
        group = knob.metadata["group"]
        if group == "outcomes":
            assert knob.name in outcomes
        elif group:
            assert knob.name.removeprefix(prefixes[group]) in faults
        checked += bool(group)
    assert checked == 9 + 14 + 15 + 8 + 2 + 2


def test_defaults_are_a_service_without_faults() -> None:
    knobs = SimulatorKnobs()
    assert PRESETS["calm"] == knobs
    shares = [getattr(knobs, knob.name) for knob in dataclasses.fields(knobs) if knob.metadata["group"]]
    assert not any(shares)


def test_every_knob_is_described() -> None:
    described = describe_knobs()
    assert [name for name, _, _ in described] == [knob.name for knob in dataclasses.fields(SimulatorKnobs)]
    assert all(default and text for _, default, text in described)


def test_the_key_is_not_in_the_repr() -> None:
    assert "sk-canary" not in repr(SimulatorKnobs(api_key="sk-canary"))


def test_the_documentation_lists_every_knob_as_it_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `") and line.count(" | ") == 2]
    assert table == [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in describe_knobs()]
