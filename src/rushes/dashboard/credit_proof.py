"""A batch's credit statement: reserved = settled + refunded (+ held), shown from three tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pieces import card, chip, counted, empty, moment, number, pager, table, url

ENTRIES_PER_PAGE: Final = 10

_ENTRY_KINDS: Final = {
    "purchase": "ok",
    "bonus": "ok",
    "reserve": "info",
    "settle": "",
    "refund": "ok",
    "expire": "warn",
    "adjust": "warn",
}


def proof_card(
    path: str,
    proof: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    *,
    page: int,
    now_ms: int,
) -> Markup:
    """The statement with its proof, and a page of its ledger entries."""
    total = proof["entry_count"]
    pages = max(1, -(-total // ENTRIES_PER_PAGE))
    previous = url(path, entries=min(page - 1, pages)) + "#credits" if page > 1 else None
    following = url(path, entries=page + 1) + "#credits" if page < pages else None
    download = tag("a", "Signed statement", href=f"{path}/statement", class_="button small", download=True)
    return tag(
        "div",
        card(
            "Credit statement",
            _equation(proof),
            _comparison(proof),
            tag("h3", f"Ledger entries ({number(total)})", class_="sub"),
            entry_table(entries, now_ms=now_ms, with_batch=False) if entries else empty("No entry."),
            pager(
                f"Page {number(page)} of {number(pages)}",
                previous=previous,
                following=following,
                of="ledger entries",
            )
            if pages > 1
            else None,
            end=download,
        ),
        id="credits",
    )


def _equation(proof: Mapping[str, Any]) -> Markup:
    of_batch = proof["batch"]

    def term(amount: int, name: str) -> Markup:
        return tag("span", number(amount), tag("small", name))

    sign = [tag("span", text, class_="sign") for text in ("=", "+", "+")]
    held = joined(sign[2], term(proof["held"], "still held")) if proof["held"] else None
    verdict = (
        chip("Proved: three tables agree" if proof["is_final"] else "Agrees so far", "ok")
        if proof["agrees"]
        else chip("The books do not agree: run rushes audit", "bad")
    )
    return tag(
        "div",
        term(of_batch["reserved"], "reserved"),
        sign[0],
        term(of_batch["settled"], "settled"),
        sign[1],
        term(of_batch["refunded"], "refunded"),
        held,
        verdict,
        class_="sum",
    )


def _comparison(proof: Mapping[str, Any]) -> Markup:
    sources = (
        ("The batch's own row", proof["batch"]),
        (
            f"{counted(proof['entry_count'], 'ledger entry', 'ledger entries')},"
            f" {counted(proof['resolution_count'], 'resolution')}",
            proof["ledger"],
        ),
        (f"Lines of {counted(len(proof['lines']), 'credit lot')}", proof["lots"]),
    )
    heads = ("Told by", "Reserved", "Settled", "Refunded")
    rows = [
        [name, number(told["reserved"]), number(told["settled"]), number(told["refunded"])]
        for name, told in sources
    ]
    return table(heads, rows, caption="The batch's credits from three tables", right=heads[1:])


def entry_table(entries: Sequence[Mapping[str, Any]], *, now_ms: int, with_batch: bool) -> Markup:
    """Ledger entries, newest first."""
    heads = ("Entry", "Type", "About", "Change", "Available after", "When")
    rows = [
        [
            f"#{entry['id']}",
            chip(entry["type"].capitalize(), _ENTRY_KINDS.get(entry["type"], "")),
            tag("span", _about(entry, with_batch=with_batch), class_="mono"),
            _change(entry["delta"]),
            number(entry["balance_after"]),
            moment(entry["created_at"], now_ms=now_ms),
        ]
        for entry in entries
    ]
    return table(
        heads,
        rows,
        caption="Ledger entries, newest first",
        right=heads[3:],
        keys=[f"entry-{entry['id']}" for entry in entries],
    )


def _about(entry: Mapping[str, Any], *, with_batch: bool) -> str:
    if entry["item_id"] is not None:
        item_id: str = entry["item_id"]
        return item_id if with_batch else f"item {item_id.rpartition('-')[2]}"
    if entry["batch_id"] is not None:
        return str(entry["batch_id"]) if with_batch else "the batch"
    return entry["description"] or "–"


def _change(delta: int) -> Markup:
    if delta == 0:
        return tag("span", "0", class_="muted")
    kind = "plus" if delta > 0 else "minus"
    return tag("span", f"{'+' if delta > 0 else '−'}{number(abs(delta))}", class_=f"amount-{kind}")
