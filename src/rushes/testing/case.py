"""What the conformance suite must know of a service: samples of its answers, and what they mean."""

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


def _as_it_is(key: str, _host: str) -> str:
    return key


@dataclass(frozen=True, kw_only=True)
class FindCase:
    """Samples of a service that can be asked by our submit key.

    `found` is its answer about the task `remote_task_id`, under the key `SUBMIT_KEY` of `rushes.testing`;
    `never_taken` is that it has no task by that key.
    """

    found: Replies
    never_taken: Replies


@dataclass(frozen=True, kw_only=True)
class CancelCase:
    """Samples of a service that drops tasks.

    `taken` are its answers to all requests of one cancel of a task that waits; `refused` are such answers
    that leave the task alone. The samples of a running, a succeeded and a failed task are tried as well.
    """

    taken: Replies
    refused: Sequence[Replies] = ()


@dataclass(frozen=True, kw_only=True)
class ProviderCase:
    """A provider and samples of its service's answers.

    `request` is one that the provider takes. `accepted` names `remote_task_id`; `succeeded` tells
    `video_url`, and `further_files` (kind and URL of each file besides it); `failed` tells a failure that is
    no moderation, with `failed_message` in what rushes keeps of it; `moderated` one that is; `rejected` is
    the refusal of a submit. None where a service has no such answer. `host_path` follows the host where a
    provider's host is a base URL.

    `answers_name_the_task` is False only for a service whose answers to polls carry no id: the check that an
    answer about another task is no answer is then left out, and the provider has to ask with
    `send_poll(…, fresh=True)`. `odd_fields` are the samples' fields that decide nothing: whatever is in them,
    or nothing, an answer means what it meant. `key(key, host)` makes what the provider is given of the
    suite's own key and address; `key_in_headers` is False where tokens made of it stand there. At
    `token_path` the service grants tokens, each of which is the suite's key.
    `find` and `cancel` belong to a provider that can do so.
    """

    name: str
    build: Callable[[ProviderConfig], Provider]
    request: SubmitRequest
    accepted: Replies
    remote_task_id: str
    running: Replies
    succeeded: Replies
    video_url: str
    further_files: Sequence[tuple[str, str]] = ()
    failed: Replies
    failed_message: str
    moderated: Replies | None
    unknown_task: Replies | None
    rejected: Replies | None
    host_path: str = ""
    prompt_in_body: bool = True
    answers_name_the_task: bool = True
    odd_fields: frozenset[str] = frozenset({"progress"})
    key: Callable[[str, str], str] = _as_it_is
    token_path: str = ""
    key_in_headers: bool = True
    find: FindCase | None = None
    cancel: CancelCase | None = None
