"""A batch that is being written: sound rows keep their price while others are at fault."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.input.files import rows_of
from rushes.domain.input.prompts import BATCH_ITEMS_MAX, Defaults
from rushes.domain.input.row_by_row import CheckedRows, check_row_by_row

NOW = 1_800_000_000.0


def checked(text: str, source: str = "prompts.txt") -> CheckedRows:
    defaults = Defaults("sora-2", {})
    rows = rows_of(text.encode(), source, None, defaults)
    return check_row_by_row(rows, defaults, DEFAULT_CATALOGUE, NOW)


def test_rows_at_fault_leave_the_others_as_they_are() -> None:
    found = checked("prompt,duration,custom_id\na,10,one\n,10,two\nb,99,three\nc,15,one\nd,15,four\n")
    assert [draft.draft.prompt for draft in found.sound] == ["a", "d"]
    assert [(fault.line, fault.field) for fault in found.faults] == [
        (3, "prompt"),
        (4, "duration"),
        (5, "custom_id"),
    ]
    assert [isinstance(row, InputError) for row in found.rows] == [False, True, True, True, False]
    assert found.problem is None
    assert sum(draft.credits for draft in found.sound) == 20


def test_a_row_too_many_is_a_problem_of_the_whole() -> None:
    found = checked("a prompt\n" * (BATCH_ITEMS_MAX + 1))
    assert len(found.sound) == BATCH_ITEMS_MAX
    assert found.problem is not None
    assert "more than 10000 items" in found.problem.message


def test_json_lines_that_are_none_are_faults_of_their_rows() -> None:
    found = checked('{"prompt": "a"}\n{"prompt": 7}\n{"prompt": "b", "model": "nope"}\n', "x.jsonl")
    assert len(found.sound) == 1
    assert [fault.field for fault in found.faults] == ["prompt", "model"]
