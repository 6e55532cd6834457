"""The few statistics that the page is made of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence


def median(values: Sequence[float]) -> float | None:
    """The middle one; None of nothing."""
    return statistics.median(values) if values else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least ``percent`` of all do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def ratios(ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float]) -> list[float]:
    """Theirs divided by ours, of the rounds that both have.

    The two of a round were measured one after the other, so that what slows the machine down for minutes slows both.
    """
    return [theirs[number] / ours[number] for number in ours.keys() & theirs.keys() if ours[number] > 0]


def paired_ratio(ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float]) -> float | None:
    """The median of the ratios of the rounds that both have."""
    return median(ratios(ours, theirs))
