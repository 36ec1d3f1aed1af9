"""Settings of a demonstration: of nobody's environment or .env file, so that nobody's key is used."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rushes.settings import Settings


def demo_settings(
    folder: Path, host: str, *, poll_interval_seconds: tuple[float, float], **more: str
) -> "Settings":
    """A database in the folder and the simulator at the host; `more` are other variables."""
    from rushes.settings import Settings

    least, most = poll_interval_seconds
    return Settings.load(
        {
            "RUSHES_DATA_DIR": str(folder),
            "RUSHES_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": str(least),
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": str(most),
            "GRSAI_HOST": host,
            "GRSAI_API_KEY": "demo",
            **more,
        },
        env_file=None,
    )
