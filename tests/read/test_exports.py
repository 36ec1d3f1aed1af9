"""Exports: exact, and in CSV safe for spreadsheets unless asked otherwise."""

import csv
import io
import json
import random

import pytest

from rushes.read.exports import export_head, export_rows

FORMULAS = {
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "+1+1": "'+1+1",
    "-2+3": "'-2+3",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1+1": "'\t'=1+1",
    "\r=1+1": "'\r'=1+1",
    "＝1+1": "'＝1+1",
    # a program that separates at semicolons, tabs or line breaks would take these for cells of their own
    "a;=1+1": "a;'=1+1",
    "a\t@x": "a\t'@x",
    "a\n=1+1": "a\n'=1+1",
}
PLAIN = ["a boat", "1 = 1", "mother-in-law", "'=1", " =1+1", "a, =b", "e@mail", "🚤"]


def _cells(data: bytes) -> list[str]:
    return [row[0] for row in csv.reader(io.StringIO(data.decode(), newline=""))]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_in_csv_and_exact_when_asked_for(text: str) -> None:
    row = {"prompt": text}
    assert _cells(export_rows([row], "csv")) == [FORMULAS[text]]
    assert _cells(export_rows([row], "csv", raw=True)) == [text]
    assert json.loads(export_rows([row], "jsonl")) == row


def test_other_text_and_numbers_are_as_they_are() -> None:
    assert _cells(export_rows([{"prompt": text} for text in PLAIN], "csv")) == PLAIN
    assert export_rows([{"credits": -5, "error": None}], "csv") == b"-5,\n"


def test_csv_is_what_pythons_own_writer_makes_of_any_values() -> None:
    """That quotes a lone carriage return only where the line's own end has one."""
    rng = random.Random(5)
    parts = [*"=+-@;,\"'\t\r\n \x0b\x00", "\r\n", "a", "1", "é", "🚤", "＝", "\u2028", "and"]

    def value() -> object:
        kinds = (None, -5, 0.5, 10.0, True, "".join(rng.choices(parts, k=rng.randint(0, 6))))
        return rng.choices(kinds, weights=(1, 1, 1, 1, 1, 9))[0]

    for _ in range(3000):
        row = {"prompt": value(), "error": value(), "credits": value()}
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\r\n").writerow(row.values())
        line = export_rows([row], "csv", raw=True)
        assert line.decode() == out.getvalue().removesuffix("\r\n") + "\n"
        guarded = {name: _guarded(each) if isinstance(each, str) else each for name, each in row.items()}
        assert export_rows([row], "csv") == export_rows([guarded], "csv", raw=True)
    assert export_rows([row, row], "csv") == export_rows([row], "csv") * 2
    assert export_rows([], "csv") == b""


def _guarded(text: str) -> str:
    """With an apostrophe before each sign that starts a cell, here or after what may end one."""
    before = ";" + text
    return "".join(
        f"'{sign}" if sign in "=+-@\t\r\n＝＋－＠" and before[at] in ";\t\r\n" else sign
        for at, sign in enumerate(text)
    )


def test_names_stand_before_the_rows_of_csv_alone() -> None:
    assert export_head(("index", "prompt"), "csv") == b"index,prompt\n"
    assert export_head(("index", "prompt"), "jsonl") == b""
