"""Confidence intervals of shares, by Wilson (1927): right for few clips and for shares near 0 and 1 too."""

from typing import Final

Z_95: Final = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def share_interval(hits: int, of: int, z: float = Z_95) -> tuple[float, float]:
    """Between which shares the true one lies in 95 % of cases; from 0 to 1 of nothing."""
    if of == 0:
        return 0.0, 1.0
    share, spread = hits / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    half = z * ((share * (1 - share) + spread / 4) / of) ** 0.5 / (1 + spread)
    return round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)
