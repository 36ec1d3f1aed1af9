"""What the conformance suite must be told of a service: samples of its answers, and what they mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rushes.providers.base import Provider, ProviderConfig, SubmitRequest

HOST: Final = "{host}"
"""Stands for the service's own address in samples and in `video_url`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the service: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def data(self, host: str) -> bytes:
        """The body's bytes."""
        body = self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)
        return body.replace(HOST.encode(), host.encode())


Replies = Sequence[Reply]
"""The answers to the requests of one submit or poll, in order; the last one repeats."""


@dataclass(frozen=True, kw_only=True)
class ProviderCase:
    """A provider and samples of its service's answers.

    `request` is one that the provider takes. `accepted` names `remote_task_id`; `succeeded` tells
    `video_url`; `failed` tells a failure that is no moderation, with `failed_message` in what rushes
    keeps of it; `moderated` one that is; `rejected` is the refusal of a submit. None where a service has
    no such answer. `host_path` follows the host where a provider's host is a base URL.
    """

    name: str
    build: Callable[[ProviderConfig], Provider]
    request: SubmitRequest
    accepted: Replies
    remote_task_id: str
    running: Replies
    succeeded: Replies
    video_url: str
    failed: Replies
    failed_message: str
    moderated: Replies | None
    unknown_task: Replies | None
    rejected: Replies | None
    host_path: str = ""
    prompt_in_body: bool = True
