"""Ledger entries as a table, each with the way to what it is about."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pieces import batch_path, chip, clock, number, short_id, table
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr
from rushes.store.acceptance.given_back import entry_kind

_KINDS: Final = {
    "purchase": "ok",
    "bonus": "ok",
    "given_back": "ok",
    "reserve": "info",
    "settle": "",
    "refund": "ok",
    "expire": "warn",
    "adjust": "warn",
}


def entry_word(kind: str) -> str:
    """The `entry_kind` of an entry, for people."""
    match kind:
        case "purchase":
            return tr("Purchase")
        case "bonus":
            return tr("Bonus")
        case "given_back":
            return tr("Given back")
        case "reserve":
            return tr("Reserve")
        case "settle":
            return tr("Settle")
        case "refund":
            return tr("Refund")
        case "expire":
            return tr("Expire")
        case "adjust":
            return tr("Adjust")
        case _:
            return kind


def entry_table(visit: Visit, entries: Sequence[Mapping[str, Any]], *, with_batch: bool) -> Markup:
    """Ledger entries, newest first."""
    heads = (tr("Entry"), tr("Type"), tr("About"), tr("Change"), tr("Available after"), tr("When (UTC)"))
    rows = [
        [
            f"#{entry['id']}",
            chip(entry_word(entry_kind(entry)), _KINDS.get(entry_kind(entry), "")),
            _about(visit, entry, with_batch=with_batch),
            change(entry["delta"]),
            number(entry["balance_after"]),
            clock(entry["created_at"]),
        ]
        for entry in entries
    ]
    return table(
        heads,
        rows,
        caption=tr("Ledger entries, newest first"),
        right=heads[3:],
        keys=[f"entry-{entry['id']}" for entry in entries],
        class_="dense",
    )


def _about(visit: Visit, entry: Mapping[str, Any], *, with_batch: bool) -> Markup:
    if entry["item_id"] is not None:
        item_id: str = entry["item_id"]
        batch_id, _, index = item_id.rpartition("-")
        text = tr("item {index}", index=index)
        shown = joined(tag("span", short_id(batch_id), class_="mono"), " ", text) if with_batch else text
        return tag("a", shown, href=f"{visit.root}/items/{item_id}", title=item_id)
    if entry["batch_id"] is not None:
        if not with_batch:
            return tag("span", tr("the batch"))
        batch_id = entry["batch_id"]
        return tag(
            "a", short_id(batch_id), href=batch_path(visit.root, batch_id), class_="mono", title=batch_id
        )
    return tag("span", entry["description"] or "–")


def change(delta: int) -> Markup:
    """What came or went."""
    if delta == 0:
        return tag("span", "0", class_="muted")
    kind = "plus" if delta > 0 else "minus"
    return tag("span", f"{'+' if delta > 0 else '−'}{number(abs(delta))}", class_=f"amount-{kind}")
