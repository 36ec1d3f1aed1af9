"""Links between the items of a batch: what they lead to, and what is refused, with its place."""

from typing import Any

import pytest
from tests.chains.world import MODELS, shots

from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.catalogue.options import Origin
from rushes.domain.errors import InputError
from rushes.domain.input.chains import followed
from rushes.domain.input.files import parse_batch_input
from rushes.domain.input.given_files import given_files
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import Defaults, TaskDraft, drafts_from_objects
from rushes.domain.input.row_by_row import check_row_by_row

DEFAULTS = Defaults.of(MODELS, "sora-2")
HERE = KnownUploads({}, makes_links=False)


def priced(items: list[dict[str, Any]], known: KnownUploads | None = HERE) -> list[PricedDraft]:
    return validate_drafts(drafts_from_objects(items, DEFAULTS), MODELS, 0.0, known)


def refusal(items: list[dict[str, Any]], known: KnownUploads | None = HERE) -> str:
    with pytest.raises(InputError) as caught:
        priced(items, known)
    return str(caught.value)


def item(name: str | None, after: str | None = None, **more: Any) -> dict[str, Any]:
    link = {} if after is None else {"first_frame": f"@{after}.last_frame"}
    return {"prompt": "p", "custom_id": name, **link, **more}


def test_an_item_is_priced_with_the_picture_that_it_will_start_from() -> None:
    found = priced(shots(3))
    assert [draft.options for draft in found] == [
        {},
        {"first_frame": "@shot-1.last_frame"},
        {"first_frame": "@shot-2.last_frame"},
    ]
    assert [draft.credits for draft in found] == [5, 5, 5]
    assert followed([draft.draft for draft in found]) == [None, 0, 1]


def test_items_may_stand_in_any_order_and_have_names_with_dots() -> None:
    drafts = drafts_from_objects([item("b", "a.last_frame"), item("a.last_frame"), item(None)], DEFAULTS)
    assert followed(drafts) == [1, None, None]
    assert len(validate_drafts(drafts, MODELS, 0.0, HERE)) == 3


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item("a", "a")], "items[0].first_frame: an item cannot start from its own last frame"),
        (
            [item("x"), item("a", "c"), item("b", "a"), item("c", "b"), item("d", "c")],
            'items[1].first_frame: a ring: "a" starts from "c" starts from "b" starts from "a"',
        ),
        (
            [item("shot-1"), item("shot-2", "shot1")],
            'items[1].first_frame: no item of this batch has the custom_id "shot1"; did you mean "shot-1"?',
        ),
        (
            [item("a", "batch_0123-4")],
            'items[0].first_frame: no item of this batch has the custom_id "batch_0123-4";'
            " a chain stays within its batch",
        ),
        (
            [item("a"), item("a"), item("b", "a")],
            'items[1].custom_id: "a" is already used by items[0]',
        ),
        (
            [item("a"), item("b", "a", model="text-only")],
            "items[1].first_frame: text-only has no such option; it takes none",
        ),
        (
            [item("a"), item("b", "a", model="links-only")],
            "items[1].first_frame: the model takes URLs only, and last frames have no public link here:"
            " set RUSHES_BASE_URL",
        ),
        (
            [item("a"), {"prompt": "p", "first_frame": ["@a.last_frame", "@a.last_frame"]}],
            "items[1].first_frame: must be the URL, upload id or data URI of one image, not a list",
        ),
        (
            [item("a"), {"prompt": "p", "first_frame": "@a"}],
            'items[1].first_frame: must be the URL, upload id or data URI of one image, not "@a"',
        ),
    ],
)
def test_what_cannot_be_a_chain_is_refused_with_its_place(items: list[dict[str, Any]], message: str) -> None:
    assert refusal(items) == message


def test_two_items_of_one_name_are_refused_where_drafts_are_made_otherwise() -> None:
    drafts = [
        TaskDraft("p", "sora-2", {}, "a"),
        TaskDraft("p", "sora-2", {}, "a"),
        TaskDraft("p", "sora-2", {"first_frame": "@a.last_frame"}, origin=Origin(path="items[2]")),
    ]
    with pytest.raises(InputError, match=r'^items\[2\]\.first_frame: 2 items are called "a"; a custom_id'):
        validate_drafts(drafts, MODELS, 0.0, HERE)


def test_where_no_last_frame_can_be_cut_a_chain_is_refused_and_says_why() -> None:
    known = KnownUploads({}, no_last_frames="last frames need the extra video")
    assert refusal(shots(2), known) == "items[1].first_frame: last frames need the extra video"
    assert len(priced([item("a")], known)) == 1


def test_a_table_has_chains_too_and_names_the_line_at_fault() -> None:
    table = b"custom_id,prompt,first_frame\nshot-1,a,\nshot-2,b,@shot-1.last_frame\n"
    drafts = parse_batch_input(table, "shots.csv", defaults=DEFAULTS)
    assert followed(validated := [each.draft for each in validate_drafts(drafts, MODELS, 0.0, HERE)]) == [
        None,
        0,
    ]
    assert given_files(validated, MODELS.fields, takes_paths=True) == {}
    wrong = table.replace(b"@shot-1", b"@shot-9")
    with pytest.raises(InputError, match=r'^shots\.csv:3: first_frame: no item of this batch .*"shot-9"'):
        validate_drafts(parse_batch_input(wrong, "shots.csv", defaults=DEFAULTS), MODELS, 0.0, HERE)


def test_a_form_shows_the_row_at_fault_and_the_others() -> None:
    rows = [(Origin(path=f"items[{n}]"), row) for n, row in enumerate([*shots(2), item("b", "c")])]
    checked = check_row_by_row(rows, DEFAULTS, MODELS, 0.0)
    assert [draft.draft.custom_id for draft in checked.sound] == ["shot-1", "shot-2"]
    assert [fault.message for fault in checked.faults] == [
        'items[2].first_frame: no item of this batch has the custom_id "c"; a chain stays within its batch'
    ]
