"""Metadata: what is JSON and small enough, whether it is counted or seen to be small."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.catalogue.options import NOWHERE
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import METADATA_BYTES_MAX, check_metadata

VALUES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=900) | st.lists(st.integers(), max_size=3)
)


@given(st.dictionaries(st.text(max_size=300), VALUES, max_size=5))
def test_it_is_taken_exactly_when_its_json_is_small_enough(value: dict[str, Any]) -> None:
    try:
        encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        encoded = b"x" * (METADATA_BYTES_MAX + 1)
    if len(encoded) <= METADATA_BYTES_MAX:
        assert check_metadata(value, NOWHERE) is value
    else:
        with pytest.raises(InputError):
            check_metadata(value, NOWHERE)


@pytest.mark.parametrize(
    "wrong", [{"a": float("nan")}, {"a": object()}, {"a": {1, 2}}, {"a": "\ud83d"}, [], "a"]
)
def test_what_is_no_json_object_is_refused(wrong: object) -> None:
    with pytest.raises(InputError):
        check_metadata(wrong, NOWHERE)
