"""`rushes models` with filters: the models side by side, with what was measured here."""

from collections.abc import Callable

from rushes.simulator.serving.server import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Ended, Shell


def bought_with_keys(shell: Shell, *arguments: str) -> Ended:
    return shell.call("models", *arguments, ARK_API_KEY="k", XAI_API_KEY="k", RUSHES_CREDIT_VALUE="0.01 USD")


def test_filters_leave_the_models_that_fit_the_cheapest_first(shell: Shell) -> None:
    asked = ("--image", "--seconds", "10", "--resolution", "720p", "--sound", "--max-credits", "250")
    found = bought_with_keys(shell, *asked, "--json").document["models"]
    bought = [model for model in found if model["takes_new_tasks"]]
    assert {model["provider"] for model in bought} == {"ark", "xai"}
    assert [model["name"] for model in bought] == [
        "grok-imagine-video-1.5-lite",
        "seedance-2.0-mini",
        "grok-imagine-video",
        "seedance-2.0-fast",
        "grok-imagine-video-1.5",
        "seedance-2.0",
    ]
    assert all(not model["takes_new_tasks"] for model in found[len(bought) :]), "those without a key last"
    lite = found[0]["offer"]
    assert lite == {
        "options": {"duration": 10, "resolution": "720p", "sound": True},
        "credits": 47,
        "credits_per_second": 4.7,
        "provider_cost": {"amount": "0.31", "currency": "USD"},
        "margin": {"amount": "0.16", "currency": "USD"},
    }
    assert found[0]["measured"]["pass_rate"] is None
    table = bought_with_keys(shell, *asked).stdout
    assert "0.31 USD" in table
    assert "GRSAI_API_KEY is not set" not in table


def test_a_look_makes_no_database(shell: Shell) -> None:
    listed = shell.call("models", "--seconds", "10", "--json").document["models"]
    assert {model["measured"]["tries"] for model in listed} == {0}
    assert not (shell.folder / "rushes-data").exists()


def test_what_was_measured_here_stands_beside_the_price(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator(render_seconds=0.3))
    shell.write("a.txt", "\n".join(f"boat {number}" for number in range(10)))
    shell.call("run", "a.txt", "--model", "sora-2", "--grant", "1000")
    models = {one["name"]: one for one in shell.call("models", "--json").document["models"]}
    measured = models["sora-2"]["measured"]
    assert (measured["tries"], measured["pass_rate"]) == (10, 1.0)
    assert 0 < measured["render_time_p50_seconds"] <= measured["render_time_p95_seconds"]
    assert models["veo-pro"]["measured"]["render_time_p50_seconds"] is None
    assert "100.0 % of 10" in shell.call("models", "--seconds", "10").stdout


def test_nothing_that_fits_and_a_resolution_that_nobody_has(shell: Shell) -> None:
    assert "no model does that" in bought_with_keys(shell, "--seconds", "200").stdout
    refused = bought_with_keys(shell, "--resolution", "1081p")
    assert refused.code == 1
    assert 'no model has "1081p"; known: ' in refused.stderr
    assert refused.stderr.count("\n") == 1
