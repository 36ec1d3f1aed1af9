"""What a judge says of a clip, a person or the operator's hook, and what that comes to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes.domain.acceptance.gate import PPM
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError

REASON_CHARACTERS_MAX: Final = 100
_FIELDS: Final = ("verdict", "reason", "score", "item_id")
_WORDS: Final[Mapping[str, Verdict]] = {
    "accept": Verdict.ACCEPTED,
    "accepted": Verdict.ACCEPTED,
    "reject": Verdict.REJECTED,
    "rejected": Verdict.REJECTED,
}
_UNFIT: Final = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Accepted or rejected, in the judge's own words, with a score from 0 to 1 in millionths."""

    verdict: Verdict
    reason: str | None = None
    score_ppm: int | None = None

    def outcome(self, score_min: float | None) -> tuple[Verdict, list[str]]:
        """The clip's verdict and its reasons where a score of at least `score_min` is asked for."""
        is_low = self.score_ppm is not None and score_min is not None and self.score_ppm < score_min * PPM
        if self.verdict is Verdict.ACCEPTED and is_low:
            return Verdict.REJECTED, ["judge:score"]
        if self.verdict is Verdict.ACCEPTED:
            return Verdict.ACCEPTED, []
        return Verdict.REJECTED, [f"judge:{self.reason or 'rejected'}"]


def read_judgement(document: object, *, item_id: str | None = None) -> Judgement:
    """The object `{verdict, reason, score}`, such as a hook answers for `item_id`.

    An answer that names another item is none. Raises `InputError` with the field at fault.
    """
    if not isinstance(document, Mapping):
        raise InputError("must be an object with a verdict")
    for name in document:
        if name not in _FIELDS or (name == "item_id" and item_id is None):
            hint = nearest(str(name), _FIELDS[:3])
            known = f"did you mean {quoted(hint)}?" if hint else f"known: {', '.join(_FIELDS[:3])}"
            raise InputError(f"unknown field {quoted(name)}; {known}")
    if item_id is not None and document.get("item_id", item_id) != item_id:
        raise InputError("names another item", field="item_id")
    word = document.get("verdict")
    verdict = _WORDS.get(word) if isinstance(word, str) else None
    if verdict is None:
        raise InputError(f"must be accepted or rejected, not {quoted(word)}", field="verdict")
    return Judgement(verdict, _reason(document.get("reason")), _score_ppm(document.get("score")))


def _reason(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= REASON_CHARACTERS_MAX or not value.isprintable():
        raise InputError(f"must be 1 to {REASON_CHARACTERS_MAX} printable characters", field="reason")
    return _UNFIT.sub(" ", value).strip() or None  # reasons are listed with commas


def _score_ppm(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InputError(f"must be a number from 0 to 1, not {quoted(value)}", field="score")
    return round(value * PPM)
