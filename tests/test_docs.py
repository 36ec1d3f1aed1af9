"""The documentation site: what `make docs` does not check by itself."""

import asyncio
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App
from reference import (
    command_line,
    errors,
    events,
    http_api,
    metrics,
    pages,
    prompt_columns,
    settings,
)
from reference.catalogue.page import page
from reference.markdown import Undocumented

from rushes import telemetry
from rushes.cli.app import app
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import RushesError
from rushes.domain.input.prompts import OWN_FIELDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "src/rushes").rglob("*.py")))


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The pages made from the code."""
    return asyncio.run(pages.all_pages())


def _places(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from _places(below if isinstance(below, list) else [below])


def test_the_command_writes_these_pages_with_the_usage_of_rushes(reference: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "reference"], cwd=ROOT, check=True)
    assert {page.name for page in (DOCS / "reference").iterdir()} == reference.keys()
    written = (DOCS / "reference" / "command-line.md").read_text()
    usages = re.findall(r"```console\n(.*)\n```", written)
    names = sorted(name for name, _ in command_line.commands(app))
    assert len(usages) > 20
    assert all(usage.startswith("rushes ") and " -m " not in usage for usage in usages), usages
    for name in names:
        assert f"## rushes {name}\n" in written


def test_the_page_of_models_is_that_of_the_catalogue() -> None:
    assert (DOCS / "models.md").read_text() == page(), "run python -m reference.catalogue"
    for model in DEFAULT_CATALOGUE:
        name = model.name.rpartition("/")[2]
        assert f"`{name}`" in page()


def test_every_page_has_one_place_in_the_navigation(reference: dict[str, str]) -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    by_hand = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    made = {f"reference/{name}" for name in reference}
    assert sorted(_places(nav)) == sorted(by_hand | made)


# --- everything is in the reference ---------------------------------------------------------------------


def test_every_command_and_option_is_in_the_reference(reference: dict[str, str]) -> None:
    page = reference["command-line.md"]
    names = [name for name, _ in command_line.commands(app)]
    assert {"run", "batch export", "audit verify", "sim"} <= set(names)
    for name, command in command_line.commands(app):
        section = re.search(rf"^#+ rushes {name}$(.*?)(?=^#+ rushes |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, name
        if command.default_command is not None:
            for argument in command_line.shown_arguments(command):
                assert f"`{argument.name}" in section[1], f"{name} {argument.name}"


def test_every_route_is_in_the_reference(reference: dict[str, str]) -> None:
    headings = re.findall(r"^### ([A-Z]+) (/\S*)$", reference["http-api.md"], re.MULTILINE)
    decorated = re.findall(r"@router\.(get|post|put|patch|delete)\(", SOURCE)
    assert len(headings) == len(set(headings)) == len(decorated)
    assert ("POST", "/v1/batches") in headings


def test_every_setting_is_in_the_reference_with_its_default(reference: dict[str, str]) -> None:
    names = set(re.findall(r'(?:_env\(\s*|validation_alias=)"([A-Z_]+)"', SOURCE))
    rows = re.findall(r"^\| `([A-Z_]+)` \| .*? \| .+? \| .+ \|$", reference["settings.md"], re.MULTILINE)
    assert len(names) > 20
    assert set(rows) == names | {"RUSHES_DEBUG"}
    assert "| `RUSHES_LEASE_SECONDS` | `30` |" in reference["settings.md"]


def test_every_column_of_a_prompt_file_is_in_the_reference(reference: dict[str, str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", reference["prompt-columns.md"], re.MULTILINE)
    options = {name for model in DEFAULT_CATALOGUE for name in model.options}
    assert len(options) > 5
    assert set(rows) == OWN_FIELDS | options


def test_a_column_that_nothing_explains_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_columns, "OWN_FIELDS", OWN_FIELDS | {"mood"})
    with pytest.raises(Undocumented, match="mood"):
        prompt_columns.page()


def test_every_metric_is_in_the_reference(reference: dict[str, str]) -> None:
    rows = re.findall(
        r"^\| `(rushes_[a-z_]+)` \| \w+ \| .*? \| .+ \|$", reference["metrics.md"], re.MULTILINE
    )
    names = set(re.findall(r'"(rushes_[a-z_]+)"', (ROOT / "src/rushes/telemetry.py").read_text()))
    assert {row.removesuffix("_total") for row in rows} == names
    assert "| `rushes_polls_total` | counter | `worker`, `provider`, `outcome` |" in reference["metrics.md"]


def test_every_event_is_in_the_reference(reference: dict[str, str]) -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| .+ \|$", reference["events.md"], re.MULTILINE)
    names = re.findall(r': Final = "([a-z]+(?:\.[a-z_]+)?)"', (ROOT / "src/rushes/telemetry.py").read_text())
    assert rows == names
    assert "| `webhook.disabled` | warning | `endpoint_id` |" in reference["events.md"]


def test_every_error_code_is_in_the_reference(reference: dict[str, str]) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", reference["errors.md"], re.MULTILINE))
    raised = set(re.findall(r'\n    code(?:: ClassVar\[str\])? = "([A-Z_]+)"', SOURCE)) - {RushesError.code}
    refused = set(re.findall(r'(?:Refusal|_refuse)\(\s*\d+,\s*"([A-Z_]+)"', SOURCE))
    assert len(raised) > 25
    assert len(refused) > 15
    assert raised | refused <= rows


# --- what nothing explains is refused -------------------------------------------------------------------


def test_a_command_or_option_without_help_is_refused() -> None:
    group = App(name="rushes")

    @group.command
    def silent() -> None:
        pass

    with pytest.raises(Undocumented, match="`rushes silent`"):
        command_line.page(group)

    other = App(name="rushes")

    @other.command
    def told(*, mute: int = 1) -> None:
        """Told."""

    with pytest.raises(Undocumented, match="--mute"):
        command_line.page(other)


def test_a_route_parameter_or_field_without_description_is_refused() -> None:
    parameter = {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer"}}
    operation: dict[str, Any] = {"tags": ["a"], "responses": {}, "parameters": [parameter]}
    document = {
        "tags": [{"name": "a", "description": "A."}],
        "components": {"schemas": {}},
        "paths": {"/v1/a": {"get": operation}},
    }
    with pytest.raises(Undocumented, match="GET /v1/a"):
        http_api.page(document)
    operation["description"] = "Answers."
    with pytest.raises(Undocumented, match="limit"):
        http_api.page(document)
    parameter["description"] = "How many."
    schema: dict[str, Any] = {"properties": {"prompt": {"type": "string"}}}
    operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    with pytest.raises(Undocumented, match="prompt"):
        http_api.page(document)
    schema["properties"]["prompt"]["description"] = "What the video shows."
    assert "### GET /v1/a" in http_api.page(document)


def test_a_setting_or_event_without_docstring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "assigned_docstrings", lambda *_: {})
    with pytest.raises(Undocumented, match="RUSHES_DATA_DIR"):
        settings.page()
    monkeypatch.setattr(telemetry, "NEW_EVENT", "worker.yawned", raising=False)
    with pytest.raises(Undocumented, match="NEW_EVENT"):
        events.page()


def test_a_metric_that_is_not_answered_is_refused() -> None:
    with pytest.raises(Undocumented, match="rushes_tasks"):
        metrics.page([])


def test_an_error_without_docstring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = type("Silent", (RushesError,), {"__module__": "rushes.money.silent", "code": "SILENT"})
    kinds = [*errors.kinds_of_error(), silent]
    monkeypatch.setattr(errors, "kinds_of_error", lambda: kinds)
    with pytest.raises(Undocumented, match="Silent"):
        errors.page()
    silent.__module__ = "tests"  # what is left of it is none of rushes' own


# --- the guides speak of what there is ------------------------------------------------------------------


def test_the_guides_name_metrics_and_events_that_there_are(reference: dict[str, str]) -> None:
    guide = (DOCS / "guides" / "operations.md").read_text()
    known = {name for name in vars(telemetry).values() if isinstance(name, str)}
    named = {name.removesuffix("_bucket").removesuffix("_total") for name in re.findall(r"rushes_\w+", guide)}
    assert len(named) > 5
    assert named <= known
    events_named = set(re.findall(r"`([a-z]+\.[a-z_]+)", guide))
    assert len(events_named) > 5
    assert events_named <= known
    for queue in re.findall(r'queue="(\w+)"', guide):
        assert f'"{queue}"' in SOURCE
