"""`rushes sim`: a simulated video service on this machine."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.exits import ExitCode
from rushes.cli.options import Json, Whole
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.simulator import SimulatorReport

PRESET_HELP = (
    "calm: nothing fails; realistic: some moderation and errors; stormy: faults everywhere;"
    " gateway: dialects of OpenAI's API; desync: answers to the wrong questions."
)

SIMULATOR_KEY = "simulator"
"""Any key will do while the knob `api_key` is not set."""


def sim(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        Whole, Parameter(validator=Number(gte=0, lte=65535), help="0 takes any free one.")
    ] = 8787,
    seed: Annotated[Whole | None, Parameter(help="Same seed, same fates and faults.")] = None,
    preset: Annotated[
        Literal["calm", "realistic", "stormy", "gateway", "desync"],
        Parameter(help=PRESET_HELP),
    ] = "calm",
    set: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Knobs as name=value; see --knobs."),
    ] = None,
    knobs: Annotated[bool, Parameter(negative=(), help="List the knobs and exit.")] = False,
    compare: Annotated[
        Path | None, Parameter(help="Compare the samples of `rushes record` in this folder, and exit.")
    ] = None,
    json: Json = False,
) -> int:
    """Serve the wire protocols of all providers from a seed, until Ctrl-C or SIGTERM.

    Submits, polls, callbacks and result files over real HTTP, with the faults that the knobs ask for.
    """
    from rushes.cli.show import print_json, say
    from rushes.simulator import PRESETS, all_wires, parse_knobs, run_simulator

    if knobs:
        _print_knobs(as_json=json)
        return ExitCode.DONE
    if compare is not None:
        return _compare(compare, as_json=json)
    chosen = parse_knobs(set or [], PRESETS[preset])
    if seed is not None:
        chosen = parse_knobs([f"seed={seed}"], chosen)
    api_key = chosen.api_key or SIMULATOR_KEY
    exports: dict[str, str] = {}

    def ready(base_url: str) -> None:
        say(f"rushes: simulator at {base_url} (preset {preset}, seed {chosen.seed}); Ctrl-C ends it")
        for wire in all_wires():
            exports.update(wire.exports(base_url, api_key))
        for name, value in exports.items():
            say(f"export {name}={shlex.quote(value)}")
        if json:
            print_json({"base_url": base_url, "seed": chosen.seed, "preset": preset, "exports": exports})

    report = run_simulator(chosen, host=host, port=port, ready=ready)
    say(_closing_line(report))
    return ExitCode.DONE


def _compare(folder: Path, *, as_json: bool) -> int:
    """Name where recorded answers differ from the simulator's; 1 when they do."""
    from rushes.cli.show import print_json, print_table, say
    from rushes.testing.recorded import differences, read_samples

    recorded = read_samples(folder)
    found = [each for samples in recorded for each in differences(samples)]
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        print_table(
            ("provider", "question", "status", "in the recorded answer"),
            [(each.provider, each.question, str(each.status), each.what) for each in found],
        )
    else:
        exchanges = sum(len(samples.exchanges) for samples in recorded)
        say(f"rushes: {counted(exchanges, 'exchange')} as the simulator has them")
    return ExitCode.ERROR if found else ExitCode.DONE


def _closing_line(report: "SimulatorReport") -> str:
    failures = ", ".join(f"{count} {kind}" for kind, count in report.failures.items()) or "none"
    accepted, polls = counted(report.accepted, "task"), counted(report.polls, "poll")
    delivered = counted(report.deliveries, "video")
    return (
        f"rushes: simulator ended: {accepted} accepted, {polls}, {delivered} delivered, failures: {failures}"
    )


def _print_knobs(*, as_json: bool) -> None:
    from rushes.cli.show import print_json, print_table
    from rushes.simulator import describe_knobs

    described = describe_knobs()
    if as_json:
        print_json([{"name": name, "default": default, "text": text} for name, default, text in described])
    else:
        print_table(("knob", "default", "meaning"), described)
