"""Template × variables: "A {style} shot of {scene}" becomes one prompt per combination."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice, product
from math import prod

from rushes.domain.catalogue.options import NOWHERE, Origin, WholeNumber, nearest, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import (
    BATCH_ITEMS_MAX,
    PROMPT_CHARACTERS_MAX,
    Defaults,
    TaskDraft,
    check_prompt,
)

TEMPLATE_CHARACTERS_MAX = 2 * PROMPT_CHARACTERS_MAX
VARIABLES_MAX = 20
VARIABLE_VALUES_MAX = BATCH_ITEMS_MAX

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]|[^{}]+")


def expand_template(
    template: str,
    variables: Mapping[str, Sequence[str]],
    max_outputs: int | None = None,
    *,
    origin: Origin = NOWHERE,
) -> list[str]:
    """Every combination of the variables' values, as prompts; repeated values give repeated prompts.

    The order depends on the template alone: the variable that appears last changes fastest. A variable
    that appears twice has one value in both places. `{{` and `}}` stand for single braces.
    `max_outputs` keeps only the first ones; without it more than `BATCH_ITEMS_MAX` are an error.

    Raises `InputError` with `field` = `template`, `variables.NAME` or `max_outputs`: unbalanced braces,
    a variable without values, one that the template does not use, a prompt that `check_prompt` refuses.
    """
    if max_outputs is not None:
        try:
            WholeNumber(1, BATCH_ITEMS_MAX).normalise(max_outputs)
        except ValueError as refused:
            raise origin.error(str(refused), "max_outputs") from None
    parts = _parse(template, origin)
    names = list(dict.fromkeys(name for name, _ in parts if name is not None))
    _check_variables(names, variables, origin)
    count = prod(len(variables[name]) for name in names)
    if max_outputs is None and count > BATCH_ITEMS_MAX:
        raise origin.error(
            f"{count} combinations, more than {BATCH_ITEMS_MAX}; set max_outputs or split", "variables"
        )
    prompts: list[str] = []
    for values in islice(product(*(variables[name] for name in names)), max_outputs):
        value_of = dict(zip(names, values, strict=True))
        prompt = "".join(text if name is None else value_of[name] for name, text in parts)
        prompts.append(check_prompt(prompt, origin, "template"))
    return prompts


def drafts_from_template(
    template: str,
    variables: Mapping[str, Sequence[str]],
    max_outputs: int | None = None,
    defaults: Defaults | None = None,
    *,
    origin: Origin = NOWHERE,
) -> list[TaskDraft]:
    """The prompts of `expand_template` as drafts that all have the default model and options."""
    defaults = defaults or Defaults()
    prompts = expand_template(template, variables, max_outputs, origin=origin)
    return [TaskDraft(prompt, defaults.model, defaults.options, origin=origin) for prompt in prompts]


def _parse(template: object, origin: Origin) -> list[tuple[str | None, str]]:
    """The template as (variable, "") and (None, literal text) parts."""
    if not isinstance(template, str):
        raise origin.error(f"must be text, not {quoted(template)}", "template")
    if len(template) > TEMPLATE_CHARACTERS_MAX:
        raise origin.error(f"{len(template)} characters, more than {TEMPLATE_CHARACTERS_MAX}", "template")
    parts: list[tuple[str | None, str]] = []
    for match in _TOKEN.finditer(template):
        token, name = match.group(), match.group(1)
        if name is not None:
            parts.append((name, ""))
        elif token in ("{", "}"):
            raise origin.error(
                f'"{token}" at character {match.start() + 1} is not part of a {{variable}};'
                f' write "{token * 2}" for the brace itself',
                "template",
            )
        else:
            parts.append((None, token[0] if token in ("{{", "}}") else token))
    return parts


def _check_variables(names: Sequence[str], variables: object, origin: Origin) -> None:
    if not isinstance(variables, Mapping):
        raise origin.error(f"must be an object of lists, not {quoted(variables)}", "variables")
    if len(variables) > VARIABLES_MAX:
        raise origin.error(f"{len(variables)} variables, more than {VARIABLES_MAX}", "variables")
    given = tuple(str(name) for name in variables)
    for name in names:
        if name not in variables:
            suggestion = nearest(name, given)
            hint = f"; did you mean {quoted(suggestion)}?" if suggestion else ""
            raise origin.error(f"the template's variable {quoted(name)} has no values{hint}", "variables")
    for name, values in variables.items():
        if name not in names:
            raise origin.error(f"the template does not use the variable {quoted(name)}", "variables")
        _check_values(name, values, origin)


def _check_values(name: str, values: object, origin: Origin) -> None:
    def refused(message: str) -> InputError:
        return origin.error(message, f"variables.{name}")

    if not isinstance(values, list | tuple) or not values:
        given = "an empty one" if isinstance(values, list | tuple) else quoted(values)
        raise refused(f"must be a list of at least one text, not {given}")
    if len(values) > VARIABLE_VALUES_MAX:
        raise refused(f"{len(values)} values, more than {VARIABLE_VALUES_MAX}")
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise refused(f"value {index + 1} must be text, not {quoted(value)}")
        if len(value) > PROMPT_CHARACTERS_MAX:
            raise refused(f"value {index + 1} has {len(value)} characters, more than {PROMPT_CHARACTERS_MAX}")
