"""How a command ends: its exit code, and whether its error comes with a traceback."""

from enum import IntEnum

DEBUG_VARIABLE = "RUSHES_DEBUG"
"""When set, errors come with their traceback."""


class ExitCode(IntEnum):
    """What the process answers. A signal that ended a command gives 128 + its number: 129, 130 or 143."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_AUTHORISED = 4
    SOME_FAILED = 5
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143
    BROKEN_PIPE = 141


class Printed:
    """How many JSON documents the command has printed: an error is not a second one."""

    documents = 0
