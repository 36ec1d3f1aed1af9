from decimal import Decimal
from typing import Any

import pytest

from rushes.domain.catalogue.option_reading import read_option, read_options
from rushes.domain.catalogue.options import (
    DecimalNumber,
    OneOf,
    OptionSpec,
    Origin,
    Seed,
    Text,
    WholeNumber,
    YesNo,
    values_of,
)
from rushes.domain.catalogue.wire import AS_NAMED, Wire, wire_fields
from rushes.domain.errors import InputError


@pytest.mark.parametrize(
    ("spec", "value", "normal"),
    [
        (WholeNumber(4, 12, 4), 8, 8),
        (DecimalNumber(0, Decimal("1.5")), 0.7, 0.7),
        (DecimalNumber(0, 1), 1, 1.0),
        (YesNo(), False, False),
        (Text(5), "a\nb", "a\nb"),
        (Seed(), 2**31 - 1, 2**31 - 1),
    ],
)
def test_a_value_of_its_kind_is_taken(spec: OptionSpec, value: object, normal: object) -> None:
    found = spec.normalise(value)
    assert (found, type(found)) == (normal, type(normal))


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (WholeNumber(4, 12, 4), 6, "a whole number from 4 to 12 in steps of 4, not 6"),
        (DecimalNumber(0, Decimal("1.5")), 1.6, "a number from 0 to 1.5, not 1.6"),
        (DecimalNumber(0, 1), float("nan"), "a number from 0 to 1"),
        (DecimalNumber(0, 1), True, "a number from 0 to 1, not true"),
        (YesNo(), 1, "true or false, not 1"),
        (YesNo(), "true", 'true or false, not "true"'),
        (Text(5), "abcdef", "6 characters, more than 5"),
        (Text(5), "", "text of up to 5 characters"),
        (Text(5), "a\x00", "control characters"),
        (Seed(), -1, "a whole number from 0 to 2147483647, not -1"),
    ],
)
def test_a_value_of_another_kind_is_refused(spec: OptionSpec, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec.normalise(value)


def test_the_values_of_an_option_are_listed_when_they_are_few() -> None:
    assert list(values_of(WholeNumber(4, 12, 4)) or ()) == [4, 8, 12]
    assert list(values_of(YesNo()) or ()) == [False, True]
    assert values_of(Seed()) is None
    assert values_of(Text(5)) is None


SPECS: dict[str, OptionSpec] = {
    "aspect_ratio": OneOf(
        ("16:9", "9:16"),
        wire=Wire(
            path="ratio",
            joined_with="resolution",
            values={"16:9 720p": "1280:720", "9:16 720p": "720:1280"},
        ),
    ),
    "resolution": OneOf(("720p", "1080p"), wire=Wire(is_sent=False)),
    "duration": WholeNumber(2, 10, wire=Wire(template="{}s")),
    "audio": YesNo(wire=Wire(path="settings.audio")),
    "quality": OneOf(("low", "high"), wire=Wire(path="settings.quality", values={"low": 1, "high": 2})),
    "seed": Seed(),
}


WIRES = {name: getattr(spec, "wire", AS_NAMED) for name, spec in SPECS.items()}


def test_options_stand_where_the_wire_form_says() -> None:
    options = {"aspect_ratio": "9:16", "resolution": "720p", "duration": 5, "audio": True, "quality": "high"}
    assert wire_fields(WIRES, {**options, "seed": 7}) == {
        "ratio": "720:1280",
        "duration": "5s",
        "settings": {"audio": True, "quality": 2},
        "seed": 7,
    }
    with pytest.raises(ValueError, match="aspect_ratio 9:16 does not go with resolution 1080p"):
        wire_fields(WIRES, {**options, "resolution": "1080p"})
    with pytest.raises(ValueError, match="two options stand at seed"):
        wire_fields({**WIRES, "random": Wire(path="seed")}, {"seed": 1, "random": 2})


def test_options_are_read_as_an_operator_writes_them() -> None:
    written: dict[str, Any] = {
        "quality": {"kind": "choice", "values": ["low", "high"], "default": "low"},
        "duration": {
            "kind": "whole_number",
            "minimum": 2,
            "maximum": 10,
            "default": 5,
            "wire": {"template": "{}s"},
        },
        "strength": {"kind": "decimal", "minimum": 0, "maximum": Decimal("1.5"), "default": Decimal("0.5")},
        "audio": {"kind": "yes_no", "default": False, "wire": {"path": "settings.audio"}},
        "negative_prompt": {"kind": "text", "characters_max": 200},
        "seed": {"kind": "seed"},
    }
    found: dict[str, Any] = read_options(written, {"old": YesNo()}, Origin(path="m.options"))
    assert found == {
        "old": YesNo(),
        "quality": OneOf(("low", "high"), default="low"),
        "duration": WholeNumber(2, 10, default=5, wire=Wire(template="{}s")),
        "strength": DecimalNumber(Decimal(0), Decimal("1.5"), default=0.5),
        "audio": YesNo(default=False, wire=Wire(path="settings.audio")),
        "negative_prompt": Text(200),
        "seed": Seed(),
    }
    assert "old" not in read_options({"old": False}, {"old": YesNo()}, Origin(path="m.options"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"kind": "number"}, "o.kind: must be one of choice, whole_number"),
        ({"kind": "yes_no", "defualt": True}, 'o: has no field "defualt"; did you mean "default"?'),
        ({"kind": "yes_no", "default": "yes"}, 'o.default: must be true or false, not "yes"'),
        ({"kind": "choice", "values": []}, "o.values: must be a list of 1 to 100 values"),
        (
            {"kind": "choice", "values": ["a"], "synonyms": {"b": "c"}},
            "o.synonyms: must name a value for each",
        ),
        ({"kind": "choice", "values": ["a"], "synonyms": ["a"]}, "o.synonyms: must name a value for each"),
        ({"kind": "choice", "values": ["a"], "default": "b"}, 'o.default: must be "a", not "b"'),
        ({"kind": "whole_number", "minimum": 2}, "o.maximum: missing"),
        ({"kind": "whole_number", "minimum": 9, "maximum": 2}, "o.maximum: must be at least the minimum, 9"),
        ({"kind": "yes_no", "wire": {"template": "s"}}, "o.wire.template: must have one {} for the value"),
        ({"kind": "yes_no", "wire": {"template": "{0.__class__}"}}, "o.wire.template: must have one {}"),
        ({"kind": "choice", "values": ["a", True]}, "o.values[1]: must be text or a whole number, not true"),
        ({"kind": "choice", "values": [1.5]}, "o.values[0]: must be text or a whole number, not 1.5"),
        ({"kind": None}, "o.kind: must be one of choice, whole_number"),
        ({"kind": "yes_no", "wire": {"path": 5}}, "o.wire.path: must be text, not 5"),
        ({"kind": "yes_no", "wire": {"template": ["{}"]}}, "o.wire.template: must be text"),
        ({"kind": "yes_no", "wire": {"path": "a..b"}}, "o.wire.path: must be names with dots between"),
        ({"kind": "text", "characters_max": 10**9}, "o.characters_max: must be from 1 to 10000"),
        (7, "o: must be an object with a kind"),
    ],
)
def test_an_option_that_cannot_be_is_one_line_with_its_place(option: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_option(option, Origin(path="o"))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["prompt", "model", "a-b", ""])
def test_an_option_takes_no_name_that_an_item_has_already(name: str) -> None:
    with pytest.raises(InputError):
        read_options({name: {"kind": "yes_no"}}, {}, Origin(path="m.options"))
