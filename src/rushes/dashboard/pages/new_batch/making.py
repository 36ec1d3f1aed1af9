"""Making the batch, once: the form carries a token, so that a second click answers with the same batch."""

import asyncio
from dataclasses import replace
from typing import Any

from rushes.dashboard.acting import AGREED, Done, Form, carry_out
from rushes.dashboard.pages.batch.tabs import path_of
from rushes.dashboard.pages.new_batch.faults import fault_words
from rushes.dashboard.pages.new_batch.given import Given, read_given
from rushes.dashboard.pages.new_batch.page import page_of
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.catalogue.media import uploads_in
from rushes.domain.errors import (
    DayCapReached,
    IdempotencyKeyReused,
    InputError,
    InsufficientCredits,
    NotFound,
)
from rushes.domain.input.chains import is_link
from rushes.domain.input.priced import validate_drafts
from rushes.files.uploads import GivenUploads
from rushes.money import accept
from rushes.money.accept import AcceptedBatch, BatchRequest
from rushes.read import ledger

TOKEN_CHARACTERS_MAX = 64


async def answer(visit: Visit, form: Form) -> Page | Done:
    """The page with its quote; or, when the button was pressed and all is as it was agreed to, the batch."""
    given = await read_given(visit.parts, form, now_ms=visit.now_ms)
    if form.get("act") != "create":
        return await page_of(visit, await _with_uploads_checked(visit, given))
    problem = await _problem(visit, given)
    if problem is not None:
        return await page_of(visit, _with_problem(given, problem))
    try:
        return await _make(visit, given)
    except (InsufficientCredits, DayCapReached, IdempotencyKeyReused, InputError) as error:
        return await page_of(visit, _with_problem(given, fault_words(error.message)))


def _with_problem(given: Given, problem: str) -> Given:
    return replace(given, form=Form(given.form.values, {**given.form.errors, "": problem}))


async def _with_uploads_checked(visit: Visit, given: Given) -> Given:
    """With what is wrong with its files: that is said with the price, not only once somebody has agreed."""
    try:
        await _check_uploads(visit, given)
    except (InputError, NotFound) as error:
        return _with_problem(given, fault_words(error.message))
    return given


async def _problem(visit: Visit, given: Given) -> str | None:
    if given.form.errors:
        return tr("Something above is wrong. Nothing was made.")
    if not given.form.get("token"):
        return tr("The form was not whole. Nothing was done yet.")
    if not given.drafts:
        return tr("There are no prompts to make a batch of.")
    if given.form.get(AGREED) != given.agreed:
        return tr("The price is another one by now. Nothing was made: look at it, and press again.")
    if not await visit.parts.read(ledger.account_exists, given.form.get("account")):
        return tr("Choose an account.")
    return None


async def _make(visit: Visit, given: Given) -> Done:
    parts, form = visit.parts, given.form
    drafts = given.drafts
    public_id = parts.new_batch_id()
    token = form.get("token")[:TOKEN_CHARACTERS_MAX]
    request_id = f"page-{token}" if token else public_id
    facts = [*([] if given.retries is None else [given.retries]), *given.asked.facts]

    await _check_uploads(visit, given)

    def run(connection: Any) -> AcceptedBatch:
        account_id = ledger.account_row_id(connection, form.get("account"))
        request = BatchRequest(
            account_id=account_id,
            request_scope=f"account:{account_id}",
            request_id=request_id,
            request_hash=accept.request_hash([draft.draft for draft in drafts], *facts),
            tasks=accept.priced_tasks(drafts),
            retry_policy=given.policy,
            name=form.get("name") or None,
            deadline_at_ms=given.deadline_at_ms,
            acceptance=given.acceptance,
            uploads_kept_ms=parts.uploads.keep_ms,
        )
        return accept.accept_batch(connection, request, public_id=public_id, now_ms=visit.now_ms)

    made = {"account": form.get("account"), "items": len(drafts), "credits": given.required_credits}
    accepted = await carry_out(
        visit, "batch.create", public_id, lambda batch: None if batch.idempotent_replay else made, run
    )
    parts.on_work()
    said = tr_count(len(drafts), "1 video ordered", "{n} videos ordered")
    return Done(said, path_of(accepted.row["public_id"]))


async def _check_uploads(visit: Visit, given: Given) -> None:
    """Raise `InputError` for an upload that the account does not have, or that cannot be handed on."""
    parts = visit.parts
    drafts = [draft.draft for draft in given.drafts]
    if not any(uploads_in(draft.options) or is_link(draft.options) for draft in drafts):
        return
    account_id = await parts.read(ledger.account_row_id, given.form.get("account"))
    known = await parts.uploads.known(account_id, GivenUploads(drafts, {}))
    await asyncio.to_thread(validate_drafts, drafts, parts.catalogue, visit.now_ms / 1000, known)
