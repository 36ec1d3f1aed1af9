"""What is wrong with a command line, in one line that ends with the help that says more."""

from cyclopts import CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from rushes.domain.catalogue.options import nearest
from rushes.domain.errors import InputError


class UsageError(InputError):
    """Arguments and options of a command that do not go together."""

    code = "USAGE"


TOKEN_CHARACTERS_SHOWN = 60


def usage_message(error: CycloptsError) -> str:
    """The message, with the command's own help."""
    chain = " ".join(["rushes", *(error.command_chain or ())])
    return f"{_reason(error)}; see `{chain} --help`"


def _reason(error: CycloptsError) -> str:
    match error:
        case UnknownCommandError():
            return _unknown_command(error)
        case UnknownOptionError(token=token):
            return _unknown_option(error, str(token.keyword or token.value))
        case UnusedCliTokensError(unused_tokens=[str(first), *_]):
            if first.startswith("-"):
                return f"there is no option {first[:TOKEN_CHARACTERS_SHOWN]}"
            return f'"{first[:TOKEN_CHARACTERS_SHOWN]}" is one argument too many'
        case MissingArgumentError(argument=argument) if argument is not None:
            return f"{argument.name.removeprefix('*')} is missing"
        case CoercionError(argument=argument, token=token) if argument and token and token.keyword is None:
            return f"{argument.name.removeprefix('*')} {error}"  # it names options alone by itself
        case _:
            message = str(error)  # "..." at its end stands for more of a list
            return message if message.endswith("...") else message.removesuffix(".")


def _unknown_option(error: UnknownOptionError, option: str) -> str:
    names = [name for argument in error.argument_collection or () for name in argument.names]
    guess = nearest(option, tuple(name for name in names if name.startswith("--")))
    hint = f" (did you mean {guess}?)" if guess else ""
    return f"there is no option {option[:TOKEN_CHARACTERS_SHOWN]}{hint}"


def _unknown_command(error: UnknownCommandError) -> str:
    token = (error.unused_tokens or [""])[0][:TOKEN_CHARACTERS_SHOWN]
    known = tuple(name for name in error.app or () if not name.startswith("-"))
    guess = nearest(token, known)
    hint = f' (did you mean "{guess}"?)' if guess else ""
    return f'there is no command "{token}"{hint}'
