"""`rushes run` as the whole job: once for the same prompts, resumed by itself, into a folder."""

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rushes import InsufficientCredits, Rushes, Settings
from rushes.simulator import SimulatorKnobs, SimulatorThread, running_simulator
from tests.cli.process import QUICK, Shell

PROMPTS = "".join(f"prompt {number}\n" for number in range(6))


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    """One service for the module: tests count what they bought of it."""
    with running_simulator(SimulatorKnobs(render_seconds=0.5)) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, simulator: SimulatorThread) -> Shell:
    """An empty folder with the service."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Shell(folder, {**QUICK, "GRSAI_HOST": simulator.base_url})


@pytest.fixture
def bought(simulator: SimulatorThread) -> Callable[[], int]:
    """How many tasks were bought since the test started."""
    before = simulator.report(tasks=False).accepted
    return lambda: simulator.report(tasks=False).accepted - before


def batches(shell: Shell) -> list[dict[str, Any]]:
    return shell.ask(lambda rushes: rushes.list_batches())


def test_run_twice_buys_each_prompt_once_and_leaves_the_files(here: Shell, bought: Callable[[], int]) -> None:
    here.write("p.txt", PROMPTS)
    first = here.call("run", "p.txt", "--out", "videos", "--json")
    assert first.code == 0, first.stderr
    assert "6 videos, 60 credits, about 0.48 CNY at grsai" in first.stderr
    manifest = json.loads((here.folder / first.document["out"]["manifest"]).read_text())
    names = [line["file"] for line in manifest["files"]]
    assert names[0] == "0000-prompt-0.mp4"
    assert all((here.folder / "videos" / name).stat().st_size for name in names)
    assert first.document["out"] | {"manifest": ""} == {
        "folder": "videos",
        "manifest": "",
        "files": 6,
        "missing": 0,
    }
    (here.folder / "videos" / names[0]).unlink()
    second = here.call("run", "p.txt", "--out", "videos", "--retries", "2", "--json")
    assert second.code == 0, second.stderr
    assert second.document["batch_id"] == first.document["batch_id"]
    assert "nothing is bought; --again buys them once more" in second.stderr
    assert (here.folder / "videos" / names[0]).stat().st_size, "what is missing is copied again"
    assert (bought(), len(batches(here))) == (6, 1)
    here.assert_books_are_right()


def test_items_that_ask_for_the_same_are_named_when_they_are_bought(here: Shell) -> None:
    here.write("p.txt", "a fox\na boat\na fox\n")
    ran = here.call("run", "p.txt", "--json")
    assert ran.code == 0, ran.stderr
    assert "1 item asks for the same as an earlier one: 2 as 0" in ran.stderr
    other = here.call("run", "p.txt", "--again", "--model", "veo-flash", "--json")
    assert "1 item asks for the same as an earlier one: 2 as 0" in other.stderr


def test_reuse_takes_the_files_of_equal_items_and_of_what_was_bought_before(
    here: Shell, bought: Callable[[], int]
) -> None:
    here.write("p.txt", "a fox\na boat\na fox\n")
    first = here.call("run", "p.txt", "--reuse", "--out", "videos", "--json", RUSHES_CONFIRM_CREDITS="0")
    assert first.code == 0, first.stderr
    assert "3 videos, 20 credits" in first.stderr
    assert "10 credits saved: equal items take one file" in first.stderr
    assert (bought(), batches(here)[0]["credits_settled"]) == (2, 20)
    assert first.document["out"]["files"] == 3
    here.write("q.txt", "a boat\na bird\n")
    named = here.call("quote", "q.txt", "--json").document
    batch_id = first.document["batch_id"]
    assert [(each["index"], each["item_id"]) for each in named["bought_before"]] == [(0, f"{batch_id}-1")]
    assert (named["credits"], named["credits_with_reuse"]) == (20, 10)
    second = here.call("run", "q.txt", "--reuse", "--out", "more", "--json")
    assert second.code == 0, second.stderr
    assert f"1 item was bought in the last 30 days: 0 as {batch_id}-1" in second.stderr
    assert (bought(), batches(here)[0]["credits_settled"]) == (3, 10)
    assert (here.folder / "more" / "0000-a-boat.mp4").read_bytes() == (
        here.folder / "videos" / "0001-a-boat.mp4"
    ).read_bytes()
    shown = here.call("batch", "show", second.document["batch_id"])
    assert "reused: 1 item takes the file of an equal one, 10 credits saved" in shown.stdout
    again = here.call("run", "q.txt", "--again", "--reuse", "--json")
    assert (again.code, batches(here)[0]["credits_settled"], bought()) == (0, 0, 3)
    here.assert_books_are_right()


def test_reuse_without_an_archive_and_with_a_resumed_batch_is_refused(here: Shell) -> None:
    here.write("p.txt", "a fox\n")
    refused = here.call("run", "p.txt", "--reuse", RUSHES_ARCHIVE_URL="none")
    assert refused.code == 1
    assert "RUSHES_ARCHIVE_URL is none: no file is kept that could be reused" in refused.stderr
    assert here.call("run", "--resume", "last", "--reuse").code == 2


def test_again_means_it_and_a_cancelled_batch_is_made_anew(here: Shell, bought: Callable[[], int]) -> None:
    here.write("p.txt", "a boat\n")
    first = here.call("run", "p.txt", "--json").document["batch_id"]
    again = here.call("run", "p.txt", "--again", "--json").document["batch_id"]
    assert again != first
    assert here.call("run", "p.txt", "--json").document["batch_id"] == again, "the newest one counts"
    here.write("p.txt", "a bird\n")

    async def cancelled(rushes: Rushes) -> str:
        batch = await rushes.start_run(rushes.drafts(["a bird"]))
        await rushes.cancel(batch["batch_id"])
        return str(batch["batch_id"])

    dead = here.ask(cancelled)
    alive = here.call("run", "p.txt", "--json")
    assert (alive.code, alive.document["batch_id"] == dead) == (0, False)
    assert bought() == 3
    here.assert_books_are_right()


def test_a_run_that_was_killed_resumes_when_it_is_started_again(
    here: Shell, bought: Callable[[], int]
) -> None:
    here.write("p.txt", PROMPTS)
    running = here.start("run", "p.txt", "--out", "videos")

    async def answered(rushes: Rushes) -> bool:
        found = await rushes.list_batches()
        items = await rushes.items(found[0]["batch_id"]) if found else []
        return len(items) == 6 and all(item["remote_task_id"] for item in items)

    running.wait_until(lambda _said: bought() == 6 and here.ask(answered), "the answers to the submits")
    running.signal(signal.SIGKILL)
    running.end()
    assert [name.endswith(".manifest.json") for name in os.listdir(here.folder / "videos")] == [True]
    resumed = here.run("run", "p.txt", "--out", "videos", "--json")
    assert resumed.code == 0, resumed.stderr
    assert "was accepted before: resuming it" in resumed.stderr
    assert resumed.document["out"]["files"] == 6
    assert (bought(), len(batches(here))) == (6, 1)
    here.assert_books_are_right()


def test_two_runs_at_once_share_one_batch(here: Shell, bought: Callable[[], int]) -> None:
    here.write("p.txt", PROMPTS)
    here.call("credits", "grant", "60")  # makes the database: two that make it at once is another story
    one, two = (here.start("run", "p.txt", "--json") for _ in range(2))
    ended = [one.end(), two.end()]
    assert [end.code for end in ended] == [0, 0], ended
    assert len({end.document["batch_id"] for end in ended}) == 1
    assert (bought(), len(batches(here))) == (6, 1)
    assert here.available() == 0
    here.assert_books_are_right()


def test_resume_last_takes_the_newest_open_batch_and_refuses_all_else(here: Shell) -> None:
    none = here.call("run", "--resume", "last")
    assert none.code == 1
    assert "there is no database" in none.one_line_error()

    async def make(rushes: Rushes) -> list[str]:
        made = [await rushes.start_run(rushes.drafts([prompt])) for prompt in ("a", "b")]
        await rushes.grant(10, account="acme")
        made.append(await rushes.create_batch(["c"], account="acme"))
        return [batch["batch_id"] for batch in made]

    first, second, strange = here.ask(make)
    resumed = here.call("run", "--resume", "last", "--out", "videos", "--json")
    assert resumed.document["batch_id"] == second, resumed.stderr
    assert f"resuming batch {second}: 1 task" in resumed.stderr
    for named, message in (
        (second, "has finished (succeeded): nothing is left to resume"),
        (strange, f'there is no batch "{strange}"'),
        ("bat_0000", 'there is no batch "bat_0000"'),
    ):
        refused = here.call("run", "--resume", named)
        assert refused.code == 1
        assert message in refused.one_line_error()
    by_start = here.call("run", "--resume", first.removeprefix("bat_")[:8])  # its work was done on the way
    assert f"batch {first} has finished" in by_start.one_line_error()
    closed = here.call("run", "--resume", "last")
    assert 'account "default" has no open batch' in closed.one_line_error()
    here.write("p.txt", "a\n")
    assert "not both" in here.call("run", "p.txt", "--resume", "last").one_line_error()


@pytest.mark.parametrize("again", [("run", "p.txt", "--gate"), ("run", "--resume", "last")])
def test_verdicts_that_are_still_to_come_are_waited_for(
    here: Shell, bought: Callable[[], int], again: tuple[str, ...]
) -> None:
    here.write("p.txt", "a paper boat\n")
    here.write("judge.sh", f"test -e '{here.folder}/go' && echo '{{\"verdict\": \"accepted\"}}'\n")
    judge = f"sh {here.folder}/judge.sh"

    async def is_only_unjudged(rushes: Rushes) -> bool:
        for batch in await rushes.list_batches():
            files = await rushes.batch_files(batch["batch_id"])
            verdicts = await rushes.batch_verdicts(batch["batch_id"])
            return (batch["succeeded_count"], files["stored"], verdicts["open"]) == (1, 1, 1)
        return False

    first = here.start("run", "p.txt", "--gate", "--json", RUSHES_JUDGE_COMMAND=judge)
    first.wait_until(lambda _said: bought() == 1 and here.ask(is_only_unjudged), "the wait for the judge")
    first.signal(signal.SIGINT)
    stopped = first.end()
    batch_id = stopped.document["batch_id"]
    hint = "nothing is lost: 1 verdict is still to come. `rushes worker` works on"
    assert (stopped.code, stopped.document["verdicts"]["open"]) == (130, 1), stopped
    assert hint in stopped.stderr

    watching = here.start("batch", "watch", batch_id, "--json")
    watching.wait_until(lambda said: "verdicts: 1 open" in said, "what it watches")
    watching.signal(signal.SIGINT)
    watched = watching.end()
    assert (watched.code, watched.document["verdicts"]["open"]) == (130, 1), watched
    assert hint in watched.stderr

    here.write("go", "")
    resumed = here.run(*again, "--json", RUSHES_JUDGE_COMMAND=judge)
    assert (resumed.code, resumed.document["batch_id"]) == (0, batch_id), resumed
    assert resumed.document["verdicts"] == {"accepted": 1, "rejected": 0, "undecided": 0, "open": 0}
    assert bought() == 1
    assert here.ask(lambda rushes: rushes.open_batch_id()) is None


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("taken", "taken: cannot be a folder: File exists"),
        ("others", "others: has other files (a.doc, b.doc, c.doc, …); name an empty or new folder"),
        ("/proc/nothing", "/proc/nothing: cannot be a folder"),
    ],
)
def test_a_folder_that_cannot_take_the_videos_is_refused_before_anything_is_bought(
    here: Shell, bought: Callable[[], int], out: str, message: str
) -> None:
    here.write("p.txt", "a boat\n")
    here.write("taken", "a file")
    (here.folder / "others").mkdir()
    for name in "abcd":
        here.write(f"others/{name}.doc", "mine")
    ended = here.call("run", "p.txt", "--out", out)
    assert ended.code == 1
    assert message in ended.one_line_error()
    assert (bought(), here.files()) == (0, {"p.txt", "taken", "others"})


@pytest.fixture
def small_disk(here: Shell) -> Iterator[Path]:
    """A file system of 64 kB; only root can make one."""
    folder = here.folder / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)) != 0:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode


def test_a_full_or_read_only_disk_is_seen_before_anything_is_bought(
    here: Shell, bought: Callable[[], int], small_disk: Path
) -> None:
    here.write("p.txt", "a boat\n")
    out = small_disk / "videos"
    out.mkdir()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1024 * 1024))
    full = here.call("run", "p.txt", "--out", "disk/videos")
    assert "cannot be written: No space left on device" in full.one_line_error()
    filler.unlink()
    assert mount("-o", "remount,ro", str(small_disk)) == 0
    closed = here.call("run", "p.txt", "--out", "disk/videos")
    assert "cannot be written: Read-only file system" in closed.one_line_error()
    assert (full.code, closed.code, bought()) == (1, 1, 0)
    assert "rushes-data" not in here.files()


def test_a_new_folder_goes_again_when_the_run_is_refused(here: Shell) -> None:
    here.write("p.txt", "a boat\n")
    refused = here.call("run", "p.txt", "--out", "videos", "--grant", "5")
    assert "5 are missing" in refused.one_line_error()
    assert here.files() == {"p.txt"}


# --- credits of whoever runs it alone -------------------------------------------------------------------


def test_without_tenants_no_credits_are_needed_and_the_ledger_says_why(here: Shell) -> None:
    here.write("p.txt", "a boat\na bird\n")
    assert here.call("run", "p.txt").code == 0
    entries = here.ask(lambda rushes: rushes.ledger())
    granted = [entry for entry in entries if entry["type"] == "purchase"]
    assert [(entry["delta"], entry["description"]) for entry in granted] == [
        (20, "for rushes run: an installation without tenants")
    ]
    assert here.available() == 0
    here.assert_books_are_right()


TENANTS = {
    "credits granted by hand": lambda rushes: rushes.grant(5),
    "another account": lambda rushes: rushes.grant(500, account="acme"),
}


@pytest.mark.parametrize("what", TENANTS)
def test_with_tenants_or_a_budget_credits_are_needed_as_ever(database_url: str, what: str) -> None:
    async def scenario() -> None:
        settings = Settings.load({"RUSHES_DATABASE_URL": database_url}, env_file=None)
        async with Rushes(settings) as rushes:
            await rushes.start_run(rushes.drafts(["a"]))
            assert (await rushes.balance())["reserved"] == 10
            await TENANTS[what](rushes)
            with pytest.raises(InsufficientCredits):
                await rushes.start_run(rushes.drafts(["b"]))
            with pytest.raises(InsufficientCredits):
                await rushes.start_run(rushes.drafts(["c"]), request_id="order-1")
            assert (await rushes.audit()).ok

    asyncio.run(scenario())


def test_the_same_run_many_times_at_once_is_one_batch_on_both_databases(database_url: str) -> None:
    async def scenario() -> None:
        settings = Settings.load({"RUSHES_DATABASE_URL": database_url}, env_file=None)
        async with Rushes(settings) as one, Rushes(settings) as two:
            drafts = one.drafts(["a", "b"])
            made = await asyncio.gather(
                *(rushes.start_run(drafts, retries=n % 3) for n, rushes in enumerate([one, two] * 5))
            )
            assert len({batch["batch_id"] for batch in made}) == 1
            assert [batch["idempotent_replay"] for batch in made].count(False) == 1
            again = await asyncio.gather(*(rushes.start_run(drafts, again=True) for rushes in (one, two)))
            assert len({batch["batch_id"] for batch in [*made, *again]}) == 3
            assert (await one.balance())["reserved"] == 60
            assert (await one.audit()).ok

    asyncio.run(scenario())


# --- a terminal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_a_terminal_is_asked_above_the_threshold(here: Shell, answer: str, code: int) -> None:
    here.write("p.txt", "a boat\na bird\n")
    said, ended = on_a_terminal(here, ["run", "p.txt"], answer, RUSHES_CONFIRM_CREDITS="19")
    assert "2 videos, 20 credits" in said
    assert "Spend 20 credits? [y/N]" in said
    assert ended == code, said
    assert ("nothing was bought" in said) == (code == 1)
    assert ("rushes-data" in here.files()) == (code == 0)


def test_yes_answers_before_the_question(here: Shell) -> None:
    here.write("p.txt", "a boat\n")
    said, ended = on_a_terminal(here, ["run", "p.txt", "--yes"], "", RUSHES_CONFIRM_CREDITS="0")
    assert (ended, "Spend" in said) == (0, False), said


def on_a_terminal(shell: Shell, command: list[str], typed: str, **environment: str) -> tuple[str, int]:
    """What a command writes to its terminal, where this is typed at once; and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shell.folder)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "rushes", *command],
            shell.environment_with({"COLUMNS": "140", "LINES": "40", **environment}),
        )
    os.write(terminal, typed.encode())
    written = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    return written.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- templates ------------------------------------------------------------------------------------------


def test_a_template_makes_every_combination(here: Shell) -> None:
    here.write("scenes.txt", "a boat\n\na bird, at dusk\n")
    template = ["--template", "A {style} shot of {scene}", "--var", "style=wide,close"]
    quote = here.call("quote", *template, "--var", "scene=@scenes.txt", "--json")
    assert (quote.document["total"], quote.document["credits"]) == (4, 40)
    run = here.call("run", *template, "--var", "scene=@scenes.txt", "--json")
    items = here.ask(lambda rushes: rushes.items(run.document["batch_id"]))
    assert [item["prompt"] for item in items] == [
        "A wide shot of a boat",
        "A wide shot of a bird, at dusk",
        "A close shot of a boat",
        "A close shot of a bird, at dusk",
    ]


MANY = ["--var", "a=" + "x," * 3999 + "x", "--var", "b=" + "y," * 2499 + "y"]
BAD_TEMPLATES: dict[str, list[str]] = {
    'variable "style" has no values; did you mean "stile"?': [
        *("--template", "A {style} shot", "--var", "stile=wide"),
    ],
    'does not use the variable "style"': ["--template", "A shot", "--var", "style=wide"],
    "--var takes NAME=VALUE, such as style=wide,close": ["--template", "A {a} shot", "--var", "a"],
    "none.txt: cannot be read": ["--template", "A {a} shot", "--var", "a=@none.txt"],
    "10000000 combinations, more than 10000": ["--template", "{a}{b}", *MANY],
    "--var gives values to a --template": ["--var", "a=b"],
    "name a FILE or a --template, not both": ["p.txt", "--template", "x"],
    "name a FILE of prompts": [],
}


@pytest.mark.parametrize("message", BAD_TEMPLATES)
def test_a_template_that_does_not_fit_its_variables_is_refused(here: Shell, message: str) -> None:
    here.write("p.txt", "x\n")
    for command in ("quote", "run"):
        ended = here.call(command, *BAD_TEMPLATES[message])
        assert ended.code == (2 if message.startswith(("name a", "--var gives")) else 1)
        assert message in ended.one_line_error()
    assert here.files() == {"p.txt"}
