"""Where the measured numbers go: one JSON file, one section for each benchmark."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPORT_PATH = Path(__file__).resolve().parent.parent / "build" / "bench.json"


def write_section(name: str, data: Mapping[str, Any], *, path: Path = REPORT_PATH) -> None:
    """Put a benchmark's results into the report, leaving the other benchmarks' results as they are.

    `data` is what JSON can hold. A report that cannot be read is started anew.
    """
    try:
        report = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        report = {}
    if not isinstance(report, dict):
        report = {}
    report[name] = dict(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", "utf-8")
    new.replace(path)
