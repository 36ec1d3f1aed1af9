"""The body of a batch or a quote: its own fields are checked here, its items where all front ends do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes.api.bodies import check_depth, object_of
from rushes.api.models import REQUEST_ID_CHARACTERS_MAX
from rushes.api.problems import unknown_field
from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import InputError
from rushes.domain.options import quoted
from rushes.domain.prompts import (
    OPTION_FIELDS,
    Defaults,
    PricedDraft,
    TaskDraft,
    drafts_from_objects,
    validate_drafts,
)
from rushes.domain.retries import RetryPolicy, read_policy
from rushes.domain.templates import drafts_from_template
from rushes.engine.net_guard import UrlRefused, target_of

DEFAULT_MODEL: Final = "sora-2"
LABEL_CHARACTERS_MAX: Final = 128

QUOTE_FIELDS: Final = (
    frozenset({"items", "template", "variables", "max_outputs", "model", "retries"}) | OPTION_FIELDS
)
BATCH_FIELDS: Final = QUOTE_FIELDS | {"request_id", "webhook_url"}


@dataclass(frozen=True, slots=True)
class BatchBody:
    """A body that was read, and what it comes to as a new batch.

    `new` is the `InputError` that refuses it as one; the same body may have made a batch before.
    """

    drafts: list[TaskDraft]
    request_id: str | None
    facts: tuple[object, ...]
    new: "NewBatch | InputError"


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A checked and priced body."""

    drafts: list[PricedDraft]
    webhook_url: str | None
    retry_policy: RetryPolicy


def read_batch_body(
    body: bytes, catalogue: Catalogue, *, now_ms: int, allow_private_urls: bool, fields: frozenset[str]
) -> BatchBody:
    """The batch in these bytes. Pure computation, some of it long: call it on a thread for long bodies.

    Raises `InputError` naming the field, and `Refusal` for what is no JSON. What the catalogue and the
    settings of today refuse is told in `BatchBody.new`.
    """
    document = object_of(body)
    for name in document:
        if name not in fields:
            raise unknown_field(name, fields)
    drafts = _drafts(document)
    request_id = read_label(document, "request_id", characters_max=REQUEST_ID_CHARACTERS_MAX)
    new: NewBatch | InputError
    try:
        priced = validate_drafts(drafts, catalogue, now_ms / 1000)
        new = NewBatch(
            drafts=priced,
            webhook_url=_webhook_url(document, allow_private=allow_private_urls),
            retry_policy=read_policy(document.get("retries"), catalogue, priced, now_ms / 1000),
        )
    except InputError as refused:
        new = refused
    return BatchBody(drafts, request_id, ("batch", document.get("webhook_url"), document.get("retries")), new)


def _drafts(document: Mapping[str, Any]) -> list[TaskDraft]:
    defaults = Defaults(
        model=read_label(document, "model") or DEFAULT_MODEL,
        options={name: document[name] for name in OPTION_FIELDS if document.get(name) is not None},
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
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict):
            check_depth(item["metadata"], field=f"items[{index}].metadata")
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


def _webhook_url(document: Mapping[str, Any], *, allow_private: bool) -> str | None:
    url = document.get("webhook_url")
    if url is None:
        return None
    if not isinstance(url, str):
        raise InputError(f"must be a URL, not {quoted(url)}", field="webhook_url")
    try:
        target_of(url, allow_private=allow_private)
    except UrlRefused as error:
        raise InputError(error.message, field="webhook_url") from None
    return url
