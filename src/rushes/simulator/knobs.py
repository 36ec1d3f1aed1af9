"""Everything about the simulated service that can be turned, with its limits.

`SimulatorKnobs()` is a friendly service: nothing fails and renders take seconds. `parse_knobs` reads
the `name=value` pairs of a command line, `PRESETS` (in presets.py) holds ready-made weathers.

A *share* is a probability from 0 to 1. Shares of one group (outcomes, submit faults, poll faults,
file faults) exclude each other, so a group's sum is at most 1.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rushes.domain.errors import InputError
from rushes.simulator.quality.laws import read_laws

_DAY_SECONDS: Final = 86_400.0


def _knob(
    default: object,
    text: str,
    *,
    kind: type,
    low: float = 0.0,
    high: float = 0.0,
    optional: bool = False,
    group: str = "",
    choices: tuple[object, ...] = (),
) -> Any:
    metadata = {
        "text": text,
        "kind": kind,
        "low": low,
        "high": high,
        "optional": optional,
        "group": group,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


def _share(text: str, *, group: str = "") -> Any:
    return _knob(0.0, text, kind=float, high=1.0, group=group)


def _seconds(default: float, text: str, *, low: float = 0.0) -> Any:
    return _knob(default, text, kind=float, low=low, high=30 * _DAY_SECONDS)


def _maybe_seconds(text: str) -> Any:
    return _knob(None, text, kind=float, high=30 * _DAY_SECONDS, optional=True)


def _maybe_count(text: str, *, low: int = 0) -> Any:
    return _knob(None, text, kind=int, low=low, high=1e9, optional=True)


def _sigma(default: float) -> Any:
    return _knob(default, "spread of the log-normal render time", kind=float, high=3.0)


def _switch(default: bool, text: str) -> Any:
    return _knob(default, text, kind=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorKnobs:
    """Every knob; see the module's text. Raises `InputError`, naming the knob, for a value out of range."""

    # --- the service
    seed: int = _knob(7, "same seed, same fates and faults", kind=int, high=2**63 - 1)
    api_key: str = field(
        default="",
        repr=False,
        metadata={
            "text": "when set, any other key is answered 401",
            "kind": str,
            "low": 0.0,
            "high": 500.0,
            "optional": False,
            "group": "",
            "choices": (),
        },
    )
    tasks_max: int = _knob(
        250_000,
        "tasks held in memory; over it, the oldest finished and fetched task is dropped",
        kind=int,
        low=1,
        high=10_000_000,
    )

    # --- render times: log-normal, the median in seconds of the real service
    time_scale: float = _knob(
        0.02, "factor on every render time; 1 is the real service's pace", kind=float, low=0.0, high=1000.0
    )
    render_seconds: float | None = _maybe_seconds(
        "when set, the median for every model, not scaled by time_scale"
    )
    sora_render_seconds: float = _seconds(90.0, "median render time of Sora")
    sora_render_sigma: float = _sigma(0.4)
    veo_fast_render_seconds: float = _seconds(330.0, "median render time of Veo fast")
    veo_fast_render_sigma: float = _sigma(0.35)
    veo_pro_render_seconds: float = _seconds(420.0, "median render time of Veo pro")
    veo_pro_render_sigma: float = _sigma(0.35)
    minimax_render_seconds: float = _seconds(210.0, "median render time of MiniMax")
    minimax_render_sigma: float = _sigma(0.3)
    latency_min_seconds: float = _seconds(0.0, "least time to answer a submit or a poll")
    latency_max_seconds: float = _seconds(0.0, "most time to answer a submit or a poll (uniform)")

    # --- outcomes: shares of the accepted tasks; the rest succeeds
    output_moderation: float = _share("fails with failure_reason output_moderation", group="outcomes")
    input_moderation: float = _share("fails with failure_reason input_moderation", group="outcomes")
    error: float = _share("fails with failure_reason error and one of several texts", group="outcomes")
    violation: float = _share(
        "ends with status violation (generation 2 only; a generation 1 task succeeds)", group="outcomes"
    )
    business_code: float = _share("the poll answers a code that is not 0", group="outcomes")
    forgotten: float = _share("the poll answers code -22 instead of a result", group="outcomes")
    succeeded_without_url: float = _share("succeeds without a URL", group="outcomes")
    failed_without_reason: float = _share("fails without reason and text", group="outcomes")
    stuck: float = _share("never ends: stays running", group="outcomes")
    forget_after_seconds: float | None = _maybe_seconds(
        "when set, every task is forgotten (code -22) this long after it ended"
    )

    gateway: float = _share(
        "tasks of OpenAI's videos API, and their refused submits, that are answered as gateways answer"
    )

    # --- refusals at submit, by a business code
    submit_rejected: float = _share("share of submits that are refused for their prompt")
    balance_submits: int | None = _maybe_count("when set, the balance is exhausted after this many tasks")
    key_disabled: bool = _switch(False, "every submit is refused: the key is disabled")
    submits_per_second_max: int | None = _maybe_count(
        "when set, more submits in any one second are answered 429", low=1
    )
    polls_per_second_max: int | None = _maybe_count(
        "when set, more polls in any one second are answered 429", low=1
    )

    # --- faults of submits: shares of all submits
    submit_server_error: float = _share("5xx, the task is not accepted", group="submit faults")
    submit_html: float = _share("200 with an HTML page, not accepted", group="submit faults")
    submit_cut_json: float = _share("accepted, the JSON breaks off", group="submit faults")
    submit_cut_body: float = _share("accepted, the connection closes in the body", group="submit faults")
    submit_reset_before: float = _share("reset before the request is read", group="submit faults")
    submit_reset_after: float = _share("read, not accepted, then reset", group="submit faults")
    submit_accepted_then_error: float = _share("accepted, then answered 500", group="submit faults")
    submit_accepted_then_reset: float = _share("accepted, then reset", group="submit faults")
    submit_refused: float = _share(
        "connection refused (in process; over HTTP a reset before reading)", group="submit faults"
    )
    submit_slow: float = _share("accepted, answered after slow_seconds", group="submit faults")
    submit_throttled: float = _share("429 with Retry-After, not accepted", group="submit faults")
    submit_throttled_bare: float = _share("429 without Retry-After, not accepted", group="submit faults")

    # --- faults of polls: shares of all polls
    poll_server_error: float = _share("5xx", group="poll faults")
    poll_html: float = _share("200 with an HTML page", group="poll faults")
    poll_cut_json: float = _share("the JSON breaks off", group="poll faults")
    poll_cut_body: float = _share("the connection closes in the body", group="poll faults")
    poll_reset_before: float = _share("reset before the request is read", group="poll faults")
    poll_reset_after: float = _share("reset after the request is read", group="poll faults")
    poll_refused: float = _share(
        "connection refused (in process; over HTTP a reset before reading)", group="poll faults"
    )
    poll_slow: float = _share("answered after slow_seconds", group="poll faults")
    poll_throttled: float = _share("429 with Retry-After", group="poll faults")
    poll_throttled_bare: float = _share("429 without Retry-After", group="poll faults")
    poll_unknown_status: float = _share("a status that the protocol does not have", group="poll faults")
    poll_backwards: float = _share(
        "running with less progress than before, until the final answer was given", group="poll faults"
    )
    poll_progress_missing: float = _share("running without progress", group="poll faults")

    # --- a gateway that is out of step with its clients
    submit_doubled: float = _share(
        "accepted, the answer written twice on the connection", group="submit faults"
    )
    submit_swapped: float = _share(
        "accepted, answered with the acceptance of an earlier task", group="submit faults"
    )
    poll_doubled: float = _share("the answer written twice on the connection", group="poll faults")
    poll_swapped: float = _share(
        "answered with an answer that names another task, where answers name one", group="poll faults"
    )
    desync_seconds: float = _seconds(0.002, "mean time from an answer to the same one again")

    # --- the service's queue, cancels, and questions by the client's own key, where a protocol has them
    running_tasks_max: int | None = _maybe_count(
        "when set, at most this many tasks of a model render at a time; the others wait", low=1
    )
    cancel_server_error: float = _share("5xx, the task is not cancelled", group="cancel faults")
    cancel_accepted_then_reset: float = _share("cancelled, then reset", group="cancel faults")
    find_server_error: float = _share("5xx", group="find faults")
    find_reset_after: float = _share("reset after the request is read", group="find faults")
    token_seconds: int = _knob(3600, "how long a token is good", kind=int, low=1, high=86_400)
    find_lag_seconds: float = _seconds(0.0, "how long a new task is not found by its key")

    slow_seconds: float = _seconds(5.0, "how long a slow answer takes")
    retry_after_seconds: int = _knob(1, "value of Retry-After", kind=int, high=86_400)

    # --- an outage: every request fails from start for so long, counted from the service's start
    outage_start_seconds: float | None = _maybe_seconds("when set, an outage starts then")
    outage_seconds: float = _seconds(30.0, "length of the outage")
    outage_kind: str = _knob(
        "server_error",
        "how requests fail in the outage",
        kind=str,
        high=20,
        choices=("server_error", "reset", "refused", "hang"),
    )

    # --- callbacks, for tasks submitted with a webHook URL; shares of those tasks, independent
    callbacks: bool = _switch(True, "off: no callback is ever sent")
    callback_progress: bool = _switch(True, "one callback half way, unless shutProgress")
    callback_delay_seconds: float = _seconds(0.05, "from an event to its callback")
    callback_lost: float = _share("the final callback is never sent")
    callback_late: float = _share("the final callback comes callback_late_seconds later")
    callback_late_seconds: float = _seconds(5.0, "how late a late callback is")
    callback_duplicate: float = _share("the final callback is sent twice")
    callback_out_of_order: float = _share("a progress callback is sent after the final one")
    callback_forged: float = _share("an extra callback lies, before the task ended")

    # --- result files at /files/<id>.mp4
    file_server_error: float = _share("500 for file_server_error_seconds after the end", group="file faults")
    file_server_error_seconds: float = _seconds(5.0, "how long such a file answers 500")
    file_truncated: float = _share("the stored file breaks off", group="file faults")
    file_cut_body: float = _share(
        "the first two transfers break off, the third is whole", group="file faults"
    )
    file_html: float = _share("an HTML page served as video/mp4", group="file faults")
    file_empty: float = _share("no bytes at all", group="file faults")
    file_oversize: float = _share("a valid file of file_oversize_bytes", group="file faults")
    file_oversize_bytes: int = _knob(
        2_000_000_000, "size of an oversize file", kind=int, low=100_000, high=4_000_000_000
    )
    clip_black: float = _share("a whole video that is black")
    clip_frozen: float = _share("a whole video whose picture stands still")
    quality: str = _knob(
        "",
        "laws of quality by model, sora-2:black=0.2,rejected=0.1;… (see below)",
        kind=str,
        high=2000,
    )
    file_slow: float = _share("stalls half way for file_slow_seconds", group="file faults")
    file_slow_seconds: float = _seconds(10.0, "how long a slow file stalls")
    file_redirect: float = _share("302 to file_redirect_url", group="file faults")
    file_redirect_url: str = _knob("http://169.254.169.254/", "where it redirects", kind=str, high=2000)
    file_expiry_seconds: float | None = _maybe_seconds(
        "when set, links die this long after the task ended (the real service: about 7200)"
    )
    file_expired_status: int = _knob(
        403, "answer of a dead link", kind=int, low=400, high=499, choices=(403, 404, 410)
    )

    def __post_init__(self) -> None:
        """Check every value, then the sums of the exclusive shares."""
        sums: dict[str, float] = {}
        for knob in dataclasses.fields(self):
            value = _checked(knob, getattr(self, knob.name))
            object.__setattr__(self, knob.name, value)
            group = knob.metadata["group"]
            if group:
                sums[group] = sums.get(group, 0.0) + value
        for group, total in sums.items():
            if total > 1.0 + 1e-9:
                raise InputError(f"the shares of the {group} sum to {total:.3f}; at most 1 is possible")
        read_laws(self.quality)
        if self.latency_max_seconds < self.latency_min_seconds:
            raise InputError("is below latency_min_seconds", field="latency_max_seconds")

    def replaced(self, changes: Mapping[str, object]) -> "SimulatorKnobs":
        """A copy with these knobs changed; raises `InputError` for an unknown name or a bad value."""
        for name in changes:
            _field_named(name)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # checked when built


_FIELDS: Mapping[str, dataclasses.Field[Any]] = {
    knob.name: knob for knob in dataclasses.fields(SimulatorKnobs)
}


def parse_knobs(assignments: Sequence[str], base: SimulatorKnobs | None = None) -> SimulatorKnobs:
    """Knobs from `name=value` pairs, on top of `base`; `none` or nothing after `=` unsets an optional knob.

    Raises `InputError` naming the pair: no `=`, an unknown name (with the nearest), a value that is not
    of the knob's kind or out of its range.
    """
    changes: dict[str, object] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise InputError(f"expected name=value, got {assignment!r}")
        changes[name.strip()] = _read(_field_named(name.strip()), text.strip())
    return (base or SimulatorKnobs()).replaced(changes)


def describe_knobs() -> list[tuple[str, str, str]]:
    """Name, default as text and meaning of every knob, in order: for `--help` and the documentation."""
    return [(name, _shown(knob.default), knob.metadata["text"]) for name, knob in _FIELDS.items()]


def _shown(value: object) -> str:
    match value:
        case None | "":
            return "none"
        case bool():
            return "on" if value else "off"
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


def _field_named(name: str) -> dataclasses.Field[Any]:
    knob = _FIELDS.get(name)
    if knob is None:
        nearest = difflib.get_close_matches(name, _FIELDS, n=3)
        hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
        raise InputError(f"there is no such knob{hint}", field=name[:100] or "(empty name)")
    return knob


_WORDS: Final[Mapping[str, bool]] = {
    "true": True, "on": True, "yes": True, "1": True,
    "false": False, "off": False, "no": False, "0": False,
}  # fmt: skip


def _read(knob: dataclasses.Field[Any], text: str) -> object:
    kind: type = knob.metadata["kind"]
    if knob.metadata["optional"] and text.lower() in ("", "none"):
        return None
    if kind is bool:
        if text.lower() not in _WORDS:
            raise InputError(f"expected on or off, got {text[:50]!r}", field=knob.name)
        return _WORDS[text.lower()]
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"expected {what}, got {text[:50]!r}", field=knob.name) from None


def _checked(knob: dataclasses.Field[Any], value: object) -> Any:
    """The value in the knob's own type, or `InputError`."""
    kind: type = knob.metadata["kind"]
    low, high, choices = knob.metadata["low"], knob.metadata["high"], knob.metadata["choices"]
    if value is None and knob.metadata["optional"]:
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**63 else math.inf
    if type(value) is not kind:
        raise InputError(f"expected {kind.__name__}, got {type(value).__name__}", field=knob.name)
    if choices and value not in choices:
        raise InputError(f"expected one of {', '.join(map(str, choices))}", field=knob.name)
    if isinstance(value, str):
        if len(value) > high or not value.isascii() or not value.isprintable():
            raise InputError(f"expected at most {high:g} printable ASCII characters", field=knob.name)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        raise InputError(f"expected {low:g} to {high:g}, got {value:g}", field=knob.name)
    return value
