"""The shapes of answers in OpenAI's own forms, for the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import Field

from rushes.api.shapes.requests import Closed


class VideoError(Closed):
    """Why a video failed."""

    code: str
    message: str


class Video(Closed):
    """A video in the shape of OpenAI's."""

    id: str
    object: Literal["video"]
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: Annotated[int, Field(ge=0, le=100)]
    model: str
    prompt: str
    seconds: str | None
    size: str
    created_at: int
    completed_at: int | None
    expires_at: int | None
    remixed_from_video_id: str | None
    error: VideoError | None


class VideoPage(Closed):
    """Videos, newest first."""

    object: Literal["list"]
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedVideo(Closed):
    """The video is gone from this list, and its file with it; its batch and its ledger entries stay."""

    id: str
    object: Literal["video.deleted"]
    deleted: Literal[True]


class ModelOption(Closed):
    """An option of a model; `values` lists those that it takes, where they are few."""

    name: str
    takes: str
    values: list[str | int | bool] | None
    default: str | int | float | bool | list[str] | None


class ModelFacts(Closed):
    """What rushes knows of a model. An alias has the facts of the model that it would take now."""

    provider: str
    price: Annotated[str, Field(description="Credits, in words.")]
    price_rule: Annotated[dict[str, Any] | int | str, Field(description="The same as it is computed.")]
    options: list[ModelOption]
    inputs: Annotated[list[ModelOption], Field(description="Pictures, videos and sounds that go in.")]
    typical_seconds: float
    available: bool
    why_not: Annotated[str | None, Field(description="Why it takes no new tasks, as the rest of a sentence.")]
    alias_of: list[str] | None
    sunset_at: str | None


class Model(Closed):
    """A model in the shape of OpenAI's."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    shutdown_date: str | None
    rushes: ModelFacts


class ModelList(Closed):
    """All models and aliases."""

    object: Literal["list"]
    data: list[Model]


class File(Closed):
    """A file of requests or of results."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"]


class FileList(Closed):
    """Files that were uploaded."""

    object: Literal["list"]
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(Closed):
    """The file is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class RequestCounts(Closed):
    """How many requests there are, and how many have ended how."""

    total: int
    completed: int
    failed: int


class FileBatch(Closed):
    """A batch that was made from a file, in the shape of OpenAI's."""

    id: str
    object: Literal["batch"]
    endpoint: Literal["/v1/videos"]
    status: Literal["in_progress", "completed", "cancelling", "cancelled"]
    errors: None
    input_file_id: str
    completion_window: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int
    expires_at: int | None
    finalizing_at: None
    completed_at: int | None
    failed_at: None
    expired_at: None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, Any] | None


class FileBatchList(Closed):
    """Batches that were made from files, newest first."""

    object: Literal["list"]
    data: list[FileBatch]
    first_id: str | None
    last_id: str | None
    has_more: bool
