"""The models that rushes knows by itself: one file for each provider.

Names, options and typical times are facts of the services; credits are what this installation charges,
and operators set their own. Another package brings its models by the entry-point group `rushes.models`.
"""

from typing import Final

from rushes.domain.catalogue.aliases import AliasDefinition
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import (
    ark,
    dashscope,
    fal,
    google,
    grsai,
    kling,
    minimax,
    openai_video,
    replicate,
    runway,
    vertex,
    xai,
)

ALIASES: Final = {
    "fast-video": AliasDefinition(
        (
            *("veo-flash", "veo3-fast", "seedance-2.0-fast", "wan-3.0-prime"),
            *("minimax-h3-max", "grok-imagine-video-1.5-lite", "kling-3.0-turbo", "vertex-veo3.1-lite"),
        )
    ),
    "cinematic": AliasDefinition(
        (
            *("seedance-2.5", "seedance-2.0", "wan-3.0", "minimax-h3-official"),
            *("grok-imagine-video-1.5", "kling-3.0", "vertex-veo3.1-fast"),
        )
    ),
    "cheap-draft": AliasDefinition(
        (
            *("grok-imagine-video-1.5-lite", "seedance-2.0-mini", "kling-2.6", "wan-3.0"),
            *("minimax-h3-max", "vertex-veo3.1-lite"),
        )
    ),
}
"""Each over several families; an item goes to the first model that takes new tasks and what the item asks."""

DEFAULT_CATALOGUE: Final = Catalogue(
    [
        *grsai.MODELS,
        *fal.MODELS,
        *runway.MODELS,
        *google.MODELS,
        *openai_video.MODELS,
        *ark.MODELS,
        *dashscope.MODELS,
        *minimax.MODELS,
        *xai.MODELS,
        *kling.MODELS,
        *replicate.MODELS,
        *vertex.MODELS,
    ],
    aliases=ALIASES,
)
