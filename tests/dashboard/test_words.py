"""Every text of the pages is there in both languages, with the same values filled in."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rushes
from rushes.dashboard.pages.batch.waits import hold_words, waits_for
from rushes.dashboard.pages.codes import facts_words, file_word, note_words, source_word, verdict_word
from rushes.dashboard.pages.new_batch.faults import fault_words
from rushes.dashboard.pages.new_batch.page import described, price_words
from rushes.dashboard.words import _CHINESE, CHINESE_FILE, best_language, speaking, tr, tr_count
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import values_of
from rushes.domain.errors import InputError, InsufficientCredits
from rushes.domain.input.files import rows_of
from rushes.domain.input.prompts import Defaults
from rushes.domain.input.row_by_row import check_row_by_row
from rushes.read.batch_views import Eta, Wait, WaitKind
from rushes.read.holding import Hold, HoldKind

PAGES = Path(rushes.__file__).parent / "dashboard"
_VALUES = re.compile(r"{(\w+)}")


def texts_of(source: str) -> Iterator[tuple[int, str | None]]:
    """The line and the text of each call of `tr` and `tr_count`; None for a text that is no literal."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        places = {"tr": (0,), "tr_count": (1, 2)}.get(node.func.id, ())
        for place in places:
            argument = node.args[place]
            text = argument.value if isinstance(argument, ast.Constant) else None
            # the singular is English alone: Chinese has one form
            if node.func.id == "tr_count" and place == 1 and isinstance(text, str):
                continue
            yield node.lineno, text if isinstance(text, str) else None


def all_texts() -> dict[str, str]:
    found = {}
    for path in sorted(PAGES.rglob("*.py")):
        if path.name == "words.py":
            continue
        for line, text in texts_of(path.read_text()):
            place = f"{path.relative_to(PAGES)}:{line}"
            assert text is not None, f"{place}: the text is no literal, and cannot be found"
            found[text] = place
    return found


def test_a_text_that_is_no_literal_is_seen() -> None:
    source = 'tr("a {b}", b=1); tr(name); tr_count(2, "1 c", "{n} c"); other("d")'
    assert list(texts_of(source)) == [(1, "a {b}"), (1, None), (1, "{n} c")]


def test_every_text_has_both_languages_and_no_other_is_kept() -> None:
    used = all_texts()
    assert {text: place for text, place in used.items() if text not in _CHINESE} == {}
    assert set(_CHINESE) - set(used) == set(), f"no page says these: take them out of {CHINESE_FILE.name}"


def test_both_languages_fill_in_the_same_values() -> None:
    wrong = {
        english: chinese
        for english, chinese in _CHINESE.items()
        if set(_VALUES.findall(english)) != set(_VALUES.findall(chinese)) or not chinese.strip()
    }
    assert wrong == {}


def test_the_language_is_the_one_that_is_spoken() -> None:
    assert tr("Sign in") == "Sign in"
    assert tr_count(1, "1 batch", "{n} batches") == "1 batch"
    assert tr_count(1200, "1 batch", "{n} batches") == "1,200 batches"
    with speaking("zh"):
        assert tr("Sign in") == "登录"
        assert "1" in tr_count(1, "1 batch", "{n} batches")
        assert tr_count(1, "1 batch", "{n} batches") != "1 batch"
    assert tr("Sign in") == "Sign in"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("*", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("fr,zh-TW;q=0.7,en;q=0.3", "zh"),
        ("en;q=0.2,zh;q=0.9", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=x,en", "en"),
        (",;q=,;;," * 50, "en"),
    ],
)
def test_the_browser_says_the_language(header: str, language: str) -> None:
    assert best_language(header) == language


# --- what others say in English -------------------------------------------------------------------------

_ROWS = """\
prompt,model,duration,custom_id,aspect_ratio
,sora-2,,,
a boat,sora-9,,,
a boat,sora-2,7,,
a boat,sora-2,long,,
a boat,sora-2,,x,4:7
a boat,sora-2,,x,
a boat,veo-flash,12,,
{long},sora-2,,,
a boat\x07,sora-2,,,
a boat,sora-2
"""
_JSON_ROWS = """\
{"prompt": 5}
{"prompt": "a boat", "prompts": 1}
{"prompt": "a boat", "model": "sora-2", "duration": true}
{"prompt": "a boat", "options": 5}
{"prompt": "a boat", "reference_images": ["x y"]}
{"prompt": "a boat", "reference_images": ["ftp://a"]}
{"prompt": "a boat", "custom_id": 7}
{"prompt": "a boat", "metadata": 7}
{"prompt"
{}
"""


def faults_of(text: str, name: str) -> list[str]:
    """What is wrong with the rows of a file, as the library says it, without the place."""
    defaults = Defaults.of(DEFAULT_CATALOGUE, "sora-2", {})
    rows = check_row_by_row(rows_of(text.encode(), name, None, defaults), defaults, DEFAULT_CATALOGUE, 1e9)
    return [
        row.message.removeprefix(f"{name}:{row.line}: ") for row in rows.rows if isinstance(row, InputError)
    ]


FAULTS = (
    *faults_of(_ROWS.replace("{long}", "x" * 60_000), "rows.csv"),
    *faults_of(_JSON_ROWS, "rows.jsonl"),
    InsufficientCredits(required=20, available=5).message,
)


def test_many_kinds_of_faults_are_tried() -> None:
    assert len(set(FAULTS)) > 16


@pytest.mark.parametrize("said", FAULTS)
def test_what_is_wrong_with_a_row_is_said_in_both_languages(said: str) -> None:
    assert fault_words(said) == said, "the page says what the library says"
    with speaking("zh"):
        chinese = fault_words(said)
        assert re.search("[\u4e00-\u9fff]", chinese), f"{said!r} is English"
        assert "{" not in chinese.replace("{", "", said.count("{")), "a value is not filled in"


def test_a_fault_of_no_known_shape_stays_as_it_is() -> None:
    with speaking("zh"):
        assert fault_words("the moon is full") == "the moon is full"


@pytest.mark.parametrize(
    "model", [model for model in DEFAULT_CATALOGUE if model.note], ids=lambda one: one.name
)
def test_a_models_note_is_said_in_both_languages(model: Model) -> None:
    assert model.note is not None
    assert note_words(model.note) == model.note
    with speaking("zh"):
        assert re.search("[\u4e00-\u9fff]", note_words(model.note))


WAITS = (
    Wait(WaitKind.RENDERING, 82),
    Wait(WaitKind.CANCELLED, 3),
    Wait(WaitKind.EQUAL_ITEMS, 1200),
    Wait(WaitKind.PLACE, 5, "grsai", limit=20),
    Wait(WaitKind.TO_BE_SENT, 7, "grsai", limit=1.5),
    Wait(WaitKind.TO_BE_SENT, 7, "grsai"),
    Wait(WaitKind.UNCONFIRMED, 1, decided_at="21:40 UTC"),
    Wait(WaitKind.NOT_KNOWN, 2, "grsai", decided_at="21:40 UTC"),
    Wait(WaitKind.LAST_ANSWER, 4),
    Wait(WaitKind.NO_WORKER, provider="grsai"),
    Wait(WaitKind.HELD, hold=Hold(HoldKind.PAUSED, "grsai", "sora-2")),
)
HOLDS = (
    Hold(HoldKind.UNLISTED, "grsai", "sora-2"),
    Hold(HoldKind.RETIRED, "grsai", "sora-2", "2026-09-24"),
    Hold(HoldKind.DISABLED, "grsai", "sora-2"),
    Hold(HoldKind.PAUSED, "grsai", "sora-2"),
    Hold(HoldKind.PAUSED, "grsai", "sora-2", "no balance", operator="ada"),
    Hold(HoldKind.NO_WORKER, "grsai", "sora-2"),
    Hold(HoldKind.NO_WORKER, "grsai", "sora-2", "it has no key"),
    Hold(HoldKind.NOT_POLLED, "grsai", "sora-2"),
    Hold(HoldKind.PROVIDER, "grsai", "sora-2", state="open"),
    Hold(HoldKind.PROVIDER, "grsai", "sora-2", "HTTP 401", state="paused"),
)


def test_each_kind_of_wait_has_an_example() -> None:
    assert {wait.kind for wait in WAITS} == set(WaitKind)
    assert {hold.kind for hold in HOLDS} == set(HoldKind)


@pytest.mark.parametrize("hold", HOLDS)
def test_what_holds_items_is_said_in_both_languages(hold: Hold) -> None:
    assert hold_words(hold) == hold.words, "the page says what the API says"
    with speaking("zh"):
        assert re.search("[\u4e00-\u9fff]", hold_words(hold))


@pytest.mark.parametrize("waits", [*((wait,) for wait in WAITS), WAITS])
def test_what_a_batch_waits_for_is_said_in_both_languages(waits: tuple[Wait, ...]) -> None:
    assert waits_for(waits) == Eta(None, waits).reason, "the page says what the API says"
    with speaking("zh"):
        for clause in waits_for(waits).split("; "):
            assert re.search("[\u4e00-\u9fff]", clause), f"{clause!r} is English"


def test_what_an_act_changed_is_one_line_without_what_is_not_set() -> None:
    facts = {"amount": 5000, "description": "", "kind": "bonus", "rate_limit_per_min": None, "items": [1, 2]}
    assert facts_words(facts) == "amount 5,000 · kind bonus · items 1, 2"
    assert facts_words({"is_new": True, "of": {"credits": 7}}) == "is new yes · of credits 7"


@pytest.mark.parametrize("word", [file_word, verdict_word, source_word])
def test_a_code_that_is_not_known_is_left_as_it_is(word: Callable[[str], str]) -> None:
    assert word("new-code") == "new-code"
    with speaking("zh"):
        known = {file_word: "stored", verdict_word: "accepted", source_word: "environment"}[word]
        assert re.search("[\u4e00-\u9fff]", word(known))


@pytest.mark.parametrize("model", DEFAULT_CATALOGUE, ids=lambda model: str(model.name))
def test_what_an_option_takes_is_said_in_both_languages(model: Model) -> None:
    with speaking("zh"):
        for spec in model.options.values():
            if values_of(spec) is None:
                assert re.search("[\u4e00-\u9fff]", described(spec)), spec


def test_every_price_is_said_with_its_unit() -> None:
    for model in DEFAULT_CATALOGUE:
        assert "credits" in price_words(model.price.tariff).split("; ")[0]
        with speaking("zh"):
            assert "积分" in price_words(model.price.tariff).split("; ")[0]
