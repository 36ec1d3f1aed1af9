"""The page of every metric that `GET /metrics` answers."""

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client.registry import CollectorRegistry

from reference.markdown import Undocumented, code, explained, table
from rushes import telemetry
from rushes.metrics import ServiceMetrics

INTRODUCTION = """---
hide: [toc]
---

# Metrics

`GET /metrics` of `rushes serve` answers in Prometheus' text format; `RUSHES_METRICS_TOKEN` protects it.
Counts of HTTP requests and listeners are the answering process's own. Everything else is about the whole
installation, read from the database: workers report there, so their numbers are up to a third of a lease
old. When the database does not answer within 5 seconds, `rushes_database_up` is 0 and the page has only
what the process knows itself: requests, listeners, and its own worker.

"""


class Family(NamedTuple):
    """One metric: `name` as Prometheus shows it, `kind` such as `counter`."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


async def families(metrics: ServiceMetrics) -> list[Family]:
    """What the service answers; a request is counted first, so that there is something to see."""
    metrics.on_request("GET", "/batches", 200, 0.01)
    await metrics.render()
    registry: CollectorRegistry = metrics._registry
    found = []
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        # a family that is made for one look knows its labels; a lasting one shows them in its samples
        labels = getattr(family, "_labelnames", None) or tuple(family.samples[0].labels)
        found.append(Family(name, family.type, family.documentation, tuple(x for x in labels if x != "le")))
    return found


def page(found: Sequence[Family]) -> str:
    """The page. Raises `Undocumented` for a name in `telemetry` that the service does not answer."""
    names = {name for key, name in vars(telemetry).items() if key.startswith("METRIC_")}
    answered = {family.name.removesuffix("_total") for family in found}
    if names != answered:
        raise Undocumented(
            f"metrics in telemetry.py that /metrics does not answer, or the reverse: {names ^ answered}"
        )
    rows = [
        (
            code(family.name),
            family.kind,
            ", ".join(code(label) for label in family.labels),
            explained(family.help, family.name, "give it a help text in metrics.py"),
        )
        for family in sorted(found)
    ]
    return INTRODUCTION + table(("Metric", "Kind", "Labels", "Meaning"), rows)
