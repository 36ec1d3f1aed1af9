"""Settings of a demonstration: of nobody's environment or .env file, so that nobody's key is used."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rushes.settings import Settings

PROVIDERS: Final = frozenset({"grsai", "grsai-unified"})
"""Those that the demonstration's host and key are for."""


def demo_settings(
    folder: Path, host: str, *, poll_interval_seconds: tuple[float, float], time_scale: float, **more: str
) -> "Settings":
    """A database in the folder and the simulator at the host; `more` are other variables.

    `time_scale` is the simulator's: its models take that share of the time that the real services take, and
    the catalogue says so, or the time left would be that of real renders.
    """
    from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
    from rushes.settings import Settings

    least, most = poll_interval_seconds
    models = {
        model.name: {"render_time_p50_seconds": model.render_time_p50_seconds * time_scale}
        for model in DEFAULT_CATALOGUE
        if model.provider in PROVIDERS
    }
    return Settings.load(
        {
            "RUSHES_DATA_DIR": str(folder),
            "RUSHES_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
            "RUSHES_MODELS": json.dumps(models),
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": str(least),
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": str(most),
            "GRSAI_HOST": host,
            "GRSAI_API_KEY": "demo",
            **more,
        },
        env_file=None,
    )
