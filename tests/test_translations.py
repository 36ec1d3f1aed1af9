"""The Chinese pages say what the English ones say: the same headings, commands, tables and links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    page.relative_to(ROOT)
    for page in sorted([*ROOT.glob("*.zh-CN.md"), *(ROOT / "docs").rglob("*.zh-CN.md")])
]


def original_of(page: Path) -> Path:
    """The English page of a translation."""
    return page.with_name(page.name.replace(".zh-CN", ""))


def outline(text: str) -> dict[str, list[str]]:
    """What a translation must keep: levels of headings, blocks of code, commands, shapes of tables, links."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {
        "headings": re.findall(r"^#+", prose, re.MULTILINE),
        "code": re.findall(r"```.*?```", text, re.DOTALL),
        "commands": sorted(set(re.findall(r"`((?:rushes|make|pipx|uvx) [^`]+)`", prose))),
        "tables": [
            "|" * (len(row.replace("\\|", "").split("|")) - 2)
            for row in re.findall(r"^\|.*\|$", prose, re.MULTILINE)
        ],
        "links": sorted(link.replace(".zh-CN", "") for link in re.findall(r"\]\(([^)]+)\)", prose)),
        "lists": re.findall(r"^(?:- |\d+\. )", prose, re.MULTILINE),
    }


def test_there_are_translations_of_the_readme_the_tutorial_and_the_prompt_files() -> None:
    assert {original_of(page).name for page in PAGES} == {"README.md", "tutorial.md", "prompt-files.md"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_translation_is_in_step(page: Path) -> None:
    here, there = ((ROOT / one).read_text() for one in (page, original_of(page)))
    assert outline(here) == outline(there)
    assert len(re.findall(r"[\u4e00-\u9fff]", here)) > 200
