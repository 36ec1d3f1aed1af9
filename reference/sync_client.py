"""`client/synchronous.py`, made from the client with asyncio: `python -m reference.sync_client [--check]`.

Each public method of `AsyncClient`, its own and its base's, becomes one of `Client` with the same signature
and docstring. `watch` is written here, because its callback belongs into the calling thread.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from reference.source import PACKAGE, tree_of

SOURCE: Final = "client/asynchronous.py"
SOURCES: Final = {"AsyncClient": SOURCE, "AsyncAccount": "client/account.py"}
"""The classes whose methods it has, and where they stand."""

TARGET: Final = PACKAGE / "client" / "synchronous.py"

HEAD: Final = '''"""`Client`: `AsyncClient` for programs without asyncio, over an event loop in a thread.

Made by `python -m reference.sync_client` from `asynchronous.py` and `account.py`: change those.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rushes.client import answers
from rushes.client.asynchronous import TIMEOUT_SECONDS, TRIES_MAX, AsyncClient, OnProgress
from rushes.client.downloads import ITEM_NAMES, OnFile
from rushes.client.loop_thread import LoopThread
from rushes.client.wire import Items
from rushes.domain.downloads import Manifest


class Client:
    """A tenant's client of the service at `base_url`; `AsyncClient` says what it answers and repeats.

        with Client("https://rushes.example.com", api_key) as client:
            batch = client.create_batch(["a paper boat"], model="sora-2")
            batch = client.watch(batch["batch_id"], lambda now: print(now["succeeded_count"]))
            client.download_all(batch["batch_id"], "videos")

    May be used by many threads at once, and within a running event loop (whose thread it then blocks).
    Callbacks of `watch` are called in the calling thread, those of `download_all` in the client's own.
    """
'''

WHOLE: Final = {
    "__init__": """
        self._client = AsyncClient({arguments})
        self._loop = LoopThread("rushes-client")
""",
    "__repr__": """
        return repr(self._client).removeprefix("Async")
""",
    "__aenter__": """
        return self
""",
    "__aexit__": """
        self.close()
""",
    "close": '''
        """Release the connections and end the thread; again does nothing."""
        if not self._loop.is_closed:
            self._loop.run(self._client.close())
            self._loop.close()
''',
    "watch": '''
        """Call `on_progress(batch)` whenever the batch has changed; returns it finished. See `progress`."""
        batch: answers.Batch | None = None
        changes = self._loop.each(self._client.progress(batch_id, timeout_seconds=timeout_seconds))
        with contextlib.closing(changes):
            for batch in changes:
                on_progress(batch)
        assert batch is not None
        return batch
''',
}
"""Methods whose body is more than a call."""

ITERATORS: Final = ("AsyncIterator", "AsyncGenerator")
NAMES: Final = {"__aenter__": "__enter__", "__aexit__": "__exit__"}


def generated() -> str:
    """The text of `client/synchronous.py`, in the house format."""
    methods = (method for name, source in SOURCES.items() for method in _methods(_class_in(source, name)))
    text = HEAD + "".join(f"\n{method}" for method in methods)
    command = (sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PACKAGE / SOURCE), "-")
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def _class_in(source: str, name: str) -> ast.ClassDef:
    (found,) = (node for node in tree_of(source).body if isinstance(node, ast.ClassDef) and node.name == name)
    return found


def _methods(client: ast.ClassDef) -> Iterator[str]:
    for node in client.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_own = client.name == "AsyncClient"
        if node.name.startswith("_") and not (is_own and node.name in WHOLE):
            continue
        name, returns = NAMES.get(node.name, node.name), node.returns
        assert returns is not None, f"{name} does not say what it returns"
        body, arguments = WHOLE.get(node.name), ", ".join(_passed_on(node.args))
        if isinstance(returns, ast.Subscript) and ast.unparse(returns.value) in ITERATORS:
            item = returns.slice.elts[0] if isinstance(returns.slice, ast.Tuple) else returns.slice
            answer, call = f"Iterator[{ast.unparse(item)}]", "each"
        else:
            answer, call = ast.unparse(returns), "run"
        if body is None:
            promise = str(ast.get_docstring(node)).replace("\n", "\n        ").replace("\n        \n", "\n\n")
            if "\n" in promise:
                promise += "\n        "
            body = (
                f'\n        """{promise}"""'
                f"\n        return self._loop.{call}(self._client.{name}({arguments}))\n"
            )
        head = f"    def {name}({ast.unparse(node.args)}) -> {answer}:"
        yield head + body.replace("{arguments}", arguments)


def _passed_on(arguments: ast.arguments) -> Iterator[str]:
    yield from (argument.arg for argument in arguments.args if argument.arg != "self")
    yield from (f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs)
    if arguments.kwarg is not None:
        yield f"**{arguments.kwarg.arg}"


def main() -> int:
    """Write the file; with --check only say whether it is in step."""
    text = generated()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        sys.stderr.write(f"{TARGET.name} is not in step with {SOURCE}: run python -m reference.sync_client\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
