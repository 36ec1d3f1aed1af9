"""The client without asyncio is made from the one with it, and has each of its methods."""

import inspect
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from reference import sync_client

from rushes.client import AsyncClient, Client

ROOT = Path(__file__).parent.parent


def public(kind: type) -> list[str]:
    classes = [each for each in kind.__mro__ if each.__module__.startswith("rushes.")]
    return sorted(name for each in classes for name in vars(each) if not name.startswith("_"))


def test_the_file_is_in_step_with_its_source() -> None:
    assert sync_client.TARGET.read_text() == sync_client.generated()


def test_each_method_takes_and_answers_the_same() -> None:
    assert public(Client) == public(AsyncClient)
    for name in [*public(Client), "__init__"]:
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters, name
        answer, awaited = get_type_hints(ours)["return"], get_type_hints(theirs)["return"]
        if getattr(awaited, "__origin__", None) in (AsyncGenerator, AsyncIterator):
            assert (answer.__origin__, answer.__args__) == (Iterator, awaited.__args__[:1]), name
        else:
            assert answer == awaited, name
        assert ours.__doc__ or name == "__init__"


def test_a_file_that_is_out_of_step_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "synchronous.py"
    copy.write_text(sync_client.TARGET.read_text().replace("def quote(", "def price("))
    monkeypatch.setattr(sync_client, "TARGET", copy)
    monkeypatch.setattr(sys, "argv", ["sync_client", "--check"])
    assert sync_client.main() == 1
    monkeypatch.setattr(sys, "argv", ["sync_client"])
    assert sync_client.main() == 0
    assert copy.read_text() == (ROOT / "src/rushes/client/synchronous.py").read_text()


def test_make_check_looks_at_it() -> None:
    command = (sys.executable, "-m", "reference.sync_client", "--check")
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert "-m reference.sync_client --check" in (ROOT / "Makefile").read_text()
