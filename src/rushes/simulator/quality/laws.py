"""How good a model's clips are, as chances that are known: by model, by what was asked for, and by seed.

So what a gate, a judge, re-rolls and repairs gain can be compared with what they must gain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

from rushes.domain.errors import InputError
from rushes.simulator.draws import Lane, seed_of, uniform

HARD_PROMPT: Final = "[hard]"
"""A prompt with this in it meets a law's `hard` too."""

SOUND_MODERATION: Final = "audio_moderation: the soundtrack was refused"
"""What a provider says of a try that failed for its sound."""

_TALL: Final = frozenset({"1080p", "1440p", "4k"})
_SHORT_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Law:
    """Chances from 0 to 1. Of a clip: that it is `black`, that it stands still (`frozen`, and `slow` more for
    each second beyond five), that a judge rejects it (`rejected`, and `hard` more for a hard prompt). Of a
    try: that it fails for its `sound`, where it has any, or at a `tall` resolution.
    """

    black: float = 0.0
    frozen: float = 0.0
    slow: float = 0.0
    rejected: float = 0.0
    hard: float = 0.0
    sound: float = 0.0
    tall: float = 0.0

    def failure_of(self, options: Mapping[str, Any], draw: float) -> str | None:
        """Why a try of these options fails at this draw from 0 to 1: `sound` or `tall`; None if it passes."""
        sound = self.sound if options.get("sound") is True else 0.0
        if draw < sound:
            return "sound"
        tall = self.tall if str(options.get("resolution")).lower() in _TALL else 0.0
        return "tall" if draw < sound + tall else None

    def defect_of(self, seconds: float, draw: float) -> str:
        """What a gate finds of a clip of this length at this draw: `black`, `frozen`, or nothing."""
        if draw < self.black:
            return "black"
        frozen = self.frozen + self.slow * max(0.0, seconds - _SHORT_SECONDS)
        return "frozen" if draw < self.black + frozen else ""

    def is_rejected(self, prompt: str, draw: float) -> bool:
        """Whether a judge rejects a clip of this prompt at this draw."""
        return draw < self.rejected + (self.hard if HARD_PROMPT in prompt else 0.0)

    def accepted_share(self, prompt: str, options: Mapping[str, Any]) -> float:
        """The chance that a clip of these is accepted."""
        seconds = float(options.get("duration") or 0)
        frozen = self.frozen + self.slow * max(0.0, seconds - _SHORT_SECONDS)
        rejected = self.rejected + (self.hard if HARD_PROMPT in prompt else 0.0)
        return max(0.0, 1 - self.black - frozen) * (1 - rejected)


SOUND: Final = Law()
"""Every clip is good."""

_NAMES: Final = tuple(each.name for each in fields(Law))


@lru_cache(maxsize=8)
def read_laws(text: str) -> Mapping[str, Law]:
    """`sora-2:black=0.2,rejected=0.1;veo-pro:frozen=0.05` as a law for each model. Raises `InputError`."""
    found: dict[str, Law] = {}
    for part in filter(None, text.split(";")):
        model, separator, chances = part.partition(":")
        law: dict[str, float] = {}
        for chance in filter(None, chances.split(",")):
            name, _, value = chance.partition("=")
            try:
                law[name.strip()] = float(value)
            except ValueError:
                raise InputError(f"expected NAME=CHANCE, got {chance[:40]!r}", field="quality") from None
        wrong = [name for name, value in law.items() if name not in _NAMES or not 0 <= value <= 1]
        if not separator or not law or wrong:
            known = f"chances from 0 to 1 of {', '.join(_NAMES)}"
            raise InputError(
                f"expected MODEL:NAME=CHANCE,…;… with {known}, got {part[:60]!r}", field="quality"
            )
        found[model.strip()] = Law(**law)
    return found


def judged(laws: Mapping[str, Law], seed: int, question: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge answers about a clip, as a hook is asked: always the same of the same clip."""
    model, prompt = str(question.get("model")), str(question.get("prompt"))
    drawn = uniform(
        seed_of(seed, "judge", str(question.get("item_id")), int(question.get("try") or 0)), Lane.CLIP
    )
    answer: dict[str, Any] = {"item_id": question.get("item_id")}
    if laws.get(model, SOUND).is_rejected(prompt, drawn):
        return answer | {"verdict": "rejected", "reason": "off prompt", "score": round(drawn / 2, 3)}
    return answer | {"verdict": "accepted", "score": round(0.5 + drawn / 2, 3)}
