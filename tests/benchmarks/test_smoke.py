"""The benchmarks run, at sizes that say nothing about speed, so that they cannot rot unseen."""

import json
from pathlib import Path

import pytest

from benchmarks import (
    _peers,
    api,
    callbacks,
    claims,
    commands,
    downloads,
    lateness,
    machines,
    memory,
    poll,
    report,
    rows,
    settle,
    simulation,
    transfers,
)


@pytest.fixture(autouse=True)
def report_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report of the machine's last real run is left alone."""
    path = tmp_path / "bench.json"
    polled = (api, callbacks, claims, poll, settle, lateness, memory, machines, rows, transfers)
    for module in (*polled, commands, downloads, simulation):
        monkeypatch.setattr(
            module, "write_section", lambda name, data: report.write_section(name, data, path=path)
        )
    return path


def test_poll(report_path: Path) -> None:
    found = poll.run(
        tasks=60,
        rounds=1,
        bare_seconds=0.1,
        only_peers=(_peers.SEQUENTIAL,),
        peer_tasks=5,
        running_paths=("http, sqlite",),
    )
    assert found["engine_polls_per_s"] > 0
    assert 0 < found["ratio_to_bare_client"] < 10
    assert found["peers"][_peers.SEQUENTIAL] > 0
    for section in ("unsettled", "learned"):
        assert 0 < found[section]["ratio_to_bare_client"] < 10
        assert found[section]["engine_cpu_us_per_poll"] > 0
        assert set(found[section]["paths"]) == {"http, sqlite"}
    assert json.loads(report_path.read_text())["poll"]["ratio_to_best_peer"] > 0


def test_peers_that_are_not_installed_are_skipped_by_name() -> None:
    missing = [
        name for name, (_, packages) in _peers.PEERS.items() if not all(map(_peers.is_installed, packages))
    ]
    for name, found in _peers.run_all("postgresql://unused", tasks=1, only=tuple(missing)).items():
        assert "not installed" in found["skipped"], name


def test_settle() -> None:
    found = settle.run(tasks=200, rounds=1, accept=50)
    for dialect in settle.DIALECTS:
        assert found[dialect]["settled_per_s"] > 0
        assert found[dialect]["ratio_to_raw"] > 0


def test_lateness() -> None:
    found = lateness.run(tasks=40, interval=0.4, seconds=0.6)
    for dialect in ("sqlite", "postgresql"):
        assert found[dialect]["early_polls"] == 0
        assert found[dialect]["polls_per_s"] > 10


def test_memory() -> None:
    found = memory.run(tasks=60, few=20, seconds=0.1, dialects=("sqlite",))
    assert found["sqlite"]["many"]["adopt_seconds"] > 0


def test_machines() -> None:
    found = machines.run(
        counts=(2,),
        tasks=200,
        finished_rows=1000,
        in_flight_rows=700,
        lease_seconds=0.5,
        settled_tasks=400,
    )
    assert found["settled"]["2"]["settled_per_s"] > 0
    assert found["throughput"]["2"]["polls_per_s"] > 0
    assert found["rows"]["rows"] == 1700


def test_api() -> None:
    found = api.run(items=20, rounds=1, seconds=0.2, listeners=5, dialects=("sqlite",))
    assert found["sqlite"]["gets_per_s"] > 0
    assert found["sqlite"]["listeners_complete"] == 5


def test_transfers() -> None:
    found = transfers.run(
        items=20, batches=2, video_bytes=2_500_000, fetches=2, rounds=1, dialects=("sqlite",)
    )
    assert found["sqlite"]["retry_seconds"] > 0
    for form in ("jsonl", "csv"):
        assert found["sqlite"][f"{form}_per_s"] > 0
    assert found["sqlite"]["downloads_to_plain"] > 0


def test_claims() -> None:
    found = claims.run(held=240, accounts=8, runs=3)  # three claims of 64 take 195 of them
    for dialect in claims.DIALECTS:
        assert found[dialect]["empty_with_held_batches_ms"] > 0


def test_rows() -> None:
    found = rows.run(few=1_000, many=2_000, dialects=("sqlite",), settled=2, reads=1)
    for name in ("claim 64 tasks", "GET its items", "GET page search"):
        assert found["sqlite"][name]["ratio"] > 0


def test_callbacks() -> None:
    found = callbacks.run(tasks=4, pace=0.02)
    for name in ("one process", "API and worker apart"):
        assert found[name]["callbacks"] == 4
        assert 0 < found[name]["settled_p95_ms"] <= found[name]["stored_p95_ms"]


def test_commands() -> None:
    found = commands.run(rounds=1)
    assert 0 < found["rushes --version"]["cpu_seconds"] < found["rushes tick"]["cpu_seconds"]


def test_downloads() -> None:
    found = downloads.run(sizes=((12, 60_000),), rounds=1)
    assert found["12_of_60000"]["to_curl"] > 0


def test_simulation() -> None:
    found = simulation.run(seeds=2, tasks=20)
    assert found["seconds"] > 0
    assert "engine" in found["shares"]
