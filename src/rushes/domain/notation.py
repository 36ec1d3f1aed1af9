"""How times and numbers of things are written for people and programs outside."""

from datetime import UTC, datetime


def iso_time(at_ms: int | None) -> str | None:
    """Epoch milliseconds as ISO 8601 in UTC."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(count: int, singular: str, plural: str | None = None, *, digits: str = "") -> str:
    """`1 item`, `2 items`; `plural` where an s is not enough. `digits` formats the number: `,` for 1,000."""
    return f"{count:{digits}} {singular if count == 1 else plural or singular + 's'}"


def model_words(model: str, alias: str | None) -> str:
    """`veo → veo-flash` of what was asked for under an alias; else the model."""
    return model if alias in (None, model) else f"{alias} → {model}"


def in_bytes(count: int) -> str:
    """`999 B`, `1.2 kB`, `43 GB`: powers of 1,000, two digits at least."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
