"""`rushes models compare` against the simulator: what it buys, when it stops, and that it goes on."""

from collections.abc import Callable

from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

ShellAt = Callable[[SimulatorThread], Shell]


def test_two_models_are_compared_within_the_credits_and_again_for_nothing(
    new_simulator: NewSimulator, shell_at: ShellAt
) -> None:
    simulator = new_simulator(quality="veo3.1-fast:black=1", seed=3)
    shell = shell_at(simulator)
    shell.write("prompts.csv", "custom_id,prompt,model\na,a kite,\nb,a boat,veo-pro\n")
    asked = ("models", "compare", "sora-2", "veo-flash", "--prompts", "prompts.csv")
    poor = shell.call(*asked, "--credits-max", "24")
    assert "--credits-max 24 is less than one clip of each model: 25 credits" in poor.one_line_error()
    short = shell.call(*asked, "--credits-max", "60", "--json")
    assert short.code == 0, short.stderr
    found = short.document
    assert (found["ended"], found["cheaper"], found["pairs"], found["credits"]) == ("credits", None, 2, 50)
    bought = simulator.report().accepted
    ended = shell.call(*asked, "--credits-max", "400")
    assert ended.code == 0, ended.stderr
    assert "sora-2 costs less per accepted clip (1 look" in ended.stdout
    assert simulator.report().accepted == bought + 2 * 8
    again = shell.call(*asked, "--credits-max", "400", "--json").document
    assert simulator.report().accepted == bought + 2 * 8, "nothing is bought twice"
    assert (again["cheaper"], again["ended"], again["credits"]) == ("sora-2", "decided", 8 * 25)
    good, bad = again["models"]
    assert (good["clips"], good["accepted"], good["cost_per_accepted"]) == (8, 8, 10.0)
    assert (bad["clips"], bad["accepted"], bad["cost_per_accepted"]) == (8, 0, None)
    shell.assert_books_are_right()


def test_what_cannot_be_compared_is_refused(shell_at: ShellAt, new_simulator: NewSimulator) -> None:
    shell = shell_at(new_simulator())
    shell.write("a.txt", "a kite\n")
    for names, refusal in (
        (("sora-2", "sora-2"), "sora-2 cannot be compared with itself"),
        (("sora-2", "sora-3"), 'unknown model "sora-3"'),
    ):
        refused = shell.call("models", "compare", *names, "--prompts", "a.txt", "--credits-max", "100")
        assert refusal in refused.one_line_error()
