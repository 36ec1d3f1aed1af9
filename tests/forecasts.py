"""Forecasts to test with."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.read.forecasts import Forecaster


def forecaster() -> Forecaster:
    """One that knows no provider's limits, and remembers nothing yet."""
    return Forecaster(DEFAULT_CATALOGUE, {}, unconfirmed_grace_seconds=900)
