"""How the judge is asked: a signed POST to an endpoint, or a command that reads standard input.

Either gets one JSON object and answers one: `{"verdict": "accepted" | "rejected", "reason": …, "score": …}`.
An answer that is late, too long, redirected or not understood is none.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from standardwebhooks import Webhook

from rushes.domain.errors import RushesError
from rushes.files.guard.client import GuardedHttp

ANSWER_BYTES_MAX: Final = 64 * 1024
"""A longer answer is none."""


END_SECONDS_MAX: Final = 2.0
"""How long a program that was killed may take to be gone."""


class NoJudgement(RushesError):
    """The judge gave no answer that counts, and why."""

    code = "NO_JUDGEMENT"
    retryable = True


class Judge(Protocol):
    """Somebody who looks at clips."""

    @property
    def needs_file(self) -> bool:
        """Whether it is given a path to the clip's file."""

    async def ask(self, document: Mapping[str, Any], *, message_id: str, seconds_max: float) -> object:
        """What it answers, decoded. Raises `NoJudgement`."""

    async def close(self) -> None:
        """Release what it holds."""


def _decoded(answer: bytes) -> object:
    if len(answer) > ANSWER_BYTES_MAX:
        raise NoJudgement(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NoJudgement("its answer is no JSON") from None


@dataclass(frozen=True, slots=True)
class HttpJudge:
    """An endpoint of the operator's, asked by POST and signed as webhooks are."""

    url: str
    http: GuardedHttp
    secret: str = field(repr=False)
    now_ms: Callable[[], int]
    needs_file: bool = False

    async def ask(self, document: Mapping[str, Any], *, message_id: str, seconds_max: float) -> object:
        """The body of a 2xx answer; a redirect is none."""
        body = msgspec.json.encode(document)
        sent_at = datetime.fromtimestamp(self.now_ms() // 1000, UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(self.now_ms() // 1000),
            "webhook-signature": Webhook(self.secret).sign(message_id, sent_at, body.decode()),
        }
        try:
            async with asyncio.timeout(seconds_max):
                answer = await self.http.post(
                    self.url, headers=headers, body=body, timeout_seconds=seconds_max, asker="judge"
                )
        except TimeoutError:
            raise NoJudgement("it does not answer in time") from None
        except RushesError as error:
            raise NoJudgement(error.message) from error
        if not 200 <= answer.status < 300:
            raise NoJudgement(f"it answers HTTP {answer.status}")
        return _decoded(answer.body)

    async def close(self) -> None:
        """Release the connections."""
        await self.http.close()


@dataclass(frozen=True, slots=True)
class CommandJudge:
    """A program of the operator's, started for each clip in a process group of its own."""

    command: Sequence[str]
    needs_file: bool = True

    async def ask(self, document: Mapping[str, Any], *, message_id: str, seconds_max: float) -> object:
        """What it writes to standard output before it ends with 0."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**_without_secrets(os.environ), "RUSHES_MESSAGE_ID": message_id},
                start_new_session=True,
            )
        except OSError as error:
            raise NoJudgement(f"{self.command[0]} cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(seconds_max):
                answer = await _talk(process, msgspec.json.encode(document))
        except TimeoutError:
            raise NoJudgement("it does not answer in time") from None
        finally:
            await _end(process)
        if process.returncode != 0:
            raise NoJudgement(f"{self.command[0]} ends with exit code {process.returncode}")
        return _decoded(answer)

    async def close(self) -> None:
        """Nothing is held."""


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program needs to run: none of this process's own variables, which carry keys."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "USER", "SYSTEMROOT")
    return {name: value for name, value in environ.items() if name in kept or name.startswith("LC_")}


async def _talk(process: asyncio.subprocess.Process, question: bytes) -> bytes:
    """Write the question and read what comes, up to a byte too much, both at the same time."""
    asking = asyncio.create_task(_write(process, question))
    try:
        return await _read(process)
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def _write(process: asyncio.subprocess.Process, question: bytes) -> None:
    assert process.stdin is not None
    # it need not read any of it; uvloop says RuntimeError of a pipe whose other end is gone
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        process.stdin.write(question)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    answer = b""
    while len(answer) <= ANSWER_BYTES_MAX:
        chunk = await process.stdout.read(ANSWER_BYTES_MAX)
        if not chunk:
            await process.wait()
            return answer
        answer += chunk
    raise NoJudgement(f"its answer has more than {ANSWER_BYTES_MAX} bytes")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it and whatever it started."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None
    # its end is noticed once its output has ended, which somebody who left its group may hold open
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS_MAX):
            while await process.stdout.read(ANSWER_BYTES_MAX):
                pass
            await process.wait()
