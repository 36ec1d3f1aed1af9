"""Options of every kind, of another package's model, from text, CSV, JSON Lines and objects."""

import json
from decimal import Decimal
from typing import Any

import pytest

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import (
    DecimalNumber,
    OneOf,
    Origin,
    Seed,
    Text,
    UrlList,
    WholeNumber,
    YesNo,
)
from rushes.domain.catalogue.price_reading import read_price
from rushes.domain.errors import InputError
from rushes.domain.input.files import parse_batch_input
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, TaskDraft, drafts_from_objects

ACME = Model(
    name="acme-max",
    provider="acme",
    api_model="acme-max",
    options={
        "duration": WholeNumber(2, 10, default=5),
        "audio": YesNo(default=False),
        "style": OneOf(("film", "anime"), default="film"),
        "fps": OneOf((24, 30)),
        "strength": DecimalNumber(0, Decimal("1.5")),
        "negative_prompt": Text(100),
        "stills": UrlList(3),
        "seed": Seed(),
    },
    price=read_price({"per_second": 2, "by": {"audio": {"true": "1.5"}}}, Origin()),
)
MODELS = Catalogue([*DEFAULT_CATALOGUE, ACME], DEFAULT_CATALOGUE.definitions)
OPTIONS: dict[str, Any] = {
    "duration": 7,
    "audio": True,
    "style": "anime",
    "fps": 24,
    "strength": 0.75,
    "negative_prompt": "no rain, please",
    "stills": ["https://a.example/1.png", "https://a.example/2.png"],
    "seed": 5,
}
CSV = (
    "prompt,model,duration,audio,style,fps,strength,negative_prompt,stills,seed\n"
    'a boat,acme-max,7,true,anime,24,0.75,"no rain, please",https://a.example/1.png|https://a.example/2.png,5\n'
)


def in_a_cell(document: dict[str, Any]) -> str:
    return '"' + json.dumps(document).replace('"', '""') + '"'


def read(data: str, name: str) -> list[TaskDraft]:
    return parse_batch_input(data.encode(), name, None, Defaults.of(MODELS))


@pytest.mark.parametrize(
    "drafts",
    [
        read(CSV, "p.csv"),
        read(json.dumps({"prompt": "a boat", "model": "acme-max", **OPTIONS}), "p.jsonl"),
        read(json.dumps({"prompt": "a boat", "model": "acme-max", "options": OPTIONS}), "p.jsonl"),
        read(
            f'prompt,model,options\na boat,acme-max,"{json.dumps(OPTIONS).replace(chr(34), chr(34) * 2)}"',
            "p.csv",
        ),
        drafts_from_objects([{"prompt": "a boat"}], Defaults.of(MODELS, "acme-max", OPTIONS)),
    ],
    ids=["csv", "jsonl", "jsonl under options", "csv under options", "defaults"],
)
def test_options_of_every_kind_are_read_and_priced_the_same(drafts: list[TaskDraft]) -> None:
    (priced,) = validate_drafts(drafts, MODELS, 0.0)
    assert priced.options == {**OPTIONS, "stills": tuple(OPTIONS["stills"])}
    assert priced.credits == 21
    assert priced.charge.sent_options == priced.options


def test_defaults_are_sent_and_priced() -> None:
    (priced,) = validate_drafts(
        drafts_from_objects([{"prompt": "x"}], Defaults.of(MODELS, "acme-max")), MODELS, 0.0
    )
    assert (priced.options, priced.credits) == ({}, 10)
    assert priced.charge.sent_options == {"duration": 5, "audio": False, "style": "film"}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"audoi": True}, 'items[0].audoi: unknown field "audoi"; did you mean "audio"?'),
        (
            {"options": {"audoi": True}},
            'items[0].options.audoi: unknown option "audoi"; did you mean "audio"?',
        ),
        ({"options": {"audio": True}, "audio": False}, "items[0].options.audio: is there twice"),
        ({"options": [1]}, "items[0].options: must be an object, not a list"),
        ({"audio": "yes"}, 'items[0].audio: must be true or false, not "yes"'),
        ({"model": "sora-2", "audio": True}, "items[0].audio: sora-2 has no such option"),
    ],
)
def test_an_option_that_no_model_has_is_refused_with_the_nearest(item: dict[str, Any], message: str) -> None:
    def accept() -> None:
        drafts = drafts_from_objects([{"prompt": "x", **item}], Defaults.of(MODELS, "acme-max"))
        validate_drafts(drafts, MODELS, 0.0)

    with pytest.raises(InputError) as caught:
        accept()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("audio", "maybe", 'audio: must be true or false, not "maybe"'),
        ("strength", "1,500", 'strength: must be a number, not "1,500"'),
        ("fps", "fast", 'fps: must be a whole number, not "fast"'),
        ("stills", "[1", "stills: not a JSON list"),
        ("options", "{", "options: not JSON"),
    ],
)
def test_a_cell_that_cannot_be_is_named_by_line_and_column(column: str, cell: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(f'prompt,model,{column}\nx,acme-max,"{cell}"\n', "p.csv")
    assert str(caught.value).startswith(f"p.csv:2: {message}")
