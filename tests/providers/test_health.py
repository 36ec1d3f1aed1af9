"""When a provider is held back, and that it never is for ever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.task import (
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.health import (
    EQUAL_REFUSALS,
    HOLD_SECONDS_MAX,
    OUTAGE_FAILURES,
    OUTAGE_SECONDS_MAX,
    OUTAGE_SECONDS_MIN,
    PAUSE_SECONDS_MAX,
    PAUSE_SECONDS_MIN,
    PROBE_SECONDS_MAX,
    PROBE_WAIT_SECONDS,
    SUBMITS_UNLIMITED,
    HealthState,
    ProviderHealth,
)

START = 1000.0
CUT = NoAnswer("connection reset")
BROKE = NoAnswer("HTTP 503", 503)
ALIVE = Processing(5)
BALANCE = Rejected("insufficient credits", FailureType.UNKNOWN)
PAUSED = NotSent("insufficient credits", pauses_provider=True)
KEY_REFUSED = NotSent("the key was refused (HTTP 401)", pauses_provider=True)


def polled(health: ProviderHealth, *results: PollResult, now: float = START) -> None:
    for result in results:
        health.on_poll(result, now)


def submitted(health: ProviderHealth, *outcomes: SubmitOutcome, now: float = START) -> list[SubmitOutcome]:
    return [health.on_submit(outcome, now) for outcome in outcomes]


def may_poll(health: ProviderHealth, now: float) -> bool:
    return health.polls_held_until(now) <= now


# --- all is well ------------------------------------------------------------------------------------------


def test_a_new_provider_is_not_held() -> None:
    health = ProviderHealth()
    assert health.submits_permitted(START) == SUBMITS_UNLIMITED
    assert may_poll(health, START)
    assert health.state(START) == HealthState("closed")


def test_outcomes_pass_unchanged() -> None:
    outcomes: list[SubmitOutcome] = [
        Accepted("1"),
        BALANCE,
        Rejected("no", FailureType.INPUT_MODERATION),
        Throttled("HTTP 429", 1.0),
        NotSent("refused"),
        KEY_REFUSED,
        Unknown("HTTP 500"),
    ]
    assert submitted(ProviderHealth(), *outcomes) == outcomes


# --- an outage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [CUT, BROKE, NoAnswer("HTTP 500", 500)])
def test_polls_without_answers_in_a_row_open_the_breaker_for_polls_and_submits(failure: NoAnswer) -> None:
    health = ProviderHealth()
    polled(health, *[failure] * (OUTAGE_FAILURES - 1))
    assert may_poll(health, START)
    polled(health, failure)
    assert health.polls_held_until(START) == START + OUTAGE_SECONDS_MIN
    assert health.submits_permitted(START) == 0
    assert health.state(START) == HealthState("open", failure.error, START + OUTAGE_SECONDS_MIN)


@pytest.mark.parametrize("failure", [Unknown("HTTP 500"), NotSent("connection refused")])
def test_submits_without_answers_hold_submits_but_not_polls(failure: SubmitOutcome) -> None:
    health = ProviderHealth()
    submitted(health, *[failure] * OUTAGE_FAILURES)
    assert health.submits_permitted(START) == 0
    assert may_poll(health, START)
    assert health.state(START).state == "open"


@pytest.mark.parametrize(
    "sign_of_life",
    [ALIVE, Succeeded("u"), Failed("x", FailureType.UNKNOWN), NoAnswer("HTTP 404", 404), NoAnswer("", 429)],
)
def test_an_answer_in_between_keeps_the_breaker_closed(sign_of_life: PollResult) -> None:
    health = ProviderHealth()
    polled(health, *[CUT] * (OUTAGE_FAILURES - 1), sign_of_life, *[CUT] * (OUTAGE_FAILURES - 1))
    assert health.state(START + 2).state == "closed"


def test_an_undecodable_answer_is_neither_a_failure_nor_a_sign_of_life() -> None:
    health = ProviderHealth()
    polled(health, *[NoAnswer("undecodable", 200)] * 100)
    assert health.state(START).state == "closed"
    polled(health, *[CUT] * (OUTAGE_FAILURES - 1), NoAnswer("undecodable", 200), CUT)
    assert health.state(START).state == "open"


def test_failures_of_requests_sent_before_it_opened_do_not_prolong_an_outage() -> None:
    health = ProviderHealth()
    polled(health, *[CUT] * 64)
    assert health.polls_held_until(START) == START + OUTAGE_SECONDS_MIN


def test_it_says_until_when_no_poll_may_go_and_asking_changes_nothing() -> None:
    health = ProviderHealth()
    assert health.polls_stopped_until <= START
    polled(health, NoAnswer("busy", 429, retry_after_seconds=90.0))
    assert health.polls_stopped_until == START + 90.0 == health.polls_held_until(START)
    polled(health, *[CUT] * OUTAGE_FAILURES)
    until = health.polls_stopped_until
    assert until == health.polls_held_until(START) > START
    assert health.polls_held_until(until) == until, "that one tries"
    assert health.polls_stopped_until == until


def test_after_the_wait_one_poll_at_a_time_tries_and_an_answer_closes() -> None:
    health = ProviderHealth()
    polled(health, *[CUT] * OUTAGE_FAILURES)
    now = START + OUTAGE_SECONDS_MIN
    assert health.state(now) == HealthState("half_open", CUT.error)
    assert may_poll(health, now)
    assert health.polls_held_until(now) == now + PROBE_WAIT_SECONDS
    assert not may_poll(health, now + 0.5)
    polled(health, ALIVE, now=now + 0.5)
    assert may_poll(health, now + 0.5)
    assert may_poll(health, now + 0.5)
    assert health.state(now + 0.5) == HealthState("closed")


def test_a_probe_that_fails_doubles_the_wait_up_to_its_limit() -> None:
    health = ProviderHealth()
    polled(health, *[CUT] * OUTAGE_FAILURES)
    now, waits = START, []
    for _ in range(6):
        until = health.polls_held_until(now)
        waits.append(until - now)
        now = until
        assert may_poll(health, now)
        polled(health, CUT, now=now)
    assert waits == [5.0, 10.0, 20.0, 40.0, OUTAGE_SECONDS_MAX, OUTAGE_SECONDS_MAX]
    polled(health, ALIVE, now=now)
    polled(health, *[CUT] * OUTAGE_FAILURES, now=now)
    assert health.polls_held_until(now) == now + OUTAGE_SECONDS_MIN


def test_a_probe_that_is_never_heard_of_again_is_replaced() -> None:
    health = ProviderHealth()
    polled(health, *[CUT] * OUTAGE_FAILURES)
    now = START + OUTAGE_SECONDS_MIN
    assert may_poll(health, now)
    assert not may_poll(health, now + PROBE_SECONDS_MAX - 0.001)
    assert may_poll(health, now + PROBE_SECONDS_MAX)


def test_after_the_wait_submits_go_one_at_a_time_until_one_is_answered() -> None:
    health = ProviderHealth()
    submitted(health, *[Unknown("HTTP 500")] * OUTAGE_FAILURES)
    now = START + OUTAGE_SECONDS_MIN
    assert [health.submits_permitted(now) for _ in range(3)] == [1, 1, 1]  # asking takes nothing
    submitted(health, Unknown("HTTP 500"), now=now)
    assert health.submits_permitted(now + OUTAGE_SECONDS_MIN) == 0
    assert health.submits_permitted(now + 2 * OUTAGE_SECONDS_MIN) == 1
    submitted(health, Accepted("1"), now=now + 2 * OUTAGE_SECONDS_MIN)
    assert health.submits_permitted(now + 2 * OUTAGE_SECONDS_MIN) == SUBMITS_UNLIMITED


def test_polls_that_are_answered_do_not_hide_that_submits_are_not() -> None:
    health = ProviderHealth()
    for _ in range(OUTAGE_FAILURES):
        submitted(health, Unknown("HTTP 500"))
        polled(health, ALIVE)
    assert health.submits_permitted(START) == 0


def test_with_nothing_left_to_poll_a_submit_still_gets_through() -> None:
    health = ProviderHealth()
    polled(health, *[CUT] * OUTAGE_FAILURES)
    assert health.submits_permitted(START + OUTAGE_SECONDS_MIN) == 1


# --- throttling -------------------------------------------------------------------------------------------


def test_retry_after_holds_its_own_kind_only() -> None:
    health = ProviderHealth()
    submitted(health, Throttled("HTTP 429", 20.0))
    assert health.submits_permitted(START + 19.9) == 0
    assert may_poll(health, START)
    assert health.state(START) == HealthState("held", "HTTP 429", START + 20)
    assert health.submits_permitted(START + 20) == SUBMITS_UNLIMITED
    polled(health, NoAnswer("HTTP 429", 429, 30.0), now=START + 20)
    assert health.polls_held_until(START + 21) == START + 50
    assert health.submits_permitted(START + 21) == SUBMITS_UNLIMITED


def test_retry_after_is_bounded_and_never_shortens() -> None:
    health = ProviderHealth()
    polled(health, NoAnswer("HTTP 503", 503, 1e9))
    assert health.polls_held_until(START) == START + HOLD_SECONDS_MAX
    polled(health, NoAnswer("HTTP 429", 429, 1.0), ALIVE)
    assert health.polls_held_until(START) == START + HOLD_SECONDS_MAX


def test_being_throttled_again_and_again_without_a_time_waits_longer_each_time() -> None:
    health = ProviderHealth()
    now, waits = START, []
    for _ in range(8):
        submitted(health, *[Throttled("HTTP 429")] * 64, now=now)  # a burst counts once
        wait = health.state(now).until
        assert wait is not None
        waits.append(wait - now)
        now = wait
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    submitted(health, Accepted("1"), Throttled("HTTP 429"), now=now)
    assert health.state(now).until == now + 1.0


def test_polls_throttled_without_a_time_are_held_a_little() -> None:
    health = ProviderHealth()
    polled(health, NoAnswer("HTTP 429", 429))
    assert health.polls_held_until(START) == START + 1.0


# --- refusals that are the account's fault ----------------------------------------------------------------


def test_a_refused_key_pauses_submits_at_once() -> None:
    health = ProviderHealth()
    assert submitted(health, KEY_REFUSED) == [KEY_REFUSED]
    assert health.submits_permitted(START) == 0
    assert may_poll(health, START)
    assert health.state(START) == HealthState("paused", KEY_REFUSED.reason, START + PAUSE_SECONDS_MIN)
    assert health.submits_permitted(START + PAUSE_SECONDS_MIN) == 1
    assert health.state(START + PAUSE_SECONDS_MIN) == HealthState("paused", KEY_REFUSED.reason)


def test_equal_refusals_in_a_row_pause_and_the_tasks_stay_pending() -> None:
    health = ProviderHealth()
    outcomes = submitted(health, *[BALANCE] * 64)
    assert outcomes == [BALANCE] * (EQUAL_REFUSALS - 1) + [PAUSED] * (65 - EQUAL_REFUSALS)
    assert health.state(START) == HealthState("paused", BALANCE.reason, START + PAUSE_SECONDS_MIN)


@pytest.mark.parametrize(
    "failure_type",
    [FailureType.INPUT_MODERATION, FailureType.OUTPUT_MODERATION, FailureType.PARAM_ERROR],
)
def test_refusals_of_the_tasks_themselves_never_pause(failure_type: FailureType) -> None:
    health = ProviderHealth()
    refusals: list[SubmitOutcome] = [Rejected("no", failure_type)] * 1000
    assert submitted(health, *refusals) == refusals
    assert health.submits_permitted(START) == SUBMITS_UNLIMITED


@pytest.mark.parametrize(
    "other",
    [Accepted("1"), Rejected("busy", FailureType.UNKNOWN), Rejected("no", FailureType.INPUT_MODERATION)],
)
def test_another_answer_in_between_starts_the_count_anew(other: SubmitOutcome) -> None:
    health = ProviderHealth()
    refusals: list[SubmitOutcome] = [BALANCE] * (EQUAL_REFUSALS - 1)
    assert submitted(health, *refusals, other, *refusals) == [*refusals, other, *refusals]


@pytest.mark.parametrize("no_answer", [Throttled("HTTP 429", 1.0), Unknown("cut"), NotSent("refused")])
def test_what_is_no_answer_does_not_start_the_count_anew(no_answer: SubmitOutcome) -> None:
    health = ProviderHealth()
    submitted(health, *[BALANCE] * (EQUAL_REFUSALS - 1), no_answer)
    assert submitted(health, BALANCE) == [PAUSED]


def test_an_equal_refusal_of_the_task_that_tries_keeps_it_pending_and_doubles_the_pause() -> None:
    health = ProviderHealth()
    submitted(health, *[BALANCE] * EQUAL_REFUSALS)
    now, pauses = START, []
    for _ in range(7):
        until = health.state(now).until
        assert until is not None
        pauses.append(until - now)
        now = until
        assert health.submits_permitted(now) == 1
        assert submitted(health, BALANCE, now=now) == [PAUSED]
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, PAUSE_SECONDS_MAX, PAUSE_SECONDS_MAX]


@pytest.mark.parametrize(
    "other", [Accepted("1"), Rejected("busy", FailureType.UNKNOWN), Rejected("no", FailureType.PARAM_ERROR)]
)
def test_another_answer_ends_the_pause(other: SubmitOutcome) -> None:
    health = ProviderHealth()
    submitted(health, *[BALANCE] * EQUAL_REFUSALS)
    now = START + PAUSE_SECONDS_MIN
    assert submitted(health, other, now=now) == [other]
    assert health.submits_permitted(now) == SUBMITS_UNLIMITED
    assert submitted(health, BALANCE, now=now) == [BALANCE]  # counted from one again


@pytest.mark.parametrize("no_answer", [Throttled("HTTP 429"), Unknown("cut"), NotSent("refused")])
def test_what_is_no_answer_does_not_end_the_pause(no_answer: SubmitOutcome) -> None:
    health = ProviderHealth()
    submitted(health, KEY_REFUSED)
    submitted(health, no_answer, now=START + PAUSE_SECONDS_MIN)
    assert health.state(START + PAUSE_SECONDS_MIN).state == "paused"


def test_polls_go_on_and_say_nothing_of_the_pause() -> None:
    health = ProviderHealth()
    submitted(health, KEY_REFUSED)
    polled(health, ALIVE)
    assert may_poll(health, START)
    assert health.submits_permitted(START) == 0


# --- whatever happens -------------------------------------------------------------------------------------

durations = st.none() | st.floats(0, 1e6)
any_outcome: st.SearchStrategy[SubmitOutcome] = st.one_of(
    st.just(Accepted("1")),
    st.builds(Rejected, st.sampled_from(["a", "b"]), st.sampled_from(list(FailureType))),
    st.builds(Throttled, st.just("HTTP 429"), durations),
    st.builds(NotSent, st.just("c"), st.booleans()),
    st.just(Unknown("d")),
)
any_result: st.SearchStrategy[PollResult] = st.one_of(
    st.just(ALIVE),
    st.builds(NoAnswer, st.just("e"), st.none() | st.sampled_from([200, 404, 429, 503]), durations),
)
steps = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.0, 1.0, 40.0]), st.one_of(any_outcome, any_result)), max_size=80
)


@given(steps=steps)
@settings(max_examples=300, deadline=None)
def test_whatever_happens_nothing_is_held_for_ever_and_no_verdict_is_made_up(
    steps: list[tuple[float, SubmitOutcome | PollResult]],
) -> None:
    health, now = ProviderHealth(), START
    for seconds, event in steps:
        now += seconds
        if isinstance(event, NoAnswer | Processing | Succeeded | Failed):
            health.on_poll(event, now)
        else:
            acted_on = health.on_submit(event, now)
            if acted_on is not event:
                assert isinstance(event, Rejected)
                assert acted_on == NotSent(event.reason, pauses_provider=True)
        assert health.submits_permitted(now) in (0, 1, SUBMITS_UNLIMITED)
        assert health.polls_held_until(now) <= now + HOLD_SECONDS_MAX
        state = health.state(now)
        assert (state.state == "closed") == (state.reason is None)
        if state.state == "closed":
            assert health.submits_permitted(now) == SUBMITS_UNLIMITED
            assert may_poll(health, now)
    later = now + max(HOLD_SECONDS_MAX, PAUSE_SECONDS_MAX, OUTAGE_SECONDS_MAX)
    assert health.submits_permitted(later) >= 1
    assert may_poll(health, later)
    health.on_submit(Accepted("1"), later)
    health.on_poll(ALIVE, later)
    assert health.state(later) == HealthState("closed")
    assert health.submits_permitted(later) == SUBMITS_UNLIMITED
    assert may_poll(health, later)
    assert may_poll(health, later)


def test_polls_that_the_key_is_refused_for_are_told_until_one_is_answered() -> None:
    health = ProviderHealth()
    health.on_poll(NoAnswer("HTTP 401", 401), 1.0)
    told = health.state(1.0)
    assert (told.state, told.key_refused) == ("paused", True)
    assert health.polls_held_until(1.0) <= 1.0, "polls go on: the key may be mended"
    health.on_poll(Processing(10), 2.0)
    assert health.state(2.0).state == "closed"
