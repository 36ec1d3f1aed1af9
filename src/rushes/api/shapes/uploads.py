"""The shape of an upload in answers."""

from typing import Annotated

from pydantic import Field

from rushes.api.shapes.models import Count, Ok
from rushes.api.shapes.requests import Closed


class Upload(Closed):
    """A file that any media input of an item takes by its `upload_id`."""

    ok: Ok
    upload_id: str
    content_type: str
    bytes: Count
    width: Count | None
    height: Count | None
    duration_seconds: float | None
    sha256: str
    expires_at: Annotated[str, Field(description="Its end, unless it is used or an open batch needs it.")]
