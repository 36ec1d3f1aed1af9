"""Forty files as people make them: each is read right, or refused with words that say what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.input.files import InputFormat, parse_batch_input
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.input.tables import header_of
from rushes.domain.notation import counted

NOW = 1_790_000_000.0
MARK = "\ufeff"
SAVE_IT = 'save it as UTF-8 (in Excel: "CSV UTF-8"), or name its --encoding'
NAME_IT = "say how to read it with --format: text, csv, tsv, jsonl or json"
NO_PROMPT = 'p.csv:1: prompt: the header has no column "prompt"; lines without a header are text'
CURLY = NO_PROMPT.partition(";")[0]
UNCLOSED = "p.csv:2: not CSV: unexpected end of data; is a quote not closed?"
WORKBOOK = 'a workbook, not text; export it as "CSV UTF-8" first'
CAT, OWL, RAIN = "A cat, asleep", 'An "owl" at dusk', "一只橘猫在看雨"


@dataclass(frozen=True)
class File:
    """A file as a program writes it, and what is in it: drafts (prompt, options), or the refusal."""

    made_by: str
    name: str
    data: bytes
    gives: Sequence[tuple[str, dict[str, Any]]] | str
    encoding: str | None = None
    format: InputFormat | None = None


def two(first: str = CAT, second: str = OWL, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(first, options), (second, options)]


DURATION = two(duration=10)
TABLE = 'prompt;duration\r\n"A cat, asleep";10\r\n"An ""owl"" at dusk";10\r\n'
COMMAS = TABLE.replace(";", ",")
TABS = TABLE.replace(";", "\t")
OBJECTS = '{"prompt":"A cat, asleep","duration":10}\n{"prompt":"An \\"owl\\" at dusk","duration":10}\n'
LIST = "[" + ",".join(OBJECTS.splitlines()) + "]"

FILES = [
    # spreadsheets
    File("Excel, English: CSV UTF-8", "p.csv", (MARK + COMMAS).encode(), DURATION),
    File("Excel, German: CSV UTF-8", "p.csv", (MARK + TABLE).encode(), DURATION),
    File("Excel, French: a line sep=;", "p.csv", ("sep=;\r\n" + TABLE).encode(), DURATION),
    File("Excel, quoted sep line", "p.csv", ('"sep=;"\r\n' + TABLE).encode(), DURATION),
    File("Excel: Unicode text (.txt)", "p.txt", TABS.encode("utf-16"), DURATION),
    File("Excel: text, tabs", "p.tsv", TABS.encode(), DURATION),
    File(
        "Excel, Chinese: plain CSV",
        "p.csv",
        f"prompt,duration\r\n{RAIN},10\r\n".encode("gb18030"),
        f"p.csv:2: not UTF-8 (byte 0xe9); {SAVE_IT}",
    ),
    File(
        "Excel, Chinese, with --encoding gb18030",
        "p.csv",
        f"prompt,duration\r\n{RAIN},10\r\n".encode("gb18030"),
        [(RAIN, {"duration": 10})],
        encoding="gb18030",
    ),
    File(
        "Excel, German: plain CSV",
        "p.csv",
        "prompt;duration\r\nEin Käfer;10\r\n".encode("cp1252"),
        f"p.csv:2: not UTF-8 (byte 0xe4); {SAVE_IT}",
    ),
    File("Excel: a workbook", "p.xlsx", b"PK\x03\x04\x14\0\x06\0", f"p.xlsx: {WORKBOOK}"),
    File("Excel 97: a workbook", "p.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"p.xls: {WORKBOOK}"),
    File(
        "Excel: empty columns at the end",
        "p.csv",
        b'Prompt,Duration,,\r\n"A cat, asleep",10,,\r\n"An ""owl"" at dusk",10,,\r\n,,,\r\n',
        DURATION,
    ),
    File(
        "Excel: a title, spaces in names",
        "p.csv",
        b"Prompt,Aspect Ratio\nx,9:16\ny,9:16\n",
        two("x", "y", aspect_ratio="9:16"),
    ),
    File(
        "Excel, German: decimals", "p.csv", b"prompt;duration\nx;10,0\ny;10,0\n", two("x", "y", duration=10)
    ),
    File(
        "Excel: thousands",
        "p.csv",
        b"prompt;duration\nx;10.000\n",
        'p.csv:2: duration: must be a whole number, not "10.000"',
    ),
    File(
        "Excel, German: one column",
        "p.csv",
        f"Prompt\r\n{CAT}\r\nA dog, awake\r\n".encode(),
        two(CAT, "A dog, awake"),
    ),
    File("Numbers", "p.csv", COMMAS.replace("\r\n", "\n").encode(), DURATION),
    File("Numbers: the table's name first", "p.csv", b"Table 1\nprompt,duration\nx,10\n", NO_PROMPT),
    File("Google Sheets: CSV", "p.csv", COMMAS.encode(), DURATION),
    File(
        "Google Sheets: TSV, unquoted",
        "p.tsv",
        f'prompt\tduration\r\n{CAT}\t10\r\nAn "owl" at dusk\t10'.encode(),
        DURATION,
    ),
    File(
        "Google Sheets: TSV, a quote that opens",
        "p.tsv",
        b'prompt\tduration\r\n"Stop" said the owl\t10\r\n',
        [('"Stop" said the owl', {"duration": 10})],
    ),
    File("LibreOffice: pipes", "p.csv", b"prompt|duration\nx|10\ny|10\n", two("x", "y", duration=10)),
    File("Mac Excel 2008: bare CR", "p.csv", COMMAS.replace("\r\n", "\r").encode(), DURATION),
    # programs
    File(
        "pandas: to_csv(index=False) with a gap",
        "p.csv",
        b"prompt,duration\nx,10.0\ny,\n",
        [("x", {"duration": 10}), ("y", {})],
    ),
    File(
        "pandas: to_csv()",
        "p.csv",
        b",prompt\n0,x\n1,y\n",
        'p.csv:2: column 1 has no name, but "0" in it (pandas: to_csv(index=False))',
    ),
    File(
        "pandas: to_json(lines=True)",
        "p.jsonl",
        b'{"prompt":"x","duration":10.0}\n{"prompt":"y","duration":null}\n',
        [("x", {"duration": 10}), ("y", {})],
    ),
    File("pandas: to_json(orient='records')", "p.json", LIST.encode(), DURATION),
    File("jq -c", "p.jsonl", OBJECTS.encode(), DURATION),
    File("jq .[]", "p.jsonl", b'{\n  "prompt": "x"\n}\n{\n  "prompt": "y"\n}\n', two("x", "y")),
    File("jq: a list of texts", "p.json", b'[\n  "x",\n  "y"\n]\n', two("x", "y")),
    File("the API's body", "p.json", b'{"items": [{"prompt": "x"}, {"prompt": "y"}]}', two("x", "y")),
    File(
        "JSON, a comma too much",
        "p.json",
        b'[\n{"prompt": "x"},\n]',
        "p.json:3: not JSON: Expecting value (column 1)",
    ),
    File("PowerShell 5: > prompts.txt", "p.txt", f"{CAT}\r\n{RAIN}\r\n".encode("utf-16"), two(CAT, RAIN)),
    File("PowerShell 5: Export-Csv -Encoding Unicode", "p.csv", COMMAS.encode("utf-16"), DURATION),
    File("PowerShell: ConvertTo-Json", "p.json", (MARK + LIST).encode(), DURATION),
    File("UTF-16 without a mark", "p.csv", COMMAS.encode("utf-16-le"), DURATION),
    # pipes, and text
    File("a pipe: text", "stdin", f"{CAT}\n\n  {RAIN}  \n".encode(), two(CAT, RAIN)),
    File("a pipe: CSV", "stdin", COMMAS.encode(), DURATION),
    File("a pipe: JSON Lines", "stdin", OBJECTS.encode(), DURATION),
    File("a pipe: JSON", "stdin", LIST.encode(), DURATION),
    File(
        "a pipe: half JSON",
        "stdin",
        b'{"prompt": "x"\n',
        f"stdin: looks like JSON, but not JSON: Expecting ',' delimiter (column 1); {NAME_IT}",
    ),
    File(
        "a pipe: a table with a column too much",
        "stdin",
        b"prompt,mood\nx,sad\n",
        f'stdin: looks like a table, but its first line has the column "mood"; {NAME_IT}',
    ),
    File(
        "a pipe: that table with --format text",
        "stdin",
        b"prompt,mood\nx,sad\n",
        two("prompt,mood", "x,sad"),
        format="text",
    ),
    File(
        "an editor: comments",
        "p.txt",
        f"# the first scene\n{CAT}\n#sunset over the sea\n\\# number sign\n#\n".encode(),
        [(CAT, {}), ("#sunset over the sea", {}), ("# number sign", {})],
    ),
    File(
        "an editor: a variable in braces", "p.txt", b"{red} car\n[bold] sky\n", two("{red} car", "[bold] sky")
    ),
    File("a Chinese editor", "p.txt", (MARK + RAIN + "\r\n").encode(), [(RAIN, {})]),
    # what goes wrong on the way
    File("Classic Mac OS: lines end with CR", "p.csv", COMMAS.replace("\r\n", "\r").encode(), DURATION),
    File("lines with CR, LF and CRLF", "p.txt", f"{CAT}\r{OWL}\n\r\n{RAIN}".encode(), [*two(), (RAIN, {})]),
    File("UTF-16, big end first, without a mark", "p.csv", COMMAS.encode("utf-16-be"), DURATION),
    File(
        "UTF-16 cut short",
        "p.csv",
        COMMAS.encode("utf-16-le")[:-1],
        f"p.csv:4: not UTF-16 (byte 0x0a); {SAVE_IT}",
    ),
    File(
        "a disk error: a NUL in the text",
        "p.csv",
        COMMAS.replace("asleep", "\0\0").encode(),
        "p.csv:2: a NUL character (U+0000): not a table, or one in another encoding; see --encoding",
    ),
    File(
        "Notepad, Chinese: ANSI that is UTF-8 too",
        "p.txt",
        "一只猫\n".encode("gb18030"),
        'p.txt:1: may be UTF-8 ("һֻè") or GB18030 ("一只猫"); name its --encoding: utf-8 or gb18030',
    ),
    File(
        "Notepad, Chinese: ANSI, named",
        "p.txt",
        "一只猫\n".encode("gb18030"),
        [("一只猫", {})],
        encoding="gb18030",
    ),
    File(
        "Word: curly quotes", "p.csv", "“prompt”\n“a cat”\n".encode(), f'{CURLY}; "“prompt”" is not that name'
    ),
    File("a quote that is not closed", "p.csv", b'prompt\n"a cat\nan owl\n', UNCLOSED),
    File("a column twice", "p.csv", b"prompt,Prompt\na,b\n", "p.csv:1: prompt: the column is there twice"),
    File(
        "cat a.csv b.csv",
        "p.csv",
        b"prompt\na cat\nprompt\nan owl\n",
        "p.csv:3: the header again: remove this line where files were joined",
    ),
    File("semicolons and decimal commas", "p.csv", TABLE.replace(";10", ";10,0").encode(), DURATION),
    File(
        "decimal commas that are no whole number",
        "p.csv",
        b"prompt;duration\na;10,5\n",
        'p.csv:2: duration: must be a whole number, not "10,5"',
    ),
    File(
        "emoji and Hebrew",
        "p.txt",
        "🚣 a boat 👨‍👩‍👧\nסירת נייר\n".encode(),
        two("🚣 a boat 👨‍👩‍👧", "סירת נייר"),
    ),
    File(
        "a cell too long",
        "p.csv",
        b"prompt\n" + b"x" * 4001 + b"\n",
        "p.csv:2: prompt: 4001 characters, more than 4000",
    ),
    File(
        "a script that ran away: 100,000 lines",
        "p.txt",
        b"\n".join(b"boat %d" % number for number in range(100_000)),
        "p.txt:10001: more than 10000 items; split them into several batches",
    ),
]


def read(file: File) -> list[TaskDraft]:
    drafts = parse_batch_input(file.data, file.name, file.format, encoding=file.encoding)
    validate_drafts(drafts, DEFAULT_CATALOGUE, NOW)
    return drafts


def test_there_are_at_least_forty_files_from_different_hands() -> None:
    assert len({file.made_by for file in FILES}) == len(FILES) >= 40


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.made_by)
def test_files_as_people_make_them_are_read_right_or_refused_right(file: File) -> None:
    if isinstance(file.gives, str):
        with pytest.raises(InputError) as refused:
            read(file)
        assert refused.value.message == file.gives
    else:
        assert [(draft.prompt, dict(draft.options)) for draft in read(file)] == list(file.gives)


@pytest.mark.parametrize("name", ["zip", "none-such", "utf-8\0", "x" * 200])
def test_an_encoding_that_is_none_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(InputError, match=r"^p\.txt: no encoding is called"):
        parse_batch_input(b"x", "p.txt", encoding=name)


def test_a_list_on_one_long_line_is_no_line_of_a_table() -> None:
    data = "[" + ",".join('{"prompt":"' + "x" * 400 + '"}' for _ in range(1000)) + "]"
    assert len(parse_batch_input(data.encode(), "p.json")) == 1000


def test_faults_of_several_rows_are_reported_together() -> None:
    data = b"prompt,duration\nx,ten\ny,10\nz,twelve\n"
    with pytest.raises(InputError) as refused:
        parse_batch_input(data, "p.csv")
    assert [fault["line"] for fault in refused.value.facts["errors"]] == [2, 4]


# --- the same as a table in the documentation -------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "prompt-files.md"


def row(file: File) -> str:
    """The file's line in the table: who made it, its name, and what it gives."""
    options = "".join(
        f" `{option}`"
        for option in (
            None if file.format is None else f"--format {file.format}",
            None if file.encoding is None else f"--encoding {file.encoding}",
        )
        if option is not None
    )
    if isinstance(file.gives, str):
        gives = f"refused: `{file.gives}`"
    else:
        of_each = {name for _, options_of_one in file.gives for name in options_of_one}
        gives = counted(len(file.gives), "prompt") + "".join(f", `{name}`" for name in sorted(of_each))
    return f"| {file.made_by} | `{file.name}`{options} | {gives} |".replace("`|`", "`\\|`")


def test_the_table_in_the_documentation_is_this_one() -> None:
    table = "\n".join(["| made by | file | gives |", "|---|---|---|", *map(row, FILES)])
    assert table in PAGE.read_text("utf-8"), f"put this table into {PAGE.name}:\n{table}"


@pytest.mark.parametrize(
    "text",
    ["naïve cœur ÄÖÜ", "Привет, Ελλάδα", "Oʻāhu", "e\u0302\u0301", "שָׁלוֹם", "«Ça»", "10 µm, 20 °C", "ę\u0323"],
)
def test_text_in_one_script_a_word_is_taken_for_utf_8(text: str) -> None:
    assert parse_batch_input(text.encode(), "p.txt")[0].prompt == text


def test_a_row_like_the_header_is_no_prompt_in_any_format_of_tables() -> None:
    with pytest.raises(InputError, match="the header again"):
        parse_batch_input(b"prompt\tmodel\na\tsora-2\nprompt\tmodel\n", "p.tsv")


def test_of_two_separators_that_make_a_header_the_one_with_more_columns_is_meant() -> None:
    found = header_of("prompt,a;b;prompt\n", frozenset({"prompt"}))
    assert found == (["prompt,a", "b", "prompt"], [None, None, "prompt"])
    assert header_of("prompt\n", frozenset({"prompt"})) == (["prompt"], ["prompt"])
    assert header_of("a,b\n", frozenset({"prompt"})) is None
