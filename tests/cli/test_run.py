"""`rushes run` and `rushes demo`, from prompts to settled videos, as real processes over real HTTP."""

import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from rushes.simulator import SimulatorKnobs, SimulatorThread, running_simulator
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

ShellAt = Callable[[SimulatorThread], Shell]

SUMMARY_FIELDS = {
    *("batch_id", "status", "total", "succeeded", "failed", "credits", "failures", "files", "verdicts"),
    "duration_seconds",
}


def test_a_file_of_prompts_becomes_settled_videos(new_simulator: NewSimulator, shell_at: ShellAt) -> None:
    simulator = new_simulator()
    shell = shell_at(simulator)
    prompts = '\ufeffa paper boat\r\n\r\n  一只橘猫在看雨  \r\na paper boat\n[bold]a "quoted", prompt\n'
    shell.write("prompts.txt", prompts)
    ended = shell.run("run", "prompts.txt", "--grant", "40", "--json")
    assert ended.code == 0, ended.stderr
    summary = ended.document
    assert set(summary) == SUMMARY_FIELDS
    assert (summary["status"], summary["total"], summary["succeeded"], summary["failed"]) == (
        "succeeded",
        4,
        4,
        0,
    )
    assert summary["credits"] == {"reserved": 40, "settled": 40, "refunded": 0}
    assert summary["failures"] == {}
    assert summary["files"] == {"due": 0, "stored": 4, "expired": 0, "refused": 0, "removed": 0}
    assert "files: 4 stored" in ended.stderr
    assert len(list((shell.folder / "rushes-data" / "archive").rglob("*.mp4"))) == 4
    assert summary["duration_seconds"] > 0
    items = shell.ask(lambda rushes: rushes.items(summary["batch_id"]))
    assert [item["prompt"] for item in items] == [
        *("a paper boat", "一只橘猫在看雨", "a paper boat", '[bold]a "quoted", prompt'),
    ]
    report = simulator.report()
    assert (report.accepted, report.deliveries, report.failures_total) == (4, 4, 0)
    shell.assert_books_are_right()


def test_failed_tasks_are_counted_refunded_and_told_by_exit_code_5(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator(output_moderation=0.3, input_moderation=0.2)
    shell = shell_at(simulator)
    prompts = "".join(f"prompt {n}\n" for n in range(30))
    ended = shell.run("run", "-", "--grant", "300", "--aspect-ratio", "9:16", stdin=prompts.encode())
    report = simulator.report()
    assert 0 < report.failures_total < 30
    assert ended.code == 5, ended.stderr
    settled, refunded = 10 * report.deliveries, 10 * report.failures_total
    assert ended.stdout.splitlines()[-1] == f"reserved 300 = settled {settled} + refunded {refunded}"
    assert f"{report.failures['output_moderation']} output_moderation" in ended.stdout
    assert f"{report.failures['input_moderation']} input_moderation" in ended.stdout
    assert "30/30 done" in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr, "no colour and no cursor movement in a pipe"
    shell.assert_books_are_right()


def test_run_waits_for_files_and_says_which_are_lost(new_simulator: NewSimulator, shell_at: ShellAt) -> None:
    simulator = new_simulator(file_server_error=0.4, file_server_error_seconds=2, file_redirect=0.3)
    shell = shell_at(simulator)
    shell.write("a.txt", "".join(f"prompt {n}\n" for n in range(20)))
    ended = shell.run("run", "a.txt", "--grant", "200", "--json")
    summary, faults = ended.document, simulator.report().faults
    assert min(faults["file_server_error"], faults["file_redirect"]) > 0
    assert ended.code == 5, ended.stderr
    assert (summary["succeeded"], summary["files"]["due"]) == (20, 0)
    assert summary["files"]["refused"] == faults["file_redirect"]
    assert summary["files"]["stored"] == 20 - faults["file_redirect"]
    assert "archive: the file's host answered HTTP 500" in ended.stderr
    assert summary["credits"]["settled"] == 200, "a lost file changes no credits"


def test_a_stopped_run_says_how_many_files_are_left(new_simulator: NewSimulator, shell_at: ShellAt) -> None:
    shell = shell_at(new_simulator(file_server_error=1.0, file_server_error_seconds=600))
    shell.write("a.txt", "a boat\na bird\n")
    running = shell.start("run", "a.txt", "--grant", "20")
    running.wait_until(lambda said: "2 due" in said and "archive: " in said, "files that are due")
    running.signal(signal.SIGINT)
    stopped = running.end()
    assert stopped.code == 130
    assert "2 files are still to be stored" in stopped.stderr


def test_an_archive_that_cannot_be_used_is_said_before_anything_is_bought(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator()
    shell = shell_at(simulator)
    shell.write("a.txt", "a boat\n")
    shell.write("taken", "a file")
    command = ["run", "a.txt", "--grant", "10"]
    ended = shell.call(*command, RUSHES_ARCHIVE_URL="taken")
    assert ended.code == 1
    assert "the archive cannot be used" in ended.one_line_error()
    assert "RUSHES_ARCHIVE_URL" in ended.one_line_error()
    assert shell.ask(lambda rushes: rushes.list_batches()) == []
    doctor = shell.call("doctor", RUSHES_ARCHIVE_URL="taken")
    assert doctor.code == 1
    assert "broken: the archive cannot be used" in doctor.stdout
    assert simulator.report(tasks=False).submits == 0


def test_the_same_request_id_is_the_same_batch_and_grants_once(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator()
    shell = shell_at(simulator)
    shell.write("a.txt", "a boat\na bird\n")
    command = ["run", "a.txt", "--request-id", "order-7", "--grant", "25", "--json"]
    first, second = shell.call(*command), shell.call(*command)
    assert (first.code, second.code) == (0, 0), second.stderr
    assert first.document["batch_id"] == second.document["batch_id"]
    assert shell.available() == 5
    assert simulator.report().accepted == 2
    retired = shell.call(*command, RUSHES_MODELS='{"sora-2": {"sunset_at": "2020-01-01"}}')
    assert retired.document["batch_id"] == first.document["batch_id"], retired.stderr
    shell.write("a.txt", "another boat\na bird\n")
    reused = shell.call(*command)
    assert reused.code == 1
    assert 'request id "order-7" was used before with another body' in reused.one_line_error()
    assert shell.available() == 5


def test_ctrl_c_stops_cleanly_and_a_worker_finishes_without_buying_twice(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator(render_seconds=1.5)
    shell = shell_at(simulator)
    shell.write("a.txt", "".join(f"prompt {n}\n" for n in range(20)))
    running = shell.start("run", "a.txt", "--grant", "200", "--json")
    _wait_for(lambda: simulator.report(tasks=False).accepted == 20)
    running.signal(signal.SIGINT)
    stopped = running.end()
    assert stopped.code == 130
    assert stopped.document["status"] == "processing"
    batch_id = stopped.document["batch_id"]
    assert "20 of 20 tasks are open" in stopped.stderr
    assert f"`rushes batch watch {batch_id}` shows it" in stopped.stderr
    assert "Traceback" not in stopped.stderr

    watching = shell.start("batch", "watch", batch_id, "--json")
    watching.wait_until(lambda said: "no worker is running" in said, "the line about the worker")
    worked = shell.run("worker", "--until-idle", "--json")
    assert worked.code == 0, worked.stderr
    assert worked.document["settled_tasks"] == 20
    assert all(line.startswith("{") for line in worked.stderr.splitlines()), "logs in a pipe are JSON"
    watched = watching.end()
    assert watched.code == 0
    assert (watched.document["status"], watched.document["succeeded"]) == ("succeeded", 20)
    assert simulator.report(tasks=False).accepted == 20, "no prompt was bought twice"
    shell.assert_books_are_right()


def test_sigterm_ends_with_143_and_a_second_signal_ends_at_once(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    shell = shell_at(new_simulator(render_seconds=60.0, latency_min_seconds=20.0, latency_max_seconds=20.0))
    shell.write("a.txt", "a boat\n")
    running = shell.start("run", "a.txt", "--grant", "10", RUSHES_REQUEST_TIMEOUT_SECONDS="30")
    running.wait_until(lambda said: "1 processing" in said, "the submission")
    running.signal(signal.SIGTERM)
    running.wait_until(lambda said: "once more stops at once" in said, "the first signal's line")
    again_at = time.monotonic()
    running.signal(signal.SIGTERM)
    ended = running.end()
    assert ended.code == 143
    assert time.monotonic() - again_at < 2.0, "the submission under way was waited for"
    assert "Traceback" not in ended.stderr
    shell.assert_books_are_right()


def test_a_terminal_gets_a_live_display_and_no_colour_when_it_wants_none(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    shell = shell_at(new_simulator(render_seconds=0.5))
    shell.write("a.txt", "a boat\na bird\n")
    plain = _on_a_terminal(shell, ["run", "a.txt", "--grant", "20"], NO_COLOR="1", TERM="xterm")
    assert re.search("2/2 done · 0 pending · 0 processing · 2 succeeded · 0 failed", plain)
    assert "100 %" in plain
    assert "reserved 20 = settled 20 + refunded 0" in plain
    assert "\x1b[?25l" in plain, "a live display hides the cursor"
    assert plain.rstrip().rfind("\x1b[?25h") > plain.rfind("\x1b[?25l"), "and shows it again"
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain), "no foreground colour"
    coloured = _on_a_terminal(shell, ["models"], TERM="xterm-256color")
    assert "\x1b[1m" in coloured
    dumb = _on_a_terminal(shell, ["run", "a.txt", "--grant", "20"], TERM="dumb")
    assert "\x1b" not in dumb


def test_the_demo_needs_nothing_and_ends_with_its_proof(shell: Shell) -> None:
    ended = shell.run("demo", GRSAI_API_KEY="", GRSAI_HOST="http://127.0.0.1:1")
    assert ended.code == 0, ended.stderr
    lines = ended.stdout.splitlines()
    table = [line.split() for line in lines[1:-4]]
    assert len(table) >= 24
    assert {row[1] for row in table} == {"sora-2", "veo-flash", "veo-pro", "minimax-h3"}
    failures = [row[3] for row in table if row[2] == "failed"]
    assert {"input_moderation", "output_moderation"} <= set(failures)
    proof = re.fullmatch(r"reserved = settled \+ refunded: (\d+) = (\d+) \+ (\d+)", lines[-1])
    assert proof is not None, lines[-1]
    reserved, settled, refunded = map(int, proof.groups())
    assert reserved == settled + refunded
    assert min(settled, refunded) > 0
    said = re.findall(r"ETA (?:(\d+):)?(\d+):(\d+)", ended.stderr)
    assert said, "it says how long it takes"
    assert max(int(hours or 0) * 60 + int(minutes) for hours, minutes, _ in said) == 0, "as here, in seconds"
    assert lines[-3].startswith("audit clean")
    assert lines[-2].startswith("the videos are in rushes-demo, and rushes-demo/index.html shows them")
    assert shell.files() == {"rushes-demo"}, "it leaves nothing else behind"
    videos = {path.name for path in (shell.folder / "rushes-demo").glob("*.mp4")}
    assert len(videos) >= 10
    page = (shell.folder / "rushes-demo" / "index.html").read_text()
    assert page.count("<figure") == len(table)
    assert all(name in unquote(page) for name in videos)


def test_the_demo_twice_in_one_folder_is_audited_clean(shell: Shell) -> None:
    counts = []
    for _ in range(2):
        ended = shell.run("demo", "--data-dir", ".", "--out", "out")
        assert ended.code == 0, ended.stdout + ended.stderr
        assert ended.stdout.splitlines()[-3].startswith("audit clean")
        counts.append(sorted(path.suffix for path in (shell.folder / "out").iterdir()))
    assert counts[0] == counts[1], "the second one made the folder anew"
    shell.write("out/mine.txt", "")
    (shell.folder / "out" / "index.html").unlink()
    for manifest in (shell.folder / "out").glob("*.manifest.json"):
        manifest.unlink()
    refused = shell.call("demo", "--out", "out")
    assert "out: has other files" in refused.stderr
    assert (shell.folder / "out" / "mine.txt").exists()


def test_a_demo_removes_only_what_a_demo_made(shell: Shell) -> None:
    shell.write("prompts.txt", "a paper boat\n")
    with running_simulator(SimulatorKnobs(render_seconds=0.2)) as simulator:
        bought = shell.call(
            *("run", "prompts.txt", "--grant", "10", "--out", "real", "--json"), GRSAI_HOST=simulator.base_url
        )
    assert (bought.code, bought.document["out"]["files"]) == (0, 1), bought.stderr
    real = contents(shell.folder / "real")
    assert any(name.endswith(".mp4") for name in real)
    refused = shell.call("demo", "--out", "real")
    assert refused.code == 1
    assert "rushes: real: has other files (0000-" in refused.one_line_error()
    assert contents(shell.folder / "real") == real

    demo = shell.folder / "demo"
    demo.mkdir()
    line = {"file": "0000-a.mp4", "index": 0}
    made = {
        ".rushes-demo": b"bat_1\n",
        "bat_1.manifest.json": json.dumps({"files": [line, {"file": None, "index": 1}]}).encode(),
        "0000-a.mp4": b"made by a demo",
        "index.html": b"its page",
    }
    for more, message in (
        (real, "demo: has other files (0000-"),  # a real run took the same folder
        ({"bat_1.manifest.json": b'{"files": [{'}, "demo/bat_1.manifest.json: is not the manifest that"),
        ({"bat_1.manifest.json": b'{"files": 3}'}, "demo/bat_1.manifest.json: is not the manifest that"),
    ):
        for path in demo.iterdir():
            path.unlink()
        for name, content in {**made, **more}.items():
            (demo / name).write_bytes(content)
        before = contents(demo)
        refused = shell.call("demo", "--out", "demo")
        assert refused.code == 1
        assert message in refused.one_line_error()
        assert contents(demo) == before, "nothing was removed"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _on_a_terminal(shell: Shell, command: list[str], **environment: str) -> str:
    """What a command writes when all its streams are a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shell.folder)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "rushes", *command],
            shell.environment_with({"COLUMNS": "140", "LINES": "40", **environment}),
        )
    written = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, written.decode()
    return written.decode()


def test_run_with_a_gate_ends_with_verdicts_and_a_rejected_clip_is_exit_code_5(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    shell = shell_at(new_simulator())
    shell.write("a.txt", "a paper boat\na kite\na fox\n")
    ended = shell.call("run", "a.txt", "--grant", "60", "--json", "--gate")
    assert ended.code == 0, ended.stderr
    assert ended.document["verdicts"] == {"accepted": 3, "rejected": 0, "undecided": 0, "open": 0}
    shell.write("rushes.toml", "[gate]\nframes_per_second_min = 24\n")
    ended = shell.call("run", "a.txt", "--gate", "--again")
    assert ended.code == 5, ended.stderr
    assert re.search(r"verdicts +3 rejected\n", ended.stdout)
    batch_id = re.findall(r"bat_[0-9a-f]+", ended.stdout)[0]
    exported = shell.call("batch", "export", batch_id, "--format", "csv").stdout.splitlines()
    assert exported[0].split(",")[12:14] == ["verdict", "verdict_reasons"]
    assert [line.split(",")[12:14] for line in exported[1:]] == [["rejected", "frame_rate"]] * 3
    shown = shell.call("batch", "show", batch_id, "--json").document
    assert shown["verdicts"]["rejected"] == 3
    assert (shown["status"], shown["credits_settled"]) == ("succeeded", 30)
    ungated = shell.call(
        "run", "a.txt", "--json", "--grant", "30", "--again", "--no-gate", RUSHES_GATE="true"
    )
    assert (ungated.code, ungated.document["verdicts"]) == (0, {})
    shell.assert_books_are_right()


def test_a_gate_is_refused_where_no_clip_can_be_judged(shell: Shell) -> None:
    shell.write("a.txt", "a paper boat\n")
    ended = shell.call("run", "a.txt", "--grant", "10", "--gate", RUSHES_ARCHIVE_URL="none")
    assert ended.code == 1
    assert "gate: RUSHES_ARCHIVE_URL is none" in ended.one_line_error()
    assert shell.files() == {"a.txt"}
    shell.write("rushes.toml", "[gate]\nblack_share_max = 2\n")
    ended = shell.call("run", "a.txt", "--gate")
    assert "rushes.toml:2: gate.black_share_max: must be a share from 0 to 1" in ended.one_line_error()


def test_best_of_buys_clips_until_the_items_maximum_and_no_more(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator()
    shell = shell_at(simulator)
    shell.write("a.txt", "a paper boat\na kite\n")
    shell.write("rushes.toml", "[gate]\nframes_per_second_min = 24\n")
    ended = shell.call(
        "run", "a.txt", "--grant", "90", "--best-of", "3", "--clip-credits-max", "25", "--json"
    )
    assert ended.code == 5, ended.stderr
    summary = ended.document
    assert summary["status"] == "succeeded"
    assert summary["credits"] == {"reserved": 40, "settled": 40, "refunded": 0}, "two clips of each item"
    assert summary["verdicts"] == {"accepted": 0, "rejected": 2, "undecided": 0, "open": 0}
    assert simulator.report().accepted == 4
    shell.assert_books_are_right()
    for options, message in (
        (("--clip-credits-max", "25"), "--clip-credits-max and --score-min need --best-of"),
        (
            ("--best-of", "3", "--clip-credits-max", "9"),
            "accept.credits_max: 9 is less than one clip of item 0",
        ),
        (("--best-of", "11"), "accept.n_max: must be a whole number from 1 to 10, not 11"),
    ):
        refused = shell.call("run", "a.txt", "--again", *options)
        assert message in refused.one_line_error()


def test_best_of_replaces_bad_clips_and_the_cost_of_accepted_ones_is_exact(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator(clip_black=0.3, clip_frozen=0.3, seed=4)
    shell = shell_at(simulator)
    shell.write("a.txt", "".join(f"prompt {n}\n" for n in range(10)))
    ended = shell.call("run", "a.txt", "--grant", "1000", "--best-of", "10", "--json")
    assert ended.code == 0, ended.stderr
    summary, bought = ended.document, simulator.report().accepted
    assert summary["verdicts"] == {"accepted": 10, "rejected": 0, "undecided": 0, "open": 0}
    assert bought > 15, "of ten clips six are bad by law"
    assert summary["credits"] == {"reserved": 10 * bought, "settled": 10 * bought, "refunded": 0}
    found = shell.call("batch", "verdicts", summary["batch_id"], "--json").document
    assert (found["clips"], found["replaced"]) == (bought, bought - 10)
    assert sum(found["reasons"].values()) == bought - 10
    assert found["reasons"].keys() == {"black", "frozen"}
    (model,) = shell.call("models", "accepted", "--json").document["data"]
    assert (model["clips"], model["accepted"], model["cost_per_accepted"]) == (bought, 10, float(bought))
    shell.assert_books_are_right()


def test_the_model_to_take_next_is_chosen_by_what_accepted_clips_have_cost(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    shell = shell_at(new_simulator())
    shell.write("a.txt", "".join(f"prompt {n}\n" for n in range(12)))
    shell.grant(1000)
    assert shell.call("run", "a.txt", "--gate", "--model", "veo-flash").code == 0
    shell.write("rushes.toml", "[gate]\nframes_per_second_min = 24\n")
    assert shell.call("run", "a.txt", "--gate", "--model", "sora-2", "--again").code == 5
    asked = ("models", "choose", "--among", "sora-2", "--among", "veo-flash", "--seed", "1")
    chosen = shell.call(*asked)
    assert chosen.stdout == "veo-flash\n", "15 credits each, all accepted; of the others at 10 none was"
    assert chosen.stderr.startswith("veo-flash: 12 of 12 clips accepted, ")
    assert shell.call(*asked, "--json").document["model"] == "veo-flash"
    cheap = shell.call(*asked, "--credits-max", "10")
    assert cheap.stdout == "sora-2\n"
    assert "no model on sale" in shell.call(*asked, "--credits-max", "1").one_line_error()


def test_the_model_auto_is_chosen_clip_by_clip_and_says_why(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    shell = shell_at(new_simulator())
    shell.write("a.csv", "prompt,model\n" + "".join(f"prompt {n},auto\n" for n in range(12)))
    bounds = ("--auto-among", "sora-2", "--auto-among", "veo-flash", "--auto-seed", "3")
    quoted = shell.call("quote", "a.csv", *bounds, "--json").document
    assert (quoted["credits"], quoted["credits_max"], list(quoted["models"])) == (120, 180, ["auto"])
    assert "12 items, 120 to 180 credits" in shell.call("run", "a.csv", *bounds, "--dry-run").stdout
    ended = shell.run("run", "a.csv", *bounds, "--json")
    assert ended.code == 0, ended.stderr
    batch_id, spent = ended.document["batch_id"], ended.document["credits"]
    shown = shell.call("batch", "show", batch_id, "--items", "--json").document
    chosen = shown["models_chosen"]
    assert set(chosen) <= {"sora-2", "veo-flash"}
    assert sum(chosen.values()) == 12
    assert spent["settled"] == spent["reserved"] == 10 * chosen.get("sora-2", 0) + 15 * chosen["veo-flash"]
    assert all(item["alias"] == "auto" and item["model_choice"] for item in shown["items"])
    reasons = {item["model_choice"] for item in shown["items"]}
    assert any("no clips yet" in reason for reason in reasons)
    assert any("clips accepted" in reason for reason in reasons), "the later ones know the first"
    table = shell.call("batch", "show", batch_id, "--items").stdout
    assert "models chosen: " in table
    assert "auto → veo-flash" in table
    assert "credits per accepted clip drawn" in table
    assert shell.call("batch", "verdicts", batch_id, "--json").document["auto"]["seed"] == 3
    shell.assert_books_are_right()
    refused = shell.call("run", "a.csv", "--no-gate", "--again")
    assert "model: auto needs the gate" in refused.one_line_error()
    plain = shell.call("run", "a.csv", "--model", "sora-2", "--auto-seed", "1", "--template", "a {b}")
    assert plain.code != 0


def test_best_of_with_auto_is_paid_for_who_runs_rushes_alone(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    shell = shell_at(new_simulator(clip_black=0.5, seed=2))
    shell.write("a.txt", "a kite\na boat\na fox\n")
    ended = shell.run(
        "run", "a.txt", "--model", "auto", "--auto-credits-max", "15", "--best-of", "8", "--json"
    )
    assert ended.code == 0, ended.stderr
    assert ended.document["verdicts"]["accepted"] == 3
    shell.assert_books_are_right()
