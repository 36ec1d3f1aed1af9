"""The whole of a simulated world, and the faults that befall it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from simulation.truth.journal import Store
from simulation.world import kinds
from simulation.world.callbacks import Postman
from simulation.world.ground import NEXT_HOST, Ground
from simulation.world.kinds import Fault
from simulation.world.loop import NumberedTask, VirtualLoop
from simulation.world.plan import Plan, without
from simulation.world.slot import Fleet
from simulation.world.users import Users


class World(Ground):
    """Everything of one run: its workers' slots, its users, the service's callbacks, and its faults."""

    def __init__(self, plan: Plan, faults: Sequence[Fault], *, store: Store, loop: VirtualLoop) -> None:
        super().__init__(plan, faults, store=store, loop=loop)
        self.fleet = Fleet(self)
        self.postman = Postman(self, self.fleet)
        self.users = Users(self, self.fleet)
        self.note_clocks()

    def _accepted(self, remote: Any) -> None:
        super()._accepted(remote)
        self.later(0.0, self.postman.plan)

    def chaos_ends_at(self) -> float:
        """When the last fault is over."""
        outages = [f.at + f.seconds for f in self.faults if isinstance(f, kinds.ServiceOutage)]
        return max([self.plan.chaos_seconds, *outages])

    def is_over(self) -> bool:
        """Whether all that users wanted has come to its end."""
        return self.users.is_done and not self.life.open_count

    def heal(self) -> None:
        """No more faults: every slot has a process, every clock is right, the service is friendly."""
        self.log("heal")
        self.in_chaos = False
        self.healed_at = self.loop.time()
        self.late_share = self.swapped_share = self.odd_share = self.swapped_submits_share = 0.0
        self.storm = self.slow_connects = None
        self.refusing.end()
        self.outages.clear()
        self.service.use(self.plan.knobs())
        for slot in self.fleet.slots:
            slot.clock_right()
            if slot.process is not None and slot.process.is_paused:
                slot.process.resume()
            slot.start()

    async def bury(self) -> None:
        """Clear away all processes: their steps run once more, to be cancelled, cut off from everything."""
        self.is_buried = True
        for bury in self.burials:
            bury()
        while True:
            left = [
                task
                for task in asyncio.all_tasks(self.loop)
                if isinstance(task, NumberedTask) and task.gate is not None
            ]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)

    # --- faults -------------------------------------------------------------------------------------

    def plan_fault(self, fault: Fault) -> None:
        """The fault comes at its time, or holds from the start."""
        match fault:
            case kinds.Weather():
                pass  # in force from the start
            case kinds.LateArrivals():
                self.late_share = fault.share
            case kinds.SwappedAnswers():
                self.swapped_share = fault.share
            case kinds.OddFields():
                self.odd_share = fault.share
            case kinds.SwappedSubmits():
                self.swapped_submits_share = fault.share
            case kinds.CallbackStorm():
                self.storm = fault
            case kinds.SlowConnects():
                self.slow_connects = fault
            case _:
                self.at(fault.at, self._apply, fault)

    def _apply(self, fault: Fault) -> None:
        if not self.in_chaos:
            return
        match fault:
            case kinds.Crash():
                self.fleet.slots[fault.slot].crash(fault)
            case kinds.Pause():
                self.fleet.slots[fault.slot].pause(fault)
            case kinds.Stop():
                self.fleet.slots[fault.slot].stop(fault)
            case kinds.ClockJump():
                self.fleet.slots[fault.slot].jump(fault)
            case kinds.LostCommit() | kinds.LateAnswer():
                self.fleet.slots[fault.slot].delay_answer(fault)
            case kinds.Cut():
                self.fleet.slots[fault.slot].cut(fault)
            case kinds.RefusedRows():
                ends_at = fault.at + fault.seconds
                self.refusing.begin(ends_at=ends_at, kinds=fault.kinds, tasks=fault.tasks)
            case kinds.MovedHost():
                self.host = NEXT_HOST
            case kinds.DatabaseOutage():
                self.outages.append(fault)
            case kinds.ServiceOutage():
                self.service.be_out(start=fault.at, seconds=fault.seconds, kind=fault.kind)
            case kinds.KeyDisabled():
                self.service.use(self.service.knobs.replaced({"key_disabled": True}))
                self.later(fault.seconds, self._enable_key)
            case kinds.Cancel():
                self.users.cancel(fault)
            case kinds.Retry():
                self.users.retry(fault)
            case kinds.Grant():
                self.users.grant(fault)
            case kinds.Retire():
                self.users.retire(fault)
                if fault.is_gone:
                    self.catalogue = without(self.catalogue, fault.model)
            case _:
                raise AssertionError(fault)

    def _enable_key(self) -> None:
        self.service.use(self.service.knobs.replaced({"key_disabled": False}))

    # --- checks at the end --------------------------------------------------------------------------
