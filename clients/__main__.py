"""`python -m clients`: every client against the simulator; exit code 1 when a field or an end differs."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clients.cases import CASES, NOT_COMPARED, PROMPT, Case
from clients.environments import CannotBeInstalled, python_of, run_script
from clients.recorder import Recorder, recording
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import Accepted, Processing, Succeeded
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.http.client import HttpTransport
from rushes.providers.registry import installed_providers
from rushes.run.inputs.source import urls_of
from rushes.simulator import SimulatorKnobs, running_simulator

KEY = "a-key"
KNOBS = SimulatorKnobs(render_seconds=0.3)


def main() -> int:
    """Run every case, say how each went, and close with the counts."""
    passed = failed = 0
    skipped = dict(NOT_COMPARED)
    pythons: dict[str, Path] = {}
    for name in dict.fromkeys(case.client for case in CASES):
        try:
            pythons[name] = python_of(name)
        except CannotBeInstalled as error:
            skipped[name] = f"cannot be installed here: {error}"
    with running_simulator(KNOBS) as simulator, recording(simulator.base_url) as recorder:
        for case in CASES:
            if case.client not in pythons:
                continue
            count, problems = _compared(case, pythons[case.client], recorder)
            passed, failed = passed + (not problems), failed + bool(problems)
            print(f"{'FAILED' if problems else 'passed'} {case.client}: {case.model}, {count} fields alike")
            for problem in problems:
                print(f"  {problem}")
    for name, why in skipped.items():
        print(f"skipped {name}: {why}")
    print(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
    return 1 if failed else 0


def _compared(case: Case, python: Path, recorder: Recorder) -> tuple[int, list[str]]:
    """How many fields both sent alike, and what differs."""
    theirs_ended, theirs = _theirs(case, python, recorder)
    ours_ended, ours = asyncio.run(_ours(case, recorder))
    problems = [problem for problem in (theirs_ended, ours_ended) if problem]
    our_fields, their_fields = dict(_fields(ours[1])), dict(_fields(theirs[1]))
    alike = 0
    for name in sorted({*our_fields, *their_fields}):
        mine, other = our_fields.get(name, "nothing"), their_fields.get(name, "nothing")
        if mine == other:
            alike += 1
        elif name not in case.left_out:
            problems.append(f"{name}: rushes sends {mine!r}, the client {other!r}")
    if ours[0] != theirs[0]:
        problems.append(f"rushes posts to {ours[0]}, the client to {theirs[0]}")
    return alike, problems


def _theirs(case: Case, python: Path, recorder: Recorder) -> tuple[str, tuple[str, Any]]:
    base = case.base if case.client_base is None else case.client_base
    asked = {
        "base_url": recorder.url + base,
        "key": KEY,
        "model": case.client_model,
        "prompt": PROMPT,
        "parameters": dict(case.parameters),
        "files": case.files,
    }
    try:
        ended = json.loads(run_script(python, case.script, json.dumps(asked)))
    except subprocess.SubprocessError as error:
        return f"the client failed: {error}", recorder.take() if recorder.submits else ("", {})
    is_done = str(ended["status"]).lower() in ("succeeded", "completed")
    return "" if is_done else f"the client's task ended as {ended}", recorder.take()


async def _ours(case: Case, recorder: Recorder) -> tuple[str, tuple[str, Any]]:
    model = DEFAULT_CATALOGUE.get(case.model)
    options = model.completed(model.normalise_options(case.options))
    transport = HttpTransport()
    provider = installed_providers()[model.provider].load()(
        ProviderConfig(recorder.url + case.base, KEY, transport)
    )
    plain, inputs = model.without_media(options), urls_of(model, options)
    request = SubmitRequest(model.api_model, PROMPT, plain, wires=model.wires, inputs=inputs)
    try:
        outcome = await provider.submit(request)
        if not isinstance(outcome, Accepted):
            return f"rushes got {outcome}", recorder.take()
        while isinstance(result := await provider.poll_remote_task(outcome.remote_task_id), Processing):
            await asyncio.sleep(0.05)
        return "" if isinstance(result, Succeeded) else f"rushes' task ended as {result}", recorder.take()
    finally:
        await transport.close()


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON value by their paths; null is no field."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _fields(inner, f"{path}[{index}]")
    elif value is not None:
        yield path, value


if __name__ == "__main__":
    sys.exit(main())
