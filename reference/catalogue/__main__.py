"""`python -m reference.catalogue [--check]`: write docs/models.md, or say whether it is up to date."""

import sys

from reference.catalogue.page import TARGET, page


def main() -> int:
    """Write the page, or with `--check` say whether it is up to date."""
    if "--check" in sys.argv[1:]:
        if TARGET.read_text() == page():
            return 0
        sys.stderr.write("docs/models.md is not that of the catalogue: run python -m reference.catalogue\n")
        return 1
    TARGET.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
