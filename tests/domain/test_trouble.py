"""Reasons are sorted into few kinds, and tenants read none of an operator's words."""

import pytest

from rushes.domain.trouble import (
    ALERT_SECONDS,
    ALERT_TASKS,
    REASON_CHARACTERS_MAX,
    in_one_line,
    is_alert,
    kind_of,
    neutral,
)


@pytest.mark.parametrize(
    ("reason", "http_status", "kind"),
    [
        ("HTTP 503", 503, "http_503"),
        ("HTTP 503: the gateway timed out", 503, "http_503"),
        ("the key was refused (HTTP 401: no)", None, "http_401"),
        ("HTTP 999", 999, "http_other"),
        ("HTTP 600", 600, "http_other"),
        ("HTTP 599", 599, "http_599"),
        ("HTTP 100", 100, "http_100"),
        ("HTTP 99", 99, "http_other"),
        ("undecodable answer: truncated", 200, "undecodable"),
        ("undecodable answer: Invalid enum value 'SUCCESS' - at `$.status`", 200, "unknown_status"),
        ("the answer is about another task", 200, "another_task"),
        ("timed out waiting for the answer", None, "timeout"),
        ("no connection became free in time", None, "timeout"),
        ("the provider raised KeyError", None, "provider_raised"),
        ("it was sent to http://old, which cannot be asked now", None, "not_askable"),
        ("the worker stopped before the answer came", None, "worker_stopped"),
        ("Connection refused", None, "network"),
        ("it is done, with neither an error nor a response", 200, "not_understood"),
    ],
)
def test_a_reason_has_one_kind(reason: str, http_status: int | None, kind: str) -> None:
    assert kind_of(reason, http_status) == kind


def test_the_words_of_a_service_make_no_new_kinds() -> None:
    kinds = {
        kind_of(f"a message of its own, number {number}", status)
        for number in range(1000)
        for status in (None, 200, 418)
    }
    assert kinds == {"network", "not_understood", "http_418"}


def test_what_tenants_read_holds_nothing_of_the_reason() -> None:
    for reason in ("HTTP 503 at https://inner.example", "timed out at 10.0.0.1", "RUSHES_X is wrong"):
        said = neutral(kind_of(reason))
        assert said.startswith("the provider")
        assert not any(word in said for word in ("inner", "10.0", "RUSHES", "503"))


def test_an_alert_is_more_than_ten_tasks_or_five_minutes() -> None:
    assert not is_alert(tasks=ALERT_TASKS, lasted_seconds=ALERT_SECONDS - 1)
    assert is_alert(tasks=ALERT_TASKS + 1, lasted_seconds=0)
    assert is_alert(tasks=1, lasted_seconds=ALERT_SECONDS)


def test_a_kept_reason_is_one_bounded_line() -> None:
    kept = in_one_line("first\n second\t" + "x" * 10_000)
    assert kept.startswith("first second x")
    assert len(kept) == REASON_CHARACTERS_MAX
