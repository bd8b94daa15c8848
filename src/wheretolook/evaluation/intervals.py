"""How sure a figure of a few images is: intervals that hold the truth 95 times of 100, about."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

Z = 1.959964  # standard deviations that hold 95 % of a normal distribution


@dataclass(frozen=True)
class Interval:
    """A figure and between what it lies; NaN where nothing is known."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


def share_interval(hits: int, count: int) -> Interval:
    """A share, of so many hits in so many tries.

    Args:
        hits: how many there were.
        count: of how many.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    Example:
        >>> found = share_interval(8, 10)
        >>> print(f"{found.low:.2f} {found.value:.2f} {found.high:.2f}")
        0.49 0.80 0.94
    """
    if not count:
        return Interval()
    share, z2 = hits / count, Z * Z
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    # at its ends a share lies in the interval, whatever rounding says
    return Interval(share, min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def fall_interval(before: Sequence[bool], after: Sequence[bool]) -> Interval:
    """By how much a share falls, from tries in pairs: never sure of a few, not even where none of them changes.

    Args:
        before: whether each try was a hit.
        after: the same of the same ones, changed.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 2005: Wald's interval with half a try added to each of the four outcomes.

    Example:
        >>> found = fall_interval([True] * 10, [True] * 10)
        >>> print(f"{found.low:.2f} {found.value:.2f} {found.high:.2f}")
        -0.16 0.00 0.16
    """
    if not before:
        return Interval()
    lost = sum(one and not other for one, other in zip(before, after, strict=True))
    won = sum(other and not one for one, other in zip(before, after, strict=True))
    count = len(before) + 2
    centre = (lost - won) / count
    half = Z * math.sqrt(lost + won + 1 - (lost - won) ** 2 / count) / count
    value = (lost - won) / len(before)
    return Interval(value, max(min(centre - half, value), -1.0), min(max(centre + half, value), 1.0))


def ratio_interval(parts: Sequence[float], wholes: Sequence[float]) -> Interval:
    """The sum of the parts by the sum of the wholes.

    Args:
        parts: one for each try.
        wholes: one for each try.

    Source: the ratio estimator's linearised variance, Cochran, "Sampling Techniques" (1977), section 2.11.

    Example:
        >>> found = ratio_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
        >>> found.low == found.value == found.high == 0.5
        True
    """
    if len(parts) < 2 or not sum(wholes):
        return Interval()
    ratio, whole = sum(parts) / sum(wholes), fmean(wholes)
    rest = [part - ratio * one for part, one in zip(parts, wholes, strict=True)]
    half = Z * stdev(rest) / (abs(whole) * math.sqrt(len(rest)))
    return Interval(ratio, ratio - half, ratio + half)
