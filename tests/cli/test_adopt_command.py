"""`rushes batch adopt` on a real simulator whose acceptances were lost: the video after all, or why not."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Connection, text

from rushes.library import Rushes
from rushes.simulator import SimulatorKnobs, SimulatorThread, running_simulator
from tests.cli.process import QUICK, Shell

LOST = SimulatorKnobs(render_seconds=0.1, submit_accepted_then_reset=1.0)
CALM = SimulatorKnobs(render_seconds=0.1)


@dataclass(frozen=True)
class Place:
    """A folder, its provider, and the batch `lost` of two items of which no acceptance came through."""

    shell: Shell
    simulator: SimulatorThread
    lost: str

    def remote_id(self, prompt: str) -> str:
        (found,) = [task.id for task in self.simulator.report().tasks or () if task.prompt == prompt]
        return found

    def everything(self) -> list[object]:
        def read(connection: Connection) -> list[object]:
            names = ("video_tasks", "batches", "ledger_entries", "accounts", "remote_ids", "batch_events")
            return [connection.execute(text(f"SELECT * FROM {name}")).all() for name in names]

        async def ask(rushes: Rushes) -> list[object]:
            return await rushes.database.read(read)

        return self.shell.ask(ask)

    def refused(self, *arguments: str) -> str:
        """The one line that is said; nothing has changed."""
        before = self.everything()
        ended = self.shell.call("batch", "adopt", *arguments)
        assert ended.code in (1, 2), ended
        assert self.everything() == before
        return ended.one_line_error()


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_simulator(LOST) as simulator:
        environment = {**QUICK, "GRSAI_HOST": simulator.base_url, "RUSHES_UNCONFIRMED_GRACE_SECONDS": "0.3"}
        shell = Shell(tmp_path_factory.mktemp("adopt"), environment)
        shell.write("lost.txt", "the first\nthe second\n")
        ended = shell.call("run", "lost.txt", "--grant", "100", "--json")
        assert ended.code == 5, ended.stderr
        simulator.use(CALM)
        yield Place(shell, simulator, ended.document["batch_id"])


def test_a_lost_video_is_settled_and_the_audit_is_clean(place: Place) -> None:
    shell, item, remote_id = place.shell, f"{place.lost}-0", place.remote_id("the first")
    before = shell.available()
    ended = shell.run("batch", "adopt", item, remote_id)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == (f"item {item} has remote task {remote_id}; its batch is partial\n")
    shown = shell.call("batch", "show", place.lost, "--json").document
    assert (shown["succeeded_count"], shown["failed_count"]) == (1, 1)
    assert shell.available() == before - shown["credits_settled"]
    second = shell.call("batch", "adopt", "last-1", place.remote_id("the second"), "--json")
    assert (second.code, second.document["status"]) == (0, "succeeded")
    assert shell.call("audit").code == 0


def test_each_refusal_is_one_line_and_writes_nothing(place: Place) -> None:
    shell, first, second = place.shell, place.remote_id("the first"), place.remote_id("the second")
    settled, failed = f"{place.lost}-0", f"{place.lost}-1"
    assert shell.call("batch", "adopt", settled, first).code == 0
    place.simulator.use(SimulatorKnobs(render_seconds=600.0))
    shell.write("slow.txt", "it renders\n")
    made = shell.ask(lambda rushes: rushes.create_batch([{"prompt": "it renders"}]))
    assert shell.call("tick").code == 0
    shell.ask(lambda rushes: rushes.grant(1, account="another"))
    said = {
        "at the provider": place.refused(f"{made['batch_id']}-0", second),
        "settled": place.refused(settled, second),
        "another account's": place.refused(failed, second, "--account", "another"),
        "another attempt's id": place.refused(failed, first),
        "an unknown id": place.refused(failed, "no-such-task"),
        "no item": place.refused(f"{place.lost}-2", second),
        "no batch": place.refused("bat_none-0", second),
        "no item's id": place.refused(place.lost, second),
        "no id": place.refused(failed, ""),
        "two lines": place.refused(failed, "a\nb"),
    }
    for case, words in {
        "at the provider": "item 0 is at the provider, as",
        "settled": "item 0 is succeeded; only an unconfirmed or failed item can be given a remote task",
        "another account's": f'there is no batch "{place.lost}"',
        "another attempt's id": "this remote task belongs to another attempt",
        "an unknown id": "grsai knows no such remote task",
        "no item": "the batch has no item 2",
        "no batch": 'there is no batch "bat_none"',
        "no item's id": "is no item: name its batch and its index, such as last-3",
        "no id": "remote_task_id: must be the provider's own id",
        "two lines": "remote_task_id: must be the provider's own id",
    }.items():
        assert words in said[case], said[case]
    shell.assert_books_are_right()
