"""Every change of a source text is one small change, where it says, and leaves Python."""

import ast
from pathlib import Path

import pytest
from mutation.mutants import draw, mutants_of
from mutation.operators import changes, is_another_program, lines_of
from mutation.rooms import ROOMS

PROJECT = Path(__file__).resolve().parents[2]


def mutated(body: str) -> set[str]:
    """The bodies that a function of this body is changed to."""
    source = f"def f(a, b, self):\n    {body}\n".encode()
    found = [change for change in changes(source) if is_another_program(source, change)]
    return {change.apply(source).decode().split("\n", 1)[1].strip() for change in found}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", {"return a <= b", "return a >= b"}),
        ("return a is None", {"return a is not None"}),
        ("return a and b", {"return a or b", "return (b)", "return (a)"}),
        ("return not a", {"return (a)"}),
        ("return a + 1", {"return a - 1", "return a + 2"}),
        ("return min(a, b)", {"return max(a, b)"}),
        ("self.x = a", {"pass"}),
        ("a.append(b)", {"pass"}),
        ("raise a", {"pass"}),
        ("a += b", {"pass", "a -= b"}),
        ("return a if b else self", {"return a if True else self", "return a if False else self"}),
        ("return [x for x in a if b]", {"return [x for x in a if True]"}),
        ("return True", {"return False"}),
        ("return 'é' < b", {"return 'é' <= b", "return 'é' >= b"}),
    ],
)
def test_the_changes_of_a_statement(body: str, expected: set[str]) -> None:
    assert mutated(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        '"A docstring."',
        'log.info("x", a=a + 1)',
        "assert_never(a)",
        'return f"{a + 1}"',
        'return "a" "b"',
        "x: int",
    ],
)
def test_what_says_nothing_of_behavior_is_left_alone(body: str) -> None:
    assert mutated(body) == set()


def test_only_bodies_of_functions_are_changed() -> None:
    source = (
        b"LIMIT = 3\nclass A:\n    x = 1 + 2\n    def f(self, n: int = 4) -> int:\n        return n - 5\n"
    )
    assert {change.line for change in changes(source)} == {5}


def test_a_function_in_a_function_is_changed_once() -> None:
    source = b"def f(a):\n    def g():\n        return a < 1\n    return g\n"
    found = changes(source)
    assert len(found) == len(set(found)) == 3


def test_a_change_replaces_what_stands_in_its_place_also_behind_other_scripts() -> None:
    source = 'def f(a):\n    return g("影片", a) == 1, a > 2\n'.encode()
    for change in changes(source):
        ast.parse(change.apply(source))
    [comparison] = [c for c in changes(source) if c.what == "comparison" and c.replacement == "a >= 2"]
    assert comparison.apply(source).decode().endswith('return g("影片", a) == 1, a >= 2\n')


def test_every_room_has_its_files_its_tests_and_many_mutants() -> None:
    for room in ROOMS:
        assert all((PROJECT / test).exists() for test in room.tests), room.name
        assert sum(1 for _ in mutants_of(room, PROJECT)) > 100, room.name


def test_a_draw_takes_the_rooms_in_turns_and_is_the_same_for_the_same_seed() -> None:
    drawn = draw(ROOMS, PROJECT, seed=1, count=20)
    assert [mutant.room.name for mutant in drawn[: len(ROOMS)]] == [room.name for room in ROOMS]
    assert len({mutant.id for mutant in drawn}) == 20
    assert [mutant.id for mutant in draw(ROOMS, PROJECT, seed=1, count=20)] == [mutant.id for mutant in drawn]
    assert [mutant.id for mutant in draw(ROOMS, PROJECT, seed=2, count=20)] != [mutant.id for mutant in drawn]


def test_a_mutant_shows_its_change_as_a_diff() -> None:
    [mutant] = draw(ROOMS[1:2], PROJECT, seed=1, count=1)
    place, *lines = mutant.diff().splitlines()
    assert place.startswith(f"{mutant.path}:{mutant.change.line} ")
    assert {line[0] for line in lines} == {"-", "+"}


def test_the_lines_of_a_change_are_those_of_its_statement_without_what_stands_in_it() -> None:
    source = b"""\
def f(a, b):
    if (
        a
        and b > 1
    ):
        a = [
            b + 1,
        ]
        while a < 2:
            a += 1
    return a
"""
    lines = {change.what + str(change.line): lines_of(source, change) for change in changes(source)}
    assert lines["comparison4"] == range(2, 6)
    assert lines["arithmetic7"] == range(6, 9)
    assert lines["comparison9"] == range(9, 10)
    assert lines["assignment dropped10"] == range(10, 11)
