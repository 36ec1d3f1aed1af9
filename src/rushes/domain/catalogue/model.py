"""One model as rushes sells it: its names, options, price, cost, render time and deadlines."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, assert_never

from rushes.domain.catalogue.media import KnownUploads, MediaInput, own_name
from rushes.domain.catalogue.options import (
    NOWHERE,
    AtMostWhen,
    CrossCheck,
    OptionSpec,
    OptionValue,
    Origin,
    Url,
    UrlList,
    default_of,
    nearest,
    quoted,
)
from rushes.domain.catalogue.price import Charge, Cost, ExpectedCost, Price
from rushes.domain.catalogue.price_reading import (
    COST_MAX,
    MODEL_CREDITS_MAX,
    problem_of,
    problem_of_unit_prices,
)
from rushes.domain.catalogue.wire import AS_NAMED, Wire

DEADLINE_SECONDS_MAX = 30 * 86_400.0
"""The longest hard deadline: credits must not be held indefinitely."""

MODEL_LIMIT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What an account's model allows, beside its provider's own limits; None for no limit.

    A task counts as in flight from its claim to its end, as submitted in the minute after its claim. Raises
    `ValueError` for a limit that is no number of tasks.
    """

    in_flight_tasks_max: int | None = None
    submits_per_minute: int | None = None

    def __post_init__(self) -> None:
        for name in ("in_flight_tasks_max", "submits_per_minute"):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and 1 <= value <= MODEL_LIMIT_MAX):
                raise ValueError(f"{name} must be a whole number from 1 to {MODEL_LIMIT_MAX}")

    def room(self, in_flight: int, submitted: int) -> int:
        """How many more tasks may be sent now, beside those in flight and those of the last minute."""
        places = MODEL_LIMIT_MAX if self.in_flight_tasks_max is None else self.in_flight_tasks_max - in_flight
        turns = MODEL_LIMIT_MAX if self.submits_per_minute is None else self.submits_per_minute - submitted
        return max(0, min(places, turns))


PromptUnit: TypeAlias = Literal["characters", "utf16", "bytes"]
"""In what a provider counts a prompt: Unicode characters, UTF-16 code units, bytes of UTF-8."""

_SECONDS_OF_YEAR_10000 = 253_402_300_800.0
# Epoch seconds are below this until the year 5138; milliseconds passed it in 1973.
_EPOCH_SECONDS_MAX = 1e11


def _flat(credits: int) -> Price:
    if not 0 <= credits <= MODEL_CREDITS_MAX:
        raise ValueError(f"credits must be from 0 to {MODEL_CREDITS_MAX}")
    return Price.flat(credits)


@dataclass(frozen=True, slots=True)
class Model:
    """One sellable model. Times are seconds; `sunset_at` is epoch seconds.

    `credits` is short for a price that is the same for every video; give it or `price`. `cost` is what the
    provider charges, None where nobody has written it down. `options` says which options the model takes,
    in rushes' own names, and `cross_checks` what holds between them. A prompt may have `prompt_units_max`
    of `prompt_unit` (None: rushes' own limit). From `sunset_at` on, while `disabled` and while it is
    `unavailable` (which says why), the model takes no new tasks, and those that wait for it are not sent;
    what was sent before continues. `note` is a fact that a buyer should read first.
    `limits` are the model's own. `lane_of` names the model whose slow, cheap lane it is: it makes the same
    clips, at its own price and times. Raises `ValueError` for a price or deadline that cannot work.
    """

    name: str
    provider: str
    api_model: str
    credits: InitVar[int | None] = None
    render_time_p50_seconds: float = 120.0
    soft_deadline_seconds: float = 1800.0
    hard_deadline_seconds: float = 7200.0
    options: Mapping[str, OptionSpec] = field(default_factory=dict)
    sunset_at: float | None = None
    cross_checks: tuple[CrossCheck, ...] = ()
    disabled: bool = False
    unavailable: str | None = None
    price: Price = field(kw_only=True, default=None)  # type: ignore[assignment]
    cost: Cost | None = field(kw_only=True, default=None)
    prompt_units_max: int | None = field(kw_only=True, default=None)
    prompt_unit: PromptUnit = field(kw_only=True, default="characters")
    note: str | None = field(kw_only=True, default=None)
    limits: ModelLimits | None = field(kw_only=True, default=None)
    lane_of: str | None = field(kw_only=True, default=None)

    def __post_init__(self, credits: int | None) -> None:
        if credits is not None:
            object.__setattr__(self, "price", _flat(credits))
        elif self.price is None:
            raise ValueError("a price is missing: give credits or price")
        self._check_money()
        if not 0 < self.render_time_p50_seconds <= self.hard_deadline_seconds:
            raise ValueError("render_time_p50_seconds must be above 0 and at most hard_deadline_seconds")
        if not 0 < self.soft_deadline_seconds <= self.hard_deadline_seconds <= DEADLINE_SECONDS_MAX:
            raise ValueError(
                "soft_deadline_seconds must be above 0 and at most hard_deadline_seconds,"
                f" which is at most {DEADLINE_SECONDS_MAX:.0f}"
            )
        if self.sunset_at is not None and not 0 <= self.sunset_at < _SECONDS_OF_YEAR_10000:
            raise ValueError("sunset_at must be epoch seconds before the year 10000")

    def _check_money(self) -> None:
        problem = problem_of(self.price.tariff, self.options, MODEL_CREDITS_MAX)
        if problem is not None:
            raise ValueError(f"price: {problem}")
        if self.cost is not None:
            problem = problem_of(self.cost.tariff, self.options, COST_MAX)
            problem = problem or problem_of_unit_prices(self.cost, self.options)
            if problem is not None:
                raise ValueError(f"cost: {problem}")
        for name, spec in self.options.items():
            default = default_of(spec)
            if default is not None and spec.normalise(default) != default:
                raise ValueError(f"options.{name}: the default is not in normal form")
        for check in self.cross_checks:
            default = default_of(self.options[check.option])
            if isinstance(check, AtMostWhen) and isinstance(default, int) and default > check.maximum:
                raise ValueError(f"options.{check.option}: the default is over a cross check's maximum")
        if self.prompt_units_max is not None and self.prompt_units_max < 1:
            raise ValueError("prompt_units_max must be at least 1")

    def price_of(self, options: Mapping[str, Any]) -> int:
        """The credits of a video with these options, as `normalise_options` gives them."""
        return self.price.credits(self.completed(options), self.input_images(options))

    def cost_of(self, options: Mapping[str, Any]) -> ExpectedCost | None:
        """What the provider is expected to charge for it; None where nobody has written it down."""
        if self.cost is None:
            return None
        return self.cost.expected(self.completed(options), self.input_images(options))

    def charge(self, options: Mapping[str, Any], credits: int | None = None) -> Charge:
        """What a video with these normalised options costs, at the model's price or at `credits`."""
        price = self.price_of(options) if credits is None else credits
        return Charge(price, self.completed(options), self.cost_of(options))

    @property
    def made_by(self) -> str:
        """The model that makes its clips, whatever the lane."""
        return self.lane_of or self.name

    @property
    def typical_credits(self) -> int:
        """The price of a video with no options but the defaults, for lists."""
        return self.price_of({})

    @property
    def wires(self) -> dict[str, Wire]:
        """How each option stands in the provider's request."""
        return {name: getattr(spec, "wire", AS_NAMED) for name, spec in self.options.items()}

    def prompt_problem(self, prompt: str) -> str | None:
        """What is wrong with a prompt that is too long, in the units that the provider counts; or None."""
        if self.prompt_units_max is None:
            return None
        match self.prompt_unit:
            case "characters":
                count, unit = len(prompt), "characters"
            case "utf16":
                count, unit = len(prompt.encode("utf-16-le")) // 2, "UTF-16 code units"
            case "bytes":
                count, unit = len(prompt.encode()), "bytes of UTF-8"
            case other:
                assert_never(other)
        if count <= self.prompt_units_max:
            return None
        return f"{count} {unit}, more than the {self.prompt_units_max} that {self.name} takes"

    def input_images(self, options: Mapping[str, Any]) -> int:
        """How many pictures go in with these options."""
        count = 0
        for name, value in options.items():
            match self.options.get(name):
                case Url(content="image"):
                    count += 1
                case UrlList(content="image"):
                    count += len(value)
                case MediaInput(content="image"):
                    count += len(value) if isinstance(value, list | tuple) else 1
                case _:
                    pass
        return count

    def completed(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Normalised options with the defaults of those that are not given: what is sent and priced."""
        found: dict[str, Any] = {}
        for name, spec in self.options.items():
            value = options.get(name)
            value = default_of(spec) if value is None else value
            if value is not None:
                found[name] = value
        return found

    def is_retired(self, now: float) -> bool:
        """Whether the model is past its sunset date at `now` (epoch seconds)."""
        if now >= _EPOCH_SECONDS_MAX:
            raise ValueError("now must be epoch seconds; these look like milliseconds")
        return self.sunset_at is not None and now >= self.sunset_at

    def takes_new_tasks(self, now: float) -> bool:
        """Whether new tasks for the model are accepted, and sent, at `now` (epoch seconds)."""
        return self.why_not(now) is None

    def why_not(self, now: float) -> str | None:
        """Why it takes no new tasks, as the rest of a sentence; None when it does."""
        if self.is_retired(now) and self.sunset_at is not None:
            return f"was retired on {datetime.fromtimestamp(self.sunset_at, UTC).date().isoformat()}"
        if self.disabled:
            return "is disabled by the operator"
        return None if self.unavailable is None else f"is unavailable: {self.unavailable}"

    def normalise_options(
        self, options: Mapping[str, Any], *, origin: Origin = NOWHERE
    ) -> dict[str, OptionValue]:
        """The given options checked and in the catalogue's order; options that are None count as absent.

        Raises `InputError` naming the first option that the model does not take or whose value it refuses.
        """
        given: dict[str, str] = {}
        for name in options:
            if options[name] is None:
                continue
            own = own_name(name, self.options)
            if own not in self.options:
                raise origin.error(self._option_not_taken(name), name)
            if own in given:
                raise origin.error(f"is there twice: as {given[own]} too", name)
            given[own] = name
        normalised: dict[str, OptionValue] = {}
        for own, spec in self.options.items():
            if own not in given:
                continue
            try:
                normalised[own] = spec.normalise(options[given[own]])
            except ValueError as refused:
                raise origin.error(str(refused), given[own]) from None
        for cross_check in self.cross_checks:
            problem = cross_check.problem(self.completed(normalised))
            if problem is not None:
                raise origin.error(problem, cross_check.option)
        return normalised

    @property
    def media(self) -> dict[str, MediaInput]:
        """The files that go into a video, by name."""
        return {name: spec for name, spec in self.options.items() if isinstance(spec, MediaInput)}

    def media_of(self, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """The addresses and uploads among a task's options, by the input's name.

        Options of a task that was made under an input's older name count too.
        """
        return {
            own: tuple(value) if isinstance(value, list | tuple) else (value,)
            for own, _name, value in self._media_among(options)
        }

    def _media_among(self, options: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
        """Those of the options that are files: the input's name, the option's, and the value."""
        named = [(own_name(name, self.options), name, value) for name, value in options.items()]
        return [each for each in named if isinstance(self.options.get(each[0]), MediaInput)]

    def without_media(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The other options."""
        media = {name for _own, name, _value in self._media_among(options)}
        return {name: value for name, value in options.items() if name not in media}

    def check_uploads(
        self,
        options: Mapping[str, Any],
        uploads: KnownUploads,
        *,
        origin: Origin = NOWHERE,
    ) -> None:
        """Raise `InputError` for an upload among these options that is unknown or cannot be handed on."""
        for name, values in self.media_of(options).items():
            spec = self.media[name]
            for index, value in enumerate(values):
                problem = uploads.problem(spec, value)
                if problem is not None:
                    raise origin.error(problem, f"{name}[{index}]" if spec.is_list else name)

    def _option_not_taken(self, name: str) -> str:
        suggestion = nearest(name, tuple(self.options))
        if suggestion is not None:
            return f"{self.name} has no such option; did you mean {quoted(suggestion)}?"
        return f"{self.name} has no such option; it takes {', '.join(self.options) or 'none'}"
