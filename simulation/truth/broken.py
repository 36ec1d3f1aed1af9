"""A promise that did not hold."""

from typing import NoReturn


class Broken(Exception):
    """A broken promise: `code` names it, the message says which row or request breaks it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def broken(code: str, message: str) -> NoReturn:
    """Say that a promise does not hold."""
    raise Broken(code, message)
