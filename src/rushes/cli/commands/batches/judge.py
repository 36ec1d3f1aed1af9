"""`rushes batch judge` and `batch verdicts`: what people say of clips, and what they came to."""

from typing import Annotated, Literal

from cyclopts import Parameter

from rushes.cli.named import BatchId
from rushes.cli.options import Json, Whole


def judge(
    batch_id: BatchId,
    index: Annotated[Whole, Parameter(help="The item's index.")],
    verdict: Annotated[Literal["accept", "reject"], Parameter(help="Whether the clip can be used.")],
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why, in a few words.")] = None,
    score: Annotated[float | None, Parameter(help="From 0 to 1.")] = None,
    json: Json = False,
) -> None:
    """Judge an item's newest clip, once; a rejected one buys another where the batch asked for that."""
    from rushes.cli.session import opened, run_async, user_name
    from rushes.cli.show import print_json, print_line

    said = {"verdict": verdict, "reason": reason, "score": score}

    async def give() -> None:
        async with opened() as rushes:
            done = await rushes.judge(await rushes.batch_id_like(batch_id), index, said, person=user_name())
        if json:
            print_json({"ok": True, **done})
            return
        more = "; it buys another clip: `rushes worker` works on" if done["buys"] else ""
        print_line(f"item {index} is {done['verdict']}{more}")

    run_async(give())


def verdicts(
    batch_id: BatchId,
    /,
    *,
    json: Json = False,
) -> None:
    """Show what a batch asked of its clips, their verdicts and reasons, and what an accepted one cost."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_facts, print_json

    async def show() -> None:
        async with opened() as rushes:
            found = await rushes.verdicts(await rushes.batch_id_like(batch_id))
        if json:
            print_json({"ok": True, **found})
            return
        counts, reasons = found["verdicts"], found["reasons"]
        cost = found["cost_per_accepted"]
        print_facts(
            {
                "batch": found["batch_id"],
                "clips": f"{found['clips']}, {found['replaced']} of them replaced by another",
                "verdicts": " · ".join(f"{count} {name}" for name, count in counts.items() if count)
                or "none",
                "rejected for": ", ".join(f"{count} {name}" for name, count in reasons.items()) or "nothing",
                "credits": found["credits_settled"],
                "per accepted": "no clip is accepted" if cost is None else f"{cost:g}",
            }
        )

    run_async(show())
