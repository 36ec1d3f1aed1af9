"""All pages by their file names."""

import tempfile

from reference import command_line, errors, events, http_api, metrics, prompt_columns, settings
from rushes import Rushes
from rushes.service import Service
from rushes.settings import Settings


async def all_pages() -> dict[str, str]:
    """File name → Markdown. Raises `Undocumented`."""
    with tempfile.TemporaryDirectory() as folder:
        # an idle service on an empty database: its document and its metrics are what a real one has
        async with Rushes(Settings.load({"RUSHES_DATA_DIR": folder}, env_file=None)) as rushes:
            await rushes.grant(1)
            service = Service(rushes, with_worker=False)
            try:
                document = service.app.openapi()
                families = await metrics.families(service.app.state.parts.metrics)
            finally:
                await service.close()
    return {
        "command-line.md": command_line.page(),
        "prompt-columns.md": prompt_columns.page(),
        "http-api.md": http_api.page(document),
        "settings.md": settings.page(),
        "metrics.md": metrics.page(families),
        "events.md": events.page(),
        "errors.md": errors.page(),
    }
