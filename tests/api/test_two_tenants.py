"""Random sequences of calls by two tenants. `make sequences` runs 10,000 of them, `make test` a few."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.api.harness import RunningService
from tests.api.two_tenants import Answers, TwoTenants

SEQUENCES = int(os.environ.get("RUSHES_TEST_SEQUENCES", "12"))
"""On each database."""

STEPS = 15


def test_no_sequence_of_calls_finds_anothers_things_or_an_answer_that_is_not_described(
    service: RunningService,
) -> None:
    answers = Answers(service.tenant().get("/openapi.json"))

    class Here(TwoTenants):
        pass

    Here.service, Here.answers = service, answers
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=SEQUENCES < 100,
            # of few, the first that fails is told as it is: making it shorter takes many more
            phases=[Phase.generate] if SEQUENCES < 100 else [Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert answers.count >= SEQUENCES * 5
    assert service.ask(lambda rushes: rushes.audit()).violations == ()
