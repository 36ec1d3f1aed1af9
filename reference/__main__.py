"""Write every reference page into docs/reference/; `make docs` runs this before it builds the site."""

import asyncio
import sys
from pathlib import Path

from reference import pages

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def main() -> None:
    """Make the folder anew, so that no page outlives what it describes."""
    sys.argv[0] = "rushes"  # cyclopts puts the running program's name into the usage lines
    made = asyncio.run(pages.all_pages())
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


main()
