"""The options of a run that say what an acceptable clip is, and what it may cost."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from rushes.cli.options import Gate, Whole


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GivenAcceptance:
    """The options that say which clips are accepted."""

    gate: Gate = None
    best_of: Annotated[
        Whole | None, Parameter(help="Buy up to this many clips of an item (1 to 10), until one is accepted.")
    ] = None
    clip_credits_max: Annotated[
        Whole | None, Parameter(help="With --best-of: what an item's clips may cost together.")
    ] = None
    score_min: Annotated[
        float | None, Parameter(help="With --best-of: the least score (0 to 1) that a judge must give.")
    ] = None

    def accept(self) -> dict[str, Any] | None:
        """The options as the API's object `accept`; what is wrong is found where all front ends look."""
        from rushes.domain.errors import InputError

        more = {"credits_max": self.clip_credits_max, "score_min": self.score_min}
        given = {name: value for name, value in more.items() if value is not None}
        if self.best_of is None and given:
            raise InputError("--clip-credits-max and --score-min need --best-of")
        return None if self.best_of is None else {"n_max": self.best_of, **given}


NOTHING_ASKED = GivenAcceptance()
