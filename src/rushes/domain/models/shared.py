"""Options that models of several providers take."""

from typing import Final

from rushes.domain.options import OneOf

ASPECT_RATIO: Final = OneOf(("9:16", "16:9"), synonyms={"portrait": "9:16", "landscape": "16:9"})
