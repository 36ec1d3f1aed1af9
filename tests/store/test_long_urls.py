"""A video's URL is stored as the provider gave it: cut short, a signed link leads nowhere."""

from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.providers.answers import VIDEO_URL_CHARACTERS_MAX
from rushes.store.database import Database
from rushes.store.tasks import REMOTE_TEXT_CHARACTERS_MAX
from tests.books import Books, assert_sound


def test_the_longest_url_is_stored_whole_and_a_long_error_is_cut(database: Database) -> None:
    books = Books(database)
    account = books.account()
    books.grant(account, 100)
    books.accept(account, [10, 10])
    one, other = books.claim()
    head = "https://files.example/v.mp4?signature="
    url = head + "a" * (VIDEO_URL_CHARACTERS_MAX - len(head))
    books.finish([(one, Succeeded(url)), (other, Failed("e" * 9000, FailureType.UNKNOWN))])
    rows = books.rows("SELECT video_url, error FROM video_tasks ORDER BY id")
    assert [row["video_url"] for row in rows] == [url, None]
    assert [row["error"] for row in rows] == [None, "e" * REMOTE_TEXT_CHARACTERS_MAX]
    assert_sound(books)
