"""The service as its callers see it: real HTTP to a real server in a thread, a simulator behind it."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from rushes.library import Rushes
from rushes.service import Service, create_key
from rushes.settings import Settings
from tests.harness import QUICK, SERVICE_THREAD

T = TypeVar("T")

SECRETS = {
    "RUSHES_WEBHOOK_SECRET": "webhook-secret-canary-5b1d",
    "RUSHES_WORKER_SECRET": "worker-secret-canary-91ac",
    "RUSHES_ALLOW_PRIVATE_URLS": "1",
    "RUSHES_ARCHIVE_URL": "none",  # files are handed on from the provider; `test_files` has an archive
}
PROBLEM_FIELDS = {"type", "title", "status", "detail", "request_id", "ok", "error", "message"}

_accounts = itertools.count()


@dataclass
class RunningService:
    """A service in a thread of its own."""

    settings: Settings
    with_worker: bool
    port: int = 0
    base_url: str = ""
    service: Service | None = None
    rushes: Rushes | None = None
    _tenants: list["Tenant"] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None
    _started: threading.Event = field(default_factory=threading.Event)
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name=SERVICE_THREAD, daemon=True)

    def start(self) -> None:
        """Start; raises what the service's start raises."""
        self._thread.start()
        assert self._started.wait(20)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop as SIGTERM does; raises what went wrong in the thread."""
        for tenant in self._tenants:
            tenant.http.close()
        assert self._loop is not None
        assert self._stop is not None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the service did not stop"
        if self._error is not None:
            raise self._error

    def ask(self, question: Callable[[Rushes], Coroutine[Any, Any, T]]) -> T:
        """Ask the library, on the service's own loop and database."""
        assert self._loop is not None
        assert self.rushes is not None
        return asyncio.run_coroutine_threadsafe(question(self.rushes), self._loop).result(30)

    def rows(self, statement: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a query."""
        from sqlalchemy import text

        async def read(rushes: Rushes) -> list[dict[str, Any]]:
            return await rushes.database.read(
                lambda connection: [dict(r._mapping) for r in connection.execute(text(statement), parameters)]
            )

        return self.ask(read)

    def tenant(self, *, credits: int = 100_000, rate_limit_per_min: int | None = None) -> "Tenant":
        """A new account with credits and a key."""
        account = f"tenant-{next(_accounts)}"

        async def make(rushes: Rushes) -> str:
            if credits:
                await rushes.grant(credits, account=account)
            made = await create_key(rushes, account=account, rate_limit_per_min=rate_limit_per_min)
            key: str = made["key"]
            return key

        tenant = Tenant(self.base_url, account, self.ask(make))
        self._tenants.append(tenant)
        return tenant

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Rushes(self.settings) as self.rushes:
            self.service = Service(self.rushes, with_worker=self.with_worker)
            await self.service.run(host="127.0.0.1", port=self.port, stop=self._stop, ready=self._ready)

    def _ready(self, url: str) -> None:
        self.base_url = url
        self._started.set()


@contextlib.contextmanager
def running_service(
    database_url: str,
    host: str = "http://127.0.0.1:1",
    environment: Mapping[str, str] | None = None,
    *,
    with_worker: bool = True,
    port: int = 0,
) -> Iterator[RunningService]:
    """A service on this database, whose provider is the simulator at `host`."""
    variables = {
        **QUICK,
        **SECRETS,
        "RUSHES_DATABASE_URL": database_url,
        "GRSAI_HOST": host,
        **(environment or {}),
    }
    settings = Settings.load({name: value for name, value in variables.items() if value}, env_file=None)
    service = RunningService(settings, with_worker, port)
    service.start()
    try:
        yield service
    finally:
        service.stop()


class Tenant:
    """One account's client. Every refusal is checked to be a whole problem document."""

    def __init__(self, base_url: str, account: str, key: str) -> None:
        self.base_url, self.account, self.key = base_url, account, key
        self.http = httpx2.Client(
            base_url=base_url, headers={"x-api-key": key}, timeout=15, trust_env=False, verify=False
        )

    def request(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """Any request."""
        answer = self.http.request(method, path, **arguments)
        assert answer.headers["x-request-id"]
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert_problem(answer)
        return answer

    def get(self, path: str, **arguments: Any) -> Any:
        """A document that is there."""
        answer = self.request("GET", path, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, document: object = None, *, status: int = 200, **arguments: Any) -> Any:
        """What a POST answers, with that status."""
        if document is not None:
            arguments["json"] = document
        answer = self.request("POST", path, **arguments)
        assert answer.status_code == status, answer.text
        return answer.json()

    def batch(self, *prompts: str, status: int = 201, **fields: Any) -> Any:
        """A new batch of Sora videos."""
        items = [{"prompt": prompt} for prompt in prompts or ("a boat",)]
        return self.post("/v1/batches", {"items": items, **fields}, status=status)

    def finished(self, batch_id: str, *, seconds_max: float = 20) -> Any:
        """The batch at its end."""
        return eventually(
            lambda: self.get(f"/v1/batches/{batch_id}"),
            lambda batch: batch["completed_at"] is not None,
            seconds_max=seconds_max,
        )

    def lost_item(self, prompt: str) -> str:
        """The id of an item whose submit's answer was lost and that was given up; the provider must be so."""
        batch_id: str = self.batch(prompt)["batch_id"]
        assert self.finished(batch_id)["failed_count"] == 1
        (item,) = self.get(f"/v1/batches/{batch_id}/items")["items"]
        assert item["error"] == "SUBMIT_OUTCOME_UNKNOWN", item
        return f"{batch_id}-0"


def assert_problem(answer: httpx2.Response) -> dict[str, Any]:
    """The answer is a problem document with all its fields."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document: dict[str, Any] = answer.json()
    assert document.keys() >= PROBLEM_FIELDS, document
    assert document["status"] == answer.status_code
    assert document["ok"] is False
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["message"] == document["detail"]
    assert "\n" not in document["message"]
    return document


def code_of(document: Mapping[str, Any]) -> str:
    """The code of a refusal, in either of its shapes."""
    said = document["error"]
    code: str = said["code"] if isinstance(said, dict) else said
    return code


def eventually(
    look: Callable[[], T], is_so: Callable[[T], bool], *, seconds_max: float = 15.0, pause: float = 0.05
) -> T:
    """Look until it is so; fails with what was last seen."""
    deadline = time.monotonic() + seconds_max
    while True:
        seen = look()
        if is_so(seen):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(pause)
