"""The documentation site: what `make docs` does not check by itself."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def _places(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from _places(below if isinstance(below, list) else [below])


def test_every_page_has_one_place_in_the_navigation() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    places = sorted(_places(nav))
    assert places == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
