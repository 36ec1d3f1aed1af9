"""A fact that decides nothing, in whatever odd form, costs no verdict and no remote task id, at any provider.

The answers are those of the simulator: each submit and each poll of tasks of every fate is recorded, and then
given again with odd values in the fields beside the deciding ones.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import (
    Accepted,
    Failed,
    NoAnswer,
    PollResult,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Unknown,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider
from rushes.providers.odd_json import contradiction_in, task_of_callback, without_oddities
from rushes.providers.registry import BUILT_IN, installed_providers
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport, all_wires

BASE_URL: Final = "http://127.0.0.1:9"
FATES: Final = SimulatorKnobs(
    seed=16,
    render_seconds=100.0,
    output_moderation=0.15,
    input_moderation=0.15,
    error=0.2,
    business_code=0.1,
    forgotten=0.1,
    succeeded_without_url=0.1,
    failed_without_reason=0.1,
)
POLLED_AFTER: Final = (1.0, 50.0, 2000.0)
TASKS: Final = 8

DECIDING: Final[Mapping[str, frozenset[str]]] = {
    "ark": frozenset({"id", "status", "content", "video_url", "error", "code", "message"}),
    "dashscope": frozenset({"output", "task_id", "task_status", "video_url", "code", "message"}),
    "fal": frozenset(
        {"request_id", "response_url", "status", "error", "error_type", "video", "url", "detail"}
        | {"msg", "type", "loc"}
    ),
    "google": frozenset(
        {"id", "status", "steps", "errors", "type", "content", "uri", "text", "message", "code", "name"}
        | {"done", "error", "response", "generateVideoResponse", "generatedSamples", "video"}
        | {"raiMediaFilteredCount", "raiMediaFilteredReasons"}
    ),
    "grsai": frozenset(
        {"code", "msg", "data", "id", "status", "results", "url", "failure_reason", "error", "message"}
    ),
    "kling": frozenset(
        {"code", "data", "id", "task_id", "status", "task_status", "outputs", "type", "url", "message"}
        | {"task_result", "videos", "task_status_msg"}
    ),
    "minimax": frozenset(
        {"task_id", "task", "id", "status", "content", "url", "error", "code", "message"} | {"type"}
    ),
    "openai": frozenset({"id", "status", "error", "code", "message", "task_id", "data", "state"}),
    "replicate": frozenset({"id", "status", "output", "error", "detail"}),
    "runway": frozenset({"id", "status", "output", "failure", "failureCode", "error"}),
    "vertex": frozenset(
        {"name", "done", "error", "code", "message", "status", "response", "videos", "gcsUri"}
        | {"raiMediaFilteredCount", "raiMediaFilteredReasons", "access_token"}
        | {"id", "steps", "errors", "type", "content", "uri", "text"}
    ),
    "xai": frozenset(
        {"request_id", "status", "video", "url", "respect_moderation", "error", "code", "message"}
    ),
}
"""By the start of a provider's name, the fields that say how a task stands, which one it is and where its
file is. Every other field of an answer decides nothing."""

ODD: Final = (
    *(b"null", b"true", b"false", b"-3", b"0.5", b'""', b'"soon"', b"[]", b"{}", b'{"text": 5}', b"[[5]]"),
    *(b"1" + b"0" * 400, b"-1" + b"0" * 400, b"1" + b"0" * 5000, b"9223372036854775808"),
    *(b"1e999", b"-1e999", b"1e308", b"NaN", b"Infinity", b"-Infinity"),
    *(b'"NaN"', b'"1e999"', b'"9' + b"9" * 5000 + b'"', b'"\\ud800"', b'"\xff\xfe"', b'"\\u0000"'),
    *(b'"' + b"x" * 5000 + b'"', b'{"a":' * 40 + b"1" + b"}" * 40),
)
"""What may stand in such a field, as it stands in the JSON."""

Ask = Callable[[Provider], Awaitable[SubmitOutcome | PollResult]]


@dataclass(frozen=True)
class Case:
    """One submit or poll: its answers, and what they came to."""

    provider: str
    ask: Ask
    answers: tuple[Response, ...]
    came_to: SubmitOutcome | PollResult


class Way:
    """Leads to the simulator and keeps its answers, or gives prepared ones in order; the last one repeats."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answers: list[Response] = []
        self.prepared: list[Response] = []
        self._simulator = SimulatorTransport(SimulatorCore(FATES, base_url=BASE_URL), clock=lambda: self.now)

    async def request(self, *args: Any, **options: Any) -> Response:
        if self.prepared:
            return self.prepared.pop(0) if len(self.prepared) > 1 else self.prepared[0]
        answer = await self._simulator.request(*args, **options)
        self.answers.append(answer)
        return answer

    async def prepare(self, url: str, count: int) -> int:
        return count

    async def close(self) -> None:
        return


@cache
def way_and_provider(name: str) -> tuple[Way, Provider]:
    exports: dict[str, str] = {}
    for wire in all_wires():
        exports |= wire.exports(BASE_URL, "a-recorded-key")
    variables, way = BUILT_IN[name], Way()
    config = ProviderConfig(
        exports[variables.host],
        exports[variables.key],
        way,
        now=lambda: 1_790_000_000.0,
        extra={"storage_uri": exports.get("VERTEX_STORAGE_URI", "")},
    )
    provider: Provider = installed_providers()[name].load()(config)
    return way, provider


@cache
def cases_of(name: str) -> tuple[Case, ...]:
    """Submits and polls of tasks of every fate, one for each shape of answer."""
    return tuple(asyncio.run(record(name)))


async def record(name: str) -> list[Case]:
    way, provider = way_and_provider(name)
    first = models_of(name)[0]  # where there are tokens, one is fetched with it
    await provider.submit(SubmitRequest(first.api_model, "x", first.completed({}), wires=first.wires))
    found: dict[object, Case] = {}

    async def ask(question: Ask) -> SubmitOutcome | PollResult:
        way.answers = []
        came_to = await question(provider)
        shapes = tuple((answer.status, str(sorted(map(str, fields_in(answer))))) for answer in way.answers)
        found.setdefault((type(came_to), shapes), Case(name, question, tuple(way.answers), came_to))
        return came_to

    for model in models_of(name):
        ids: list[str] = []
        for number in range(TASKS):
            request = SubmitRequest(
                *(model.api_model, f"prompt {number}", model.completed({})),
                wires=model.wires,
                submit_key=f"k-{number}",
            )
            taken = await ask(lambda provider, request=request: provider.submit(request))  # type: ignore[misc]
            assert isinstance(taken, Accepted), taken
            ids.append(taken.remote_task_id)
        for seconds in POLLED_AFTER:
            way.now += seconds
            for each in ids:
                await ask(lambda provider, each=each: provider.poll_remote_task(each))  # type: ignore[misc]
    return list(found.values())


def models_of(name: str) -> Sequence[Any]:
    """Two models, of both wires where a provider has two."""
    found = [each for each in DEFAULT_CATALOGUE if each.provider == name]
    return [found[0], found[-1]]


def fields_in(answer: Response) -> list[tuple[Any, ...]]:
    try:
        return list(paths(msgspec.json.decode(answer.body)))
    except msgspec.DecodeError:
        return []


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, member in members:
        yield (*before, step)
        yield from paths(member, (*before, step))


def family_of(name: str) -> str:
    return next(start for start in DECIDING if name.startswith(start))


def side_fields(case: Case) -> list[tuple[int, tuple[Any, ...]]]:
    """Which answer, and where in it: fields that decide nothing, those it has and one more in each object."""
    deciding = DECIDING[family_of(case.provider)]
    found: list[tuple[int, tuple[Any, ...]]] = []
    for number, answer in enumerate(case.answers):
        if not answer.body.startswith(b"{"):
            continue
        body = msgspec.json.decode(answer.body)
        named = [path for path in paths(body) if isinstance(path[-1], str)]
        found += [(number, path) for path in named if path[-1] not in deciding]
        found.append((number, ("an_odd_field",)))
    return found


def with_odd(answer: Response, places: Mapping[tuple[Any, ...], bytes]) -> Response:
    """The answer with these values at these places."""
    body = msgspec.json.decode(answer.body)
    for number, path in enumerate(places):
        held = body
        for step in path[:-1]:
            held = held[step] if isinstance(held, dict | list) else {}
        if isinstance(held, dict):
            held[path[-1]] = f"ODD-{number}-"
    text = json.dumps(body).encode()
    for number, value in enumerate(places.values()):
        text = text.replace(f'"ODD-{number}-"'.encode(), value)
    return msgspec.structs.replace(answer, body=text)


def meant(came_to: SubmitOutcome | PollResult) -> object:
    """What must not change: the kind, the id, the URL, how it failed."""
    match came_to:
        case Accepted(remote_task_id=named):
            return Accepted, named
        case Succeeded(video_url=url):
            return Succeeded, url
        case Failed(failure_type=failure_type) | Rejected(failure_type=failure_type):
            return type(came_to), failure_type
        case _:
            return type(came_to)


def asked_again(case: Case, answers: Sequence[Response]) -> SubmitOutcome | PollResult:
    return asyncio.run(_asked(case, answers))


async def _asked(case: Case, answers: Sequence[Response]) -> SubmitOutcome | PollResult:
    way, provider = way_and_provider(case.provider)
    way.prepared = list(answers)
    return await case.ask(provider)


PROVIDERS: Final = sorted(BUILT_IN)


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_simulator_says_what_every_provider_has_to_read(name: str) -> None:
    kinds = {type(case.came_to) for case in cases_of(name)}
    assert {Accepted, Succeeded, Failed} <= kinds
    assert all(side_fields(case) for case in cases_of(name) if case.answers[-1].body.startswith(b"{"))
    for case in cases_of(name):
        assert meant(asked_again(case, case.answers)) == meant(case.came_to)


@pytest.mark.parametrize("name", PROVIDERS)
def test_one_odd_value_beside_the_deciding_fields_changes_no_verdict(name: str) -> None:
    cases = cases_of(name)  # made before: it runs a loop of its own

    async def run() -> None:
        for case in cases:
            for number, path in side_fields(case):
                for value in ODD:
                    answers = list(case.answers)
                    answers[number] = with_odd(answers[number], {path: value})
                    came_to = await _asked(case, answers)
                    assert meant(came_to) == meant(case.came_to), (case.provider, path, value[:20], came_to)
                    check_cost(came_to)

    asyncio.run(run())


@seed(16)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(PROVIDERS))
def test_odd_values_in_many_fields_at_once_change_no_verdict(data: st.DataObject, name: str) -> None:
    case = data.draw(st.sampled_from(cases_of(name)))
    places = (
        data.draw(st.dictionaries(st.sampled_from(side_fields(case)), st.sampled_from(ODD), min_size=1))
        if side_fields(case)
        else {}
    )
    answers = [
        with_odd(answer, {path: value for (which, path), value in places.items() if which == number})
        if answer.body.startswith(b"{")
        else answer
        for number, answer in enumerate(case.answers)
    ]
    came_to = asked_again(case, answers)
    assert meant(came_to) == meant(case.came_to), (answers, came_to)
    check_cost(came_to)


def check_cost(came_to: SubmitOutcome | PollResult) -> None:
    """A cost is a plain amount, or none."""
    if isinstance(came_to, Succeeded | Failed) and came_to.provider_cost is not None:
        assert 0 <= came_to.provider_cost < 1e9
        assert came_to.provider_cost_unit


HUGE: Final = b"1" + b"0" * 400


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_huge_cost_is_no_cost_and_the_success_is_taken(name: str) -> None:
    """Where a provider tells a cost, and there it is a number that no float can hold."""
    for case in cases_of(name):
        if not isinstance(case.came_to, Succeeded) or case.came_to.provider_cost is None:
            continue
        costs = {"usage", "billing", "cost", "final_unit_deduction"}
        for number, path in side_fields(case):
            if path[-1] in costs or len(path) < 2 or not costs & set(path):
                continue
            answers = list(case.answers)
            answers[number] = with_odd(answers[number], {path: HUGE})
            came_to = asked_again(case, answers)
            assert isinstance(came_to, Succeeded)
            assert came_to.provider_cost in (None, case.came_to.provider_cost)


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_odd_value_where_the_url_or_the_id_belongs_is_none(name: str) -> None:
    """What is read over an oddity never becomes an id, a URL or a verdict."""
    cases = cases_of(name)

    async def run() -> None:
        for case in cases:
            if not isinstance(case.came_to, Succeeded | Accepted):
                continue
            for number, answer in enumerate(case.answers):
                for path in fields_in(answer):
                    for value in (b"NaN", b'"\\ud800"'):
                        answers = list(case.answers)
                        answers[number] = with_odd(answer, {path: value})
                        came_to = await _asked(case, answers)
                        if isinstance(came_to, Succeeded | Accepted):
                            assert meant(came_to) == meant(case.came_to), (name, path, value, came_to)

    asyncio.run(run())


def test_a_callback_with_an_odd_value_names_its_task() -> None:
    grsai = way_and_provider("grsai")[1]
    assert task_of_callback(grsai, b'{"id": "t-1", "progress": NaN, "cost": 1e999}') == "t-1"
    assert task_of_callback(grsai, b'{"id": NaN}') is None
    assert task_of_callback(grsai, b'{"id": "t-1", "progress": ') is None


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (b'{"a": NaN, "b": 1}', b'{"a": [[]], "b": 1}'),
        (b'{"a": [Infinity, -1e999, 2.5]}', b'{"a": [[[]], [[]], 2.5]}'),
        (b'{"a": "\\ud83d", "b": "\\ud83d\\ude00"}', b'{"a": [[]], "b": "\\ud83d\\ude00"}'),
        (b'{"a": "\xff", "\xfe": 1}', b'{"a": [[]]}'),
        (b'{"a": 1}', None),
        (b'{"a": NaN', None),
        (b"NaN", b"[[]]"),
        (b'{"a":' * 100_000, None),
        (b"", None),
    ],
)
def test_odd_values_are_marked_and_the_rest_stays(body: bytes, plain: bytes | None) -> None:
    assert without_oddities(body) == plain


def test_a_poll_that_is_no_json_stays_no_answer() -> None:
    case = next(case for case in cases_of("grsai") if isinstance(case.came_to, Succeeded))
    for body in (b"", b"{", b'{"code": 0, "data": NaN', b"<html>NaN</html>"):
        came_to = asked_again(case, [msgspec.structs.replace(case.answers[0], body=body)])
        assert isinstance(came_to, NoAnswer)


# --- an answer that says two things ---------------------------------------------------------------------

SAYS_WHICH_AND_HOW: Final = frozenset(
    {"id", "task_id", "request_id", "name", "done", "status", "task_status", "state"}
)


def said_twice(answer: Response, path: tuple[Any, ...], other: object) -> Response:
    """The answer with this field twice: first as `other`, then as it was, which fast readers keep."""
    body = msgspec.json.decode(answer.body)
    held = body
    for step in path[:-1]:
        held = held[step]
    members = dict(held)
    held.clear()
    held |= {"SAID-BEFORE": other, **members}
    text = json.dumps(body).encode().replace(b'"SAID-BEFORE"', json.dumps(path[-1]).encode())
    return msgspec.structs.replace(answer, body=text)


def deciding_fields(answer: Response) -> list[tuple[tuple[Any, ...], Any]]:
    found = []
    for path in paths(msgspec.json.decode(answer.body)):
        value = msgspec.json.decode(answer.body)
        for step in path:
            value = value[step]
        if path[-1] in SAYS_WHICH_AND_HOW or (isinstance(path[-1], str) and isinstance(value, dict)):
            found.append((path, value))
    return found


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_answer_that_names_two_tasks_or_two_states_is_no_answer(name: str) -> None:
    checked: set[type] = set()
    for case in cases_of(name):
        last = case.answers[-1]
        if not isinstance(case.came_to, Accepted | Succeeded | Failed) or not 200 <= last.status < 300:
            continue
        for path, value in deciding_fields(last):
            other = {"id": "another", "status": "?"} if isinstance(value, dict) else "another"
            came_to = asked_again(case, [*case.answers[:-1], said_twice(last, path, other)])
            expected = Unknown if isinstance(case.came_to, Accepted) else NoAnswer
            assert isinstance(came_to, expected), (path, came_to)
            again = asked_again(case, [*case.answers[:-1], said_twice(last, path, value)])
            assert meant(again) == meant(case.came_to), "the same twice is one thing"
            checked.add(type(case.came_to))
    assert Accepted in checked


def test_a_line_and_a_callback_do_not_believe_the_last_of_two_values() -> None:
    _way, provider = way_and_provider("grsai")
    assert isinstance(provider, HttpProvider)
    case = next(each for each in cases_of("grsai") if isinstance(each.came_to, Succeeded))
    (answer,) = case.answers
    named = msgspec.json.decode(answer.body)["data"]["id"]
    assert isinstance(provider.poll_answer(named, answer), Succeeded)
    for path in (("data", "status"), ("data", "id"), ("code",)):
        assert isinstance(provider.poll_answer(named, said_twice(answer, path, "another")), NoAnswer), path
    assert task_of_callback(provider, b'{"id": "b", "id": "b"}') == "b"
    assert task_of_callback(provider, b'{"id": "a", "id": "b"}') is None


def test_only_what_decides_makes_a_contradiction() -> None:
    for body in (b'{"progress": 1, "progress": 2}', b'{"a": [{"id": 1}, {"id": 2}]}', b"{", b"[" * 10**5):
        assert contradiction_in(body) is None
    assert contradiction_in(b'{"data": {"id": 1}, "data": {"id": 2}}') is not None
    assert contradiction_in(b'{"\\u0069d": "a", "id": "b"}') is not None, "a name may be written with escapes"
    assert contradiction_in(b'{"id": "%s", "id": %s}' % (b"9" * 5000, b"9" * 5001)) is not None
