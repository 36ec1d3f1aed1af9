"""The options of a run that say what an acceptable clip is, and what it may cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from rushes.cli.options import Gate, Whole

if TYPE_CHECKING:
    from rushes.domain.acceptance.best_of import BestOf
    from rushes.domain.input.priced import PricedDraft
    from rushes.settings import Settings


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

    def best_of_for(self, priced: "Sequence[PricedDraft]", settings: "Settings") -> "BestOf | None":
        """How many clips each of the items may buy. Raises `InputError`."""
        from rushes.domain.acceptance.best_of import read_acceptance
        from rushes.wiring import gate_rules

        return read_acceptance(self.gate, self.accept(), gate_rules(settings), priced).best_of


NOTHING_ASKED = GivenAcceptance()
