"""What repairs have gained, as a table: of one batch, and of all."""

from collections.abc import Mapping, Sequence
from typing import Any


def print_gains(gains: Sequence[Mapping[str, Any]]) -> None:
    """What repairs have gained, and which of them does not pay."""
    from rushes.cli.show import print_line, print_table

    rows = [
        (
            gain["rule"],
            f"{percent(gain['with']['share'])} of {gain['with']['tries']}",
            f"{percent(gain['without']['share'])} of {gain['without']['tries']}",
            " to ".join(percent(bound) for bound in gain["gain_interval"]),
            gain["pays"],
        )
        for gain in gains
    ]
    print_table(("repair", "passed with it", "without", "gain, 95 %", "pays"), rows)
    lost = [gain["rule"] for gain in gains if gain["pays"] == "no"]
    if lost:
        print_line(f"does not pay: {', '.join(lost)}; leave it out")


def percent(rate: float | None) -> str:
    """`12.3 %`."""
    return "-" if rate is None else f"{100 * rate:.1f} %"
