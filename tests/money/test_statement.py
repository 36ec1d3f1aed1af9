"""A batch's signed statement convinces somebody without the database, and only while nobody touched it."""

import dataclasses
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, text

from rushes.domain.credits import entry_hash
from rushes.domain.errors import InputError, NotFound, SettingsError
from rushes.money.audit.audit import audit
from rushes.money.audit.facts import entry_from_row
from rushes.money.retry import retry_item
from rushes.money.statements.check import StatementCheck, differences_from_ledger, verify_statement
from rushes.money.statements.signing_key import load_or_create_signing_key, public_key_hex
from rushes.money.statements.statement import BatchUnsound, make_statement, signed_bytes
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.books import REFUSED, Books, video
from tests.tampering import read_tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = public_key_hex(KEY)


def made_books(database: Database) -> Books:
    """bat_1: items 0, 2, 4 delivered, 1 refused, 3 refused and delivered on its second try.

    Another batch's entries stand between those of bat_1.
    """
    made = Books(database)
    account = made.account()
    made.grant(account, 30, expires_at_ms=50_000)
    made.grant(account, 1_000)
    made.accept(account, [10] * 5, name="bat_1")
    tasks = made.claim()
    made.finish([(task, REFUSED if place in (1, 3) else video(task)) for place, task in enumerate(tasks)])
    made.accept(account, [7] * 2, name="bat_2")
    database.run(retry_item, 1, 3, now_ms=made.now_ms)
    again = [task for task in made.claim() if task.batch_id == 1]
    made.finish([(task, video(task)) for task in again])
    return made


@pytest.fixture
def books(database: Database) -> Books:
    """The same on both databases."""
    return made_books(database)


@pytest.fixture(scope="module")
def sound() -> Iterator[bytes]:
    """A statement of bat_1, for checks that need no database."""
    database = Database("sqlite://", inline=True)
    migrate.upgrade(database)
    yield stated(made_books(database))
    database.close()


def stated(books: Books, batch: str = "bat_1") -> bytes:
    return books.database.run_reading(make_statement, batch, KEY, now_ms=9_000)


def resigned(envelope: dict[str, Any], key: Ed25519PrivateKey = KEY) -> bytes:
    """What somebody who has a key can make of a changed statement."""
    signature = key.sign(signed_bytes(envelope["statement"])).hex()
    return json.dumps({**envelope, "public_key": public_key_hex(key), "signature": signature}).encode()


# --- sound statements -----------------------------------------------------------------------------------


def test_a_statement_verifies_against_the_pinned_key(books: Books) -> None:
    check = verify_statement(stated(books), PUBLIC)
    assert check.problems == ()
    assert check.ok
    assert check.pinned
    assert (check.account, check.batch_id, check.finalized) == ("default", "bat_1", True)
    assert (check.reserved, check.settled, check.refunded, check.held) == (60, 40, 20, 0)
    assert "expected key" in check.note


def test_without_a_key_the_check_says_that_only_self_consistency_was_checked(sound: bytes) -> None:
    check = verify_statement(sound)
    assert check.ok
    assert not check.pinned
    assert check.public_key == PUBLIC
    assert check.note.startswith("only self-consistency was checked")
    assert check.as_dict()["pinned"] is False


def test_a_batch_in_flight_can_be_stated_with_what_is_held(books: Books) -> None:
    check = verify_statement(stated(books, "bat_2"), PUBLIC)
    assert check.ok
    assert (check.finalized, check.reserved, check.held) == (False, 14, 14)


def test_a_statement_carries_every_try_and_every_entry_of_its_batch(books: Books) -> None:
    content = json.loads(stated(books))["statement"]
    assert [(item["index"], item["retry_number"], item["status"]) for item in content["items"]] == [
        (0, 0, "succeeded"),
        (1, 0, "failed"),
        (2, 0, "succeeded"),
        (3, 0, "failed"),
        (3, 1, "succeeded"),
        (4, 0, "succeeded"),
    ]
    assert {item["custom_id"] for item in content["items"]} == {f"item-{n}" for n in range(5)}
    assert [entry["type"] for entry in content["entries"]] == [
        "reserve",
        "settle",
        "refund",
        "settle",
        "refund",
        "settle",
        "reserve",
        "settle",
    ]
    assert "take 0" not in json.dumps(content)  # prompts are not the reader's business


def test_a_statement_may_be_indented_otherwise_and_still_verifies(sound: bytes) -> None:
    envelope = json.loads(sound)
    shuffled = {key: envelope[key] for key in reversed(envelope)}
    assert verify_statement(json.dumps(shuffled, indent=4).encode(), PUBLIC).ok


def test_an_unknown_batch_cannot_be_stated(books: Books) -> None:
    with pytest.raises(NotFound):
        stated(books, "bat_9")


def test_unsound_books_are_not_signed(books: Books) -> None:
    def refused(connection: Connection) -> bool:
        with pytest.raises(BatchUnsound):
            make_statement(connection, "bat_1", KEY, now_ms=1)
        return True

    for statement in (
        "UPDATE task_resolutions SET kind = 'settle' WHERE task_id = 2",
        "UPDATE ledger_entries SET description = 'x' WHERE seq = 4",
        "UPDATE ledger_entries SET parts = 'x' WHERE seq = 4",
        "DELETE FROM ledger_entries WHERE seq = 4",
        "UPDATE batches SET credits_settled = credits_settled - 1, credits_refunded = credits_refunded + 1"
        " WHERE id = 1",
    ):
        assert read_tampered(books.database, (statement,), refused), statement


# --- changed statements ---------------------------------------------------------------------------------


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every scalar in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))
    else:
        yield path


def changed(value: object) -> object:
    """Another value, of the same type wherever there is another."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return ("0" if value[:1] != "0" else "1") + value[1:]
        case _:
            return 1


def with_change(envelope: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    copy: Any = json.loads(json.dumps(envelope))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = changed(inner[path[-1]])
    return dict(copy)


def test_a_change_of_any_field_is_refused(sound: bytes) -> None:
    envelope = json.loads(sound)
    paths = list(places(envelope))
    assert len(paths) > 150
    accepted = [
        path
        for path in paths
        if verify_statement(json.dumps(with_change(envelope, path)).encode(), PUBLIC).ok
    ]
    assert accepted == []


def test_removed_added_and_repeated_fields_are_refused(sound: bytes) -> None:
    envelope = json.loads(sound)
    content = envelope["statement"]
    without_entry = {**content, "entries": content["entries"][:-1]}
    without_item = {**content, "items": content["items"][:-1]}
    with_more = {**content, "more": 1}
    for tampered in (without_entry, without_item, with_more):
        assert not verify_statement(json.dumps({**envelope, "statement": tampered}).encode(), PUBLIC).ok
    assert not verify_statement(json.dumps({**envelope, "more": 1}).encode(), PUBLIC).ok
    # a reader that takes the first of two equal fields would read another total than one that takes the last
    twice = sound.replace(b'"totals": {', b'"totals": {"reserved": 1,', 1)
    (problem,) = verify_statement(twice, PUBLIC).problems
    assert "twice" in problem


def test_a_statement_signed_with_another_key_is_refused_once_a_key_is_pinned(sound: bytes) -> None:
    forged = resigned(json.loads(sound), OTHER_KEY)
    assert verify_statement(forged).ok  # self-consistent, and said to be no more than that
    (problem,) = verify_statement(forged, PUBLIC).problems
    assert "not with the expected one" in problem


STATED_FREELY = {
    ("issued_at_ms",),
    ("account", "name"),
    ("batch", "batch_id"),
    ("batch", "created_at_ms"),
    ("batch", "completed_at_ms"),
    ("batch", "finalized_at_ms"),
    *(("items", name) for name in ("custom_id", "model", "error", "failure_type", "completed_at_ms")),
}
"""What a signer may state as he likes: labels and times that no hash and no sum depends on."""


def test_whoever_holds_the_key_still_cannot_state_books_that_do_not_add_up(sound: bytes) -> None:
    """Each field is changed and signed again with the right key: hashes and sums refuse all but labels."""
    envelope = json.loads(sound)
    accepted = set()
    for path in places(envelope["statement"]):
        tampered = with_change(envelope, ("statement", *path))
        if verify_statement(resigned(tampered), PUBLIC).ok:
            accepted.add(tuple(step for step in path if isinstance(step, str)))
    assert accepted <= STATED_FREELY


def consistent_lie(envelope: dict[str, Any], change: str) -> dict[str, Any]:
    """Some changes that a signer would have to make in several places at once."""
    content = json.loads(json.dumps(envelope["statement"]))
    match change:
        case "a refund is not told":
            content["items"][1]["resolution"] = None
        case "a refund is called a settle":
            content["items"][1] |= {"status": "succeeded", "resolution": content["items"][0]["resolution"]}
        case "totals are shifted":
            content["totals"] |= {"settled": 50, "refunded": 10}
        case "an item is left out with its entry":
            task_id = content["items"][1]["task_id"]
            content["items"] = [item for item in content["items"] if item["task_id"] != task_id]
            content["entries"] = [entry for entry in content["entries"] if entry["task_id"] != task_id]
        case "an entry is told twice":
            content["entries"].append(content["entries"][-1])
        case _:
            assert change == "credits are still held"
            content["totals"] |= {"held": 10, "refunded": 10}
    return {**envelope, "statement": content}


@pytest.mark.parametrize(
    "change",
    [
        "a refund is not told",
        "a refund is called a settle",
        "totals are shifted",
        "an item is left out with its entry",
        "an entry is told twice",
        "credits are still held",
    ],
)
def test_a_lie_in_several_places_is_refused_even_with_the_right_signature(sound: bytes, change: str) -> None:
    envelope = json.loads(sound)
    lie = consistent_lie(envelope, change)
    assert lie != envelope
    assert not verify_statement(resigned(lie), PUBLIC).ok


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"public_key": "", "signature": "", "statement": {}}',
        b'{"public_key": 1, "signature": 2, "statement": 3}',
        b'{"public_key": "", "signature": "", "statement": NaN}',
        b'{"public_key": "", "signature": "", "statement": 1.5}',
        b"9" * 10_000,
    ],
)
def test_what_is_no_statement_is_refused_in_one_line(data: bytes) -> None:
    check = verify_statement(data, PUBLIC)
    assert not check.ok
    (problem,) = check.problems
    assert problem.startswith("this is no statement: ")
    assert "\n" not in problem


def test_a_field_of_another_type_and_text_without_utf8_form_are_refused(sound: bytes) -> None:
    envelope = json.loads(sound)
    for path, value in (
        (("batch", "total_count"), "5"),
        (("batch", "total_count"), True),
        (("batch", "total_count"), 10**30),
        (("account", "name"), "\ud800"),
        (("account", "name"), None),
    ):
        copy = json.loads(json.dumps(envelope))
        copy["statement"][path[0]][path[1]] = value
        assert not verify_statement(json.dumps(copy).encode(), PUBLIC).ok, path


@pytest.mark.parametrize("public_key", ["", "00", "z" * 64, PUBLIC + "00"])
def test_a_malformed_expected_key_is_an_input_error(public_key: str) -> None:
    with pytest.raises(InputError):
        verify_statement(b"{}", public_key)


def test_an_expected_key_may_be_written_in_capitals(sound: bytes) -> None:
    assert verify_statement(sound, PUBLIC.upper()).ok


def test_a_check_is_printable_as_json(sound: bytes) -> None:
    printed = json.loads(json.dumps(verify_statement(sound, PUBLIC).as_dict()))
    assert printed == {
        "ok": True,
        "pinned": True,
        "public_key": PUBLIC,
        "account": "default",
        "batch_id": "bat_1",
        "issued_at_ms": 9_000,
        "finalized": True,
        "reserved": 60,
        "settled": 40,
        "refunded": 20,
        "held": 0,
        "note": "the statement is sound and signed with the expected key",
        "problems": [],
    }
    assert StatementCheck(("broken",), pinned=True).as_dict()["note"] == "the statement must not be trusted"


# --- against a ledger that was rewritten as a whole ------------------------------------------------------


def rewrite_ledger(books: Books) -> list[str]:
    """Statements that turn a description and all later hashes of the account into another sound chain."""
    rows = books.database.run_reading(
        lambda connection: connection.execute(
            text("SELECT * FROM ledger_entries WHERE account_id = 1 ORDER BY seq")
        ).all()
    )
    statements = []
    previous = "0" * 64
    for row in rows:
        entry = entry_from_row(row)
        assert entry is not None
        if row.seq == 4:
            entry = dataclasses.replace(entry, description="gift")
        previous = entry_hash(previous, entry)
        statements.append(
            f"UPDATE ledger_entries SET description = '{entry.description}', hash = '{previous}'"
            f" WHERE account_id = 1 AND seq = {row.seq}"
        )
    return [*statements, f"UPDATE accounts SET ledger_hash = '{previous}' WHERE id = 1"]


def test_an_old_statement_finds_what_a_ledger_rewritten_with_all_its_hashes_hides(books: Books) -> None:
    old = stated(books)
    assert books.database.run_reading(differences_from_ledger, old) == []
    statements = tuple(rewrite_ledger(books))
    assert read_tampered(books.database, statements, audit).ok  # the rewritten ledger agrees with itself
    found = read_tampered(books.database, statements, lambda c: differences_from_ledger(c, old))
    assert {violation.code.value for violation in found} == {"LEDGER_ENTRY_REWRITTEN"}
    assert found[0].seq == 4


# --- the key --------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "statements.pem"
    first = load_or_create_signing_key(path, seed=b"a" * 32)
    second = load_or_create_signing_key(path, seed=b"b" * 32)
    assert public_key_hex(first) == public_key_hex(second)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["statements.pem"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "statements.pem"
    load_or_create_signing_key(path, seed=b"a" * 32)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_or_create_signing_key(path, seed=b"a" * 32)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "statements.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="not a signing key"):
        load_or_create_signing_key(path, seed=b"a" * 32)
    assert path.read_bytes() == content


def test_a_folder_in_the_place_of_the_key_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(SettingsError, match="cannot read the signing key"):
        load_or_create_signing_key(tmp_path, seed=b"a" * 32)
