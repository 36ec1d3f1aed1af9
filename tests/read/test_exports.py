"""Exports: exact, and in CSV safe for spreadsheets unless asked otherwise."""

import csv
import io
import json

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


def test_names_stand_before_the_rows_of_csv_alone() -> None:
    assert export_head(("index", "prompt"), "csv") == b"index,prompt\n"
    assert export_head(("index", "prompt"), "jsonl") == b""
