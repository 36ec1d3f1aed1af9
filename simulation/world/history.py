"""A world's history: chaos, healing, and the end of every task."""

import asyncio

from simulation.world.healing import check_ended_in_time, check_everything, check_plans, name_the_stuck
from simulation.world.world import World

LOOK_SECONDS = 5.0
"""How often the world looks whether everything has ended."""

HEALED_SECONDS_MAX = 4 * 3600.0
"""After the world has healed, everything must have ended by then; each task must long before, see `healing`."""


async def live(world: World) -> None:
    """Everything from the first process to the last check."""
    for fault in world.faults:
        world.plan_fault(fault)
    for slot in world.fleet.slots:
        world.later(world.random.random(), slot.start)
    world.users.start()
    chaos_ends_at = world.chaos_ends_at()
    while world.loop.time() < chaos_ends_at and not world.is_over():
        await asyncio.sleep(LOOK_SECONDS)
    world.checked(lambda: check_plans(world))
    world.heal()
    deadline = world.loop.time() + HEALED_SECONDS_MAX + world.clock_spread()
    while not world.is_over():
        if world.loop.time() > deadline:
            world.checked(lambda: name_the_stuck(world))
            return
        await asyncio.sleep(LOOK_SECONDS)
    world.checked(lambda: check_everything(world))
    world.checked(lambda: check_ended_in_time(world))
