"""Templates: every combination once, in an order that the template alone decides."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.errors import InputError
from rushes.domain.input.prompts import BATCH_ITEMS_MAX, Defaults
from rushes.domain.input.templates import TEMPLATE_CHARACTERS_MAX, drafts_from_template, expand_template


def test_the_last_variable_changes_fastest_whatever_the_mapping_order() -> None:
    variables = {"scene": ["a cat", "a dog"], "style": ["wide", "close"]}
    expected = [
        "A wide shot of a cat",
        "A wide shot of a dog",
        "A close shot of a cat",
        "A close shot of a dog",
    ]
    template = "A {style} shot of {scene}"
    assert expand_template(template, variables) == expected
    assert expand_template(template, dict(reversed(variables.items()))) == expected
    assert expand_template(template, variables, 3) == expected[:3]
    assert expand_template(template, variables, 5) == expected


def test_double_braces_are_braces_and_a_variable_may_appear_twice() -> None:
    assert expand_template("{{x}} {a} and {a} {{{a}}}", {"a": ["1", "{b}"]}) == [
        "{x} 1 and 1 {1}",
        "{x} {b} and {b} {{b}}",
    ]
    assert expand_template("plain", {}) == ["plain"]


@pytest.mark.parametrize(
    ("template", "variables", "max_outputs", "message"),
    [
        ("a {b", {"b": ["x"]}, None, 'template: "{" at character 3 is not part of a {variable};'),
        ("a b}", {"b": ["x"]}, None, 'template: "}" at character 4 is not part of a {variable};'),
        ("a {}", {}, None, 'template: "{" at character 3'),
        ("a {b c}", {}, None, 'template: "{" at character 3'),
        (
            "a {style}",
            {"stile": ["x"]},
            None,
            'variables: the template\'s variable "style" has no values; did',
        ),
        ("a {b}", {"b": ["x"], "c": ["y"]}, None, 'variables: the template does not use the variable "c"'),
        ("a {b}", {"b": []}, None, "variables.b: must be a list of at least one text, not an empty one"),
        ("a {b}", {"b": "xyz"}, None, 'variables.b: must be a list of at least one text, not "xyz"'),
        ("a {b}", {"b": ["x", 5]}, None, "variables.b: value 2 must be text, not 5"),
        ("a {b}", {"b": ["x" * 4001]}, None, "variables.b: value 1 has 4001 characters"),
        ("a {b}", {"b": ["x" * 4000]}, None, "template: 4002 characters, more than 4000"),
        ("{b}", {"b": [" "]}, None, "template: blank"),
        ("", {}, None, "template: blank"),
        ("a\x00", {}, None, "template: a control character (U+0000)"),
        ("x" * (TEMPLATE_CHARACTERS_MAX + 1), {}, None, "template: 8001 characters, more than 8000"),
        (5, {}, None, "template: must be text, not 5"),
        ("a", [], None, "variables: must be an object of lists"),
        ("a {b}", {"b": ["x"]}, 0, "max_outputs: must be a whole number from 1 to 10000, not 0"),
        ("a {b}", {"b": ["x"]}, 10_001, "max_outputs: must be a whole number"),
        ("a {b}", {"b": ["x"]}, True, "max_outputs: must be a whole number"),
        ("a {b}", {"b": ["x"]}, "3", "max_outputs: must be a whole number"),
        ("{a}{b}{c}", {n: ["x"] * 100 for n in "abc"}, None, "variables: 1000000 combinations, more than"),
        ("a", {f"v{n}": ["x"] for n in range(21)}, None, "variables: 21 variables, more than 20"),
    ],
)
def test_bad_templates_are_one_line_errors(
    template: Any, variables: Any, max_outputs: Any, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        expand_template(template, variables, max_outputs)
    assert caught.value.message.startswith(message)
    assert caught.value.message.isprintable()


def test_a_huge_product_is_not_built_to_take_its_first_few() -> None:
    variables = {name: ["x"] * 1000 for name in "abcdefghij"}
    template = "".join(f"{{{name}}}" for name in variables)
    assert len(expand_template(template, variables, BATCH_ITEMS_MAX)) == BATCH_ITEMS_MAX


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8)


@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 300))
def test_expansion_is_the_cartesian_product_cut_to_max_outputs(
    values: list[list[str]], max_outputs: int
) -> None:
    names = [f"v{index}" for index in range(len(values))]
    template = "start " + "/".join(f"{{{name}}}" for name in names)
    expected = ["start " + "/".join(combination) for combination in product(*values)]
    given_values = dict(zip(names, values, strict=True))
    assert expand_template(template, given_values, max_outputs) == expected[:max_outputs]


def test_drafts_from_a_template_have_the_default_model_and_options() -> None:
    drafts = drafts_from_template(
        "{a}", {"a": ["x", "y"]}, None, Defaults("veo-pro", {"aspect_ratio": "9:16"})
    )
    assert [(d.prompt, d.model, d.options) for d in drafts] == [
        ("x", "veo-pro", {"aspect_ratio": "9:16"}),
        ("y", "veo-pro", {"aspect_ratio": "9:16"}),
    ]
