"""Times in queries and bodies."""

from typing import Annotated, Final

from fastapi import Query

from rushes.domain.errors import InputError
from rushes.domain.input.deadlines import epoch_ms

TIME_CHARACTERS_MAX: Final = 40

Time = Annotated[
    str | None,
    Query(
        max_length=TIME_CHARACTERS_MAX,
        description="An ISO 8601 date or time; UTC unless it names a zone.",
        examples=["2026-11-01", "2026-11-01T12:00:00Z"],
    ),
]


def epoch_ms_if_given(text: str | None, *, field: str) -> int | None:
    """The moment that it names, None for None; see `epoch_ms`. Raises `InputError`."""
    try:
        return None if text is None else epoch_ms(text)
    except ValueError as refused:
        raise InputError(str(refused), field=field) from None
