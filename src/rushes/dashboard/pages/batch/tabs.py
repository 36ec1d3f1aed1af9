"""The head of a batch in one line, and the way to its tabs."""

from collections.abc import Mapping
from typing import Any, Final

from rushes.dashboard.acting import act_link
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.waits import waits_for
from rushes.dashboard.pieces import (
    about,
    batch_bar,
    copied,
    has_own_name,
    moment,
    number,
    short_id,
    status_chip,
    url,
)
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.read.board.batch_tabs import Looking
from rushes.read.views import OPEN_BATCH_STATUSES

TABS: Final = ("wall", "table", "failures", "credits", "events")


def looking(visit: Visit) -> Looking:
    """With what the batch of this visit is read."""
    parts = visit.parts
    return Looking(visit.names["batch_id"], parts.catalogue, parts.links, parts.forecaster, visit.now_ms)


def path_of(batch_id: str, tab: str = "wall") -> str:
    """A tab's path below the root."""
    return f"/batches/{batch_id}" if tab == "wall" else f"/batches/{batch_id}/{tab}"


def title_of(batch: Mapping[str, Any]) -> str:
    """What its maker called the batch, or its id."""
    return str(batch["name"] or batch["request_id"])


def head(visit: Visit, batch: Mapping[str, Any]) -> Markup:
    """The batch in one line, and what can be done with all of it."""
    ended = batch["succeeded_count"] + batch["failed_count"]
    facts = joined(
        tag("h1", title_of(batch), title=title_of(batch)),
        status_chip(batch["status"]),
        copied(batch["batch_id"], shown=short_id(batch["batch_id"])) if has_own_name(batch) else None,
        tag("a", batch["account"], href=url(f"{visit.root}/accounts", account=batch["account"])),
        tag("span", batch_bar(batch), class_="head-bar"),
        tag("b", f"{number(ended)} / {number(batch['total_count'])}", class_="nowrap"),
        tag("span", _progress(visit, batch, ended), class_="muted", role="status"),
    )
    return tag("div", tag("div", facts, class_="head-facts"), _actions(visit, batch), class_="head")


def _progress(visit: Visit, batch: Mapping[str, Any], ended: int) -> Markup:
    failed = tr_count(batch["failed_count"], "1 failed", "{n} failed") if batch["failed_count"] else None
    if batch["status"] in OPEN_BATCH_STATUSES or ended < batch["total_count"]:
        return joined(f"{failed} · " if failed else None, time_left(batch))
    when = joined(tr("finished"), " ", moment(batch["completed_at"], now_ms=visit.now_ms))
    return joined(f"{failed} · " if failed else None, when if batch["completed_at"] else None)


def time_left(batch: Mapping[str, Any]) -> str:
    """When the batch will be done, with what that waits for when nobody can tell."""
    seconds, reason = batch["eta_seconds"], waits_for(batch["waits"])
    if seconds is None:
        return tr("no telling when: {reason}", reason=reason) if reason else tr("no telling when")
    left = tr("about {time} left", time=about(seconds))
    return f"{left} ({reason})" if reason else left


def _actions(visit: Visit, batch: Mapping[str, Any]) -> Markup:
    path = f"{visit.root}/batches/{batch['batch_id']}"
    exports = tag(
        "details",
        tag("summary", tr("Export"), class_="button"),
        tag(
            "div",
            tag("a", "CSV", href=url(f"{path}/export", format="csv"), download=True),
            tag("a", "JSON Lines", href=url(f"{path}/export", format="jsonl"), download=True),
            tag("a", tr("Signed statement"), href=f"{path}/statement", download=True),
            class_="menu",
        ),
        class_="drop",
    )
    cancel = None
    if batch["status"] in OPEN_BATCH_STATUSES:
        where = f"/batches/{batch['batch_id']}/cancel"
        cancel = act_link(visit, where, tr("Cancel…"), class_="button danger")
    again = f"{visit.root}/batches/new?from={batch['batch_id']}"
    duplicate = tag("a", tr("Duplicate"), href=again, class_="button") if visit.may(Role.OPERATOR) else None
    return tag("div", exports, duplicate, cancel, class_="actions")


def tab_bar(visit: Visit, batch: Mapping[str, Any], tab: str, *end: Markup) -> Markup:
    """The tabs, with what each holds."""
    counts = {
        "wall": number(batch["total_count"]),
        "table": "",
        "failures": number(batch["failed_count"]),
        "credits": number(batch["credits_reserved"]),
        "events": "",
    }
    words = {
        "wall": tr("Wall"),
        "table": tr("Table"),
        "failures": tr("Failures"),
        "credits": tr("Credits"),
        "events": tr("Events"),
    }
    links = [
        tag(
            "a",
            words[name],
            tag("small", counts[name]) if counts[name] else None,
            href=visit.root + path_of(batch["batch_id"], name),
            aria_current="page" if name == tab else None,
        )
        for name in TABS
    ]
    return tag("div", tag("nav", links, aria_label=tr("Views of the batch")), *end, class_="tabs")
