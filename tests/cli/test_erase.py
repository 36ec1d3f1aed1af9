"""`rushes erase`: what customers wrote and got is nowhere in the database; the books are as before."""

import sqlite3
from collections.abc import Callable

from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

SECRET = "zebra-of-mrs-miller"


def _in_database(shell: Shell, words: str) -> list[str]:
    """The columns in which these words stand."""
    connection = sqlite3.connect(shell.folder / "rushes-data" / "rushes.db")
    found = []
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for column in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]:
            where = f"CAST({column} AS text) LIKE '%' || ? || '%'"
            if connection.execute(f"SELECT 1 FROM {table} WHERE {where}", (words,)).fetchone():
                found.append(f"{table}.{column}")
    connection.close()
    return found


def test_prompts_inputs_metadata_and_videos_go_and_the_books_stay(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator())
    shell.write(
        "a.jsonl",
        f'{{"prompt": "a {SECRET}", "metadata": {{"who": "{SECRET}"}}}}\n{{"prompt": "a {SECRET} again"}}\n',
    )
    batch = shell.run("run", "a.jsonl", "--grant", "100", "--json").document["batch_id"]
    assert {"video_tasks.prompt", "video_tasks.metadata"} <= set(_in_database(shell, SECRET))
    assert shell.call("audit", "statement", batch, "--out", "before.json").code == 0
    videos = list((shell.folder / "rushes-data" / "archive").rglob("*.mp4"))
    assert len(videos) == 2

    erased = shell.call("erase", "--item", f"{batch}-0", "--json")
    assert (erased.code, erased.document) == (0, {"ok": True, "erased": 1, "open": 0}), erased.stderr
    assert len(list((shell.folder / "rushes-data" / "archive").rglob("*.mp4"))) == 1
    assert shell.call("erase", "--batch", batch).stdout == "1 task erased\n"
    assert shell.call("erase", "--account", "default").stdout == "0 tasks erased\n"

    assert _in_database(shell, SECRET) == []
    assert _in_database(shell, "http://127.0.0.1") in ([], ["video_tasks.host"])
    assert list((shell.folder / "rushes-data" / "archive").rglob("*.mp4")) == []
    items = shell.call("batch", "export", batch, "--json").document
    assert [item["prompt"][:14] for item in items] == ["erased:sha256:"] * 2
    assert shell.call("audit").code == 0
    assert shell.call("audit", "verify", "before.json", "--with-ledger").code == 0
    assert shell.available() == 80


def test_open_items_keep_theirs_and_an_erased_one_is_never_tried_again(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator())
    shell.grant(100)
    batch = shell.ask(lambda rushes: rushes.create_batch(["a fox", "a boat"]))["batch_id"]
    kept = shell.call("erase", "--batch", batch, "--json")
    assert (kept.code, kept.document) == (5, {"ok": False, "erased": 0, "open": 2})
    assert "video_tasks.prompt" in _in_database(shell, "a fox")
    assert shell.call("batch", "cancel", batch).code == 0
    connection = sqlite3.connect(shell.folder / "rushes-data" / "rushes.db")
    connection.execute("UPDATE batches SET cancelled_at_ms = NULL, status = 'failed'")  # else none is retried
    connection.commit()
    connection.close()
    assert shell.call("erase", "--item", f"{batch}-0").code == 0
    refused = shell.call("batch", "retry", batch, "--item", "0").one_line_error()
    assert "item 0 was erased; its prompt is gone" in refused
    assert shell.call("batch", "retry", batch, "--item", "1").code == 0


def test_what_to_erase_is_named_once_and_exists(shell: Shell) -> None:
    shell.grant(1)
    assert "name exactly one" in shell.call("erase").one_line_error()
    assert "name exactly one" in shell.call("erase", "--batch", "a", "--account", "b").one_line_error()
    assert 'there is no batch "bat_1"' in shell.call("erase", "--batch", "bat_1").one_line_error()
    assert 'there is no batch "bat_1"' in shell.call("erase", "--item", "bat_1-0").one_line_error()
    assert "must be an item's id" in shell.call("erase", "--item", "bat_1").one_line_error()
    assert 'no account "x"' in shell.call("erase", "--account", "x").one_line_error()
