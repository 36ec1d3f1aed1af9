"""Statements and heads of ledgers, anchored at a real authority (`openssl ts`) and checked offline."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.files.provenance import can_read_manifests, manifest_of
from rushes.money.statements.time_stamps import TimeStampRefused, checked_stamp, question
from rushes.simulator import SimulatorKnobs, running_simulator
from tests.cli.process import QUICK, Shell
from tests.files.c2pa_signer import new_signer
from tests.money.authority import Authority, running_authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with running_authority(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    found = Authority(tmp_path_factory.mktemp("other"))
    found.make_keys()
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with a finished batch and its statement."""
    with running_simulator(SimulatorKnobs(render_seconds=0.2)) as simulator:
        folder = tmp_path_factory.mktemp("work")
        shell = Shell(folder, {**QUICK, "GRSAI_HOST": simulator.base_url})
        shell.write("p.txt", "a fox\n")
        assert shell.call("run", "p.txt").code == 0
        assert shell.call("audit", "statement", "last", "--out", "s.json").code == 0
        yield shell


def test_a_statement_is_anchored_and_its_stamp_holds_offline_and_with_openssl(
    here: Shell, authority: Authority
) -> None:
    anchored = here.call("audit", "anchor", "s.json", "--tsa", authority.url, "--json")
    assert anchored.code == 0, anchored.stderr
    (found,) = anchored.document["anchored"]
    assert (found["file"], found["time_stamp"], found["authority"]) == (
        "s.json",
        "s.json.tsr",
        "CN=Tests Time",
    )
    assert authority.is_stamp(here.folder / "s.json.tsr", here.folder / "s.json")
    asked = authority.asked
    ca = str(authority.certificates)
    verified = here.call("audit", "verify", "s.json", "--tsa-ca", ca, "--json")
    assert verified.code == 0, verified.stderr
    assert verified.document["time_stamp"]["trusted"] is True
    assert verified.document["time_stamp"]["at"] == found["at"]
    unnamed = here.call("audit", "verify", "s.json")
    assert unnamed.code == 0
    assert "which was not compared with the authority that you expect (--tsa-ca)" in unnamed.stdout
    assert authority.asked == asked, "verifying needs no network"


def test_a_stamp_of_another_file_authority_or_none_does_not_hold(
    here: Shell, authority: Authority, other: Authority
) -> None:
    assert here.call("audit", "anchor", "s.json", "--tsa", authority.url).code == 0
    changed = (here.folder / "s.json").read_bytes() + b"\n"
    (here.folder / "t.json").write_bytes(changed)
    ca = str(authority.certificates)
    for arguments, problem in (
        (("t.json", "--time-stamp", "s.json.tsr", "--tsa-ca", ca), "Mismatch between messages"),
        (("t.json", "--time-stamp", "s.json.tsr"), "it is of another file"),
        (("s.json", "--tsa-ca", str(other.certificates)), "does not hold"),
        (("s.json", "--time-stamp", "p.txt"), "it is no time stamp"),
    ):
        refused = here.call("audit", "verify", *arguments)
        assert refused.code == 1, arguments
        assert problem in refused.stdout, arguments
    broken = bytearray((here.folder / "s.json.tsr").read_bytes())
    broken[-40] ^= 1
    (here.folder / "broken.tsr").write_bytes(broken)
    spoiled = here.call("audit", "verify", "s.json", "--time-stamp", "broken.tsr", "--tsa-ca", ca)
    assert spoiled.code == 1
    assert here.call("audit", "verify", "s.json", "--tsa-ca", "p.txt").code == 1


def test_heads_are_anchored_and_show_a_ledger_that_was_rewritten(here: Shell, authority: Authority) -> None:
    ca = str(authority.certificates)
    anchored = here.call(
        *("audit", "anchor", "--tsa", authority.url, "--tsa-ca", ca, "--out", "anchors", "--json")
    )
    assert anchored.code == 0, anchored.stderr
    heads = anchored.document["anchored"][0]["file"]
    assert json.loads((here.folder / heads).read_text())["ledger_heads"][0]["account"] == "default"
    alone = here.call("audit", "verify", heads, "--tsa-ca", ca)
    assert (alone.code, "time stamp: it was there at" in alone.stdout) == (0, True)
    assert here.call("audit", "verify", heads, "--tsa-ca", ca, "--with-ledger").code == 0
    assert here.call("audit", "--against", heads).code == 0, "an audit takes them as an earlier report"

    def rewrite(folder: Path) -> None:
        import sqlite3

        with sqlite3.connect(folder / "rushes-data" / "rushes.db") as connection:
            connection.execute("DROP TRIGGER ledger_entries_no_update")
            connection.execute("UPDATE ledger_entries SET hash = 'x' WHERE seq = 1")
            connection.execute("UPDATE accounts SET ledger_hash = 'x'")
            connection.execute(
                "UPDATE ledger_entries SET hash = 'x' WHERE seq = (SELECT MAX(seq) FROM ledger_entries)"
            )

    rewrite(here.folder)
    told = here.call("audit", "verify", heads, "--tsa-ca", ca, "--with-ledger")
    assert told.code == 1
    assert "not the one of the earlier report" in told.stdout
    (here.folder / heads).with_suffix(".json.tsr").unlink()
    nothing = here.call("audit", "verify", heads)
    assert nothing.code == 1
    assert "nothing was checked" in nothing.stdout


def test_an_authority_that_is_away_refuses_or_repeats_an_answer_is_no_anchor(
    here: Shell, authority: Authority
) -> None:
    (here.folder / "s.json.tsr").unlink(missing_ok=True)
    away = here.call("audit", "anchor", "s.json", "--tsa", "http://127.0.0.1:9/")
    assert away.code == 1
    assert "no time stamp from http://127.0.0.1:9/" in away.stderr
    authority.status = 503
    try:
        assert "it answered HTTP 503" in here.call("audit", "anchor", "s.json", "--tsa", authority.url).stderr
    finally:
        authority.status = 200
    authority.answer(question(b"other").as_bytes())
    authority.answers[:] = authority.answers[-1:]
    authority.repeats = True
    try:
        repeated = here.call("audit", "anchor", "s.json", "--tsa", authority.url)
    finally:
        authority.repeats = False
    assert repeated.code == 1
    assert "the time stamp does not hold" in repeated.stderr
    assert not (here.folder / "s.json.tsr").exists(), "nothing is written"
    (here.folder / "empty.json").write_text("")
    assert here.call("audit", "anchor", "empty.json", "--tsa", authority.url).code == 1


def test_a_refusal_in_the_answer_is_said(authority: Authority) -> None:
    asked = question(b"data")
    answer = authority.answer(asked.as_bytes())
    assert checked_stamp(answer, b"data", nonce=asked.nonce).trusted is False
    with pytest.raises(TimeStampRefused, match="another question"):
        checked_stamp(answer, b"data", nonce=(asked.nonce or 0) + 1)
    with pytest.raises(TimeStampRefused):
        checked_stamp(authority.answer(b"no query"), b"data")


@pytest.mark.skipif(not can_read_manifests(), reason="c2pa-python is not installed")
def test_a_batchs_provenance_is_listed_and_manifests_are_written(tmp_path: Path) -> None:
    with running_simulator(SimulatorKnobs(render_seconds=0.2)) as simulator:
        shell = Shell(tmp_path, {**QUICK, "GRSAI_HOST": simulator.base_url})
        shell.write("p.txt", "a fox\na boat\n")
        assert shell.call("run", "p.txt").code == 0
    listed = shell.call("batch", "provenance", "last")
    assert listed.code == 0, listed.stderr
    assert "2 clips made by AI; manifests: 2 none" in listed.stdout
    signer = new_signer()
    (tmp_path / "chain.pem").write_bytes(signer.certificates)
    (tmp_path / "key.pem").write_bytes(signer.key)
    signs = ("--certificate", "chain.pem", "--key", "key.pem")
    beside = shell.call("batch", "provenance", "last", "--out", "beside", *signs, "--json")
    assert beside.code == 0, beside.stderr
    names = list(beside.document["written"].values())
    assert [(tmp_path / "beside" / name).stat().st_size > 1000 for name in names] == [True, True]
    copies = shell.call("batch", "provenance", "last", "--out", "copies", "--copies", *signs, "--json")
    name = copies.document["written"]["0"]
    found = manifest_of(tmp_path / "copies" / name)
    assert found is not None
    assert (found["state"], found["made_by_ai"]) == ("valid", True)
    assert shell.call("archive", "verify").code == 0, "stored files are as they were"
    assert shell.call("batch", "provenance", "last", "--out", "more").code == 2
    assert shell.call("batch", "provenance", "last", "--copies").code == 2
    wrong = shell.call(
        "batch", "provenance", "last", "--out", "more", "--certificate", "p.txt", "--key", "key.pem"
    )
    assert wrong.code == 1
