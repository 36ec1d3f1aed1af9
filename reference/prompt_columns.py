"""The columns of a prompt file: the fields of every item, and the options of the built-in models."""

from collections.abc import Mapping
from typing import Final

from reference.markdown import code, explained, table
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.options import OptionSpec, default_of
from rushes.domain.input.prompts import OWN_FIELDS, PROMPT_CHARACTERS_MAX

_OWN: Final[Mapping[str, tuple[str, str]]] = {
    "prompt": (
        f"What the video shows: 1 to {PROMPT_CHARACTERS_MAX} characters. The only column that must be there.",
        "A paper boat in the rain",
    ),
    "model": ("A model or an alias; see `rushes models`. Empty: `--model`, or the default.", "sora-2"),
    "custom_id": (
        "Your own name for the item, once in a file; part of its file's name.",
        "scene-7",
    ),
    "metadata": ("A JSON object that comes back with the item; at most 4096 bytes.", '{"shot": 7}'),
    "deadline": (
        "Until then the item is at its provider, or cancelled and refunded: seconds from now, or a time.",
        "2026-12-01T18:00:00Z",
    ),
    "options": ("A JSON object of options, instead of columns of their own.", '{"duration": 10}'),
}

HEAD: Final = """# Prompt file columns

Every column of a CSV or TSV file and every field of a JSON item that `rushes run` and `rushes quote` read.
The [guide to prompt files](../prompt-files.md) shows the formats. Models of your `rushes.toml` and of
plug-ins add their own options: `rushes models` lists them.

"""


def page(catalogue: Catalogue = DEFAULT_CATALOGUE) -> str:
    """The page; raises `Undocumented` for a field that nothing explains."""
    own = [
        (
            code(name),
            explained(_OWN.get(name, ("", ""))[0], name, f"{__name__}._OWN"),
            code(_OWN.get(name, ("", ""))[1]),
        )
        for name in [*_OWN, *sorted(OWN_FIELDS - set(_OWN))]
    ]
    options: dict[str, dict[str, list[str]]] = {}
    for model in catalogue:
        for name, spec in model.options.items():
            options.setdefault(name, {}).setdefault(_values(spec), []).append(code(model.name))
    rows = [
        (code(name), values, ", ".join(models))
        for name, kinds in sorted(options.items())
        for values, models in kinds.items()
    ]
    return (
        HEAD
        + "## Of every item\n\n"
        + table(("column", "meaning", "example"), own)
        + "## Options of the models\n\nAn empty cell takes the default.\n\n"
        + table(("column", "value", "models"), rows).rstrip("\n")
        + "\n"
    )


def _values(spec: OptionSpec) -> str:
    default = default_of(spec)
    return spec.describe() + ("" if default is None else f"; default {default}")
