"""One batch: its progress, its videos, what can be done about failures, and its credits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from rushes.dashboard.credit_proof import ENTRIES_PER_PAGE, proof_card
from rushes.dashboard.frame import page_frame
from rushes.dashboard.live import Live, answer_of, confirmed, dialog_button, named_dialog, said
from rushes.dashboard.markup import Markup, joined, link_target, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import (
    STATUS_WORDS,
    batch_bar,
    counted,
    duration,
    moment,
    number,
    page_head,
    percent,
    request_of,
    stat,
    status_chip,
    url,
)
from rushes.dashboard.wall import ITEMS_PER_PAGE, wall_card
from rushes.domain.errors import NotFound
from rushes.domain.task import TaskStatus
from rushes.engine import operator_acts, operator_reads
from rushes.engine.operator_reads import ItemFilter, Span
from rushes.engine.views import OPEN_BATCH_STATUSES, runs_on

RETRY_ROUNDS_MAX: Final = 100
"""Transactions of one "retry all": more than a batch has failures for."""


@dataclass
class BatchPage:
    """One open page of a batch: what it shows, and what its buttons do."""

    parts: DashboardParts
    root: str
    batch_id: str
    wanted: ItemFilter
    page: int
    entries_page: int
    selected: set[int] = field(default_factory=set)
    live: Live | None = None
    _shown: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    async def render(self) -> Markup:
        """The page as it is now."""
        now_ms = self.parts.now_ms()
        try:
            seen = await self.parts.read(
                operator_reads.batch_in_full,
                self.batch_id,
                self.wanted,
                items=Span(ITEMS_PER_PAGE, (self.page - 1) * ITEMS_PER_PAGE),
                entries=Span(ENTRIES_PER_PAGE, (self.entries_page - 1) * ENTRIES_PER_PAGE),
                catalogue=self.parts.catalogue,
                links=self.parts.links,
                now_ms=now_ms,
            )
        except NotFound as error:
            return joined(page_head("Batch not found"), tag("p", error.message, class_="banner warn"))
        self._shown = {item["index"]: item for item in seen["items"]}
        self.selected &= {i for i, item in self._shown.items() if item["status"] == "failed"}
        return joined(
            self._head(seen["batch"]),
            _stats(seen["batch"], now_ms=now_ms),
            wall_card(
                f"{self.root}/batches/{self.batch_id}",
                seen["batch"],
                seen["items"],
                seen["failures"],
                wanted=self.wanted,
                page=self.page,
                selected=self.selected,
            ),
            proof_card(
                f"{self.root}/batches/{self.batch_id}",
                seen["proof"],
                seen["entries"],
                page=self.entries_page,
                now_ms=now_ms,
            ),
        )

    def _head(self, batch: Mapping[str, Any]) -> Markup:
        path = f"{self.root}/batches/{self.batch_id}"
        cancel = tag("button", "Cancel batch", type="button", class_="button danger", data_act="cancel")
        return page_head(
            tag("span", self.batch_id, class_="mono"),
            tag("a", "Export CSV", href=url(f"{path}/export", format="csv"), class_="button", download=True),
            tag(
                "a",
                "Export JSON Lines",
                href=url(f"{path}/export", format="jsonl"),
                class_="button",
                download=True,
            ),
            cancel if batch["status"] in OPEN_BATCH_STATUSES else None,
            above=tag("a", "← Batches", href=f"{self.root}/batches", class_="crumb"),
            below=request_of(batch),
        )

    # --- what the buttons do ----------------------------------------------------------------------------

    async def cancel(self, _arguments: dict[str, Any]) -> None:
        """Cancel what waits."""
        text = "What waits is refunded at once. What is being rendered goes on to its end and is paid for."
        if not await confirmed("Cancel this batch?", text, action="Cancel batch", is_harmful=True):
            return
        refunded = await self.parts.database.transact(
            operator_acts.cancel, self.batch_id, now_ms=self.parts.now_ms()
        )
        batch = await self.parts.database.read(
            operator_reads.batch_with_account, self.batch_id, now_ms=self.parts.now_ms()
        )
        said(f"Cancelled: {number(refunded)} credits given back{runs_on(batch['processing_count'])}")
        await self.refresh()

    async def select(self, arguments: dict[str, Any]) -> None:
        """A tile's box was checked or not."""
        index = int(arguments["index"])
        (self.selected.add if arguments.get("checked") else self.selected.discard)(index)
        await self.refresh()

    async def select_page(self, _arguments: dict[str, Any]) -> None:
        """Choose all failures of the page, or none when they all are."""
        failed = {i for i, item in self._shown.items() if item["status"] == "failed"}
        self.selected = set() if failed == self.selected else failed
        await self.refresh()

    async def retry_one(self, arguments: dict[str, Any]) -> None:
        """Try one item again."""
        await self._retry([int(arguments["index"])])

    async def retry_selected(self, _arguments: dict[str, Any]) -> None:
        """Try the chosen ones again."""
        chosen, self.selected = sorted(self.selected), set()
        await self._retry(chosen)

    async def _retry(self, indexes: list[int]) -> None:
        done = await self.parts.database.transact(
            operator_acts.retry_items, self.batch_id, indexes, now_ms=self.parts.now_ms()
        )
        await self._retried(done.count, done.refusal)

    async def retry_all(self, _arguments: dict[str, Any]) -> None:
        """Try all failures that the filter shows again."""
        text = "Each is a new task: its credits are reserved anew, and given back again should it fail."
        if not await confirmed("Try all these failures again?", text, action="Try again"):
            return
        count, from_index = 0, 0
        for _ in range(RETRY_ROUNDS_MAX):
            done = await self.parts.database.transact(
                operator_acts.retry_failed,
                self.batch_id,
                failure_type=self.wanted.failure_type,
                from_index=from_index,
                now_ms=self.parts.now_ms(),
            )
            count += done.count
            if done.next_index is None:
                break
            from_index = done.next_index
        await self._retried(count, done.refusal)

    async def _retried(self, count: int, refusal: str | None) -> None:
        if count:
            self.parts.on_work()
            said(f"{counted(count, 'item waits', 'items wait')} to be tried again")
        if refusal is not None:
            ui.notify(f"Not all: {refusal}", type="warning", position="top", close_button="Close")
        await self.refresh()

    async def play(self, arguments: dict[str, Any]) -> None:
        """Show a video's player."""
        item = self._shown.get(int(arguments["index"]))
        source = None if item is None else link_target(item["video_url"])
        if item is None or source is None:
            return
        dialog, card = named_dialog(f"Item {item['index']}", "dialog player")
        with card:
            video = tag("video", src=source, controls=True, autoplay=True, playsinline=True, loop=True)
            ui.html(video, sanitize=False).classes("player-screen")
            ui.label(item["prompt"]).classes("muted prompt-whole")
            with ui.row().classes("dialog-actions"):
                ui.link("Open the file", source, new_tab=True).classes("button")
                dialog_button("Close", dialog.close, class_="button primary")
        await answer_of(dialog)

    async def refresh(self) -> None:
        """Show what changed."""
        if self.live is not None:
            await self.live.refresh()


def add_page(parts: DashboardParts) -> None:
    """Register the page."""

    @ui.page("/batches/{batch_id}", response_timeout=20)
    async def batch(
        request: Request,
        batch_id: str,
        status: str = "",
        failure_type: str = "",
        page: str = "1",
        entries: str = "1",
    ) -> None:
        with page_frame(parts, request, batch_id, section="Batches") as root:
            shown = BatchPage(
                parts,
                root,
                batch_id,
                ItemFilter(
                    status=status if status in set(TaskStatus) else None, failure_type=failure_type or None
                ),
                _page_number(page),
                _page_number(entries),
            )
            acts = {
                "cancel": shown.cancel,
                "select": shown.select,
                "select-page": shown.select_page,
                "retry": shown.retry_one,
                "retry-selected": shown.retry_selected,
                "retry-all": shown.retry_all,
                "play": shown.play,
            }
            shown.live = Live(shown.render, acts)
            await shown.live.refresh()


PAGES_MAX: Final = 100_000


def _page_number(text: str) -> int:
    """The page that a URL asks for; the first for what is no number."""
    return min(max(1, int(text)), PAGES_MAX) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def _stats(batch: Mapping[str, Any], *, now_ms: int) -> Markup:
    ended = batch["succeeded_count"] + batch["failed_count"]
    is_open = batch["status"] in OPEN_BATCH_STATUSES or ended < batch["total_count"]
    left = duration(batch["eta_seconds"]) if is_open else "done"
    facts = joined(
        status_chip(batch["status"]),
        tag("span", f"{number(ended)} of {number(batch['total_count'])} finished"),
        tag("span", f"about {left} left" if is_open and batch["eta_seconds"] else "", class_="muted"),
    )
    return joined(
        tag(
            "section",
            tag("div", facts, class_="progress-facts", role="status"),
            batch_bar(batch),
            class_="card progress",
        ),
        tag(
            "div",
            *(
                stat(
                    STATUS_WORDS[name],
                    number(batch[f"{name}_count"]),
                    kind=kind if batch[f"{name}_count"] else "",
                )
                for name, kind in (("pending", ""), ("processing", ""), ("succeeded", ""), ("failed", "bad"))
            ),
            stat("Success rate", percent(batch["succeeded_count"], ended)),
            stat("Account", tag("span", batch["account"], class_="account-name"), _created(batch, now_ms)),
            class_="grid",
        ),
    )


def _created(batch: Mapping[str, Any], now_ms: int) -> Markup:
    if batch["completed_at"]:
        return joined("finished ", moment(batch["completed_at"], now_ms=now_ms))
    return joined("created ", moment(batch["created_at"], now_ms=now_ms))
