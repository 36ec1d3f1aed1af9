"""Rate limits of a provider, held by each worker on its own event loop's clock."""

from aiolimiter import AsyncLimiter


def limiter(per_second: float | None) -> AsyncLimiter | None:
    """A limiter that lets through at most `per_second` in any second, in bursts of at most a tenth.

    A leaky bucket admits its burst on top of its rate, so the rate is lowered by the burst's share.
    """
    if per_second is None:
        return None
    burst = max(1.0, per_second / 10)
    rate = per_second - burst if per_second > 2 * burst else per_second / 2
    return AsyncLimiter(burst, burst / rate)
