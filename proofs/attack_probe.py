"""How a service fares while it is attacked: its memory, and how long `/healthz` takes."""

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

PAUSE_SECONDS = 0.02
ANSWER_SECONDS_MAX = 20.0


@dataclass
class Probe:
    """Looks at the process and asks `/healthz`, each time over a new connection; a context manager."""

    pid: int
    host: str
    port: int
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rss_bytes_max: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._process = psutil.Process(self.pid)
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._look)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def p99_seconds(self) -> float:
        """The answer time that one in a hundred takes longer than; endless when none came."""
        found = sorted(self.seconds)
        return found[min(len(found) - 1, int(len(found) * 0.99))] if found else float("inf")

    def _ask(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS_MAX)
            started = time.perf_counter()
            try:
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(f"/healthz answered {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"/healthz: {type(error).__name__}")
            finally:
                connection.close()
            self.seconds.append(time.perf_counter() - started)

    def _look(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            with contextlib.suppress(psutil.Error):
                self.rss_bytes_max = max(self.rss_bytes_max, self._process.memory_info().rss)
