"""What a browser remembers for its pages: read back as it was written; nothing of what is no such cookie."""

import pytest

from rushes.dashboard.browsers import cookie_entries, cookie_text


def test_what_was_written_is_read_back() -> None:
    kept = {"held, “open”": 'status=held&q="x"', "又": "q=纸船"}
    assert cookie_entries(cookie_text(kept), entries_max=5) == list(kept.items())
    assert cookie_entries(cookie_text(kept), entries_max=1) == list(kept.items())[:1]


@pytest.mark.parametrize("cookie", [None, "", "x", "[1]", "%5B" * 20_000, '{"a":', "%FF", "1e999", "null"])
def test_what_is_no_such_cookie_holds_nothing(cookie: str | None) -> None:
    assert cookie_entries(cookie, entries_max=5) == []
