"""The simulator's own endpoints under `/_sim/`: health, report and knobs. No fault touches them."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from rushes.domain.errors import InputError
from rushes.providers.simulator.message import SimRequest, SimResponse
from rushes.providers.simulator.wire import UNREADABLE

if TYPE_CHECKING:
    from rushes.providers.simulator.core import SimulatorCore

PREFIX = "/_sim/"


def answer(core: "SimulatorCore", request: SimRequest, now: float) -> SimResponse:
    """GET health, GET report (`?tasks=false` without the lists), GET and POST knobs."""
    match request.method, request.path:
        case "GET", "/_sim/health":
            return SimResponse(200, b'{"ok":true}')
        case "GET", "/_sim/report":
            with_tasks = parse_qs(request.query).get("tasks", ["true"])[-1].lower() not in ("false", "0")
            return _json(200, core.report(now, tasks=with_tasks))
        case "GET", "/_sim/knobs":
            return _knobs(core)
        case "POST", "/_sim/knobs":
            return _change_knobs(core, request)
        case _:
            return _json(404, {"message": "expected GET health, GET report or GET or POST knobs"})


def _change_knobs(core: "SimulatorCore", request: SimRequest) -> SimResponse:
    # a page in a browser cannot send this content type to another origin without asking first
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _json(415, {"message": "expected content-type: application/json"})
    try:
        core.use(core.knobs.replaced(msgspec.json.decode(request.body, type=dict[str, object])))
    except (InputError, *UNREADABLE) as error:
        return _json(400, {"message": str(error)})
    return _knobs(core)


def _knobs(core: "SimulatorCore") -> SimResponse:
    knobs = msgspec.to_builtins(core.knobs)
    knobs["api_key"] = "(set)" if core.knobs.api_key else ""
    return _json(200, knobs)


def _json(status: int, value: object) -> SimResponse:
    return SimResponse(status, msgspec.json.encode(value))
