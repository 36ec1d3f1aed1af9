"""The models that rushes knows by itself: one file for each provider.

Names, options and typical times are facts of the services; credits are what this installation charges,
and operators set their own. Another package brings its models by the entry-point group `rushes.models`.
"""

from typing import Final

from rushes.domain.aliases import AliasDefinition
from rushes.domain.catalogue import Catalogue
from rushes.domain.models import fal, google, grsai, openai_video, runway

DEFAULT_CATALOGUE: Final = Catalogue(
    [
        *grsai.MODELS,
        *fal.MODELS,
        *runway.MODELS,
        *google.MODELS,
        *openai_video.MODELS,
    ],
    aliases={"fast-video": AliasDefinition(("veo-flash", "veo3-fast"))},
)
