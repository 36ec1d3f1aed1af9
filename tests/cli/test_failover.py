"""Aliases and held tasks on the command line."""

import json

import pytest

from tests.cli.process import Shell

PAUSED = json.dumps({"sora-2": {"disabled": True}})


def test_models_lists_aliases_with_their_models_and_price(shell: Shell) -> None:
    overrides = json.dumps(
        {"veo": {"alias_of": ["veo-flash", "veo3-fast"]}, "cheap": {"alias_of": ["sora-2", "veo"]}}
    )
    listed = shell.call("models", "--json", RUSHES_MODELS=overrides).document["aliases"]
    assert [alias["name"] for alias in listed[:3]] == ["fast-video", "cinematic", "cheap-draft"]
    assert listed[3:] == [
        {"name": "veo", "alias_of": ["veo-flash", "veo3-fast"], "credits": 15},
        {"name": "cheap", "alias_of": ["sora-2", "veo-flash", "veo3-fast"], "credits": 15},
    ]
    assert "sora-2 → veo-flash → veo3-fast" in shell.call("models", RUSHES_MODELS=overrides).stdout


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"a": {"alias_of": ["b"]}, "b": {"alias_of": ["a"]}}, "the alias leads back to itself: a → b → a"),
        ({"a": {"alias_of": ["sora-3"]}}, 'unknown model "sora-3"; did you mean "sora-2"?'),
        ({"a": {"alias_of": []}}, "must be a list of at least one model"),
    ],
)
def test_an_alias_that_cannot_work_ends_every_command_at_once(
    shell: Shell, overrides: dict[str, object], reason: str
) -> None:
    shell.write("a.txt", "a boat")
    for command in (("models",), ("run", "a.txt", "--grant", "10")):
        ended = shell.call(*command, RUSHES_MODELS=json.dumps(overrides))
        assert ended.code == 1
        assert reason in ended.one_line_error()
    assert shell.files() == {"a.txt"}, "nothing was written"


def test_show_and_doctor_say_what_is_held_and_why(shell: Shell) -> None:
    shell.grant(100)
    items = [{"prompt": "p", "model": model} for model in ("sora-2", "sora-2", "fast-video")]
    batch = shell.ask(lambda rushes: rushes.create_batch(items))
    shown = shell.call("batch", "show", batch["batch_id"], "--items", RUSHES_MODELS=PAUSED)
    assert "held: 2 of the pending: sora-2 is disabled by the operator" in shown.stdout
    assert "fast-video → veo-flash" in shown.stdout
    shown = shell.call("batch", "show", batch["batch_id"], "--items", "--json", RUSHES_MODELS=PAUSED)
    assert [item["held_reason"] for item in shown.document["items"]] == [
        "sora-2 is disabled by the operator",
        "sora-2 is disabled by the operator",
        None,
    ]
    report = shell.call("doctor", "--json", RUSHES_MODELS=PAUSED).document
    assert "2 tasks of sora-2 held: sora-2 is disabled by the operator" in report["warnings"]
    assert report["ok"], "nothing is broken"
    assert "of the pending" not in shell.call("batch", "show", batch["batch_id"]).stdout


def test_a_worker_ends_what_has_waited_too_long(shell: Shell) -> None:
    shell.grant(100)
    shell.write("a.txt", "a boat")
    shell.ask(lambda rushes: rushes.create_batch(["a boat"], request_id="r"))
    running = shell.start("worker", "--until-idle", RUSHES_MODELS=PAUSED, RUSHES_WAIT_SECONDS_MAX="1")
    ended = running.end()
    assert ended.code == 0, ended
    (batch,) = shell.ask(lambda rushes: rushes.list_batches())
    assert (batch["status"], batch["credits_refunded"]) == ("failed", 10)
    shell.assert_books_are_right()
