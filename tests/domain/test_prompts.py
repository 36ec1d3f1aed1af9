"""Batch input: what is read, and one clear line for everything that cannot be."""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError, ModelRetired, UnknownModel
from rushes.domain.input.encodings import INPUT_BYTES_MAX
from rushes.domain.input.files import parse_batch_input
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import (
    BATCH_ITEMS_MAX,
    CUSTOM_ID_CHARACTERS_MAX,
    ERRORS_REPORTED_MAX,
    METADATA_BYTES_MAX,
    OWN_FIELDS,
    PROMPT_CHARACTERS_MAX,
    Defaults,
    TaskDraft,
    drafts_from_objects,
)
from rushes.domain.input.strict_json import parse_json

SAVE_IT = '; save it as UTF-8 (in Excel: "CSV UTF-8"), or name its --encoding'
NOW = 1_790_000_000.0
SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def prompts_of(data: str | bytes, source: str = "p.txt") -> list[str]:
    raw = data.encode() if isinstance(data, str) else data
    return [draft.prompt for draft in parse_batch_input(raw, source)]


def refusal(data: str | bytes, source: str) -> InputError:
    with pytest.raises(InputError) as caught:
        prompts_of(data, source)
    assert "\n" not in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


# --- text ---------------------------------------------------------------------------------------------


def test_text_is_one_prompt_a_line_with_blank_lines_skipped_and_repeats_kept() -> None:
    drafts = parse_batch_input(b"a cat\n\n  a dog  \n \t\na cat", "p.txt", None, Defaults("veo-pro"))
    assert [(d.prompt, d.origin.line, d.model) for d in drafts] == [
        ("a cat", 1, "veo-pro"),
        ("a dog", 3, "veo-pro"),
        ("a cat", 5, "veo-pro"),
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_mark_and_any_line_end_are_accepted(line_end: str, mark: str) -> None:
    assert prompts_of(f"{mark}一个厕所{line_end}b{line_end}") == ["一个厕所", "b"]
    rows = f"{mark}prompt,custom_id{line_end}x,1{line_end}y,2{line_end}"
    assert prompts_of(rows, "p.csv") == ["x", "y"]
    objects = f'{mark}{{"prompt":"x"}}{line_end}{{"prompt":"y"}}{line_end}'
    assert prompts_of(objects, "p.jsonl") == ["x", "y"]


def test_unicode_line_separators_do_not_split_a_prompt() -> None:
    assert prompts_of("a\u2028b\u2029c") == ["a\u2028b\u2029c"]


@pytest.mark.parametrize("name", ["vbench_prompts_en.txt", "vbench_prompts_zh.txt"])
def test_real_prompt_lists_are_read_whole(name: str) -> None:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip("the shared prompt lists are not here")
    data = path.read_bytes()
    drafts = parse_batch_input(data, name)
    assert [d.prompt for d in drafts] == [line for line in data.decode().split("\n") if line]
    assert len(drafts) == 946
    priced = validate_drafts(drafts, DEFAULT_CATALOGUE, NOW)
    assert sum(item.credits for item in priced) == 9460


# --- bad files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
@pytest.mark.parametrize("data", ["", "\n\n \r\n\t\n", "\ufeff"])
def test_empty_files_are_refused(suffix: str, data: str) -> None:
    assert refusal(data, f"p.{suffix}").message == f"p.{suffix}: no items: there is no prompt in it"


@pytest.mark.parametrize(
    ("data", "source", "message"),
    [
        (b"ok\nok\r\n\xff\xfe", "p.txt", f"p.txt:3: not UTF-8 (byte 0xff){SAVE_IT}"),
        (b"\xef\xbb\xbfok\n\xe9t\xe9", "p.txt", f"p.txt:2: not UTF-8 (byte 0xe9){SAVE_IT}"),
        ("a".encode("utf-16")[:-1], "p.txt", f"p.txt:1: not UTF-16 (byte 0x61){SAVE_IT}"),
        (b"PK\x03\x04", "p.xlsx", 'p.xlsx: a workbook, not text; export it as "CSV UTF-8" first'),
        ("ok\n" + "x" * 1_000_000, "p.txt", "p.txt:2: a line of 1000000 bytes, more than 131072"),
        ("ok\n" + "x" * 4001, "p.txt", "p.txt:2: prompt: 4001 characters, more than 4000"),
        ("a\x00b", "p.txt", "p.txt:1: prompt: a control character (U+0000) at character 2"),
        ("a\x1b[31m", "p.txt", "p.txt:1: prompt: a control character (U+001B) at character 2"),
        (
            "x",
            "p.yaml",
            'p.yaml: cannot tell the format from ".yaml"; '
            "name it with --format: text, csv, tsv, jsonl or json",
        ),
        # CSV
        (
            "prompt,durration\nx,5",
            "p.csv",
            'p.csv:1: durration: unknown column "durration"; did you mean "duration"?',
        ),
        ("prompt,prompt\nx,5", "p.csv", "p.csv:1: prompt: the column is there twice"),
        (
            "model\nsora-2",
            "p.csv",
            'p.csv:1: prompt: the header has no column "prompt"; lines without a header are text',
        ),
        ("prompt,model\n", "p.csv", "p.csv: no items: there is no prompt in it"),
        ("prompt,model\nx,sora-2\n,sora-2\n", "p.csv", "p.csv:3: prompt: blank"),
        (
            "prompt,model\nx\n",
            "p.csv",
            "p.csv:2: 1 cell, but the header has 2; write the empty ones too, and quote text with line ends",
        ),
        ("prompt,model\nx,,y\n", "p.csv", "p.csv:2: 3 cells, but the header has 2"),
        ("prompt,duration\nx,abc\n", "p.csv", 'p.csv:2: duration: must be a whole number, not "abc"'),
        ("prompt,duration\nx,10.5\n", "p.csv", 'p.csv:2: duration: must be a whole number, not "10.5"'),
        ("prompt,duration\nx,١٠\n", "p.csv", 'p.csv:2: duration: must be a whole number, not "١٠"'),
        (
            'prompt,custom_id\n"two\nlines",a\nx,b\n"two\r\nlines",a\n',
            "p.csv",
            'p.csv:5: custom_id: "a" is already used by line 2',
        ),
        (
            'prompt\n"never closed\nx\n',
            "p.csv",
            "p.csv:2: not CSV: unexpected end of data; is a quote not closed?",
        ),
        ('prompt\n"a" b\n', "p.csv", "p.csv:2: not CSV: ',' expected after '\"'"),
        (
            "prompt,metadata\nx,{a}\n",
            "p.csv",
            "p.csv:2: metadata: not JSON: Expecting property name enclosed in double quotes (column 2)",
        ),
        ("prompt,metadata\nx,[1]\n", "p.csv", "p.csv:2: metadata: must be an object, not a list"),
        # JSON Lines
        ('{"prompt":"x"}\n{"prompt":', "p.jsonl", "p.jsonl:2: not JSON: Expecting value (column 11)"),
        ('[["x"]]', "p.jsonl", 'p.jsonl: [0]: must be an object such as {"prompt": "…"}, not a list'),
        ("5", "p.jsonl", 'p.jsonl:1: must be an object such as {"prompt": "…"}, not 5'),
        ('{"model":"sora-2"}', "p.jsonl", "p.jsonl:1: prompt: missing"),
        ('{"prompt":null}', "p.jsonl", "p.jsonl:1: prompt: missing"),
        ('{"prompt":" \\n"}', "p.jsonl", "p.jsonl:1: prompt: blank"),
        ('{"prompt":5}', "p.jsonl", "p.jsonl:1: prompt: must be text, not 5"),
        ('{"prompt":"x","model":[]}', "p.jsonl", "p.jsonl:1: model: must be text, not a list"),
        ('{"prompt":"x","custom_id":7}', "p.jsonl", "p.jsonl:1: custom_id: must be text, not 7"),
        (
            '{"prompt":"x","custom_id":""}',
            "p.jsonl",
            "p.jsonl:1: custom_id: must have 1 to 128 characters, not 0",
        ),
        (
            '{"prompt":"x","custom_id":"a\\nb"}',
            "p.jsonl",
            'p.jsonl:1: custom_id: must be printable text, not "a\\u000ab"',
        ),
        (
            '{"prompt":"a\\u0000"}',
            "p.jsonl",
            "p.jsonl:1: prompt: a control character (U+0000) at character 2",
        ),
        ('{"prompt":"a\\ud83d"}', "p.jsonl", "p.jsonl:1: prompt: a lone surrogate (U+D83D) at character 2"),
        ('{"prompt":"x","prompt":"y"}', "p.jsonl", 'p.jsonl:1: the key "prompt" is there twice'),
        ('{"prompt":"x","metadata":{"a":1,"a":2}}', "p.jsonl", 'p.jsonl:1: the key "a" is there twice'),
        ('{"prompt":"x","metadata":{"a":"\\udc00"}}', "p.jsonl", "p.jsonl:1: metadata: has a lone surrogate"),
        ('{"prompt":"x","metadata":{"a":NaN}}', "p.jsonl", "p.jsonl:1: NaN is not JSON"),
        (
            '{"prompt":"x","metadata":{"a":1e999}}',
            "p.jsonl",
            "p.jsonl:1: metadata: is not JSON: a value out of range, or nested too deeply",
        ),
        (
            '{"prompt":"x","seed":' + "9" * 5000 + "}",
            "p.jsonl",
            "p.jsonl:1: a number of 5000 digits, more than 100",
        ),
        ("[" * 100_000, "p.jsonl", "p.jsonl:1: not JSON that can be read: nested too deeply"),
        (
            '{"prompt":"x","aspectratio":"9:16"}',
            "p.jsonl",
            'p.jsonl:1: aspectratio: unknown field "aspectratio"; did you mean "aspect_ratio"?',
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bad_input_is_one_line_with_place_and_reason(data: str | bytes, source: str, message: str) -> None:
    assert refusal(data, source).message == message


def test_a_header_that_spans_lines_cannot_break_the_message() -> None:
    error = refusal('prompt,"a\nb\x1b[2J"\nx,y\n', "p.csv")
    assert error.line == 1
    assert error.field is None


def test_limits_hold_at_their_exact_values() -> None:
    assert prompts_of("é" * PROMPT_CHARACTERS_MAX) == ["é" * PROMPT_CHARACTERS_MAX]
    escaped = json.dumps({"prompt": "😀" * PROMPT_CHARACTERS_MAX})
    assert len(prompts_of(escaped, "p.jsonl")[0]) == PROMPT_CHARACTERS_MAX
    label = "c" * CUSTOM_ID_CHARACTERS_MAX
    metadata = {"k": "v" * (METADATA_BYTES_MAX - len('{"k":""}'))}
    draft = drafts_from_objects([{"prompt": "x", "custom_id": label, "metadata": metadata}], Defaults())[0]
    assert (draft.custom_id, draft.metadata) == (label, metadata)
    with pytest.raises(InputError, match=r"items\[0\]\.custom_id: must have 1 to 128"):
        drafts_from_objects([{"prompt": "x", "custom_id": label + "c"}], Defaults())
    with pytest.raises(InputError, match=r"items\[0\]\.metadata: 4097 bytes of JSON, more than 4096"):
        drafts_from_objects([{"prompt": "x", "metadata": {"k": metadata["k"] + "v"}}], Defaults())


def test_a_batch_has_at_most_its_limit_of_items() -> None:
    assert len(prompts_of("x\n" * BATCH_ITEMS_MAX)) == BATCH_ITEMS_MAX
    error = refusal("x\n" * (BATCH_ITEMS_MAX + 1), "p.txt")
    assert error.message == "p.txt:10001: more than 10000 items; split them into several batches"


def test_a_file_over_the_byte_limit_is_refused_unread() -> None:
    assert "more than" in refusal(b"\xff" * (INPUT_BYTES_MAX + 1), "p.txt").message


def test_the_first_error_is_raised_and_the_others_are_its_facts() -> None:
    error = refusal("\n".join(f"prompt {n}\x00" for n in range(50)), "p.txt")
    assert error.line == 1
    assert [fault["line"] for fault in error.facts["errors"]] == list(range(1, ERRORS_REPORTED_MAX + 1))
    assert error.facts["errors"][2] == {
        "code": "INVALID_INPUT",
        "message": "p.txt:3: prompt: a control character (U+0000) at character 9",
        "source": "p.txt",
        "line": 3,
        "field": "prompt",
    }


# --- CSV and JSON Lines -------------------------------------------------------------------------------


def test_csv_columns_become_the_types_that_the_api_takes() -> None:
    rows = (
        "prompt,model,duration,reference_urls,metadata,custom_id,seed,aspect_ratio\r\n"
        '"a, ""b""\r\nc",minimax-h3,5,https://x/1|https://x/2,"{""k"": [1]}",007,3,\r\n'
        'd,,,"[""https://x/3""]",,,,9:16\r\n'
    )
    first, second = parse_batch_input(
        rows.encode(), "p.csv", None, Defaults("veo-pro", {"aspect_ratio": "16:9"})
    )
    assert first == TaskDraft(
        'a, "b"\r\nc',
        "minimax-h3",
        {"aspect_ratio": "16:9", "duration": 5, "reference_urls": ["https://x/1", "https://x/2"], "seed": 3},
        "007",
        {"k": [1]},
    )
    assert second == TaskDraft("d", "veo-pro", {"aspect_ratio": "9:16", "reference_urls": ["https://x/3"]})
    assert (first.origin.line, second.origin.line) == (2, 4)


characters = st.characters(exclude_categories=("Cc", "Cs"), include_characters="\n\t,\"'")
texts = st.text(characters, min_size=1, max_size=40).filter(lambda text: text.strip() != "")


@given(st.lists(st.tuples(texts, st.integers(0, 99)), min_size=1, max_size=20))
def test_what_a_csv_writer_writes_is_read_back_exactly(items: list[tuple[str, int]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["prompt", "seed"])
    writer.writerows(items)
    drafts = parse_batch_input(file.getvalue().encode(), "p.csv")
    assert [(draft.prompt, draft.options["seed"]) for draft in drafts] == items


@given(st.lists(st.fixed_dictionaries({"prompt": texts, "duration": st.integers()}), min_size=1, max_size=20))
def test_json_lines_and_objects_give_the_same_drafts(items: list[dict[str, Any]]) -> None:
    data = "\n".join(json.dumps(item) for item in items).encode()
    assert parse_batch_input(data, "p.jsonl") == drafts_from_objects(items, Defaults())


@given(st.binary(max_size=200), st.sampled_from(["text", "csv", "jsonl"]))
def test_any_bytes_give_drafts_or_an_input_error(data: bytes, input_format: Any) -> None:
    try:
        outcome = len(parse_batch_input(data, "p", input_format)) > 0
    except InputError as error:
        outcome = error.message.isprintable()
    assert outcome


# --- the API's objects --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([], "items"),
        ([{"prompt": "x"}, {}], "items[1].prompt"),
        ([{"prompt": "x"}, "y"], "items[1]"),
        ([{"prompt": "x", "nope": 1}], "items[0].nope"),
        ([{"prompt": "x", 5: 1}], "items[0].5"),
        ([{"prompt": "x", "custom_id": "a"}, {"prompt": "x", "custom_id": "a"}], "items[1].custom_id"),
        ([{"prompt": "x", "metadata": {"a": {1}}}], "items[0].metadata"),
    ],
)
def test_object_errors_carry_the_path(items: list[object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        drafts_from_objects(items, Defaults())
    assert caught.value.field == field


def test_every_option_of_the_catalogue_can_be_written_in_a_batch() -> None:
    assert {
        name for model in DEFAULT_CATALOGUE for name in model.options
    } <= DEFAULT_CATALOGUE.fields.names - OWN_FIELDS


# --- prices and options -------------------------------------------------------------------------------


def test_priced_drafts_carry_model_price_and_normal_options() -> None:
    drafts = drafts_from_objects(
        [{"prompt": "a", "duration": 15}, {"prompt": "b", "model": "veo3.1-pro"}], Defaults()
    )
    first, second = validate_drafts(drafts, DEFAULT_CATALOGUE, NOW)
    assert (first.model.name, first.credits, first.options) == ("sora-2", 10, {"duration": 15})
    assert (second.model.name, second.credits, second.draft.prompt) == ("veo-pro", 60, "b")


def test_price_check_names_the_item_and_collects_the_rest() -> None:
    drafts = drafts_from_objects(
        [
            {"prompt": "a"},
            {"prompt": "b", "duration": 12},
            {"prompt": "c", "model": "sora2"},
            {"prompt": "d", "model": "veo-pro", "duration": 10},
        ],
        Defaults(),
    )
    with pytest.raises(InputError, match=r"^items\[1\]\.duration: must be 10 or 15, not 12$") as caught:
        validate_drafts(drafts, DEFAULT_CATALOGUE, NOW)
    assert [(fault["code"], fault["field"]) for fault in caught.value.facts["errors"]] == [
        ("INVALID_INPUT", "items[1].duration"),
        ("UNKNOWN_MODEL", "items[2].model"),
        ("INVALID_INPUT", "items[3].duration"),
    ]


def test_an_object_of_very_many_keys_with_one_twice_is_refused_as_fast_as_it_is_read() -> None:
    """Comparing each with all others took 15 s for what a small request may have, and a batch hours."""
    keys = [f"k{number:x}" for number in range(30_000)]
    text = "{" + ",".join(f'"{key}":0' for key in [*keys, "last", "last"]) + "}"
    began = time.process_time()
    with pytest.raises(ValueError, match=r'^the key "last" is there twice$'):
        parse_json(text)
    assert time.process_time() - began < 2


def test_price_check_names_the_line_of_a_file() -> None:
    drafts = parse_batch_input(b"prompt,model\nx,sora-2\n\ny,sora2\n", "p.csv")
    with pytest.raises(
        UnknownModel, match=r'^p\.csv:4: model: unknown model "sora2"; did you mean "sora-2"\?$'
    ):
        validate_drafts(drafts, DEFAULT_CATALOGUE, NOW)


def test_retired_models_are_refused_before_anything_is_priced() -> None:
    catalogue = DEFAULT_CATALOGUE.with_overrides({"sora-2": {"sunset_at": NOW}})
    with pytest.raises(ModelRetired, match=r"^p\.txt:1: model: "):
        validate_drafts(parse_batch_input(b"x", "p.txt"), catalogue, NOW)
