"""A provider's bill against our books: what was charged and never delivered, and the other way round."""

import json
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import InputError
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, Failed, FailureType, Succeeded
from rushes.money.audit.reconcile import (
    BILL_LINES_MAX,
    STATUS_WORDS,
    BillLine,
    BillStatus,
    ReconcileReport,
    parse_bill,
    reconcile,
)
from rushes.money.settle import Group
from rushes.store.database import Database
from tests.books import PROVIDER, REFUSED, Books, video

# --- reading a bill -------------------------------------------------------------------------------------


def test_a_bill_needs_only_remote_ids() -> None:
    assert parse_bill("remote_task_id\na-1\na-2\n", "bill.csv") == [
        BillLine("a-1", line=2),
        BillLine("a-2", line=3),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_bill_is_read_however_spreadsheets_write_it(delimiter: str, newline: str, mark: str) -> None:
    rows = [
        ["Model", "Remote_Task_ID", "Status", "Amount"],
        ["sora", " a-1 ", "Succeeded", "0.10"],
        ["", "", "", ""],
        ["sora", '"a-2"', "failed", ""],
    ]
    text = mark + newline + newline.join(delimiter.join(row) for row in rows) + newline
    assert parse_bill(text, "bill.csv") == [
        BillLine("a-1", BillStatus.DELIVERED, Decimal("0.10"), 3),
        BillLine("a-2", BillStatus.FAILED, None, 5),
    ]


def test_credits_are_read_when_there_is_no_amount() -> None:
    assert parse_bill("remote_task_id,credits\na,7\n", "b")[0].amount == 7
    assert parse_bill("credits,amount,remote_task_id\n7,1.5,a\n", "b")[0].amount == Decimal("1.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bill.csv: the bill is empty"),
        ("\n \n", "bill.csv: the bill is empty"),
        ("id,status\na,succeeded\n", "bill.csv:1: no column remote_task_id, only id, status"),
        ("remote_task_id,remote_task_id\na,b\n", "bill.csv:1: remote_task_id: the column occurs twice"),
        ("remote_task_id,status\na\n", "bill.csv:2: 1 columns, the header has 2"),
        ("remote_task_id\na,b\n", "bill.csv:2: 2 columns, the header has 1"),
        ("remote_task_id,status\n,succeeded\n", "bill.csv:2: remote_task_id: an id has 1 to 500 characters"),
        (f"remote_task_id\n{'x' * 501}\n", "bill.csv:2: remote_task_id: an id has 1 to 500 characters"),
        ("remote_task_id,amount\na,1\nb,cheap\n", 'bill.csv:3: amount: "cheap" is not an amount'),
        ("remote_task_id,amount\na,NaN\n", 'bill.csv:2: amount: "NaN" is not an amount'),
        ("remote_task_id,amount\na,Infinity\n", 'bill.csv:2: amount: "Infinity" is not an amount'),
        ('remote_task_id\n"a\n', "bill.csv:2: not CSV: unexpected end of data"),
    ],
)
def test_a_bad_bill_is_refused_with_its_file_line_and_column(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_bill(text, "bill.csv")
    assert refused.value.message == message


def test_an_unknown_status_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(InputError, match=r'bill\.csv:2: status: unknown status "lost"') as refused:
        parse_bill("remote_task_id,status\na,LOST\n", "bill.csv")
    assert all(word in refused.value.message for word in STATUS_WORDS)


def test_a_bill_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.money.audit.reconcile.BILL_LINES_MAX", 3)
    assert len(parse_bill("remote_task_id\na\nb\nc\n", "b")) == 3
    with pytest.raises(InputError, match="at most 3 lines"):
        parse_bill("remote_task_id\na\nb\nc\nd\n", "b")
    assert BILL_LINES_MAX == 1_000_000


@pytest.mark.parametrize(
    ("line", "charges"),
    [
        (BillLine("a"), 1),
        (BillLine("a", BillStatus.DELIVERED), 1),
        (BillLine("a", BillStatus.FAILED), 0),
        (BillLine("a", BillStatus.OPEN), 0),
        (BillLine("a", BillStatus.DELIVERED, Decimal(0)), 0),
        (BillLine("a", BillStatus.FAILED, Decimal("0.1")), 1),
        (BillLine("a", None, Decimal("-0.1")), -1),
    ],
)
def test_an_amount_decides_whether_a_line_charges_and_else_its_status(line: BillLine, charges: int) -> None:
    assert line.charges == charges


# --- comparing ------------------------------------------------------------------------------------------


@pytest.fixture
def books(database: Database) -> Books:
    """`r-0` and `r-1` delivered, `r-2` refused, `r-3` at the provider, item 4 unconfirmed, item 5 pending."""
    made = Books(database)
    account = made.account()
    made.grant(account, 1_000)
    made.accept(account, [10] * 6, name="bat_1")
    tasks = made.claim(5)
    made.apply(Group(accepted=[(task.task_id, task.attempt, f"r-{n}") for n, task in enumerate(tasks[:4])]))
    made.apply(Group(unconfirmed=[(tasks[4].task_id, tasks[4].attempt)]))
    made.now_ms = 2_000
    made.finish([(tasks[0], video(tasks[0]))])
    made.now_ms = 3_000
    made.finish([(tasks[1], video(tasks[1])), (tasks[2], REFUSED)])
    return made


def compared(
    books: Books, bill: str, *, since_ms: int | None = None, until_ms: int | None = None
) -> ReconcileReport:
    return books.database.run_reading(
        reconcile, parse_bill(bill, "bill.csv"), provider=PROVIDER, since_ms=since_ms, until_ms=until_ms
    )


def test_a_bill_of_what_was_delivered_agrees(books: Books) -> None:
    report = compared(books, "remote_task_id,status\nr-0,succeeded\nr-1,succeeded\nr-2,failed\nr-3,running\n")
    assert report.ok
    assert (report.bill_lines, report.matched) == (4, 2)
    assert report.unconfirmed_candidates == ()


def test_a_bill_for_a_task_that_we_refunded_is_named(books: Books) -> None:
    report = compared(books, "remote_task_id,amount\nr-0,1\nr-1,1\nr-2,0.25\n")
    assert not report.ok
    (found,) = report.billed_not_delivered
    assert found.as_dict() == {
        "remote_task_id": "r-2",
        "our_status": "failed",
        "batch_id": "bat_1",
        "item_index": 2,
        "attempt": 1,
        "credits": 10,
        "amount": "0.25",
        "provider_cost": None,
        "expected_cost": None,
        "cost_currency": None,
        "bill_lines": [4],
    }


def test_money_back_on_a_later_line_settles_a_wrong_charge(books: Books) -> None:
    report = compared(books, "remote_task_id,amount\nr-0,1\nr-1,1\nr-2,1\nr-2,-1\n")
    assert report.ok


def test_a_charge_for_a_task_in_flight_is_told_but_no_disagreement_yet(books: Books) -> None:
    report = compared(books, "remote_task_id\nr-0\nr-1\nr-3\n")
    assert report.ok
    assert [found.remote_task_id for found in report.billed_in_flight] == ["r-3"]


def test_a_video_that_is_not_billed_or_not_charged_is_named(books: Books) -> None:
    report = compared(books, "remote_task_id,status\nr-1,failed\n")
    assert [(found.remote_task_id, found.bill_lines) for found in report.delivered_not_billed] == [
        ("r-0", ()),
        ("r-1", (2,)),
    ]
    assert not report.ok


def test_only_videos_of_the_bills_period_are_missed(books: Books) -> None:
    empty = "remote_task_id\nx\n"

    def missed(since_ms: int | None, until_ms: int | None) -> list[str]:
        report = compared(books, empty, since_ms=since_ms, until_ms=until_ms)
        return [found.remote_task_id for found in report.delivered_not_billed]

    assert missed(None, None) == ["r-0", "r-1"]
    assert missed(2_001, None) == ["r-1"]
    assert missed(2_000, 3_000) == ["r-0"]
    assert missed(None, 2_000) == []


def test_a_billed_id_that_we_never_saw_reveals_the_unconfirmed_submits(books: Books) -> None:
    report = compared(books, "remote_task_id\nr-0\nr-1\nlost-1\n")
    (unknown,) = report.billed_unknown
    assert (unknown.remote_task_id, unknown.our_status, unknown.bill_lines) == ("lost-1", None, (4,))
    (candidate,) = report.unconfirmed_candidates
    assert (candidate.batch_id, candidate.item_index, candidate.attempt, candidate.state) == (
        "bat_1",
        4,
        1,
        "held",
    )
    assert not report.ok


def test_refunded_and_resubmitted_submits_stay_candidates(books: Books) -> None:
    held = books.row("SELECT id, attempt FROM video_tasks WHERE unconfirmed_at_ms IS NOT NULL")
    books.apply(Group(resubmitted=[(held["id"], held["attempt"])]))
    (again,) = [task for task in books.claim() if task.task_id == held["id"]]
    books.finish([(again, Failed(SUBMIT_OUTCOME_UNKNOWN, FailureType.UNKNOWN))])
    report = compared(books, "remote_task_id\nr-0\nr-1\nlost-1\n")
    assert [(c.attempt, c.state) for c in report.unconfirmed_candidates] == [
        (1, "resubmitted"),
        (2, "refunded"),
    ]


def test_an_attempt_that_was_given_up_and_is_billed_is_named(books: Books) -> None:
    def try_again(connection: Connection) -> None:
        """Item 3, known as r-3, was tried again: an attempt that ended without ending its task."""
        connection.execute(
            text(
                "INSERT INTO task_attempts (task_id, attempt, provider, model, api_model, remote_task_id,"
                " dispatched_at_ms, ended_at_ms, error, failure_type)"
                " SELECT id, attempt, provider, model, api_model,"
                " remote_task_id, dispatched_at_ms, 9, 'error', 'model_error' FROM video_tasks WHERE id = 4"
            )
        )
        connection.execute(text("UPDATE video_tasks SET remote_task_id = NULL, attempt = 2 WHERE id = 4"))

    books.database.run(try_again)
    report = compared(books, "remote_task_id\nr-0\nr-1\nr-3\n")
    (found,) = report.billed_not_delivered
    assert (found.remote_task_id, found.our_status, found.item_index, found.attempt) == ("r-3", "ended", 3, 1)


def test_an_id_that_is_charged_twice_is_named_once_with_both_lines(books: Books) -> None:
    report = compared(books, "remote_task_id,amount\nr-0,1\nr-1,1\nr-0,1.5\n")
    (twice,) = report.billed_twice
    assert (twice.remote_task_id, twice.bill_lines, twice.amount) == ("r-0", (2, 4), Decimal("2.5"))
    assert report.matched == 2
    assert not report.ok


@pytest.mark.parametrize(
    ("bill", "otherwise"),
    [
        ("r-0,48\nr-1,1\nr-3,12.5\n", []),
        ("r-0,48.0\nr-1,1\nr-3,12.50\n", []),
        ("r-0,24\nr-0,24\nr-1,1\nr-3,12.5\n", []),
        ("r-0,50\nr-1,1\nr-3,12.5\n", [("r-0", Decimal(50), Decimal(48))]),
        ("r-0,48\nr-1,1\nr-3,0\n", [("r-3", Decimal(0), Decimal("12.5"))]),
    ],
    ids=["as told", "with other digits", "in parts", "more for a video", "less for a failure"],
)
def test_a_bill_is_held_against_what_the_provider_told(
    database: Database, bill: str, otherwise: list[tuple[str, Decimal, Decimal]]
) -> None:
    """`r-0` was told to cost 48, of `r-1` nothing was told, `r-3` failed and was told to cost 12.5."""
    made = Books(database)
    account = made.account()
    made.grant(account, 1_000)
    made.accept(account, [10] * 3, name="bat_1")
    tasks = made.claim(3)
    remote_ids = zip(tasks, ("r-0", "r-1", "r-3"), strict=True)
    made.apply(Group(accepted=[(task.task_id, task.attempt, name) for task, name in remote_ids]))
    told = Succeeded("https://v.example/0.mp4", provider_cost=48.0)
    failed = Failed("moderated", FailureType.INPUT_MODERATION, provider_cost=12.5)
    made.finish([(tasks[0], told), (tasks[1], video(tasks[1])), (tasks[2], failed)])
    report = compared(made, f"remote_task_id,amount\n{bill}")
    assert [
        (found.remote_task_id, found.amount, found.provider_cost) for found in report.billed_otherwise
    ] == otherwise
    assert report.matched == 2
    if otherwise:
        assert not report.ok


@pytest.mark.parametrize(
    ("bill", "above", "compared_count", "not_compared"),
    [
        ("amount\nr-0,0.08\nr-1,5\n", [], 1, 1),
        ("amount\nr-0,0.10\nr-1,5\n", ["r-0"], 1, 1),
        ("amount\nr-0,0.090\nr-1,5\n", ["r-0"], 1, 1),
        ("amount\nr-0,1\nr-1,5\n", ["r-0"], 1, 1),
        ("amount\nr-0,0.1\nr-1,5\n", ["r-0"], 1, 1),
        ("amount\nr-0,0.083\nr-1,5\n", [], 1, 1),
        ("amount\nr-0,0.0833333333\nr-1,5\n", [], 1, 1),
        ("amount\nr-0,0.084\nr-1,5\n", ["r-0"], 1, 1),
        ("amount\nr-0,0.0401\nr-0,0.0433\nr-1,5\nr-2,0\n", [], 1, 2),
        ("credits\nr-0,800\nr-1,5\n", [], 0, 2),
        ("status\nr-0,succeeded\nr-1,succeeded\n", [], 0, 0),
    ],
)
def test_where_nothing_was_reported_an_amount_is_held_against_the_expected_cost(
    books: Books, bill: str, above: list[str], compared_count: int, not_compared: int
) -> None:
    """`r-0` was to cost a twelfth of a yuan; of `r-1` nobody knows it."""
    books.sql("UPDATE video_tasks SET cost_currency = 'CNY'")
    books.sql("UPDATE video_tasks SET expected_cost_micros = 83333 WHERE remote_task_id = 'r-0'")
    report = compared(books, f"remote_task_id,{bill}")
    assert [found.remote_task_id for found in report.billed_above_expected] == above
    assert (report.compared_with_expected, report.not_compared) == (compared_count, not_compared)
    if above:
        assert not report.ok
        (found,) = report.billed_above_expected
        assert (found.as_dict()["expected_cost"], found.cost_currency) == ("0.083333", "CNY")
    elif "r-0,0.04" not in bill:
        assert report.ok


def test_another_providers_tasks_are_none_of_this_bills_business(books: Books) -> None:
    bill = parse_bill("remote_task_id\nr-0\n", "bill.csv")
    report = books.database.run_reading(reconcile, bill, provider="another")
    assert [found.remote_task_id for found in report.billed_unknown] == ["r-0"]
    assert report.delivered_not_billed == ()
    assert report.unconfirmed_candidates == ()


def test_a_report_is_printable_as_json_and_reconciling_writes_nothing(books: Books) -> None:
    before = books.everything()
    report = compared(books, "remote_task_id,amount\nr-2,1\nlost-1,1\nr-3,1\n")
    printed = json.loads(json.dumps(report.as_dict()))
    assert (printed["ok"], printed["provider"], printed["bill_lines"]) == (False, PROVIDER, 3)
    assert {name: len(found) for name, found in printed.items() if isinstance(found, list)} == {
        "billed_not_delivered": 1,
        "billed_in_flight": 1,
        "billed_unknown": 1,
        "delivered_not_billed": 2,
        "billed_twice": 0,
        "billed_otherwise": 0,
        "billed_above_expected": 0,
        "unconfirmed_candidates": 1,
    }
    assert books.everything() == before
