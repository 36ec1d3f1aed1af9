"""`rushes batch …` and `rushes credits …` on one finished batch with failures."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes.read.views import OPERATOR_EXPORT_FIELDS
from rushes.simulator import SimulatorKnobs, SimulatorThread, running_simulator
from tests.cli.process import QUICK, Shell

BATCH_FIELDS = {
    *("ok", "batch_id", "request_id", "status", "total_count", "succeeded_count", "failed_count"),
    *("processing_count", "pending_count", "cost_per_video", "credits_reserved", "credits_settled"),
    *("credits_refunded", "created_at", "completed_at", "eta_seconds", "eta_reason"),
}
"""As HTTP_API has them for `GET /v1/batches/{id}`."""

PROMPTS = ['=SUM(A1:A9), "quoted"', "two\nlines", "一只橘猫\t[red]", "plain"]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    knobs = SimulatorKnobs(seed=3, render_seconds=0.1, output_moderation=0.5)
    with running_simulator(knobs) as running:
        yield running


@pytest.fixture(scope="module")
def shell(simulator: SimulatorThread, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with one finished batch of 12 items, some failed, and 1,000 credits left over from it."""
    shell = Shell(tmp_path_factory.mktemp("batches"), {**QUICK, "GRSAI_HOST": simulator.base_url})
    lines = [
        json.dumps({"prompt": PROMPTS[n % 4], "model": ("sora-2", "veo-flash")[n % 2], "custom_id": f"c{n}"})
        for n in range(12)
    ]
    shell.write("a.jsonl", "\n".join(lines))
    ended = shell.call("run", "a.jsonl", "--grant", "1000", "--json")
    assert ended.code == 5, ended.stderr
    return shell


@pytest.fixture(scope="module")
def batch_id(shell: Shell) -> str:
    batches = shell.ask(lambda rushes: rushes.list_batches())
    identifier: str = batches[-1]["batch_id"]
    return identifier


def test_show_and_list_have_the_field_names_of_the_http_api(shell: Shell, batch_id: str) -> None:
    shown = shell.call("batch", "show", batch_id, "--json").document
    assert shown.pop("is_cancelled") is False
    files, verdicts = shown.pop("files"), shown.pop("verdicts")
    likeness = shown.pop("likeness")
    assert (likeness["reused_count"], likeness["credits_saved"]) == (0, 0)
    assert verdicts == {}
    assert shown.pop("chains") == {"chains": 0, "items": 0, "waiting": 0}
    assert files["stored"] == shown["succeeded_count"]
    assert shown.pop("troubles") == []
    assert shown.pop("models_chosen") == {}, "it did not leave the choice open"
    earned = shown.pop("earned")
    assert earned["credits_settled"] == shown["credits_settled"]
    assert (earned["revenue"], earned["margin"]) == (None, None), "no credit value is set"
    assert set(shown) == BATCH_FIELDS | {"account", "name", "metadata"}
    assert shown["account"] == "default"
    assert shown["total_count"] == shown["succeeded_count"] + shown["failed_count"] == 12
    assert shown["credits_reserved"] == shown["credits_settled"] + shown["credits_refunded"] == 150
    listed = shell.call("batch", "list", "--json", "--limit", "1").document
    assert listed == {"ok": True, "data": [_without_ok(shown)], "has_more": False}
    people = shell.call("batch", "show", batch_id, "--status", "failed").stdout
    proof = f"reserved 150 = settled {shown['credits_settled']} + refunded {shown['credits_refunded']}"
    assert proof in people.splitlines()
    assert people.count("output_moderation") == shown["failed_count"] + 1  # each item, and their sum


def test_a_list_says_whose_batches_they_are_and_what_they_reserved_and_settled(tmp_path: Path) -> None:
    async def create(rushes: Any) -> Any:
        await rushes.create_batch(["one", "two"], account="acme", grant=100)
        return await rushes.create_batch(["one"], account="other", grant=100)

    shell = Shell(tmp_path, QUICK)
    shell.ask(create)
    table = [line.split() for line in shell.call("batch", "list").stdout.splitlines()]
    columns, *rows = [dict(zip(table[0], line, strict=True)) for line in table]
    assert columns["batch"] == "batch"
    assert [(row["account"], row["reserved"], row["settled"]) for row in rows] == [
        ("other", "10", "0"),
        ("acme", "20", "0"),
    ]
    (only,) = shell.call("batch", "list", "--account", "acme", "--json").document["data"]
    assert (only["account"], only["credits_reserved"], only["credits_settled"]) == ("acme", 20, 0)
    assert 'no account "nobody"' in shell.call("batch", "list", "--account", "nobody").one_line_error()


def test_an_export_has_exactly_the_promised_fields_with_exact_values(shell: Shell, batch_id: str) -> None:
    lines = shell.call("batch", "export", batch_id, "--format", "jsonl").stdout.splitlines()
    items = [json.loads(line) for line in lines]
    assert len(items) == 12
    assert all(tuple(item) == OPERATOR_EXPORT_FIELDS for item in items)
    assert [item["index"] for item in items] == list(range(12))
    assert [item["prompt"] for item in items] == PROMPTS * 3
    assert [item["custom_id"] for item in items] == [f"c{n}" for n in range(12)]
    for item in items:
        good = item["status"] == "succeeded"
        assert good == (item["video_url"] is not None) == (item["error"] is None)
        assert item["failure_type"] == (None if good else "output_moderation")
        assert (item["attempt"], item["credits"]) == (1, 10 if item["model"] == "sora-2" else 15)
        assert item["remote_task_id"]
    assert shell.call("batch", "export", batch_id, "--json").document == items

    text = shell.call("batch", "export", batch_id, "--format", "csv", "--raw").stdout
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == OPERATOR_EXPORT_FIELDS
    assert rows == [
        {name: "" if value is None else str(value) for name, value in item.items()} for item in items
    ]


def test_an_exported_file_is_written_whole_or_not_at_all(shell: Shell, batch_id: str) -> None:
    ended = shell.call("batch", "export", batch_id, "--out", "items.jsonl", "--json")
    assert ended.document == {
        "batch_id": batch_id,
        "format": "jsonl",
        "out": "items.jsonl",
        "items": 12,
    }
    assert len((shell.folder / "items.jsonl").read_text().splitlines()) == 12
    files = shell.files()
    for out, reason in (
        ("nowhere/items.jsonl", "No such file"),
        (".", "directory"),
        ("rushes-data", "directory"),
    ):
        refused = shell.call("batch", "export", batch_id, "--out", out)
        assert refused.code == 1
        assert reason in refused.one_line_error()
    assert shell.files() == files


def test_a_finished_batch_cannot_be_cancelled_and_unknown_ones_are_named(shell: Shell, batch_id: str) -> None:
    refused = shell.call("batch", "cancel", batch_id)
    assert refused.code == 1
    assert refused.one_line_error() == "rushes: the batch has already finished"
    for command in (["show"], ["watch"], ["cancel"], ["retry"], ["export"]):
        ended = shell.call("batch", *command, "bat_nothing")
        assert ended.code == 1
        assert 'there is no batch "bat_nothing"' in ended.one_line_error()


def test_watching_a_finished_batch_tells_its_end(shell: Shell, batch_id: str) -> None:
    ended = shell.call("batch", "watch", batch_id, "--json")
    assert ended.code == 5
    assert ended.document["status"] == "partial"
    assert ended.document["failures"] == {"output_moderation": ended.document["failed"]}


def test_a_retry_makes_new_tasks_for_failed_items_only(shell: Shell, simulator: SimulatorThread) -> None:
    shell.write("b.txt", "".join(f"prompt {n}\n" for n in range(8)))
    batch = shell.call("run", "b.txt", "--grant", "1000", "--json").document
    batch_id = batch["batch_id"]
    items = shell.ask(lambda rushes: rushes.items(batch_id))
    failed = [str(item["index"]) for item in items if item["status"] == "failed"]
    good = next(str(item["index"]) for item in items if item["status"] == "succeeded")
    assert len(failed) >= 2
    refused = shell.call("batch", "retry", batch_id, "--item", failed[0], good)
    assert refused.code == 1
    assert f"item {good} is succeeded; only a failed item can be retried" in refused.one_line_error()

    retried = shell.call(
        "batch", "retry", batch_id, "--item", failed[0], "--item", failed[1], "--json"
    ).document
    assert retried["retried_count"] == 2, "the refused pair had changed nothing"
    assert (retried["pending_count"], retried["credits_reserved"]) == (2, 100)
    tick = shell.call("tick", "--json").document
    assert tick["ok"] is True
    assert tick["dispatch"] == {"claimed": 2, "submitted": 2}
    assert shell.call("worker", "--until-idle").code == 0
    shown = shell.ask(lambda rushes: rushes.batch(batch_id))
    assert shown["credits_reserved"] == shown["credits_settled"] + shown["credits_refunded"] == 100
    shell.assert_books_are_right()


def test_a_cancelled_batch_gives_its_pending_credits_back(shell: Shell) -> None:
    async def create(rushes: Any) -> Any:
        return await rushes.create_batch(["one", "two"])

    batch = shell.ask(create)
    before = shell.available()
    answer = shell.call("batch", "cancel", batch["batch_id"], "--json").document
    assert answer == {
        "ok": True, "batch_id": batch["batch_id"], "status": "cancelled", "credits_refunded": 20
    }  # fmt: skip
    assert shell.available() == before + 20


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        (["one"], "; 1 task is at the provider, runs on, and may be charged\n"),
        (["one", "two"], "; 2 tasks are at the provider, run on, and may be charged\n"),
    ],
)
def test_a_cancel_says_what_runs_on_at_the_provider(tmp_path: Path, prompts: list[str], told: str) -> None:
    async def create(rushes: Any) -> Any:
        return await rushes.create_batch(prompts, grant=100)

    with running_simulator(SimulatorKnobs(render_seconds=60)) as slow:
        shell = Shell(tmp_path, {**QUICK, "GRSAI_HOST": slow.base_url})
        batch_id = shell.ask(create)["batch_id"]
        assert shell.call("tick").code == 0
        cancelled = shell.call("batch", "cancel", batch_id)
    assert cancelled.stdout == f"batch {batch_id} is cancelled, 0 credits refunded{told}"


def test_credits_are_granted_shown_and_kept_in_the_ledger(shell: Shell) -> None:
    granted = shell.call(
        *("credits", "grant", "50", "--account", "acme", "--bonus", "--expires", "30d"),
        *("--description", "spring offer", "--json"),
    ).document
    assert (granted["account"], granted["available"]) == ("acme", 50)
    (lot,) = granted["lots"]
    assert (lot["kind"], lot["remaining"]) == ("bonus", 50)
    assert lot["expires_at"] is not None
    assert shell.call("credits", "balance", "--account", "acme", "--json").document == granted
    ledger = shell.call("credits", "ledger", "--account", "acme", "--json").document
    assert ledger["total"] == 1
    (entry,) = ledger["entries"]
    assert (entry["type"], entry["delta"], entry["balance_after"]) == ("bonus", 50, 50)
    assert entry["description"] == "spring offer"
    people = shell.call("credits", "ledger", "--limit", "3").stdout.splitlines()
    assert len(people) == 4
    for wrong in (["--bonus"], ["--expires", "30d"], ["--bonus", "--expires", "2020-01-01"]):
        refused = shell.call("credits", "grant", "5", *wrong)
        assert refused.code == 1
        assert "expir" in refused.one_line_error()


def test_the_audit_is_clean_and_finds_a_row_edited_by_hand(
    shell: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clean = shell.call("audit", "--json")
    assert clean.code == 0, clean.stdout
    assert set(clean.document) == {
        *("ok", "accounts", "batches", "tasks", "unconfirmed_submits", "violations", "ledger_heads"),
        *("folded_batches", "folded_tasks"),
    }
    assert clean.document["violations"] == []
    copied = Shell(tmp_path_factory.mktemp("copied"), shell.environment)
    (copied.folder / "rushes-data").mkdir()
    with (
        sqlite3.connect(shell.folder / "rushes-data" / "rushes.db") as original,
        sqlite3.connect(copied.folder / "rushes-data" / "rushes.db") as copy,
    ):
        original.backup(copy)
        copy.execute("UPDATE accounts SET available = available + 1 WHERE name = 'default'")
    original.close()
    copy.close()
    (copied.folder / "earlier.json").write_text(clean.stdout)
    found = copied.call("audit", "--against", "earlier.json", "--json")
    assert found.code == 1
    assert found.document["ok"] is False
    assert found.document["violations"]
    people = copied.call("audit")
    assert people.code == 1
    assert people.stdout.startswith("audit NOT clean")


def test_a_statement_can_be_verified_by_others_and_a_changed_one_cannot(shell: Shell, batch_id: str) -> None:
    key = shell.call("audit", "key").stdout.strip()
    assert shell.call("audit", "statement", batch_id, "--out", "statement.json").code == 0
    verified = shell.call("audit", "verify", "statement.json", "--public-key", key, "--with-ledger", "--json")
    assert verified.code == 0, verified.stdout
    assert verified.document["ok"] is True
    assert (verified.document["batch_id"], verified.document["reserved"]) == (batch_id, 150)
    assert verified.document["note"] == (
        "the statement is sound, is signed with the expected key, and agrees with this installation's ledger"
    )
    unpinned = shell.call("audit", "verify", "statement.json", "--with-ledger").stdout
    assert "only self-consistency" not in unpinned
    assert "was not compared with the key that you expect, and agrees with this" in unpinned
    statement = shell.call("audit", "statement", batch_id, "--json").document
    assert statement["public_key"] == key
    statement["statement"]["totals"]["settled"] += 1
    changed = shell.call("audit", "verify", "-", stdin=json.dumps(statement).encode())
    assert changed.code == 1
    assert "problem: the signature does not fit the content" in changed.stdout
    another = shell.call("audit", "verify", "statement.json", "--public-key", "0" * 64)
    assert another.code == 1
    assert "not with the expected one" in another.stdout
    assert shell.call("audit", "statement", "bat_nothing").code == 1


def test_a_bill_is_compared_with_the_books(shell: Shell, batch_id: str) -> None:
    items = shell.ask(lambda rushes: rushes.items(batch_id))
    bill = ["remote_task_id,status", *(f"{item['remote_task_id']},{item['status']}" for item in items)]
    everything = ("--until", "2100-01-01", "--since", "2000-01-01")
    shell.write("bill.csv", "\n".join(bill))
    first = shell.call("audit", "reconcile", "bill.csv", "--json").document
    assert first["matched"] == sum(item["status"] == "succeeded" for item in items)
    assert first["billed_not_delivered"] == first["billed_unknown"] == first["billed_twice"] == []
    shell.write("bill.csv", "\n".join([*bill, "never-seen,succeeded"]))
    second = shell.call("audit", "reconcile", "bill.csv", *everything)
    assert second.code == 1
    assert "billed_unknown: remote_task_id never-seen" in second.stdout
    shell.write("bill.csv", "id,status\n1,succeeded\n")
    wrong = shell.call("audit", "reconcile", "bill.csv")
    assert wrong.code == 1
    assert "bill.csv:1: no column remote_task_id" in wrong.one_line_error()


def _without_ok(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "ok"}


def test_re_rolls_of_a_run_are_shown_try_by_try_and_in_the_stats(tmp_path: Path) -> None:
    with running_simulator(SimulatorKnobs(seed=3, render_seconds=0.1, output_moderation=1.0)) as refusing:
        shell = Shell(tmp_path, {**QUICK, "GRSAI_HOST": refusing.base_url})
        shell.write("a.txt", "a boat\n")
        options = ["--retries", "2", "--retry-on", "output_moderation", "--last-model", "veo-flash"]
        ended = shell.call("run", "a.txt", "--grant", "100", *options, "--stop-loss", "0.1:9", "--json")
        assert ended.code == 5, ended.stderr
        batch_id = ended.document["batch_id"]
        tried = shell.call("batch", "attempts", batch_id, "0", "--json").document["attempts"]
        assert [(one["try"], one["model"], one["status"], one["credits"]) for one in tried] == [
            (1, "sora-2", "failed", 10),
            (2, "sora-2", "failed", 10),
            (3, "veo-flash", "failed", 15),
        ]
        assert tried[2]["remote_task_id"] in shell.call("batch", "attempts", batch_id, "0").stdout
        told = shell.call("batch", "rerolls", batch_id, "--json").document
        assert (told["rerolls_count"], told["credits_used"], told["policy"]["max"]) == (2, 0, 2)
        assert "output_moderation" in shell.call("batch", "rerolls", batch_id).stdout
        stats = shell.call("models", "stats", "--json").document
        assert [(one["model"], one["tries"], one["passed"]) for one in stats["models"]] == [
            ("sora-2", 2, 0),
            ("veo-flash", 1, 0),
        ]
        assert stats["prompts"] == [{"prompt": "a boat", "tries": 3, "passed": 0, "pass_rate": 0.0}]
        assert "a boat" in shell.call("models", "stats").stdout
        assert shell.call("audit").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--retry-on", "timeout", "a.txt"],
        ["--retry-on", "timeout", "model_error", "a.txt"],
        ["--retry-on", "timeout", "--retry-on", "model_error", "a.txt"],
        ["a.txt", "--retry-on", "timeout", "model_error"],
        ["--retry-on", "timeout", "--", "a.txt"],
    ],
)
def test_the_failures_to_retry_take_no_file_for_one(tmp_path: Path, arguments: list[str]) -> None:
    shell = Shell(tmp_path, {**QUICK, "GRSAI_HOST": "http://127.0.0.1:1"})
    shell.write("a.txt", "a boat\n")
    ended = shell.call("run", "--retries", "1", "--grant", "5", *arguments)
    assert "10 credits are required" in ended.one_line_error(), "all was understood"


def test_the_items_to_retry_take_no_batch_for_one(shell: Shell, simulator: SimulatorThread) -> None:
    shell.grant(1)
    # no id starts like this one: those of other tests' batches are hexadecimal
    for arguments in (["--item", "0", "1", "bat_x"], ["--item", "0", "--item", "1", "bat_x"]):
        refused = shell.call("batch", "retry", *arguments)
        assert "bat_x" in refused.one_line_error()
        assert refused.code == 1, "no error of usage"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--retries", "6"], "retries.max"),
        (["--retry-on", "timeout"], "retries.reasons"),
        (["--retries", "1", "--retry-on", "cancelled"], "retries.reasons[0]"),
        (["--retries", "1", "--stop-loss", "half"], "0.3:50"),
        (["--retries", "1", "--last-model", "sora-3"], "sora-2"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_and_no_database_is_made(
    tmp_path: Path, options: list[str], said: str
) -> None:
    shell = Shell(tmp_path, {**QUICK, "GRSAI_HOST": "http://127.0.0.1:1"})
    shell.write("a.txt", "a boat\n")
    refused = shell.call("run", "a.txt", "--grant", "100", *options)
    assert refused.code != 0
    assert said in refused.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt"}
