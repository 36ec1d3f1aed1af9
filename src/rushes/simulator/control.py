"""The simulator's own endpoints under `/_sim/`: health, report and knobs. No fault touches them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from rushes.domain.errors import InputError
from rushes.simulator.families.wire import UNREADABLE
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.quality.laws import judged, read_laws
from rushes.simulator.report import SimulatorReport

PREFIX = "/_sim/"


def answer(
    request: SimRequest, knobs: SimulatorKnobs, *, report: Callable[[bool], SimulatorReport]
) -> tuple[SimResponse, SimulatorKnobs | None]:
    """The answer, and the knobs from now on if the request changes them.

    GET health, GET report (`?tasks=false` without the lists), GET and POST knobs, and POST judge: a hook that
    judges clips by the laws of quality. `report` makes a report, with the lists or without them.
    """
    match request.method, request.path:
        case "GET", "/_sim/health":
            return SimResponse(200, b'{"ok":true}'), None
        case "GET", "/_sim/report":
            with_tasks = parse_qs(request.query).get("tasks", ["true"])[-1].lower() not in ("false", "0")
            return _json(200, report(with_tasks)), None
        case "GET", "/_sim/knobs":
            return _shown(knobs), None
        case "POST", "/_sim/knobs":
            return _changed(request, knobs)
        case "POST", "/_sim/judge":
            return _judged(request, knobs), None
        case _:
            known = "GET health, GET report, GET or POST knobs, or POST judge"
            return _json(404, {"message": f"expected {known}"}), None


def _changed(request: SimRequest, knobs: SimulatorKnobs) -> tuple[SimResponse, SimulatorKnobs | None]:
    # a page in a browser cannot send this content type to another origin without asking first
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _json(415, {"message": "expected content-type: application/json"}), None
    try:
        changed = knobs.replaced(msgspec.json.decode(request.body, type=dict[str, object]))
    except (InputError, *UNREADABLE) as error:
        return _json(400, {"message": str(error)}), None
    return _shown(changed), changed


def _judged(request: SimRequest, knobs: SimulatorKnobs) -> SimResponse:
    try:
        question = msgspec.json.decode(request.body, type=dict[str, Any])
    except UNREADABLE:
        return _json(400, {"message": "expected the question of a judge, as JSON"})
    return _json(200, judged(read_laws(knobs.quality), knobs.seed, question))


def _shown(knobs: SimulatorKnobs) -> SimResponse:
    shown = msgspec.to_builtins(knobs)
    shown["api_key"] = "(set)" if knobs.api_key else ""
    return _json(200, shown)


def _json(status: int, value: object) -> SimResponse:
    return SimResponse(status, msgspec.json.encode(value))
