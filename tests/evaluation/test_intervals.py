"""Intervals against their definitions and against what happens when the tries are drawn."""

import math
import random
from statistics import fmean

import pytest

from wheretolook.evaluation.intervals import Z, fall_interval, ratio_interval, share_interval


def test_the_ends_of_a_share_are_the_shares_from_which_it_is_just_so_far():
    """Wilson's: |share - end| = z * sqrt(end (1 - end) / n)."""
    for hits, count in ((1, 8), (13, 20), (40, 41)):
        found = share_interval(hits, count)
        for end in (found.low, found.high):
            assert abs(found.value - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / count))
    assert share_interval(0, 5).low == 0 and share_interval(5, 5).high == 1
    assert math.isnan(share_interval(0, 0).value)


def test_a_fall_is_of_pairs_and_goes_both_ways():
    before = [True] * 12 + [False] * 8
    after = [True] * 2 + [False] * 10 + [True] + [False] * 7
    found, back = fall_interval(before, after), fall_interval(after, before)
    assert found.value == pytest.approx(9 / 20) and (found.low, found.high) == pytest.approx((-back.high, -back.low))
    lost, won, count = 10.5, 1.5, 22.0  # half a try more in each cell
    variance = (lost + won - (lost - won) ** 2 / count) / count**2
    assert found.high - found.low == pytest.approx(2 * Z * math.sqrt(variance))
    assert fall_interval([True] * 4, [False] * 4).high == 1
    assert math.isnan(fall_interval([], []).low)


def covered(drawn: random.Random) -> tuple[bool, bool, bool]:
    """Whether each interval holds what its tries were drawn from."""
    before = [drawn.random() < 0.8 for _ in range(20)]
    after = [one and drawn.random() < 0.6 for one in before]
    wholes = [drawn.uniform(0.1, 0.6) for _ in range(20)]
    parts = [0.4 * whole + drawn.gauss(0, 0.05) for whole in wholes]
    share, fall, ratio = share_interval(sum(before), 20), fall_interval(before, after), ratio_interval(parts, wholes)
    return share.low <= 0.8 <= share.high, fall.low <= 0.32 <= fall.high, ratio.low <= 0.4 <= ratio.high


def test_of_a_hundred_intervals_about_95_hold_the_truth():
    drawn = random.Random(0)
    for held in zip(*(covered(drawn) for _ in range(2000)), strict=True):
        assert 0.9 < fmean(held) < 0.985


def test_a_ratio_is_of_sums_and_not_a_mean_of_ratios():
    assert ratio_interval([1.0, 0.0], [1.0, 3.0]).value == 0.25
    assert math.isnan(ratio_interval([1.0], [1.0]).value) and math.isnan(ratio_interval([1.0, 1.0], [0.0, 0.0]).low)
