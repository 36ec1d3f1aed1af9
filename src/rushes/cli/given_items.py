"""What to make: the items of a prompt file, of standard input, or of a template, with their defaults."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from rushes.cli.files import STANDARD_INPUT, read_bounded
from rushes.cli.named import ModelName
from rushes.cli.options import AspectRatio, Duration, FileFormat, NextMoment, OptionValues, Whole

if TYPE_CHECKING:
    from rushes.domain.catalogue.catalogue import Catalogue
    from rushes.domain.input.auto import AutoRule
    from rushes.domain.input.priced import PricedDraft
    from rushes.domain.input.prompts import Defaults, TaskDraft
    from rushes.settings import Settings

VALUES_FILE_BYTES_MAX = 4 * 1024 * 1024
"""Of a file that `--var NAME=@FILE` names."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GivenItems:
    """The options of `run` and `quote` that say what to make."""

    model: ModelName = None
    format: FileFormat = None
    encoding: Annotated[
        str | None, Parameter(help="Of a file that is not UTF-8 or UTF-16, such as cp1252 or gb18030.")
    ] = None
    template: Annotated[
        str | None,
        Parameter(help='Instead of FILE: "A {style} shot of {scene}", one prompt for each combination.'),
    ] = None
    var: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="NAME=VALUE,VALUE for the template, or NAME=@FILE with a value a line; may be repeated.",
        ),
    ] = None
    aspect_ratio: AspectRatio = None
    duration: Duration = None
    option: OptionValues = None

    def drafts(self, file: str | None, catalogue: "Catalogue") -> "list[TaskDraft]":
        """The checked items of the file, or of the template. Raises `InputError`."""
        from rushes.cli.usage import UsageError
        from rushes.domain.input.encodings import INPUT_BYTES_MAX
        from rushes.domain.input.files import parse_batch_input
        from rushes.domain.input.templates import drafts_from_template

        defaults = self.defaults(catalogue)
        if self.template is not None:
            if file is not None:
                raise UsageError("name a FILE or a --template, not both")
            return drafts_from_template(self.template, _variables(self.var or []), defaults=defaults)
        if self.var:
            raise UsageError('--var gives values to a --template, such as "A {style} shot"')
        if file is None:
            raise UsageError("name a FILE of prompts, - for standard input, or a --template")
        source, data = read_bounded(file, INPUT_BYTES_MAX)
        return parse_batch_input(data, source, self.format, defaults, encoding=self.encoding)

    def defaults(self, catalogue: "Catalogue") -> "Defaults":
        """What items get that name no model or option. Raises `InputError`."""
        from rushes.domain.errors import InputError
        from rushes.domain.input.prompts import Defaults

        options: dict[str, Any] = {}
        for name, text in _pairs("--option", "resolution=1080p", self.option or []):
            if name in options:
                raise InputError(f"--option {name} is there twice")
            if name not in catalogue.fields.names:
                raise InputError(f"no model has an option {name}; see `rushes models`", field="--option")
            try:
                chosen = self.model or catalogue.default_model
                options[name] = catalogue.fields.read_cell(name, text, chosen)
            except ValueError as error:
                raise InputError(str(error), field=f"--option {name}") from None
        named = {"aspect_ratio": self.aspect_ratio, "duration": self.duration}
        options |= {name: value for name, value in named.items() if value is not None}
        return Defaults.of(catalogue, self.model, options)


NOTHING_GIVEN = GivenItems()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GivenAuto:
    """The options that bound the models of items whose model is `auto`."""

    auto_among: Annotated[
        list[str] | None,
        Parameter(negative=(), help="With --model auto: only this model; may be repeated. By default all."),
    ] = None
    auto_credits_max: Annotated[
        Whole | None, Parameter(help="With --model auto: what a clip may cost at most.")
    ] = None
    by: Annotated[
        NextMoment | None,
        Parameter(
            help="06:00 (UTC) or a date or time: a model's cheap lane where its videos are there by then, and"
            " the model where they are not; with --model auto only models whose videos are."
        ),
    ] = None
    auto_seed: Annotated[Whole | None, Parameter(help="With --model auto: makes the draws repeatable.")] = (
        None
    )

    def document(self) -> dict[str, Any] | None:
        """The options as the API's object `auto`; what is wrong is found where all front ends look."""
        more = {
            "among": self.auto_among,
            "credits_max": self.auto_credits_max,
            "finish_by": None if self.by is None else self.by.isoformat(),
            "seed": self.auto_seed,
        }
        return {name: value for name, value in more.items() if value is not None} or None

    def in_lanes(
        self, drafts: "list[TaskDraft]", catalogue: "Catalogue"
    ) -> "tuple[GivenAuto, list[TaskDraft]]":
        """With --by, items of one model that has a cheap lane leave the lane open. Raises `InputError`."""
        from rushes.domain.errors import InputError
        from rushes.domain.input.auto import AUTO

        names = {draft.model for draft in drafts}
        if self.by is None or AUTO in names:
            return self, drafts
        if len(names) > 1:
            raise InputError("takes items of one model, or --model auto", field="--by")
        model = catalogue.get(names.pop())
        if not any(lane.lane_of == model.name for lane in catalogue):
            raise InputError(f"{model.name} has no cheap lane (`lane_of` in rushes.toml)", field="--by")
        return replace(self, auto_among=[model.name]), [replace(draft, model=AUTO) for draft in drafts]

    def rule(self, catalogue: "Catalogue") -> "AutoRule":
        """The same as the rule by which a model is chosen. Raises `InputError`."""
        from rushes.domain.input.auto import NO_BOUNDS, read_auto

        return read_auto(self.document(), catalogue, int(time.time() * 1000)) or NO_BOUNDS


NO_BOUNDS_GIVEN = GivenAuto()


def _pairs(option: str, example: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Each NAME=VALUE as (name, value). Raises `InputError`."""
    from rushes.domain.errors import InputError

    found = []
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise InputError(f'{option} takes NAME=VALUE, such as {example}, not "{text[:40]}"')
        found.append((name, value))
    return found


def _variables(texts: Sequence[str]) -> Mapping[str, list[str]]:
    """The values of each variable; one that is named again gets more of them."""
    variables: dict[str, list[str]] = {}
    for name, value in _pairs("--var", "style=wide,close", texts):
        values = _lines_of(value[1:]) if value.startswith("@") else value.split(",")
        variables.setdefault(name, []).extend(one.strip() for one in values)
    return variables


def _lines_of(file: str) -> list[str]:
    from rushes.domain.input.encodings import decode

    source, data = read_bounded(file, VALUES_FILE_BYTES_MAX)
    return [line for line in decode(data, source).splitlines() if line.strip()]


def folder_of(file: str | None) -> Path:
    """Where the paths in a prompt file start: its folder; the working directory where there is no file."""
    return Path.cwd() if file in (None, STANDARD_INPUT) else Path(str(file)).parent


def price_drafts(
    drafts: "Sequence[TaskDraft]",
    settings: "Settings",
    folder: Path | None = None,
    *,
    account: str = "default",
    auto: "AutoRule | None" = None,
) -> "list[PricedDraft]":
    """The drafts with their prices now, and their files checked. Raises `InputError`.

    Uploads that were made before are not looked up: that needs the database. Paths of files start at the
    folder; without one, none are taken. With a rule `auto` items may leave their model open.
    """
    from rushes.domain.catalogue.media import KnownUploads
    from rushes.domain.input.priced import validate_drafts
    from rushes.files.chains.last_frame import no_last_frames_here
    from rushes.files.uploads import check_given_files

    catalogue = settings.catalogue()
    given = check_given_files(
        drafts,
        catalogue.fields,
        account=account,
        folder=folder,
        bytes_max=settings.upload_bytes_max,
    )
    known = KnownUploads(
        given.facts_of,
        settings.base_url is not None,
        are_all=False,
        no_last_frames=no_last_frames_here(keeps_files=settings.archive_place is not None),
    )
    return validate_drafts(given.drafts, catalogue, time.time(), known, auto=auto)
