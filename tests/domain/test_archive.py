"""The names of files in the archive, and how long they are kept."""

import pytest

from rushes.domain.archive import DAY_MS, Retention, object_key


@pytest.mark.parametrize(
    ("account", "folder"),
    [
        ("acme", "acme"),
        ("../up/and away", "_up_and_away"),
        ("a" * 60, "a" * 60),
        ("a" * 61, "a" * 60),
        ("", "_"),
        ("日本", "_"),
    ],
)
def test_a_file_lies_in_its_accounts_folder_whatever_the_account_is_called(account: str, folder: str) -> None:
    key = object_key(
        account=account, batch_public_id="bat_1", item_index=3, task_id=7, sha256="ab" * 32, suffix=".mp4"
    )
    assert key == f"{folder}/bat_1/00003-7-abababababababab.mp4"


def test_files_are_kept_for_the_days_of_their_account_or_for_those_of_all() -> None:
    kept = Retention(30, {"forever": None, "short": 0.5})
    now_ms = 100 * DAY_MS
    assert [kept.cut_off_ms(account, now_ms) for account in ("any", "forever", "short")] == [
        70 * DAY_MS,
        None,
        now_ms - DAY_MS // 2,
    ]
    assert kept
    assert not Retention()
    assert not Retention(None, {"a": None})
    assert Retention(None, {"a": 1.0})
