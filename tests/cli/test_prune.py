"""`rushes prune` on a real batch: rows go, the books stay proven, statements of before still verify."""

from collections.abc import Callable

from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell


def test_finished_batches_are_folded_and_the_audit_still_proves_them(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator())
    shell.write("a.txt", "a boat\na bird\na fox\n")
    first = shell.run("run", "a.txt", "--grant", "100", "--json", RUSHES_ARCHIVE_URL="none").document[
        "batch_id"
    ]
    assert shell.run("run", "a.txt", "--again", "--json", RUSHES_ARCHIVE_URL="none").code == 0
    assert shell.call("audit", "statement", first, "--out", "first.json").code == 0

    would = shell.call("prune", "--older-than", "0s", "--dry-run", "--json").document
    assert (would["batches"], would["tasks"]) == (1, 3), "the newest stays"
    assert shell.call("batch", "show", first).code == 0

    gone = shell.call("prune", "--older-than", "0s", "--vacuum", "--json")
    assert gone.code == 0, gone.stderr
    expected = {"ok": True, "dry_run": False, "batches": 1, "tasks": 3, "kept_for_videos": 0}
    assert gone.document == {**expected, "ledger_entries": 5}, "1 purchase, 1 reserve, 3 settled or refunded"
    audited = shell.call("audit", "--json")
    assert (audited.code, audited.document["folded_batches"]) == (0, 1)
    assert "folded: 1 batch" in shell.call("audit").stdout
    verified = shell.call("audit", "verify", "first.json", "--with-ledger", "--json")
    assert verified.document["ok"], verified.document
    assert "no batch" in shell.call("batch", "show", first).one_line_error()
    assert shell.available() == 40
    again = shell.call("prune", "--older-than", "0s")
    assert again.stdout == "0 batches with 0 tasks folded, 0 ledger entries too\n"


def test_an_age_is_needed_and_the_installations_own_key(shell: Shell) -> None:
    shell.grant(10)
    assert "RUSHES_KEEP_DAYS" in shell.call("prune").one_line_error()
    assert shell.call("prune", RUSHES_KEEP_DAYS="30").code == 0
    assert 'no account "nobody"' in shell.call("prune", "--older-than", "1d", "--account", "nobody").stderr
    assert shell.call("prune", "--older-than", "0s").stdout.endswith("1 ledger entry too\n")
    assert shell.call("audit").code == 0
    old = shell.call("audit", "key").stdout.strip()
    (shell.folder / "rushes-data" / "signing-key.pem").unlink()
    shell.call("audit", "key")
    refused = shell.call("audit")
    assert refused.code == 1
    assert f"FOLD_WRONG (account default): fold 1: it is signed with the key {old}" in refused.stdout
    assert shell.call("audit", "--key", old).code == 0
