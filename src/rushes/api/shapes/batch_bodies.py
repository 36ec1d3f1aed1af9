"""The body of a batch or a quote: its own fields are checked here, its items where all front ends do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes.api.edge.bodies import check_depth, object_of
from rushes.api.edge.problems import unknown_field
from rushes.domain.acceptance.best_of import NOTHING_ASKED, Acceptance, read_acceptance
from rushes.domain.acceptance.gate import NO_GATE, GateRules
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.catalogue.options import NOWHERE, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.auto import NO_BOUNDS, read_auto
from rushes.domain.input.deadlines import deadline_ms
from rushes.domain.input.event_filter import read_event_filter
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import (
    REQUEST_ID_CHARACTERS_MAX,
    Defaults,
    TaskDraft,
    check_metadata,
    drafts_from_objects,
    options_in,
)
from rushes.domain.input.templates import drafts_from_template
from rushes.domain.retries import RetryPolicy, read_policy
from rushes.files.guard.addresses import UrlRefused, target_of
from rushes.files.uploads import GivenUploads, check_given_files

LABEL_CHARACTERS_MAX: Final = 128

_NESTED: Final = frozenset({dict, list})

ADDED_FACTS: Final = ("name", "metadata", "deadline", "gate", "accept", "auto", "webhook_events", "reuse")
"""Fields of a batch that tell a replay from another body, beside its items, webhook and retries."""

BATCH_FIELDS: Final = frozenset(
    {"items", "template", "variables", "max_outputs", "model", "options", "retries", "request_id"}
    | {"webhook_url", *ADDED_FACTS}
)
"""The fields of a batch and of a quote beside the options, which items without their own get."""


@dataclass(frozen=True, slots=True)
class BatchBody:
    """A body that was read.

    `given` are its drafts with the files that they bring along, or the `InputError` that refuses these: the
    same body may have made a batch before.
    """

    drafts: list[TaskDraft]
    request_id: str | None
    document: Mapping[str, Any]
    given: GivenUploads | InputError

    @property
    def facts(self) -> tuple[object, ...]:
        """What else tells a replay from another body."""
        said = self.document
        # bodies without any of them count as before there were these
        more = {name: said[name] for name in ADDED_FACTS if said.get(name) is not None}
        facts = ("batch", said.get("webhook_url"), said.get("retries"))
        return (*facts, more) if more else facts


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A checked and priced body."""

    drafts: list[PricedDraft]
    webhook_url: str | None
    retry_policy: RetryPolicy
    name: str | None = None
    metadata: Mapping[str, Any] | None = None
    deadline_at_ms: int | None = None
    acceptance: Acceptance = NOTHING_ASKED
    webhook_events: str | None = None
    reuse: bool = False


def read_batch_body(body: bytes, catalogue: Catalogue, *, account: str, upload_bytes_max: int) -> BatchBody:
    """The batch in these bytes. Pure computation, some of it long: call it on a thread for long bodies.

    Raises `InputError` naming the field, and `Refusal` for what is no JSON. What the catalogue and the
    current settings refuse, `new_batch` says.
    """
    document = object_of(body)
    names = catalogue.fields.names
    for name in document:
        if name not in BATCH_FIELDS and name not in names:
            raise unknown_field(name, BATCH_FIELDS | names)
    drafts = _drafts(document, catalogue)
    request_id = read_label(document, "request_id", characters_max=REQUEST_ID_CHARACTERS_MAX)
    given: GivenUploads | InputError
    try:
        given = check_given_files(
            drafts, catalogue.fields, account=account, folder=None, bytes_max=upload_bytes_max
        )
    except InputError as refused:
        given = refused
    return BatchBody(drafts, request_id, document, given)


def new_batch(
    body: BatchBody,
    catalogue: Catalogue,
    uploads: KnownUploads,
    *,
    now_ms: int,
    allow_private_urls: bool,
    gate: GateRules = NO_GATE,
) -> NewBatch | InputError:
    """What the body comes to as a new batch, or the error that refuses it as one. Pure, as above."""
    if isinstance(body.given, InputError):
        return body.given
    document = body.document
    accept = document.get("accept")
    try:
        rule = read_auto(document.get("auto"), catalogue, now_ms)
        priced = validate_drafts(
            body.given.drafts,
            catalogue,
            now_ms / 1000,
            uploads,
            fit_lengths=True,
            auto=rule or NO_BOUNDS,
        )
        return NewBatch(
            drafts=priced,
            webhook_url=_webhook_url(document.get("webhook_url"), allow_private=allow_private_urls),
            retry_policy=read_policy(
                document.get("retries"),
                catalogue,
                priced,
                now_ms / 1000,
                uploads,
                buys_clips=accept is not None,
            ),
            name=read_label(document, "name"),
            metadata=_metadata(document),
            deadline_at_ms=deadline_ms(document.get("deadline"), now_ms),
            acceptance=read_acceptance(document.get("gate"), accept, gate, priced, rule),
            webhook_events=_webhook_events(document),
            reuse=_reuse(document.get("reuse")),
        )
    except InputError as refused:
        return refused


def _reuse(value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise InputError(f"must be true or false, not {quoted(value)}", field="reuse")
    return bool(value)


def _webhook_events(document: Mapping[str, Any]) -> str | None:
    events = read_event_filter(document.get("webhook_events"), field="webhook_events")
    if document.get("webhook_events") is not None and document.get("webhook_url") is None:
        raise InputError("goes with a webhook_url only", field="webhook_events")
    return events


def _metadata(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    metadata = document.get("metadata")
    if metadata is None:
        return None
    check_depth(metadata, field="metadata")
    return check_metadata(metadata, NOWHERE)


def _drafts(document: Mapping[str, Any], catalogue: Catalogue) -> list[TaskDraft]:
    defaults = Defaults.of(
        catalogue,
        read_label(document, "model"),
        options_in(document, BATCH_FIELDS, catalogue.fields.names, NOWHERE),
    )
    items, template = document.get("items"), document.get("template")
    if items is not None and template is not None:
        raise InputError("give items or a template, not both", field="template")
    if template is not None:
        return drafts_from_template(
            template, document.get("variables") or {}, document.get("max_outputs"), defaults
        )
    for name in ("variables", "max_outputs"):
        if document.get(name) is not None:
            raise InputError("goes with a template only", field=name)
    if not isinstance(items, list):
        problem = "missing" if items is None else f"must be a list, not {quoted(items)}"
        raise InputError(problem, field="items")
    for index, item in enumerate(items):
        metadata = item.get("metadata") if isinstance(item, dict) else None
        if isinstance(metadata, dict) and not _NESTED.isdisjoint(map(type, metadata.values())):
            check_depth(metadata, field=f"items[{index}].metadata")
    return drafts_from_objects(items, defaults)


def read_label(
    document: Mapping[str, Any], name: str, *, characters_max: int = LABEL_CHARACTERS_MAX
) -> str | None:
    """A short printable text, or None when the field is absent or null. Raises `InputError`."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"must be text, not {quoted(value)}", field=name)
    if not 0 < len(value) <= characters_max or not value.isprintable():
        raise InputError(f"must be 1 to {characters_max} printable characters", field=name)
    return value


def _webhook_url(url: object, *, allow_private: bool) -> str | None:
    return None if url is None else checked_webhook_url(url, field="webhook_url", allow_private=allow_private)


def checked_webhook_url(url: object, *, field: str, allow_private: bool) -> str:
    """The address if webhooks may be sent there; connecting looks at it again. Raises `InputError`."""
    if not isinstance(url, str):
        raise InputError(f"must be a URL, not {quoted(url)}", field=field)
    try:
        target_of(url, allow_private=allow_private)
    except UrlRefused as error:
        raise InputError(error.message, field=field) from None
    return url
