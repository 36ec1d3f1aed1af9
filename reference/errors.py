"""The page of every error code: of the library and the API, of items, and of the audit."""

import ast
import importlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import chain

from reference.markdown import code, explained, first_paragraph, table
from reference.source import assigned_docstrings, calls, modules, text_of
from rushes.api.edge.problems import CODE_OF_STATUS, Refusal, status_of
from rushes.domain import task
from rushes.domain.errors import RushesError, StoreError
from rushes.domain.task import FailureType
from rushes.money.audit.violations import ViolationCode

INTRODUCTION = """# Errors

A refusal of the API is a problem document (RFC 9457) whose `error` is one of these codes. The library
raises an exception with the same `code`; the command line says the message and ends with an exit code.
*Again* says whether the same may be tried again as it is.

"""


def kinds_of_error() -> list[type[RushesError]]:
    """Every class of the tree that rushes itself raises, below its root."""
    for module in chain.from_iterable(map(modules, ("client", "run", "money", "files", "notify", "read"))):
        importlib.import_module(f"rushes.{module.removesuffix('.py').replace('/', '.')}")
    importlib.import_module("rushes.cli.usage")

    def below(kind: type[RushesError]) -> Iterator[type[RushesError]]:
        for inner in kind.__subclasses__():
            yield inner
            yield from below(inner)

    own = (kind for kind in below(RushesError) if kind.__module__.startswith("rushes."))
    return list(dict.fromkeys(kind for kind in own if kind is not Refusal))


def page() -> str:
    """The page. Raises `Undocumented` for an error, failure or violation that nothing explains."""
    return "".join(
        (
            INTRODUCTION,
            "## Errors of the library, and their status in the API\n\n",
            table(("Code", "Exception", "Status", "Again", "Meaning"), _exceptions()),
            "## Further refusals of the API\n\n",
            "The library never raises them. `…` stands for what the request filled in.\n\n",
            table(("Code", "Status", "Message"), _refusals()),
            "## `error` of a failed item\n\n",
            "Any other text is the provider's own, word for word.\n\n",
            table(("Error", "Meaning"), _item_errors()),
            "## `failure_type` of a failed item\n\n",
            table(("Failure type", "Meaning"), _failure_types()),
            "## What the audit may find\n\n",
            "A violation has a code, a message, and what names the row: account, batch, item, entry.\n\n",
            table(("Code", "Message"), _violations()),
        )
    )


def _exceptions() -> Iterator[tuple[str, ...]]:
    for kind in sorted(kinds_of_error(), key=lambda kind: kind.code):
        meaning = explained(first_paragraph(kind.__doc__), kind.__name__, "give the class a docstring")
        status = status_of(kind)
        never_answered = kind.__module__.startswith(("rushes.client", "rushes.cli.")) or (
            status == HTTPStatus.INTERNAL_SERVER_ERROR and not issubclass(kind, StoreError)
        )
        yield (
            "the service's" if kind.code == RushesError.code else code(kind.code),
            code(kind.__name__),
            "" if never_answered else str(status),
            "yes" if kind.retryable else "no",
            meaning,
        )


def _refusals() -> Iterator[tuple[str, str, str]]:
    found: dict[tuple[int, str], dict[str, None]] = {}
    for call in calls("api"):
        status: ast.expr | None = None
        name: ast.expr | None = None
        message: ast.expr | None = None
        match call:
            case ast.Call(
                func=ast.Name(id="Refusal") | ast.Attribute(attr="_refuse"), args=[status, name, message]
            ):
                pass
            case ast.Call(func=ast.Name(id="problem_response"), keywords=keywords):
                given = {word.arg: word.value for word in keywords}
                status, name, message = given.get("status"), given.get("code"), given.get("message")
            case _:
                pass
        match status, name:
            case ast.Constant(value=int(number)), ast.Constant(value=str(text)):
                messages = found.setdefault((number, text), {})
                if said := text_of(message):
                    messages[said] = None
            case _:
                pass
    for number, text in CODE_OF_STATUS.items():
        found.setdefault((number, text), {})
    for (number, text), messages in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        yield code(text), str(number), "; ".join(messages) or HTTPStatus(number).phrase.lower()


def _item_errors() -> Iterator[tuple[str, str]]:
    meanings = assigned_docstrings("domain/task.py")
    for name, value in vars(task).items():
        if name.isupper() and isinstance(value, str):
            yield code(value), explained(meanings.get(name), name, "a string under it in domain/task.py")


def _failure_types() -> Iterator[tuple[str, str]]:
    meanings = assigned_docstrings("domain/task.py", "FailureType")
    for failure in FailureType:
        yield code(failure.value), explained(meanings.get(failure.name), failure.name, "a string under it")


def _violations() -> Iterator[tuple[str, str]]:
    """Each with its explanation, or else with the messages that the audit has for it."""
    meanings, messages = (
        assigned_docstrings("money/audit/violations.py", "ViolationCode"),
        _violation_messages(),
    )
    for violation in ViolationCode:
        said = meanings.get(violation.name) or "; ".join(messages.get(violation.name, ()))
        yield (
            code(violation.value),
            explained(said, violation.name, "a string under it in money/audit/violations.py"),
        )


def _violation_messages() -> Mapping[str, dict[str, None]]:
    found: dict[str, dict[str, None]] = {}
    for call in calls("money"):
        for place, argument in enumerate(call.args[:-1]):
            match argument:
                case ast.Attribute(value=ast.Name(id="ViolationCode" | "Code"), attr=name):
                    message = text_of(call.args[place + 1])
                    if message:
                        found.setdefault(name, {})[message] = None
                case _:
                    pass
    return found
