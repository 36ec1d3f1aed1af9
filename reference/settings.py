"""The page of every setting: its variable, default, meaning and what it takes."""

from collections.abc import Mapping
from typing import Any

from reference.markdown import code, explained, table
from reference.source import assigned_docstrings
from rushes.cli.exits import DEBUG_VARIABLE
from rushes.settings import Settings, field_name_of_variable

INTRODUCTION = """---
hide: [toc]
---

# Settings

Values come from the environment, then from a `.env` file in the working folder, then from the defaults
here. A blank value counts as not set. `rushes doctor` shows the effective ones, with secrets masked, and
names misspelt variables.

"""


def page() -> str:
    """The page. Raises `Undocumented` for a field without a docstring."""
    meanings = assigned_docstrings("setting_fields.py", "SettingFields")
    schemas = Settings.model_json_schema(by_alias=True)["properties"]
    rows = []
    for setting in Settings.load({}, env_file=None).effective():
        field = field_name_of_variable()[setting.name]
        meaning = explained(meanings.get(field), setting.name, f"give `Settings.{field}` a docstring")
        default = "" if setting.value == "(not set)" else code(setting.value)
        rows.append((code(setting.name), default, _takes(schemas[setting.name]), meaning))
    debug = assigned_docstrings("cli/exits.py")["DEBUG_VARIABLE"]
    rows.append((code(DEBUG_VARIABLE), "", "anything", explained(debug, DEBUG_VARIABLE, "in cli/exits.py")))
    return INTRODUCTION + table(("Variable", "Default", "Takes", "Meaning"), rows)


def _takes(schema: Mapping[str, Any]) -> str:
    """What a value may be, from the field's JSON schema."""
    choices = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    part = choices[0]
    if "enum" in part:
        return " or ".join(code(value) for value in part["enum"])
    match part:
        case {"type": "boolean"}:
            return "`true` or `false`"
        case {"type": "integer" | "number" as kind}:
            noun = "a whole number" if kind == "integer" else "a number"
            bounds = []
            if "minimum" in part:
                bounds.append(f"from {part['minimum']:,}")
            if "exclusiveMinimum" in part:
                bounds.append(f"above {part['exclusiveMinimum']:,}")
            if "maximum" in part:
                bounds.append(f"to {part['maximum']:,}")
            return " ".join((noun, *bounds))
        case {"writeOnly": True}:
            return "a secret"
        case {"format": "path"}:
            return "a folder"
        case {"type": "object"}:
            return "JSON"
        case _:
            return "text"
