"""One item: its video, what was asked for, and everything that happened to it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.acting import act_link
from rushes.dashboard.markup import Markup, joined, link_target, tag
from rushes.dashboard.pages.batch.waits import hold_words
from rushes.dashboard.pages.batch.wall import aspect_of
from rushes.dashboard.pages.codes import file_word, verdict_word
from rushes.dashboard.pages.deliveries import DELIVERY_KINDS, answer_of, delivery_word
from rushes.dashboard.pages.entries import entry_table
from rushes.dashboard.pieces import (
    batch_path,
    card,
    chip,
    clock,
    copied,
    duration,
    empty,
    facts_list,
    failure_word,
    item_bar,
    moment_of,
    ms_of,
    number,
    option_word,
    own_words,
    status_chip,
    status_word,
    table,
)
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import NotFound
from rushes.domain.notation import iso_time, model_words
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, TIMEOUT
from rushes.read.board.item import ItemInFull, item_in_full

_AFTER_THE_END: Final = frozenset({"video.stored", "video.lost"})
_BYTES_PER_MB: Final = 1_000_000


async def show(visit: Visit) -> Page:
    """The item that the address names. Raises `NotFound`."""
    batch_id, index = place_of(visit)
    parts = visit.parts
    seen = await parts.read(
        item_in_full, batch_id, index, catalogue=parts.catalogue, links=parts.links, now_ms=visit.now_ms
    )
    name = tr("Item {index}", index=index)
    return Page(
        title=f"{name} · {seen.batch['request_id']}",
        section="batches",
        parts={
            "head": _head(visit, seen, name),
            "player": _player(seen.item),
            "facts": _facts(visit, seen),
            "times": card(tr("What happened"), _time_line(seen)),
            "webhooks": _webhooks(visit, seen.deliveries),
            "ledger": card(
                tr("Ledger"),
                entry_table(visit, seen.entries, with_batch=False)
                if seen.entries
                else empty(tr("No entry.")),
            ),
        },
    )


def place_of(visit: Visit) -> tuple[str, int]:
    """The batch's id and the item's number in an item's id. Raises `NotFound`."""
    batch_id, _, index = visit.names["item_id"].rpartition("-")
    if not (batch_id and index.isascii() and index.isdigit() and len(index) <= 9):
        raise NotFound(f'there is no item "{visit.names["item_id"][:80]}"')
    return batch_id, int(index)


def _head(visit: Visit, seen: ItemInFull, name: str) -> Markup:
    item, batch_id = seen.item, seen.batch["batch_id"]
    name_of_batch = seen.batch["name"] or seen.batch["request_id"]
    crumb = tag("a", name_of_batch, href=batch_path(visit.root, batch_id), class_="clip", title=name_of_batch)
    steps = [
        tag("a", word, href=f"{visit.root}/items/{batch_id}-{index}", class_="button", data_key_press=key)
        if index is not None
        else tag("span", word, class_="button", aria_disabled="true")
        for word, index, key in (
            (tr("Previous item"), seen.previous_index, "k"),
            (tr("Next item"), seen.next_index, "j"),
        )
    ]
    retry = None
    if item["status"] == "failed" and not seen.batch["is_cancelled"]:
        where = f"/batches/{batch_id}/retry?items={item['index']}"
        text = tr("Retry · {credits} credits…", credits=number(item["credits"]))
        retry = act_link(visit, where, text, class_="button primary")
        other = act_link(visit, f"{where}&other=1", tr("On another model…"))
        retry = joined(other, retry)
    elif item["status"] == "pending":
        retry = act_link(visit, f"/items/{item['item_id']}/cancel", tr("Cancel…"), class_="button danger")
    elif item["status"] == "succeeded" and item["credits"] and seen.given_back is None:
        where = f"/items/{item['item_id']}/refund"
        retry = act_link(visit, where, tr("Refund…"), role=Role.OWNER, class_="button danger")
    if _may_be_adopted(item, seen.attempts):
        retry = joined(retry, act_link(visit, f"/items/{item['item_id']}/adopt", tr("Adopt…")))
    video = link_target(item["video_url"])
    save = tag("a", tr("Download"), href=video, class_="button", download=True) if video else None
    facts = joined(
        tag("h1", name, tag("small", item["custom_id"], class_="muted") if item["custom_id"] else None),
        status_chip(item["status"]),
        crumb,
        copied(item["item_id"]),
    )
    return tag(
        "div",
        tag("div", facts, class_="head-facts"),
        tag("div", *steps, save, retry, class_="actions"),
        class_="head",
    )


def _may_be_adopted(item: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a remote task may exist that the item does not know of."""
    if item["status"] == "processing":
        return not item["remote_task_id"] and bool(item["last_submit"])
    return item["status"] == "failed" and (
        item["error"] in (SUBMIT_OUTCOME_UNKNOWN, TIMEOUT) or item["failure_type"] in ("timeout", "not_found")
    )


def _player(item: Mapping[str, Any]) -> Markup:
    source = link_target(item["video_url"])
    style = f"--aspect:{aspect_of(item):.3f}"
    if item["status"] == "succeeded" and source is not None:
        poster = link_target(item["thumbnail_url"])
        attributes: dict[str, Any] = {"src": source, "poster": poster, "playsinline": True, "loop": True}
        # the script adds the controls and loads the video once the page is painted: both take it long
        late = tag("video", **attributes, preload="none", class_="late with-script")
        plain = tag("noscript", tag("video", **attributes, preload="metadata", controls=True))
        return tag("div", late, plain, class_="player", style=style)
    words: Markup | str
    match item["status"]:
        case "failed":
            words = tag(
                "span",
                tag("b", failure_word(item["failure_type"], item["error"])),
                tag("span", own_words(item["error"], item["failure_type"]), class_="reason"),
            )
        case "processing":
            words = joined(tag("span", f"{item['progress']} %"), item_bar(item["progress"]))
        case "succeeded":
            file = item["archive"] or {}
            words = file.get("reason") or tr("No file")
        case _:
            words = hold_words(item["hold"]) if item["hold"] else tr("Waiting for its turn")
            if item["waits_for"]:
                words = tr("Waiting for the last frame of {name}", name=item["waits_for"])
    return tag("div", tag("div", words, class_=f"screen is-{item['status']}"), class_="player", style=style)


def _facts(visit: Visit, seen: ItemInFull) -> Markup:
    item = seen.item
    model = model_words(item["model"], item["alias"])
    lines: list[tuple[str, Any]] = [(tr("Model"), model), (tr("Credits"), number(item["credits"]))]
    if item["model_choice"]:
        lines.append((tr("Why this model"), item["model_choice"]))
    lines += [(option_word(option), _option(value)) for option, value in item["options"].items()]
    if item["follows"]:
        lines.append((tr("Starts from"), tr("the last frame of {name}", name=item["follows"])))
    if item["verdict"]:
        why = ", ".join(item["verdict_reasons"] or ())
        parts = (verdict_word(item["verdict"]), item["verdict_by"], why)
        lines.append((tr("Verdict"), " · ".join(part for part in parts if part)))
    if seen.given_back is not None:
        words = tr(
            "{n} credits: {reason}", n=number(seen.given_back["credits"]), reason=seen.given_back["reason"]
        )
        at = moment_of(seen.given_back["given_at_ms"], now_ms=visit.now_ms)
        lines.append((tr("Given back"), joined(words, " · ", at)))
    if item["remote_task_id"]:
        lines.append((tr("Remote id"), copied(item["remote_task_id"])))
    for name, word in (("last_submit", tr("Last submit")), ("last_poll", tr("Last poll"))):
        if item[name]:
            lines.append((word, f"{item[name]['reason']} ({item[name]['kind']} × {item[name]['count']})"))
    file = item["archive"]
    if file:
        lines += _file_lines(file)
    if item["metadata"]:
        lines.append((tr("Metadata"), tag("code", str(item["metadata"]))))
    return card(
        tr("Prompt"),
        tag("p", item["prompt"], class_="prompt-whole"),
        facts_list(lines),
    )


def _webhooks(visit: Visit, deliveries: Sequence[Mapping[str, Any]]) -> Markup:
    """What was sent about the item."""
    if not deliveries:
        return Markup()
    rows = [
        [
            tag("span", one["type"], class_="mono"),
            tag("span", one["url"], class_="mono clip", title=one["url"]),
            chip(delivery_word(one["status"]), DELIVERY_KINDS[one["status"]]),
            answer_of(one),
            moment_of(one["created_at_ms"], now_ms=visit.now_ms),
        ]
        for one in deliveries
    ]
    heads = (tr("Event"), tr("To"), tr("Status"), tr("Answer"), tr("When"))
    return card(tr("Webhooks"), table(heads, rows, caption=tr("Webhooks"), right=(heads[4],)))


def _option(value: Any) -> Any:
    if isinstance(value, list):
        return joined(*(tag("div", _option(one)) for one in value))
    text = str(value)
    target = link_target(text) if text.startswith("http") else None
    return tag("a", text, href=target, class_="clip", rel="noreferrer") if target else text


def _file_lines(file: Mapping[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [
        (tr("File"), f"{file_word(file['state'])}{': ' + file['reason'] if file['reason'] else ''}")
    ]
    facts = [
        f"{file['width']} × {file['height']}" if file["width"] and file["height"] else None,
        duration(file["duration_seconds"]) if file["duration_seconds"] else None,
        _size(file["bytes"]) if file["bytes"] else None,
    ]
    if any(facts):
        lines.append((tr("Size"), " · ".join(fact for fact in facts if fact)))
    if file["sha256"]:
        lines.append(("SHA-256", copied(file["sha256"], shown=f"{file['sha256'][:16]}…")))
    return lines


def _size(count: int) -> str:
    """Bytes in the unit that says most."""
    if count < _BYTES_PER_MB:
        return f"{max(1, round(count / 1000))} kB"
    return f"{count / _BYTES_PER_MB:.1f} MB"


def _time_line(seen: ItemInFull) -> Markup:
    """Every attempt, oldest first, with how long each of its steps took; then its verdict and its file."""
    lines = [_attempt(attempt) for attempt in seen.attempts]
    after = [
        tag("li", clock(iso_time(at_ms)), " ", tag("span", event_word(kind)))
        for kind, at_ms in seen.events
        if kind in _AFTER_THE_END
    ]
    item = seen.item
    if item["verdict"]:
        why = ", ".join(item["verdict_reasons"] or ())
        verdict = verdict_word(item["verdict"])
        words = tr("verdict: {verdict} by {who}", verdict=verdict, who=item["verdict_by"] or "–")
        after.append(tag("li", words, tag("small", f" {why}", class_="muted") if why else None))
    if seen.given_back is not None:
        at = clock(iso_time(seen.given_back["given_at_ms"]))
        count = tr_count(seen.given_back["credits"], "1 credit was given back", "{n} credits were given back")
        after.append(tag("li", at, " ", count, tag("small", f" {seen.given_back['reason']}", class_="muted")))
    if after:
        lines.append(tag("li", tag("b", tr("Afterwards")), tag("ul", after)))
    return tag("ol", lines, class_="time-line")


def event_word(kind: str) -> str:
    """What happened to a video after its end, for people."""
    match kind:
        case "video.stored":
            return tr("the file was stored")
        case "video.lost":
            return tr("the file was lost")
        case _:
            return kind


def _why(attempt: Mapping[str, Any]) -> str:
    """Why an attempt failed: the kind of failure, and what the provider said."""
    said = own_words(attempt["error"], attempt["failure_type"])
    word = failure_word(attempt["failure_type"], attempt["error"])
    return f"{word}: {said}" if said else word


def _attempt(attempt: Mapping[str, Any]) -> Markup:
    steps = [(tr("accepted"), attempt["created_at"])]
    if attempt["dispatched_at"]:
        steps.append((tr("submitted"), attempt["dispatched_at"]))
    if attempt["completed_at"]:
        steps.append((status_word(attempt["status"]).lower(), attempt["completed_at"]))
    shown: list[Markup] = []
    last: str | None = None
    for word, at in steps:
        after = None if last is None else duration((ms_of(at) - ms_of(last)) / 1000)
        shown.append(
            tag("li", clock(at), f" {word}", tag("small", f" + {after}", class_="muted") if after else None)
        )
        last = at
    title = tr(
        "Try {n} with {model} at {provider}",
        n=attempt["try"],
        model=attempt["model"],
        provider=attempt["provider"],
    )
    troubles = [
        tag("p", f"{word}: {said['reason']} ({said['kind']} × {said['count']})", class_="reason")
        for word, said in (
            (tr("Last submit"), attempt["last_submit"]),
            (tr("Last poll"), attempt["last_poll"]),
        )
        if said
    ]
    return tag(
        "li",
        tag("b", title),
        " ",
        copied(attempt["remote_task_id"]) if attempt["remote_task_id"] else None,
        tag("ul", shown),
        tag("p", _why(attempt), class_="reason") if attempt["error"] else None,
        *troubles,
    )
