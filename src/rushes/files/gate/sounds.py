"""How much of a clip's sound is silence, and how much of it is cut off at full scale.

Takes 16-bit samples. Both are found by functions of the interpreter itself over whole blocks, so that ten
seconds of stereo take some milliseconds.
"""

from array import array
from dataclasses import dataclass
from typing import Final

SILENT_PEAK_MAX: Final = 60
"""The highest peak of silence, of 32,767: 55 dB below full scale."""

FULL_SCALE: Final = (32_767, -32_768)


@dataclass(slots=True)
class Sounds:
    """Takes the blocks of a clip's sound in their order."""

    samples: int = 0
    silent_samples: int = 0
    clipped_samples: int = 0

    def add(self, block: "array[int]") -> None:
        """Samples of all channels, of some hundredths of a second."""
        if not block:
            return
        self.samples += len(block)
        highest, lowest = max(block), min(block)
        if max(highest, -lowest) <= SILENT_PEAK_MAX:
            self.silent_samples += len(block)
        if highest == FULL_SCALE[0] or lowest == FULL_SCALE[1]:
            self.clipped_samples += sum(map(block.count, FULL_SCALE))

    def shares(self) -> tuple[float | None, float | None]:
        """The silent share and the clipped one; None where there was no sample."""
        if not self.samples:
            return None, None
        return self.silent_samples / self.samples, self.clipped_samples / self.samples
