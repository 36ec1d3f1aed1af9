"""The strip of providers: how each stands, as the live workers see it; pausing one, and resuming it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.acting import Act, Done, Form, Question, act_link, reason_row
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pieces import card, chip, duration, empty, moment_of, number, table, url
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.errors import InputError
from rushes.read.board.overview import Overview
from rushes.run.meters import quantile_of
from rushes.store.tasks import pauses
from rushes.store.tasks.pauses import REASON_CHARACTERS_MAX, Pause, all_pauses, counts_at

_KINDS: Final = {"closed": "ok", "held": "warn", "half_open": "warn", "open": "bad", "paused": "bad"}
_NOTHING: Final = {"state": "closed", "reason": None, "taken": 0, "sent": 0, "throttled": 0, "silent": 0}
_WORST: Final = ("paused", "open", "half_open", "held", "closed")


def provider_word(state: str) -> str:
    """How a provider stands, for people."""
    match state:
        case "closed":
            return tr("Working")
        case "held":
            return tr("Asked to wait")
        case "half_open":
            return tr("Being retried")
        case "open":
            return tr("Down")
        case "paused":
            return tr("Refuses submits")
        case _:
            return state


def provider_strip(visit: Visit, look: Overview) -> Markup:
    """A row for each provider, over all workers."""
    found: dict[str, dict[str, Any]] = {}
    for worker in look.gauges.workers:
        meters = worker.report.get("meters", {})
        for provider, state in worker.report.get("providers", {}).items():
            one = found.setdefault(provider, dict(_NOTHING))
            if _WORST.index(_known(state["state"])) < _WORST.index(one["state"]):
                one["state"], one["reason"] = _known(state["state"]), state.get("reason")
            _add(one, meters.get("submits", {}).get(provider, {}), meters.get("polls", {}).get(provider, {}))
    troubles: dict[str, int] = {}
    for group in look.gauges.troubles:
        troubles[group.provider] = troubles.get(group.provider, 0) + group.task_count
    for provider in look.pauses:
        found.setdefault(provider, dict(_NOTHING))
    rows = [
        [
            provider,
            _state(visit, one, look.pauses.get(provider)),
            _in_flight(look, provider),
            tr("{taken} of {all}", taken=number(one["taken"]), all=number(one["sent"])),
            number(one["throttled"]),
            number(one["silent"]),
            tag(
                "span",
                number(troubles.get(provider, 0)),
                class_="amount-minus" if troubles.get(provider) else "muted",
            ),
            _act(visit, provider, is_paused=provider in look.pauses),
        ]
        for provider, one in sorted(found.items())
        if one["sent"] or one["state"] != "closed" or provider in troubles or provider in look.pauses
    ]
    heads = (
        tr("Provider"),
        tr("State"),
        tr("In flight"),
        tr("Submits taken"),
        tr("Throttled"),
        tr("Polls without answer"),
        tr("Answers not understood"),
        tr("Pause"),
    )
    shown = (
        table(heads, rows, caption=tr("Providers, as the live workers see them"), right=heads[2:])
        if rows
        else empty(tr("No provider was asked yet."))
    )
    end = tag(
        "span",
        tag("span", _lateness(look), class_="muted"),
        act_link(visit, "/pause", tr("Pause a provider…"), class_="button small"),
        class_="row-actions",
    )
    return card(tr("Providers"), shown, end=end, class_="flush")


def _in_flight(look: Overview, provider: str) -> str:
    """How many tasks the provider has, and how many it may have."""
    there = look.in_flight.get(provider)
    count, limit = (there.count, there.limit) if there else (0, None)
    return number(count) if limit is None else tr("{n} of {max}", n=number(count), max=number(limit))


def _state(visit: Visit, one: Mapping[str, Any], pause: Pause | None) -> Markup:
    """What the workers see; a pause by an operator comes before it."""
    if pause is not None:
        said = tr("by {who}: {reason}", who=pause.operator, reason=pause.reason)
        since = moment_of(pause.since_ms, now_ms=visit.now_ms)
        shown = joined(tag("span", said, class_="clip", title=said), " · ", since)
        return tag("span", chip(tr("Paused"), "warn"), " ", tag("span", shown, class_="muted"))
    return tag(
        "span",
        chip(provider_word(one["state"]), _KINDS[one["state"]]),
        " ",
        tag("span", one["reason"], class_="muted clip", title=one["reason"]),
    )


def _act(visit: Visit, provider: str, *, is_paused: bool) -> Markup:
    path = url("/resume" if is_paused else "/pause", provider=provider)
    text = tr("Resume…") if is_paused else tr("Pause…")
    return act_link(visit, path, text, label=f"{text} {provider}", class_="button small")


# --- pausing --------------------------------------------------------------------------------------------


async def ask_pause(visit: Visit, form: Form) -> Question:
    """Which provider, and why; how many tasks will wait."""
    provider = form.get("provider")
    names = sorted({model.provider for model in visit.parts.catalogue})
    paused = await visit.parts.read(all_pauses)
    waiting = await visit.parts.read(counts_at, provider) if provider in names else None
    stakes: list[tuple[str, Markup | str]] = []
    if waiting is not None:
        stakes = [
            (tr("Will wait"), tr_count(waiting[0], "1 task", "{n} tasks")),
            (tr("Runs to its end and is charged"), tr_count(waiting[1], "1 task", "{n} tasks")),
        ]
    refusal = None
    if provider in paused:
        refusal = tr("{provider} is paused already.", provider=provider)
    choice = (
        None if "provider" in visit.query else _provider_choice(form, [n for n in names if n not in paused])
    )
    reason = reason_row(
        form,
        "reason",
        characters_max=REASON_CHARACTERS_MAX,
        hint=tr("Operators see it beside what waits, and in the action log."),
    )
    return Question(
        title=tr("Pause {provider}?", provider=provider) if provider else tr("Pause a provider"),
        action=tr("Pause"),
        stakes=stakes,
        fields=None if refusal else tag("div", choice, reason, class_="fields"),
        note=tr("No worker submits to it until it is resumed. What it has goes on and settles."),
        is_harmful=True,
        refusal=refusal,
    )


def _provider_choice(form: Form, names: Sequence[str]) -> Markup:
    error = form.errors.get("provider")
    return tag(
        "div",
        tag("label", tr("Provider"), for_="pause-provider"),
        tag(
            "select",
            [tag("option", name, value=name, selected=name == form.get("provider")) for name in names],
            id="pause-provider",
            name="provider",
        ),
        tag("p", error, class_="field-error") if error else None,
        class_="field",
    )


async def pause(visit: Visit, form: Form) -> Done:
    """Pause it for every worker. Raises `InputError`."""
    provider, reason = form.get("provider"), form.get("reason")
    if provider not in {model.provider for model in visit.parts.catalogue}:
        raise InputError(tr("choose a provider"), field="provider")
    if not (reason and len(reason) <= REASON_CHARACTERS_MAX and reason.isprintable()):
        limit = REASON_CHARACTERS_MAX
        raise InputError(tr("must be 1 to {n} printable characters", n=limit), field="reason")
    await visit.parts.database.transact(
        pauses.pause, provider, reason=reason, actor=visit.actor, now_ms=visit.now_ms
    )
    return Done(tr("{provider} is paused", provider=provider), "/")


async def ask_resume(visit: Visit, form: Form) -> Question:
    """Who paused it, and what goes on."""
    provider = form.get("provider")
    paused = (await visit.parts.read(all_pauses)).get(provider)
    if paused is None:
        return Question(
            title=tr("Resume {provider}?", provider=provider[:100]),
            action=tr("Resume"),
            refusal=tr("It is not paused."),
        )
    waiting, _ = await visit.parts.read(counts_at, provider)
    return Question(
        title=tr("Resume {provider}?", provider=provider),
        action=tr("Resume"),
        stakes=[
            (tr("Paused by"), paused.operator),
            (tr("Reason"), paused.reason),
            (tr("Since"), moment_of(paused.since_ms, now_ms=visit.now_ms)),
            (tr("Will be submitted"), tr_count(waiting, "1 task", "{n} tasks")),
        ],
    )


async def resume(visit: Visit, form: Form) -> Done:
    """Let its tasks be claimed again."""
    provider = form.get("provider")
    await visit.parts.database.transact(pauses.resume, provider, actor=visit.actor, now_ms=visit.now_ms)
    visit.parts.on_work()
    return Done(tr("{provider} is resumed", provider=provider), "/")


ACTS: Final = (
    Act("/pause", "overview", Role.OPERATOR, ask_pause, pause),
    Act("/resume", "overview", Role.OPERATOR, ask_resume, resume),
)


def _known(state: str) -> str:
    return state if state in _WORST else "closed"


def _add(one: dict[str, Any], submits: Mapping[str, int], polls: Mapping[str, int]) -> None:
    one["taken"] += submits.get("accepted", 0)
    one["sent"] += sum(submits.values())
    one["throttled"] += submits.get("throttled", 0)
    one["silent"] += polls.get("transient_errors", 0)


def _lateness(look: Overview) -> str:
    """How late polls are started, of the worker that is latest."""
    worst = 0.0
    for worker in look.gauges.workers:
        lateness = worker.report.get("meters", {}).get("poll_lateness_seconds")
        if lateness and sum(lateness["counts"]):
            worst = max(worst, quantile_of(lateness, 0.99))
    return tr("99 % of polls late by at most {time}", time=duration(worst)) if worst else ""
