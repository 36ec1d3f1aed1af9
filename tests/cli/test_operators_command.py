"""`rushes operators`: made, listed, revoked, each act in the log."""

from collections.abc import Callable

from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell


def test_operators_are_made_listed_and_revoked_and_the_log_says_so(shell: Shell) -> None:
    made = shell.call("operators", "create", "ann", "--role", "owner", "--json").document
    assert (made["name"], made["role"], len(made["secret"])) == ("ann", "owner", 43)
    said = shell.call("operators", "create", "ann")
    assert said.code != 0
    assert 'there is an operator "ann" already' in said.one_line_error()
    bob = shell.call("operators", "create", "bob")
    assert len(bob.stdout.strip()) == 43
    assert "bob is operator" in bob.stderr
    found = shell.call("operators", "list", "--json").document["operators"]
    assert [(one["name"], one["role"], one["revoked_at"]) for one in found] == [
        ("ann", "owner", None),
        ("bob", "operator", None),
    ]
    assert shell.call("operators", "revoke", "bob").stdout == "operator bob is revoked\n"
    assert "no operator" in shell.call("operators", "revoke", "bob").one_line_error()
    log = shell.call("operators", "log", "--json").document["actions"]
    assert [(row["action"], row["subject"]) for row in log] == [
        ("operator.revoke", "operator bob"),
        ("operator.create", "operator bob"),
        ("operator.create", "operator ann"),
    ]
    assert made["secret"] not in str(log)


def test_every_act_of_the_command_line_is_in_the_log(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator(output_moderation=1.0))
    assert shell.call("credits", "grant", "100").code == 0
    (shell.folder / "prompts.txt").write_text("a\nb\n")
    assert shell.run("run", "prompts.txt", "--model", "sora-2").code == 5
    (batch,) = shell.call("batch", "list", "--json").document["data"]
    batch_id = batch["batch_id"]
    assert shell.call("batch", "retry", batch_id).code == 0
    assert shell.call("batch", "cancel", batch_id).code == 0
    assert shell.call("caps", "set", "all", "--credits", "50").code == 0
    assert shell.call("caps", "remove", "all").code == 0
    key_id = shell.call("keys", "create", "--json").document["key_id"]
    assert shell.call("keys", "revoke", str(key_id)).code == 0
    assert shell.call("erase", "--batch", batch_id).code == 0
    log = shell.call("operators", "log", "--json").document["actions"]
    acts = [(row["action"], row["subject"]) for row in reversed(log)]
    assert acts == [
        ("credits.grant", "account default"),
        ("batch.retry", f"batch {batch_id}"),
        ("batch.cancel", f"batch {batch_id}"),
        ("caps.set", "all"),
        ("caps.remove", "all"),
        ("key.create", f"key {key_id}"),
        ("key.revoke", f"key {key_id}"),
        ("erase", f"batch {batch_id}"),
    ]
    assert {row["operator"].split(":")[0] for row in log} == {"cli"}
    assert log[-2]["after"] == {"first": [0, 1], "items": 2}


def test_a_grant_that_comes_with_a_run_is_in_the_log_once(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator())
    (shell.folder / "prompts.txt").write_text("a\n")
    first = shell.call("run", "prompts.txt", "--grant", "70")
    assert first.code == 0, first.stderr
    assert "nothing was granted" not in first.stderr
    again = shell.call("run", "prompts.txt", "--grant", "70")
    assert "nothing was granted: --grant is for a new batch; `rushes credits grant` grants at once" in (
        again.stderr
    )
    log = shell.call("operators", "log", "--json").document["actions"]
    assert [(row["action"], row["subject"], row["after"]["amount"]) for row in log] == [
        ("credits.grant", "account default", 70)
    ]


def test_a_provider_is_paused_and_resumed_for_all_workers_with_a_reason(shell: Shell) -> None:
    assert shell.call("credits", "grant", "5").code == 0
    assert "no provider" in shell.call("providers", "pause", "grsia", "--reason", "x").one_line_error()
    assert shell.call("providers", "pause", "grsai").code == 2, "a reason is asked for"
    said = shell.call("providers", "pause", "grsai", "--reason", "every render is black")
    assert said.stdout == "grsai is paused\n"
    assert "already" in shell.call("providers", "pause", "grsai", "--reason", "again").stdout
    found = {one["provider"]: one for one in shell.call("providers", "list", "--json").document["providers"]}
    assert (found["grsai"]["paused"], found["grsai"]["reason"]) == (True, "every render is black")
    assert found["grsai"]["by"].startswith("cli:")
    assert not found["fal"]["paused"]
    assert shell.call("providers", "resume", "grsai").stdout == "grsai is resumed\n"
    assert shell.call("providers", "resume", "grsai").stdout == "grsai was not paused\n"
    log = shell.call("operators", "log", "--json").document["actions"]
    assert [(row["action"], row["subject"]) for row in log[:2]] == [
        ("provider.resume", "grsai"),
        ("provider.pause", "grsai"),
    ]
