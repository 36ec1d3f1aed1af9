"""Media inputs: names, values, and how an upload is handed on."""

from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.media import KnownUploads, MediaFacts, MediaInput, Way, uploads_in, way_of
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Origin, Url, UrlList
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import Defaults, drafts_from_objects

UPLOAD = "upl_" + "0123456789abcdef" * 2
IMAGE = "https://i.example/1.png"
PNG = MediaFacts("image/png", 1000, 64, 64)


def model_of(**options: Any) -> Model:
    return Model("acme", "acme", "acme-1", 1, options=options)


def test_an_older_name_and_the_new_one_are_the_same_input_whichever_the_model_has() -> None:
    new, old = model_of(references=MediaInput(is_list=True, count_max=2)), model_of(reference_urls=UrlList(2))
    for name in ("references", "reference_url", "reference_urls"):
        assert new.normalise_options({name: [IMAGE]}) == {"references": (IMAGE,)}
        assert old.normalise_options({name: [IMAGE]}) == {"reference_urls": (IMAGE,)}
    assert model_of(first_frame_url=Url()).normalise_options({"first_frame": IMAGE}) == {
        "first_frame_url": IMAGE
    }


def test_an_items_own_file_stands_in_the_place_of_the_batchs() -> None:
    defaults = Defaults(options={"first_frame_url": IMAGE, "duration": 5})
    (draft,) = drafts_from_objects([{"prompt": "a", "first_frame": UPLOAD}], defaults)
    assert draft.options == {"first_frame": UPLOAD, "duration": 5}


def test_a_tasks_files_are_found_under_both_names_and_are_no_options() -> None:
    model = model_of(first_frame=MediaInput(), references=MediaInput(is_list=True, count_max=3))
    stored = {"first_frame_url": IMAGE, "references": [UPLOAD, IMAGE], "seed": 1}
    assert model.media_of(stored) == {"first_frame": (IMAGE,), "references": (UPLOAD, IMAGE)}
    assert model.without_media(stored) == {"seed": 1}
    assert uploads_in(stored) == [UPLOAD]
    assert model.input_images({"first_frame": IMAGE, "references": (UPLOAD, IMAGE)}) == 3


@pytest.mark.parametrize(
    ("ways", "makes_links", "bytes_count", "expected"),
    [
        (("url",), False, 10, None),
        (("url",), True, 10, "url"),
        (("data_uri", "url"), True, 10, "data_uri"),
        (("url", "data_uri"), True, 10, "url"),
        (("data_uri", "url"), True, 101, "url"),
        (("url", "data_uri"), False, 101, None),
        (("data_uri", "bytes"), False, 101, "bytes"),
        (("data_uri", "own_upload"), False, 10, "data_uri"),
        (("data_uri", "own_upload"), False, 101, "own_upload"),
    ],
)
def test_the_first_way_that_there_is_is_chosen(
    ways: tuple[Way, ...], makes_links: bool, bytes_count: int, expected: Way | None
) -> None:
    spec = MediaInput(ways=ways, data_uri_bytes_max=100)
    assert way_of(spec, MediaFacts("image/png", bytes_count), makes_links=makes_links) == expected


@pytest.mark.parametrize(
    ("spec", "facts", "reason"),
    [
        (
            MediaInput(),
            PNG,
            "the model takes URLs only, and uploads have no public link here; give the file's URL",
        ),
        (
            MediaInput(ways=("data_uri",), data_uri_bytes_max=999),
            PNG,
            "the upload has 1000 bytes, more than the 999 that may be sent within the request;"
            " uploads have no public link here, so give the file's URL",
        ),
        (
            MediaInput(ways=("data_uri",), content="video"),
            PNG,
            "the upload is image/png, and the model takes videos here",
        ),
        (
            MediaInput(ways=("data_uri",), content_types=("image/jpeg", "image/webp")),
            PNG,
            "the upload is image/png; the model takes image/jpeg, image/webp",
        ),
        (
            MediaInput(ways=("data_uri",), bytes_max=10),
            PNG,
            "the upload has 1000 bytes, more than the 10 that the model takes",
        ),
    ],
)
def test_what_cannot_be_handed_on_is_refused_with_the_reason(
    spec: MediaInput, facts: MediaFacts, reason: str
) -> None:
    model = model_of(first_frame=spec)
    options = model.normalise_options({"first_frame": UPLOAD})
    with pytest.raises(InputError) as caught:
        model.check_uploads(options, KnownUploads({UPLOAD: facts}), origin=Origin(path="items[2]"))
    assert (caught.value.field, caught.value.message) == (
        "items[2].first_frame",
        f"items[2].first_frame: {reason}",
    )


def test_an_unknown_upload_of_a_list_is_named_by_its_place() -> None:
    model = model_of(references=MediaInput(is_list=True, count_max=3, ways=("data_uri", "url")))
    options = model.normalise_options({"references": [IMAGE, UPLOAD]})
    with pytest.raises(InputError, match=r"^references\[1\]: there is no upload upl_0123"):
        model.check_uploads(options, KnownUploads({}, True))
    model.check_uploads(options, KnownUploads({UPLOAD: PNG}))


def test_a_model_that_takes_no_url_says_what_to_do() -> None:
    model = model_of(first_frame=MediaInput(ways=("data_uri",)))
    with pytest.raises(InputError, match=r"^first_frame: the model takes no URL here: upload the file"):
        model.normalise_options({"first_frame": IMAGE})


def test_operators_declare_files_of_their_models() -> None:
    options = {
        "first_frame": {"kind": "media", "ways": ["url", "data_uri"], "data_uri_bytes_max": 5},
        "reference_urls": {"kind": "url_list", "count_max": 2, "wire": {"path": "image_urls"}},
        "audio": {"kind": "media", "count_max": 2},
    }
    document = {"provider": "fal", "api_model": "x", "credits": 1, "options": options}
    model = DEFAULT_CATALOGUE.with_overrides({"mine": document}).get("mine")
    assert model.media["first_frame"] == MediaInput(ways=("url", "data_uri"), data_uri_bytes_max=5)
    references, audio = model.media["references"], model.media["audio"]
    assert (references.is_list, references.count_max, references.wire.path) == (True, 2, "image_urls[]")
    assert (audio.content, audio.is_list, audio.count_max) == ("audio", True, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ways": ["pigeon"]}, "must be a list of some of own_upload, bytes, data_uri, url"),
        ({"ways": []}, "must be a list of some of own_upload, bytes, data_uri, url"),
        ({"count_max": 0}, "must be from 1 to 50"),
        ({"content": "smell"}, 'must be image, video or audio, not "smell"'),
        ({"bytes_max": 0}, "must be at least 1"),
        ({"bytes": 1}, 'has no field "bytes"; '),
    ],
)
def test_a_wrong_declaration_is_named(fields: dict[str, Any], message: str) -> None:
    document = {
        "provider": "fal",
        "api_model": "x",
        "credits": 1,
        "options": {"last_frame": {"kind": "media", **fields}},
    }
    with pytest.raises(InputError) as caught:
        DEFAULT_CATALOGUE.with_overrides({"mine": document})
    assert message in caught.value.message
    assert caught.value.message.startswith("mine.options.last_frame")
