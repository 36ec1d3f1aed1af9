"""`rushes run` and `rushes demo`, from prompts to settled videos, as real processes over real HTTP."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable

from rushes.providers.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

ShellAt = Callable[[SimulatorThread], Shell]

SUMMARY_FIELDS = {
    *("batch_id", "status", "total", "succeeded", "failed", "credits", "failures", "files"),
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
    table = [line.split() for line in lines[1:-3]]
    assert len(table) >= 24
    assert {row[1] for row in table} == {"sora-2", "veo-flash", "veo-pro", "minimax-h3"}
    failures = [row[3] for row in table if row[2] == "failed"]
    assert {"input_moderation", "output_moderation"} <= set(failures)
    proof = re.fullmatch(r"reserved = settled \+ refunded: (\d+) = (\d+) \+ (\d+)", lines[-2])
    assert proof is not None, lines[-2]
    reserved, settled, refunded = map(int, proof.groups())
    assert reserved == settled + refunded
    assert min(settled, refunded) > 0
    assert lines[-1].startswith("audit clean")
    assert shell.files() == set(), "it leaves nothing behind"


def test_the_demo_twice_in_one_folder_is_audited_clean(shell: Shell) -> None:
    for _ in range(2):
        ended = shell.run("demo", "--data-dir", ".")
        assert ended.code == 0, ended.stdout + ended.stderr
        assert ended.stdout.splitlines()[-1].startswith("audit clean")


def _wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
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
