"""What runs here: workers, the archive, who did what, the catalogue, the settings, the version."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.books import books_card
from rushes.dashboard.pages.codes import facts_words, file_word, source_word
from rushes.dashboard.pages.new_batch.page import price_words
from rushes.dashboard.pieces import card, chip, duration, empty, moment, moment_of, number, table, with_code
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.catalogue.model import Model
from rushes.read.board.system import SystemBoard, system_board
from rushes.run.meters import quantile_of

DEFAULT_SOURCE: Final = "default"
"""Where a setting comes from that nobody has set."""


async def show(visit: Visit) -> Page:
    """The whole page."""
    parts = visit.parts
    seen = await parts.read(system_board, now_ms=visit.now_ms)
    hint = tr("Start one with `rushes worker`, or serve without --no-worker.")
    workers = (
        joined(*(_worker(visit, worker) for worker in seen.workers))
        if seen.workers
        else card(tr("Live workers"), empty(tr("No worker is alive."), hint))
    )
    version = tag("span", tr("version {version}", version=parts.version), class_="muted")
    links = tag("a", tr("API documentation"), href="/docs", class_="button")
    return Page(
        title=tr("System"),
        section="system",
        parts={
            "head": tag(
                "div", tag("h1", tr("System")), version, tag("div", links, class_="actions"), class_="head"
            ),
            "workers": tag("div", workers, class_="stack"),
            "state": tag(
                "div",
                books_card(visit, seen.proof),
                _archive(seen),
                _operators(visit, seen),
                class_="grid three",
            ),
            "actions": card(tr("Action log"), _actions(visit, seen), class_="flush"),
            "catalogue": card(tr("Catalogue"), _catalogue(visit), class_="flush"),
            "settings": card(tr("Settings"), _settings(visit), class_="flush"),
        },
    )


def _archive(seen: SystemBoard) -> Markup:
    heads = (tr("State"), tr("Reason"), tr("Files"))
    rows = [[file_word(one.state), one.reason or "–", number(one.count)] for one in seen.archive]
    note = tag("p", with_code(tr("`rushes doctor` checks the installation.")), class_="hint")
    shown = (
        table(heads, rows, caption=tr("Files that are not stored"), right=(heads[2],), class_="dense")
        if rows
        else empty(tr("Every file is stored."))
    )
    return card(tr("Archive"), shown, note)


def _operators(visit: Visit, seen: SystemBoard) -> Markup:
    heads = (tr("Name"), tr("Role"), tr("Sessions"), tr("Last seen"))
    rows: list[list[Markup | str]] = [
        [
            one["name"],
            chip(tr("Revoked"), "") if one["revoked_at_ms"] else one["role"],
            number(one["sessions"]),
            moment_of(one["seen_at_ms"], now_ms=visit.now_ms) if one["seen_at_ms"] else "–",
        ]
        for one in seen.operators
    ]
    hint = tr(
        "All sign in with the installation's secret. `rushes operators create` gives each a name and a role."
    )
    shown = (
        table(heads, rows, caption=tr("Operators"), right=heads[2:], class_="dense") if rows else empty(hint)
    )
    return card(tr("Operators"), shown)


def _actions(visit: Visit, seen: SystemBoard) -> Markup:
    if not seen.actions:
        return empty(tr("Nobody has done anything yet."))
    heads = (tr("When"), tr("Who"), tr("From"), tr("Act"), tr("About"), tr("What changed"))
    rows: list[list[Markup | str]] = []
    for one in seen.actions:
        changed = facts_words(one["after"] or {})
        rows.append(
            [
                moment_of(one["at_ms"], now_ms=visit.now_ms),
                one["operator"],
                one["place"],
                tag("span", one["action"], class_="mono"),
                tag("span", one["subject"], class_="mono clip", title=one["subject"]),
                tag("span", changed, class_="clip long", title=changed),
            ]
        )
    return table(heads, rows, caption=tr("The newest acts"), class_="dense")


def _catalogue(visit: Visit) -> Markup:
    now = visit.now_ms / 1000
    models = sorted(visit.parts.catalogue, key=lambda one: (one.provider, one.name))
    live = [model for model in models if model.takes_new_tasks(now)]
    others = [model for model in models if not model.takes_new_tasks(now)]
    words = tr_count(len(others), "1 model that takes no tasks", "{n} models that take no tasks")
    return joined(
        _model_rows(live, now),
        tag("details", tag("summary", words, class_="muted more-rows"), _model_rows(others, now))
        if others
        else None,
    )


def _model_rows(models: Sequence[Model], now: float) -> Markup:
    heads = (tr("Model"), tr("Provider"), tr("Price"), tr("State"))
    rows: list[list[Markup | str]] = [
        [
            model.name,
            model.provider,
            tag("span", price, class_="clip long", title=price),
            chip(tr("Takes tasks"), "ok")
            if model.takes_new_tasks(now)
            else tag("span", model.why_not(now), class_="muted clip", title=model.why_not(now)),
        ]
        for model, price in ((model, price_words(model.price.tariff)) for model in models)
    ]
    return table(heads, rows, caption=tr("Catalogue"), right=(heads[3],), class_="dense")


def _settings(visit: Visit) -> Markup:
    """Those that somebody has set, and behind them the defaults."""
    chosen = [one for one in visit.parts.settings if one[2] != DEFAULT_SOURCE]
    others = [one for one in visit.parts.settings if one[2] == DEFAULT_SOURCE]
    words = tr_count(len(others), "1 at its default", "{n} at their defaults")
    return joined(
        _setting_rows(chosen),
        tag("details", tag("summary", words, class_="muted more-rows"), _setting_rows(others)),
    )


def _setting_rows(found: Sequence[tuple[str, str, str]]) -> Markup:
    heads = (tr("Setting"), tr("Value"), tr("From"))
    rows: list[list[Markup | str]] = [
        [
            tag("span", name, class_="mono"),
            tag("span", value, class_="mono clip long", title=value),
            tag("span", source_word(source), class_="muted"),
        ]
        for name, value, source in found
    ]
    return table(heads, rows, caption=tr("Settings"), right=(heads[2],), class_="dense")


def _worker(visit: Visit, worker: Mapping[str, Any]) -> Markup:
    report = worker["report"]
    meters: Mapping[str, Any] = report.get("meters", {})
    submits = sum(sum(counts.values()) for counts in meters.get("submits", {}).values())
    polls = {
        name: sum(counts.get(name, 0) for counts in meters.get("polls", {}).values())
        for name in ("processing", "succeeded", "failed", "transient_errors")
    }
    facts = [
        (tr("Host"), tr("{host} (process {pid})", host=worker["host"], pid=worker["pid"])),
        (tr("Started"), moment(worker["started_at"], now_ms=visit.now_ms)),
        (tr("Lease ends"), moment(worker["lease_expires_at"], now_ms=visit.now_ms)),
        (tr("In flight"), number(report.get("in_flight", 0))),
        (tr("Submits"), number(submits)),
        (tr("Polls"), number(sum(polls.values()))),
        (tr("Without answer"), number(polls["transient_errors"])),
        (tr("Poll lateness, 99 %"), _quantile(meters.get("poll_lateness_seconds"))),
        (tr("Settling transaction, 99 %"), _quantile(meters.get("settle_commit_seconds"))),
    ]
    return card(
        worker["worker_id"],
        table(
            [name for name, _ in facts],
            [[value for _, value in facts]],
            caption=tr("Worker {name}", name=worker["worker_id"]),
        ),
        end=chip(tr("Alive"), "ok"),
        class_="flush",
    )


def _quantile(histogram: Mapping[str, Any] | None) -> str:
    if not histogram or not sum(histogram["counts"]):
        return "–"
    return f"≤ {duration(quantile_of(histogram, 0.99))}"
