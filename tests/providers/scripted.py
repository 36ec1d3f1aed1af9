"""A transport that gives prepared answers and remembers what it was asked."""

from collections.abc import Mapping
from dataclasses import dataclass

from rushes.providers.http.transport import Response


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Scripted:
    """Gives the answers in order; the last one repeats."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        fresh: bool = False,
    ) -> Response:
        self.asked.append(Asked(method, url, dict(headers), body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def prepare(self, url: str, count: int) -> int:
        return count

    async def close(self) -> None:
        pass
