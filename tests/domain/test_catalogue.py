"""The catalogue: names, prices, options and what operators may change."""

import math
from typing import Any

import pytest

from rushes.domain.catalogue.catalogue import Catalogue, default_model
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import DEADLINE_SECONDS_MAX, Model
from rushes.domain.catalogue.options import URL_CHARACTERS_MAX, Origin
from rushes.domain.errors import InputError, ModelRetired, UnknownModel

NOW = 1_790_000_000.0
IMAGE = "https://example.com/a.png"
SOUND = "https://i.example/1.mp3"


def small_model(name: str = "m", **changes: Any) -> Model:
    fields: dict[str, Any] = {
        "provider": "p",
        "api_model": "api-m",
        "credits": 1,
        "render_time_p50_seconds": 1.0,
        "soft_deadline_seconds": 2.0,
        "hard_deadline_seconds": 3.0,
    }
    return Model(name, **{**fields, **changes})


@pytest.mark.parametrize(
    ("name", "api_model", "provider"),
    [
        ("sora-2", "sora-2", "grsai"),
        ("veo-flash", "veo3.1-fast", "grsai"),
        ("veo-pro", "veo3.1-pro", "grsai"),
        ("veo3-fast", "veo3-fast", "grsai"),
        ("veo3-pro", "veo3-pro", "grsai"),
        ("minimax-h3", "minimax-h3", "grsai-unified"),
    ],
)
def test_every_model_is_found_by_its_name_and_by_its_api_name(
    name: str, api_model: str, provider: str
) -> None:
    model = DEFAULT_CATALOGUE.get(name)
    assert (model.name, model.api_model, model.provider) == (name, api_model, provider)
    assert DEFAULT_CATALOGUE.get(api_model) is model
    assert name in DEFAULT_CATALOGUE


def test_default_models_are_live_but_those_that_google_shut_down_and_have_sensible_deadlines() -> None:
    providers = {"grsai", "grsai-unified", "fal", "runway", "google", "openai-video", "ark-cn", "ark-intl"}
    providers |= {"dashscope-cn", "dashscope-intl", "kling", "minimax", "replicate", "vertex", "xai"}
    assert {model.provider for model in DEFAULT_CATALOGUE} == providers
    for model in DEFAULT_CATALOGUE:
        shut_down = model.name.startswith("google-veo")
        assert model.takes_new_tasks(10**10) is not shut_down
        assert model.takes_new_tasks(1.7e9)
        assert (
            4 * model.render_time_p50_seconds
            < model.soft_deadline_seconds
            < model.hard_deadline_seconds
            <= 7200
        )
        assert model.typical_credits > 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sora2", 'unknown model "sora2"; did you mean "sora-2"?'),
        ("Sora-2", 'unknown model "Sora-2"; did you mean "sora-2"?'),
        ("veo-flsh", 'unknown model "veo-flsh"; did you mean "veo-flash"?'),
        (
            "zzz",
            f'unknown model "zzz"; known: {", ".join(DEFAULT_CATALOGUE.names[:8])}'
            f" and {len(DEFAULT_CATALOGUE) - 8} more",
        ),
    ],
)
def test_unknown_model_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        DEFAULT_CATALOGUE.get(name)
    assert caught.value.message == f"model: {hint}"
    assert DEFAULT_CATALOGUE.find(name) is None


def test_a_task_whose_model_is_gone_has_none_though_another_model_is_called_so_at_its_provider() -> None:
    assert DEFAULT_CATALOGUE.get("openai-sora-2").api_model == "sora-2"
    left = Catalogue(model for model in DEFAULT_CATALOGUE if model.name != "sora-2")
    assert left.find("sora-2") is None
    assert left.get("sora-2").name == "openai-sora-2", "who orders may say so"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"last_frame": IMAGE}, "last_frame: needs first_frame beside it"),
        (
            {"references": [IMAGE], "first_frame": IMAGE},
            "references: does not go with first_frame: give one of them",
        ),
        ({"first_frame": IMAGE, "last_frame": IMAGE}, None),
        ({"references": (IMAGE,)}, None),
        ({"audio": [SOUND]}, "audio: needs references beside it"),
        ({"audio": [SOUND], "references": (IMAGE,)}, None),
        ({}, None),
    ],
)
def test_pictures_that_exclude_or_need_each_other_are_checked_before_anything_is_reserved(
    options: dict[str, Any], message: str | None
) -> None:
    model = DEFAULT_CATALOGUE.get("seedance-2.0")
    if message is None:
        assert set(model.normalise_options(options)) == set(options)
        return
    with pytest.raises(InputError) as caught:
        model.normalise_options(options)
    assert str(caught.value) == message


def test_unknown_model_of_hostile_text_stays_one_short_line() -> None:
    with pytest.raises(UnknownModel) as caught:
        DEFAULT_CATALOGUE.get("\x1b[31m\n\ud800" + "x" * 100_000)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("sora-2", {"aspect_ratio": "9:16", "duration": 15, "size": "large", "references": (IMAGE,)}),
        ("veo-pro", {"aspect_ratio": "16:9", "first_frame": IMAGE, "last_frame": IMAGE}),
        ("veo-flash", {"references": (IMAGE, IMAGE, IMAGE)}),
        (
            "minimax-h3",
            {
                "aspect_ratio": "16:9",
                "resolution": "1080p",
                "duration": 10,
                "audio": (IMAGE,),
                "seed": 0,
            },
        ),
        ("minimax-h3", {"resolution": "768p", "duration": 15, "references": (IMAGE,) * 9}),
        ("minimax-h3", {"duration": 15}),
    ],
)
def test_allowed_options_pass_unchanged(model: str, options: dict[str, Any]) -> None:
    assert DEFAULT_CATALOGUE.check(model, options, NOW) == options


def test_normalised_options_are_ordered_hashable_and_without_none() -> None:
    given = {"size": None, "duration": 10, "aspect_ratio": "portrait"}
    checked = DEFAULT_CATALOGUE.check("sora-2", given, NOW)
    assert list(checked.items()) == [("aspect_ratio", "9:16"), ("duration", 10)]
    assert DEFAULT_CATALOGUE.check("veo-pro", {"reference_urls": [IMAGE]}, NOW) == {"references": (IMAGE,)}


@pytest.mark.parametrize(
    ("model", "option", "value", "reason"),
    [
        ("sora-2", "duration", 12, "must be 10 or 15, not 12"),
        ("sora-2", "duration", "10", 'must be 10 or 15, not "10"'),
        ("sora-2", "duration", 10.0, "must be 10 or 15, not 10.0"),
        ("sora-2", "duration", True, "must be 10 or 15, not true"),
        ("sora-2", "duration", 10**400, "must be 10 or 15, not a number that large"),
        ("sora-2", "aspect_ratio", "4:3", 'must be "9:16" or "16:9", not "4:3"'),
        ("sora-2", "size", "huge", 'must be "small" or "large", not "huge"'),
        ("sora-2", "size", {"a": 1}, 'must be "small" or "large", not an object'),
        ("sora-2", "reference_url", 5, "must be a list of 1 to 1 image URLs or uploads, not 5"),
        ("veo-pro", "reference_urls", [IMAGE] * 4, "4 files, more than the 3 that the model takes"),
        ("veo-pro", "references", [], "must be a list of 1 to 3 image URLs or uploads, not a list"),
        ("veo-pro", "first_frame", "upl_1", 'is no upload id: "upl_1"'),
        (
            "veo-pro",
            "first_frame",
            "frame.png",
            'must be the URL, upload id or data URI of one image, not "frame.png"',
        ),
        (
            "veo-pro",
            "duration",
            10,
            "veo-pro has no such option; it takes aspect_ratio, first_frame, last_frame, references",
        ),
        ("minimax-h3", "duration", 16, "must be a whole number from 1 to 15, not 16"),
        ("minimax-h3", "duration", True, "must be a whole number from 1 to 15, not true"),
        ("minimax-h3", "seed", -1, "must be a whole number from 0 to 2147483647, not -1"),
    ],
)
def test_refused_option_names_its_field_and_what_is_allowed(
    model: str, option: str, value: object, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        DEFAULT_CATALOGUE.check(model, {option: value}, NOW, origin=Origin("a.csv", 7))
    assert caught.value.message == f"a.csv:7: {option}: {reason}"
    assert caught.value.field == option


def test_a_file_is_given_under_the_name_of_the_input_or_an_older_one() -> None:
    assert DEFAULT_CATALOGUE.check("veo-pro", {"reference_url": IMAGE}, NOW) == {"references": (IMAGE,)}
    assert DEFAULT_CATALOGUE.check("veo-pro", {"first_frame_url": [IMAGE]}, NOW) == {"first_frame": IMAGE}
    assert DEFAULT_CATALOGUE.check("minimax-h3", {"audio": IMAGE}, NOW) == {"audio": (IMAGE,)}
    with pytest.raises(InputError, match=r"^first_frame: is there twice: as first_frame_url too$"):
        DEFAULT_CATALOGUE.check("veo-pro", {"first_frame_url": IMAGE, "first_frame": IMAGE}, NOW)


def test_full_hd_minimax_is_limited_to_ten_seconds() -> None:
    with pytest.raises(InputError, match=r'^duration: at most 10 with resolution "1080p", not 11$') as caught:
        DEFAULT_CATALOGUE.check("minimax-h3", {"resolution": "1080p", "duration": 11}, NOW)
    assert caught.value.field == "duration"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/a.png",
        "ftp://example.com/a.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "https://",
        "https:///a.png",
        "https://user:pass@example.com/",
        "https://user@example.com/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/\x00",
        "https://example.com\\@evil.example/",
        "https://[::1/",
        "https://example.com:99999/",
        "https://example.com/\ud800",
        "https://example.com/" + "a" * URL_CHARACTERS_MAX,
    ],
)
def test_what_is_not_an_http_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(InputError) as caught:
        DEFAULT_CATALOGUE.check("sora-2", {"reference_url": url}, NOW)
    assert caught.value.field == "reference_url"
    assert caught.value.message.isprintable()
    assert "pass@" not in caught.value.message


def test_retired_model_is_refused_from_its_sunset_on() -> None:
    catalogue = DEFAULT_CATALOGUE.with_overrides({"sora-2": {"sunset_at": "2026-09-24"}})
    sunset = 1_790_208_000.0
    assert catalogue.check("sora-2", {}, sunset - 1) == {}
    with pytest.raises(
        ModelRetired, match=r'^model: "sora-2" was retired on 2026-09-24; use one of: veo-flash'
    ) as caught:
        catalogue.check("sora-2", {}, sunset)
    assert caught.value.field == "model"
    # tasks accepted before still find their deadlines
    assert catalogue.get("sora-2").hard_deadline_seconds == 3600


def test_a_prompt_may_be_of_one_unit_at_least() -> None:
    assert small_model(prompt_units_max=1).prompt_problem("ab") is not None
    assert small_model(prompt_units_max=1).prompt_problem("a") is None
    with pytest.raises(ValueError, match="prompt_units_max must be at least 1"):
        small_model(prompt_units_max=0)


def test_milliseconds_as_now_are_a_bug_not_a_retirement() -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        DEFAULT_CATALOGUE.check("sora-2", {}, NOW * 1000)


def test_disabled_model_takes_no_new_tasks_but_stays_in_the_catalogue() -> None:
    catalogue = DEFAULT_CATALOGUE.with_overrides({"veo-pro": {"disabled": True}})
    with pytest.raises(InputError, match='"veo-pro" is disabled by the operator; use one of: sora-2, '):
        catalogue.check("veo3.1-pro", {}, NOW)
    assert catalogue.get("veo-pro").disabled


def test_overrides_change_only_what_they_name() -> None:
    catalogue = DEFAULT_CATALOGUE.with_overrides(
        {"veo3.1-fast": {"credits": 7, "soft_deadline_seconds": 60, "hard_deadline_seconds": 600}}
    )
    changed = catalogue.get("veo-flash")
    assert (changed.typical_credits, changed.soft_deadline_seconds, changed.hard_deadline_seconds) == (
        7,
        60.0,
        600.0,
    )
    assert changed.options == DEFAULT_CATALOGUE.get("veo-flash").options
    assert DEFAULT_CATALOGUE.get("veo-flash").typical_credits == 15
    assert [model for model in catalogue if model.name != "veo-flash"] == [
        model for model in DEFAULT_CATALOGUE if model.name != "veo-flash"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (1_790_208_000, 1_790_208_000),
        ("2026-09-24", 1_790_208_000.0),
        ("2026-09-24T00:00:00Z", 1_790_208_000.0),
        ("2026-09-24T02:00:00+02:00", 1_790_208_000.0),
        ("2026-09-24T00:00:01", 1_790_208_001.0),
    ],
)
def test_sunset_is_read_from_dates_times_and_seconds(value: object, expected: float | None) -> None:
    catalogue = DEFAULT_CATALOGUE.with_overrides({"sora-2": {"sunset_at": value}})
    assert catalogue.get("sora-2").sunset_at == expected


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"sora-2": {"credits": -1}}, "sora-2"),
        ({"sora-2": {"credits": 10**9}}, "sora-2"),
        ({"sora-2": {"credits": 1.5}}, "sora-2.credits"),
        ({"sora-2": {"credits": "5"}}, "sora-2.credits"),
        ({"sora-2": {"credits": True}}, "sora-2.credits"),
        ({"sora-2": {"hard_deadline_seconds": 0}}, "sora-2"),
        ({"sora-2": {"hard_deadline_seconds": 60}}, "sora-2"),
        ({"sora-2": {"hard_deadline_seconds": DEADLINE_SECONDS_MAX + 1}}, "sora-2"),
        ({"sora-2": {"soft_deadline_seconds": math.nan}}, "sora-2.soft_deadline_seconds"),
        ({"sora-2": {"soft_deadline_seconds": math.inf}}, "sora-2.soft_deadline_seconds"),
        ({"sora-2": {"sunset_at": "soon"}}, "sora-2.sunset_at"),
        ({"sora-2": {"sunset_at": [1]}}, "sora-2.sunset_at"),
        ({"sora-2": {"sunset_at": 10**15}}, "sora-2"),
        ({"sora-2": {"disabled": 1}}, "sora-2.disabled"),
        ({"sora-2": {"credit": 1}}, "sora-2.credit"),
        ({"sora-2": {"provider": "x"}}, "sora-2.provider"),
        ({"sora-2": 5}, "sora-2"),
        ({"sora2": {"credits": 1}}, '"sora2".model'),
    ],
)
def test_bad_overrides_are_refused_by_field(overrides: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        DEFAULT_CATALOGUE.with_overrides(overrides)
    assert caught.value.field == field


def test_a_name_stands_before_an_api_name_and_earlier_models_before_later_ones() -> None:
    first = small_model("first", api_model="shared")
    second = small_model("second", api_model="shared")
    named = small_model("named", api_model="first")
    catalogue = Catalogue([first, second, named])
    assert catalogue.get("shared") is first
    assert catalogue.get("first") is first
    with pytest.raises(ValueError, match="twice"):
        Catalogue([first, first])


def test_catalogue_and_models_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        DEFAULT_CATALOGUE.get("sora-2").api_model = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        DEFAULT_CATALOGUE.get("sora-2").options["x"] = None  # type: ignore[index]
    with pytest.raises(AttributeError):
        DEFAULT_CATALOGUE.extra = 1  # type: ignore[attr-defined]


def test_an_operator_names_a_model_of_their_own_like_one_that_is_there() -> None:
    overrides: dict[str, dict[str, Any]] = {
        "wan": {"like": "openai-sora-2", "api_model": "Wan-AI/Wan2.2", "credits": 3},
        "x": {"like": "sora-2"},
        "slow": {"lane_of": "sora-2", "credits": 4},
    }
    catalogue = DEFAULT_CATALOGUE.with_overrides(overrides)
    wan = catalogue.get("wan")
    assert (wan.provider, wan.api_model, wan.typical_credits) == ("openai-video", "Wan-AI/Wan2.2", 3)
    assert wan.options == catalogue.get("openai-sora-2").options
    assert (catalogue.get("x").api_model, catalogue.get("x").provider) == ("x", "grsai")
    assert catalogue.get("sora-2").typical_credits == 10, "the one that it is like stays as it is"
    lane = catalogue.get("slow")
    assert (lane.lane_of, lane.made_by, lane.typical_credits) == ("sora-2", "sora-2", 4)
    assert catalogue.get("x").made_by == "x"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("sora-2", {"like": "veo-pro"}, "already"),
        ("x", {"like": "nothing"}, "unknown model"),
        ("x", {"lane_of": "nothing"}, "unknown model"),
        ("x", {"lane_of": "sora-2", "like": "veo-pro"}, "leave `like` away"),
        ("x", {"like": 5}, "must be a name"),
        ("x", {"like": "sora-2", "api_model": ""}, "must be a name"),
        ("x\n", {"like": "sora-2"}, "must be printable"),
        ("x", {"like": "sora-2", "provider": "fal"}, "cannot be overridden"),
        ("sora-2", {"api_model": "other"}, "cannot be overridden"),
    ],
)
def test_a_model_of_their_own_that_cannot_work_is_refused(
    name: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        DEFAULT_CATALOGUE.with_overrides({name: values})


def test_a_retired_model_s_error_lists_only_so_many_others() -> None:
    with pytest.raises(ModelRetired, match=r"retired on 2026-10-22; use one of: sora-2, .* and [0-9]+ more"):
        DEFAULT_CATALOGUE.get_live("google-veo3.1", now=1.8e9)


def test_the_default_model_is_one_that_can_be_had() -> None:
    models = [
        small_model("first", provider="a"),
        small_model("off", provider="b", disabled=True),
        small_model("second", provider="b"),
        small_model("sora-2", provider="grsai"),
    ]
    catalogue = Catalogue(models)
    assert default_model(catalogue, {}) == "sora-2"
    assert default_model(catalogue, {"grsai": ""}) == "first"
    assert default_model(catalogue, {"grsai": "", "a": ""}) == "second"
    assert default_model(catalogue, {"grsai": "", "a": "", "b": ""}) == "sora-2"
    assert default_model(Catalogue(models[:2]), {"a": "", "b": ""}) == "first"
