"""Forged links and callbacks, and guessed secrets: none is taken, and who has the right one still gets in."""

import http.client
import random
import string
import time
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlencode

from proofs.result import ProofResult
from rushes.domain.brake import FAILURES_MAX, SLOW_SECONDS


def differences(
    result: ProofResult, port: int, secrets: Mapping[str, str], count: int, seed: int
) -> list[str]:
    """Forge and guess `count` times each."""
    randomness = random.Random(seed)
    found = []
    for name, path in (("links", "/files/1-video-99999999999"), ("callbacks", "/callbacks/grsai/1-1")):
        method = "GET" if name == "links" else "POST"
        answers = _answers(
            port, [(method, f"{path}-{randomness.getrandbits(160):040x}", {}, b"{}") for _ in range(count)]
        )
        result.fact(f"forged {name}: tried, taken", f"{count:,}, {count - answers[404]:,}")
        if set(answers) != {404}:
            found.append(f"forged {name} were answered {dict(answers)}")
    return found + _guess(result, port, secrets, count, randomness)


def _guess(
    result: ProofResult, port: int, secrets: Mapping[str, str], count: int, randomness: random.Random
) -> list[str]:
    """Wrong worker and dashboard secrets; then at once the right one, from the same address."""
    found = []
    for variable in ("RUSHES_WORKER_SECRET", "RUSHES_DASHBOARD_SECRET"):
        started = time.monotonic()
        guesses = ["".join(randomness.choices(string.ascii_letters, k=24)) for _ in range(count)]
        answers = _answers(port, [_try(variable, guess) for guess in guesses])
        rate = count / (time.monotonic() - started)
        result.fact(
            f"guessed {variable}: tried, a second, taken", f"{count:,}, {rate:.0f}, {_taken(answers)}"
        )
        if _taken(answers):
            found.append(f"{variable}: guesses were answered {dict(answers)}")
        if count / rate < (count - FAILURES_MAX - 1) * SLOW_SECONDS * 0.8:
            found.append(f"{variable}: no guess was slowed down: {dict(answers)}, {rate:.0f} a second")
        right = _answers(port, [_try(variable, secrets[variable])])
        if not _taken(right):
            found.append(f"{variable}: the right one was answered {dict(right)} after wrong ones")
    return found


def _taken(answers: Counter[int]) -> int:
    """How many were not refused: the pass runs (200, or 5xx without a provider), or the pages are shown."""
    return sum(number for status, number in answers.items() if status not in (401, 403, 429))


def _try(variable: str, secret: str) -> tuple[str, str, dict[str, str], bytes]:
    if variable == "RUSHES_WORKER_SECRET":
        return "POST", "/internal/batch-worker", {"x-worker-secret": secret}, b""
    form = {"content-type": "application/x-www-form-urlencoded"}
    return "POST", "/dashboard/sign-in", form, urlencode({"secret": secret}).encode()


def _answers(port: int, requests: list[tuple[str, str, dict[str, str], bytes]]) -> Counter[int]:
    """The statuses of these requests, over one connection as long as the server keeps it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    statuses: Counter[int] = Counter()
    for method, path, headers, body in requests:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    connection.close()
    return statuses
