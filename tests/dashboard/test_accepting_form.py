"""The form of a new batch with best of n and a time: its quote in both languages, refusals, and the batch."""

import asyncio
import random
import tempfile
from dataclasses import replace

from rushes.dashboard.acting import Done, Form
from rushes.dashboard.pages.new_batch import making
from rushes.dashboard.visit import Page
from rushes.dashboard.words import speaking
from rushes.domain.input.auto import AutoRule
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads
from rushes.read.forecasts import Forecaster, ProviderPace
from rushes.store.acceptance import gates
from rushes.store.database import Database
from tests.books import Books
from tests.dashboard.visits import visit_on
from tests.money.test_auto import LANED, accept, choose, judge

PROVIDER = LANED.get("sora-2").provider


def answered(books: Books, **values: str) -> Page | Done:
    """What the form answers, with a provider that has one place."""
    visit = visit_on(books.database, now_ms=books.now_ms)
    forecaster = Forecaster(LANED, {PROVIDER: ProviderPace(None, 1)}, unconfirmed_grace_seconds=900)
    uploads = Uploads(
        books.database,
        ObjectStore(tempfile.gettempdir()),
        now_ms=lambda: books.now_ms,
        new_nonce=lambda: "nonce",
    )
    parts = replace(visit.parts, catalogue=LANED, forecaster=forecaster, uploads=uploads)
    form = {"account": "default", "text": "a boat\na kite", "model": "sora-2", "token": "t-1"}
    return asyncio.run(making.answer(replace(visit, parts=parts), Form({**form, **values})))


def quote_of(books: Books, **values: str) -> str:
    """The quote beside the form."""
    page = answered(books, **values)
    assert isinstance(page, Page)
    return str(page.fragments["quote"])


def form_of(books: Books, **values: str) -> str:
    """The fields, with what is wrong with them."""
    page = answered(books, **values)
    assert isinstance(page, Page)
    return str(page.parts["form"])


def test_the_quote_says_what_best_of_n_is_expected_to_cost_in_both_languages(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 1_000)
    assert "unknown yet" not in quote_of(books)
    assert "unknown yet: 0 of 0 clips accepted" in quote_of(books, clips_max="3")
    accept(books, 10, rule=AutoRule(("sora-2",)))
    choose(books)
    judge(books, {"sora-2": 0.5}, random.Random(1))
    said = quote_of(books, clips_max="3")
    assert "of 10 clips accepted" in said
    assert "accepted in" in said
    with speaking("zh"):
        said = quote_of(books, clips_max="3")
    assert "预计" in said
    assert "通过概率" in said


def test_what_cannot_be_is_said_at_its_field(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 1_000)
    assert "9 is less than one clip of item 0 costs" in form_of(books, clips_max="2", clip_credits="9")
    assert "say how many clips a video may take" in form_of(books, clip_credits="20")
    assert "must be" in form_of(books, clips_max="11")
    assert "veo-flash has no cheap lane" in form_of(books, model="veo-flash", by_hours="3")
    many = "\n".join(f"take {number}" for number in range(60))
    late = form_of(books, text=many, by_hours="1")
    assert "cannot be met: the earliest is 1970-01-01T0" in late
    with speaking("zh"):
        assert "没有可等待的低价通道" in form_of(books, model="veo-flash", by_hours="3")


def test_a_batch_is_made_with_what_was_asked_of_its_clips(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 1_000)
    asked = {"clips_max": "3", "clip_credits": "40", "by_hours": "5"}
    assert "8 to 20" in quote_of(books, **asked)
    refused = answered(books, **asked, act="create", agreed="2:8")
    assert isinstance(refused, Page), "the range is agreed to"
    made = answered(books, **asked, act="create", agreed="2:8:20")
    assert isinstance(made, Done)
    again = answered(books, **asked, act="create", agreed="2:8:20")
    assert isinstance(again, Done)
    found = database.run_reading(gates.of_batch, 1)
    assert found.best_of is not None
    assert (found.best_of.clips_max, found.best_of.credits_max) == (3, 40)
    assert found.auto is not None
    assert (found.auto.among, found.auto.finish_by_ms) == (("sora-2",), books.now_ms + 5 * 3_600_000)
    assert len(books.rows("SELECT id FROM batches")) == 1
