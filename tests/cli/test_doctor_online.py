"""`rushes doctor --online`: each step to a provider, with its key, and nothing bought."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from rushes.online import key_step
from rushes.providers.base import Checkable, ProviderConfig, ProviderLimits, ResultFiles
from rushes.providers.contained import build_contained
from rushes.providers.http.client import HttpTransport
from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Ended, Shell

PASSWORD = "canary-proxy-77"


@contextmanager
def saying(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A port that answers each connection's first bytes with these, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    if data := connection.recv(65536):
                        asked.append(data)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def steps(ended: Ended) -> list[tuple[str, bool]]:
    """The steps of `grsai`, and whether they went well."""
    return [(step["step"], step["ok"]) for step in of_grsai(ended)["steps"]]


def of_grsai(ended: Ended) -> Any:
    return next(check for check in ended.document["online"] if check["provider"] == "grsai")


def test_a_provider_that_answers_is_reached_and_nothing_is_bought(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    simulator = new_simulator()
    shell = shell_at(simulator)
    ended = shell.call("doctor", "--online", "--json")
    assert ended.code == 0, ended
    assert steps(ended) == [("name", True), ("connection", True), ("key", True)]
    assert not simulator.report().tasks
    assert "grsai" in shell.call("doctor", "--online").stdout


def test_without_online_no_provider_is_asked(shell: Shell) -> None:
    assert shell.call("doctor", "--json").document["online"] is None


def test_the_step_that_fails_is_named(shell: Shell) -> None:
    ended = shell.call("doctor", "--online", "--json")
    assert ended.code == 1
    assert steps(ended) == [("name", True), ("connection", False)]
    assert "grsai: connection: Connection refused" in ended.document["problems"]


def test_a_key_that_is_refused_is_told(shell: Shell) -> None:
    with saying(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n") as (port, _):
        ended = shell.call("doctor", "--online", "--json", GRSAI_HOST=f"http://127.0.0.1:{port}")
    assert ended.code == 1
    assert steps(ended)[-1] == ("key", False)
    assert "HTTP 401" in of_grsai(ended)["steps"][-1]["text"]


def test_a_proxy_that_refuses_is_told_without_its_password_and_no_name_is_looked_up(shell: Shell) -> None:
    with saying(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as (port, asked):
        ended = shell.call(
            "doctor",
            "--online",
            "--json",
            GRSAI_HOST="https://provider.invalid",
            RUSHES_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{port}",
        )
    assert ended.code == 1
    assert steps(ended) == [("proxy", False)]
    assert "HTTP 407" in of_grsai(ended)["steps"][0]["text"]
    assert all(head.startswith(b"CONNECT provider.invalid:443 ") for head in asked)
    assert PASSWORD not in ended.stdout + ended.stderr


def test_another_packages_provider_may_check_its_key_itself_and_its_words_are_cleaned() -> None:
    class Checked:
        name, limits, result_files = "acme", ProviderLimits(), ResultFiles()
        answers: ClassVar[list[object]] = [None, f"expired: {PASSWORD}", RuntimeError("oh"), 7]

        async def submit(self, request: object) -> object:
            raise AssertionError("something was bought")

        poll_remote_task = submit

        def remote_task_id_of_callback(self, body: bytes) -> None:
            return None

        async def check(self) -> object:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    class Unchecked(Checked):
        check = None  # type: ignore[assignment]

    config = ProviderConfig("https://acme.example", PASSWORD, HttpTransport())
    provider = build_contained("acme", lambda: lambda _config: Checked(), config)

    async def steps_of() -> list[tuple[bool, str]]:
        return [(step.ok, step.text) for step in [await key_step(provider) for _ in range(4)]]

    assert asyncio.run(steps_of()) == [
        (True, "accepted"),
        (False, "expired: ***"),
        (False, "the provider acme raised RuntimeError: oh"),
        (False, "the provider acme answered with int"),
    ]
    assert not isinstance(build_contained("acme", lambda: lambda _config: Unchecked(), config), Checkable)
