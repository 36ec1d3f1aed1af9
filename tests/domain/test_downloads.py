"""Names of downloaded files: never outside the folder, never two the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.downloads import DEFAULT_NAMES, PART_BYTES_MAX, DownloadedFile, file_names, manifest_of
from rushes.domain.errors import InputError


def item(index: int = 0, **more: Any) -> dict[str, Any]:
    """An item as the API and the library give it."""
    base = {
        "item_id": f"bat_1-{index}",
        "custom_id": None,
        "model": "sora-2",
        "prompt": "A paper boat, slowly",
    }
    return {"index": index, **base, **more}


@pytest.mark.parametrize(
    ("template", "fields", "name"),
    [
        (DEFAULT_NAMES, {"custom_id": "boat/7"}, "0003-boat_7-a-paper-boat-slowly.mp4"),
        (DEFAULT_NAMES, {}, "0003-a-paper-boat-slowly.mp4"),
        (DEFAULT_NAMES, {"prompt": "一只橘猫,在看雨"}, "0003-一只橘猫-在看雨.mp4"),
        (DEFAULT_NAMES, {"prompt": "…!"}, "0003.mp4"),
        ("{custom_id}-{index}.mp4", {}, "3.mp4"),
        ("{model}/{item_id}.mp4", {}, "sora-2/bat_1-3.mp4"),
        ("{{{index}}}", {}, "{3}"),
        ("{custom_id}.mp4", {"custom_id": "../../etc/passwd"}, "_.._etc_passwd.mp4"),
        ("x{custom_id}.mp4", {"custom_id": ".."}, "x.mp4"),
        ("{custom_id}.mp4", {"custom_id": "a\x00b\nc"}, "a_b_c.mp4"),
        ("{slug}.mp4", {"prompt": "word " * 40}, "word-word-word-word-word-word-word-word.mp4"),
    ],
)
def test_a_template_makes_names(template: str, fields: dict[str, Any], name: str) -> None:
    assert file_names(template, [item(3, **fields)]) == [name]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("../{index}.mp4", "out of the folder"),
        ("/{index}.mp4", "out of the folder"),
        ("a/../../{index}.mp4", "out of the folder"),
        ("a//{index}.mp4", "out of the folder"),
        ("a/./{index}.mp4", "out of the folder"),
        ("{index}/", "to no file"),
        ("", "to no file"),
        ("{custom_id}", "to no file"),
        ("..\\{index}.mp4", "characters"),
        ("a\n{index}.mp4", "characters"),
        ("{index}.part", "are taken"),
        ("x.Manifest.json", "are taken"),
        ("{indx}.mp4", "did you mean {index}?"),
        ("{qqqqqq}.mp4", "there are index, item_id"),
        ("{custom_id:04d}.mp4", "only {index} takes"),
        ("{index:4d}.mp4", "is not part of a {field}"),
        ("{index.mp4", "is not part of a {field}"),
        ("{index!r}.mp4", "is not part of a {field}"),
        ("a" * 300, "longer than"),
        ("a" * 600, "more than 500"),
    ],
)
def test_a_template_that_escapes_or_makes_no_sense_is_refused(template: str, said: str) -> None:
    with pytest.raises(InputError, match="name: ") as refused:
        file_names(template, [item(3)])
    assert said in refused.value.message


def test_two_items_with_one_name_are_refused_whatever_the_case() -> None:
    assert len(file_names(DEFAULT_NAMES, [item(0), item(1)])) == 2
    with pytest.raises(InputError, match="items 0 and 1 would both be"):
        file_names("{slug}.mp4", [item(0), item(1)])
    for one, other in (("Boat", "bOAT"), ("a/b", "a?b"), ("caf\u00e9", "cafe\u0301"), ("Straße", "STRASSE")):
        with pytest.raises(InputError, match=r"add \{index\}"):
            file_names("{custom_id}.mp4", [item(0, custom_id=one), item(1, custom_id=other)])


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=60))
def test_no_value_leads_out_of_the_folder(custom_id: str, prompt: str, model: str) -> None:
    hostile = item(7, custom_id=custom_id, prompt=prompt, model=model, item_id=custom_id)
    for template in (DEFAULT_NAMES, "{custom_id}.mp4", "{model}/{slug}.mp4", "{item_id}{slug}"):
        try:
            (name,) = file_names(template, [hostile])
        except InputError:
            continue
        assert all(part not in ("", ".", "..") for part in name.split("/"))
        assert name.count("/") == template.count("/")
        assert "\\" not in name
        assert name.isprintable()
        assert all(len(part.encode()) <= PART_BYTES_MAX for part in name.split("/"))
    # with the index in it, no prompt and no custom id makes a batch impossible to download
    assert file_names(DEFAULT_NAMES, [hostile])
    assert file_names(DEFAULT_NAMES, [item(7, custom_id="雨" * 300, prompt="\U00020000" * 300)])


def test_a_manifest_counts_its_lines() -> None:
    def line(index: int, file: str | None) -> DownloadedFile:
        return DownloadedFile(
            item_id="", index=index, custom_id=None, file=file, bytes=None, sha256=None, error=None
        )

    made = manifest_of("bat_1", [line(2, "c"), line(0, "a"), line(1, None)], present=1)
    assert (made["downloaded"], made["present"], made["failed"]) == (1, 1, 1)
    assert [each["index"] for each in made["files"]] == [0, 1, 2]
