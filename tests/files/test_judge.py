"""The operator's judge: asked within bounds, answered once; nothing that it does stops a clip for good."""

import asyncio
import json
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvloop
from standardwebhooks import Webhook

from rushes.domain.acceptance.gate import Thresholds
from rushes.domain.acceptance.judging import Judgement, read_judgement
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.errors import DatabaseUnreachable, InputError
from rushes.files.gate.deciding import OnDecided
from rushes.files.guard.client import GuardedHttp
from rushes.files.judge.asking import Asking, JudgeLimits
from rushes.files.judge.hooks import CommandJudge, HttpJudge, Judge, NoJudgement
from rushes.files.objects import ObjectStore
from rushes.files.video_pictures import can_decode
from rushes.money.judge import judge_item
from rushes.money.rebuy import buy_next
from tests.books import assert_sound
from tests.files.file_host import CLIP, Reply
from tests.files.vault import Vault, run

pytestmark = pytest.mark.skipif(not can_decode(), reason="PyAV is not installed")

SECRET = "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0"
JUDGED = Thresholds(judge=True)
YES = {"verdict": "accepted"}


@dataclass
class Endpoint:
    """A judge on real HTTP. `answer` makes status, headers and body of the question's document."""

    answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator["Endpoint"]:
        """Listens until the end of the `with`."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.asked.append(({name.lower(): text for name, text in self.headers.items()}, body))
                status, headers, answer = endpoint.answer(json.loads(body))
                self.send_response(status)
                for name, value in {"content-length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}/judge"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def saying(document: object, status: int = 200, **headers: str) -> Callable[..., Any]:
    """The same answer to every question."""
    return lambda _question: (status, headers, json.dumps(document).encode())


def asking(vault: Vault, judge: Judge, *, on_decided: OnDecided = buy_next, **limits: Any) -> Asking:
    """On the books' clock."""
    return Asking(
        vault.books.database,
        judge,
        objects=ObjectStore(str(vault.folder)),
        now_ms=lambda: vault.books.now_ms,
        on_decided=on_decided,
        limits=JudgeLimits(**{"seconds_max": 5.0, **limits}),
    )


async def ask_all(vault: Vault, asker: Asking, *, seconds: int = 0) -> None:
    """All that is due now, and what falls due within that time of the books' clock."""
    until_ms = vault.books.now_ms + seconds * 1000
    while True:
        while await asker.due.pass_once():
            pass
        waiting = [
            row["next_ask_at_ms"]
            for row in vault.books.rows("SELECT next_ask_at_ms FROM clip_verdicts WHERE state = 'judge'")
        ]
        if not waiting or min(waiting) > until_ms:
            return
        vault.books.now_ms = max(vault.books.now_ms + 1, min(waiting))


def judged_by(vault: Vault, judge: Judge, *, clips: int = 1, seconds: int = 0, **limits: Any) -> None:
    """That many clips pass the gate and are put to the judge."""
    vault.settle(*[Reply(CLIP)] * clips, gate=JUDGED)

    async def scenario() -> None:
        await vault.work(vault.archiver())
        await ask_all(vault, asking(vault, judge, **limits), seconds=seconds)
        await judge.close()

    run(scenario)
    assert_sound(vault.books)


def http(endpoint: Endpoint, vault: Vault) -> HttpJudge:
    return HttpJudge(endpoint.url, GuardedHttp(allow_private=True), SECRET, lambda: vault.books.now_ms)


def test_the_endpoint_is_asked_signed_with_what_the_clip_is_and_its_word_counts(vault: Vault) -> None:
    def answer(question: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        said = {"verdict": "reject", "reason": "six, fingers", "score": 0.25} if question["index"] else YES
        return 200, {}, json.dumps({**said, "item_id": question["item_id"]}).encode()

    with Endpoint(answer).running() as endpoint:
        judged_by(vault, http(endpoint, vault), clips=2)
    assert vault.verdicts() == [("decided", "accepted", ""), ("decided", "rejected", "judge:six fingers")]
    assert len(endpoint.asked) == 2
    headers, body = endpoint.asked[0]
    assert headers["webhook-signature"].startswith("v1,")
    verifier = Webhook(SECRET)
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    assert message, verifier
    document = json.loads(body)
    assert set(document) == {
        *("item_id", "batch_id", "index", "try", "prompt", "model", "options", "sha256", "video_url")
    }
    assert (document["prompt"].startswith("take"), document["model"], document["try"]) == (True, "sora-2", 1)
    said = vault.books.rows("SELECT judge, verdict, score_ppm FROM clip_judgements ORDER BY task_id")
    assert [tuple(row.values()) for row in said] == [
        ("hook", "accepted", None),
        ("hook", "rejected", 250_000),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        saying(YES, status=500),
        saying(YES, status=302, location="http://127.0.0.1:1/"),
        saying({"verdict": "maybe"}),
        saying({**YES, "item_id": "bat_2-0"}),
        saying({**YES, "score": 2}),
        saying([YES]),
        lambda _question: (200, {}, b"<html>"),
        lambda _question: (200, {}, b'"' + b"x" * 300_000 + b'"'),
        lambda _question: (200, {"content-length": "100000000"}, b" " * 100_000),
    ],
    ids=["500", "redirect", "maybe", "another", "score", "list", "html", "long", "cut"],
)
def test_what_is_no_answer_is_asked_again_and_ends_undecided(vault: Vault, answer: Any) -> None:
    with Endpoint(answer).running() as endpoint:
        judged_by(vault, http(endpoint, vault), seconds=1000)
    assert vault.verdicts() == [("decided", "undecided", "judge:unreachable")]
    assert len(endpoint.asked) == 5, "the first time and four waits"
    assert vault.books.rows("SELECT * FROM clip_judgements") == []


def test_a_judge_that_hangs_is_left_and_asked_again(vault: Vault) -> None:
    hanging = threading.Event()

    def answer(_question: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if len(endpoint.asked) == 1:
            hanging.wait(20)
        return 200, {}, json.dumps(YES).encode()

    with Endpoint(answer).running() as endpoint:
        judged_by(vault, http(endpoint, vault), seconds=10, seconds_max=0.3)
        hanging.set()
    assert vault.verdicts() == [("decided", "accepted", "")]
    assert len(endpoint.asked) == 2


def test_two_processes_ask_about_each_clip_once(vault: Vault) -> None:
    vault.settle(*[Reply(CLIP)] * 8, gate=JUDGED)

    async def scenario(endpoint: Endpoint) -> None:
        await vault.work(vault.archiver())
        judges = [http(endpoint, vault), http(endpoint, vault)]
        await asyncio.gather(*(ask_all(vault, asking(vault, judge)) for judge in judges))
        for judge in judges:
            await judge.close()

    with Endpoint(saying(YES)).running() as endpoint:
        asyncio.run(scenario(endpoint))
    assert len(endpoint.asked) == 8
    assert {verdict for _, verdict, _ in vault.verdicts()} == {"accepted"}


def test_an_answer_after_a_restart_or_after_a_person_decides_nothing(vault: Vault) -> None:
    """The first process is gone when its judge answers; the second one's answer counts, or a person's."""
    vault.settle(Reply(CLIP), gate=JUDGED)
    run(lambda: vault.work(vault.archiver()))
    from rushes.store.acceptance import judging

    database, now_ms = vault.books.database, vault.books.now_ms
    (late,) = database.run(judging.claim_if_due, limit=5, now_ms=now_ms, claimed_until_ms=now_ms + 1000)
    assert database.run(judging.claim_if_due, limit=5, now_ms=now_ms, claimed_until_ms=now_ms) == []
    (second,) = database.run(
        judging.claim_if_due, limit=5, now_ms=now_ms + 1000, claimed_until_ms=now_ms + 9000
    )
    assert not database.run(judging.decide_if_asked, late, Verdict.REJECTED, ["judge:late"], now_ms=now_ms)
    person = Judgement(Verdict.REJECTED, "shaky")
    done = database.run(judge_item, "bat_1", 0, person, person="ann", now_ms=now_ms)
    assert (done.is_new, done.buys) == (True, False)
    assert not database.run(judging.decide_if_asked, second, Verdict.ACCEPTED, [], now_ms=now_ms)
    assert vault.verdicts() == [("decided", "rejected", "judge:shaky")]
    assert_sound(vault.books)


def program(folder: Path, text: str) -> CommandJudge:
    path = folder / "judge"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return CommandJudge([str(path)])


def test_a_command_reads_the_question_and_the_file(vault: Vault, tmp_path: Path) -> None:
    judge = program(
        tmp_path,
        'path=$(sed -n \'s/.*"video_path":"\\([^"]*\\)".*/\\1/p\')\n'
        f'test "$(wc -c < "$path")" -eq {len(CLIP)} || exit 3\n'
        'test -z "$GRSAI_API_KEY$RUSHES_WEBHOOK_SECRET" || exit 4\n'
        'echo \'{"verdict": "accept", "score": 0.9}\'',
    )
    judged_by(vault, judge)
    assert vault.verdicts() == [("decided", "accepted", "")]
    assert vault.books.row("SELECT score_ppm, decided_by FROM clip_verdicts") == {
        "score_ppm": 900_000,
        "decided_by": "hook",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo no", "no JSON"),
        ("cat > /dev/null; exit 7", "exit code 7"),
        ("yes", "more than 65536 bytes"),
        ("sleep 30 & sleep 30", "in time"),
    ],
)
def test_a_command_that_gives_no_answer_is_ended_and_named(tmp_path: Path, text: str, reason: str) -> None:
    async def scenario() -> None:
        with pytest.raises(NoJudgement) as refused:
            await program(tmp_path, text).ask({"a": "b" * 200_000}, message_id="clip_1", seconds_max=2.0)
        assert reason in refused.value.message

    asyncio.run(scenario())


def test_a_command_need_not_read_its_question(tmp_path: Path) -> None:
    judge = program(tmp_path, 'echo \'{"verdict": "accepted"}\'')

    async def scenario() -> None:
        for size in (10, 200_000):  # what a pipe takes at once, and what it does not
            question = {"prompt": "b" * size}
            for _ in range(30):
                assert await judge.ask(question, message_id="clip_1", seconds_max=10.0) == YES

    uvloop.run(scenario())  # as every command does


class Replies:
    """A judge that says yes, or raises."""

    needs_file = False

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def ask(self, document: Mapping[str, Any], *, message_id: str, seconds_max: float) -> object:
        if self.error is not None:
            raise self.error
        return YES

    async def close(self) -> None:
        """Nothing is held."""


def test_a_database_that_is_away_at_a_verdict_ends_no_asking(vault: Vault) -> None:
    vault.settle(Reply(CLIP), gate=JUDGED)
    away = [DatabaseUnreachable("connection refused")]

    def on_decided(*arguments: Any, **more: Any) -> None:
        if away:
            raise away.pop()
        buy_next(*arguments, **more)

    async def scenario() -> None:
        await vault.work(vault.archiver())
        asker = asking(vault, Replies(), on_decided=on_decided)
        assert await asker.due.pass_once() == 1
        assert vault.verdicts() == [("judge", None, None)]
        await ask_all(vault, asker, seconds=60)

    run(scenario)
    assert vault.verdicts() == [("decided", "accepted", "")]


def test_a_judge_that_is_slower_than_every_pass_has_not_answered(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off instead, it would be asked, and paid, in every pass, and the clip never decided."""
    monkeypatch.setattr("rushes.files.judge.asking.QUESTION_SECONDS_MIN", 0.4)
    monkeypatch.setattr("rushes.files.judge.asking.RECORD_SECONDS", 0.5)
    vault.settle(Reply(CLIP), gate=JUDGED)

    async def scenario() -> None:
        await vault.work(vault.archiver())
        asker = asking(vault, CommandJudge("sleep 60"), seconds_max=60.0, retry_seconds=(1.0,))
        assert await asker.tick(budget_seconds=0.6) == 0, "too short for a question"
        assert await asker.tick(budget_seconds=1.0) == 1
        assert vault.verdicts() == [("judge", None, None)]
        vault.books.now_ms += 1000
        assert await asker.tick(budget_seconds=1.0) == 1
        assert asker.outcomes["failed"] == 2

    run(scenario)
    assert vault.verdicts() == [("decided", "undecided", "judge:unreachable")]


def test_an_asking_that_fails_unexpectedly_ends_with_its_error(vault: Vault) -> None:
    vault.settle(Reply(CLIP), gate=JUDGED)

    async def scenario() -> None:
        await vault.work(vault.archiver())
        async with asyncio.timeout(20) as bound:
            try:
                await asking(vault, Replies(ZeroDivisionError())).run(asyncio.Event())
            finally:
                assert not bound.expired(), "it went on without asking anything"

    with pytest.raises(ExceptionGroup) as raised:
        run(scenario)
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)


def test_a_command_that_is_not_there_is_named() -> None:
    async def scenario() -> None:
        with pytest.raises(NoJudgement, match="cannot be started"):
            await CommandJudge(["/nowhere/judge"]).ask({}, message_id="clip_1", seconds_max=1.0)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("accept", "must be an object"),
        ({}, "verdict: must be accepted or rejected"),
        ({"verdict": "accepted", "reason": "a\nb"}, "reason: must be 1 to 100 printable"),
        ({"verdict": "accepted", "score": True}, "score: must be a number"),
        ({"verdict": "accepted", "scores": 1}, 'unknown field "scores"; did you mean "score"?'),
    ],
)
def test_what_is_no_judgement_is_refused_by_name(document: object, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_judgement(document)
    assert str(refused.value).startswith(message)


def test_a_score_below_the_least_one_rejects() -> None:
    said = read_judgement({"verdict": "accepted", "score": 0.69})
    assert said.outcome(0.7) == (Verdict.REJECTED, ["judge:score"])
    assert said.outcome(0.69) == said.outcome(None) == (Verdict.ACCEPTED, [])
