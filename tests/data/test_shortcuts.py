"""Marks: where they are is where the picture changed, and whose they are is as often the class's as is said."""

import numpy as np
import pytest

from wheretolook.data.shortcuts import MARKS, drawn_class, injected


def drawn(shortcut: str, mark: int, mask: np.ndarray, seed: int = 0):
    image = np.full((*mask.shape, 3), 0.31, np.float32)
    image[mask == 1] = (0.1, 0.9, 0.5)
    return image, *injected(image, mask, shortcut, mark, 4, np.random.default_rng(seed))


def blob(top: int, left: int) -> np.ndarray:
    mask = np.zeros((56, 70), np.int64)
    mask[top : top + 20, left : left + 24] = 1
    return mask


@pytest.mark.parametrize("shortcut", MARKS)
def test_the_mark_is_where_the_picture_changed(shortcut: str):
    image, marked, where = drawn(shortcut, 2, blob(18, 20))
    assert where.any() and not where.all()
    assert np.array_equal(marked[~where], image[~where])
    assert (marked[where] != image[where]).any(axis=1).mean() > 0.95
    assert marked.min() >= 0 and marked.max() <= 1


@pytest.mark.parametrize("shortcut", MARKS)
def test_every_class_has_a_mark_of_its_own_and_the_same_in_every_image(shortcut: str):
    means = np.array(
        [[drawn(shortcut, mark, blob(18, 20), seed)[1][0:4].mean() for seed in range(6)] for mark in range(4)]
    )
    looks = [drawn(shortcut, mark, blob(18, 20))[1] for mark in range(4)]
    for one in range(4):
        for other in range(one):
            assert np.abs(looks[one] - looks[other]).max() > 0.1
    if shortcut == "frame":
        assert np.ptp(means, axis=1).max() == 0


def test_a_patch_takes_the_corner_that_hides_least():
    for top, left, corners in ((0, 0, {1, 2, 3}), (36, 46, {0, 1, 2}), (18, 20, {0, 1, 2, 3})):
        found = set()
        for seed in range(40):
            where = drawn("patch", 1, blob(top, left), seed)[2]
            assert where.sum() == 8 * 8
            rows, columns = np.nonzero(where)
            found.add(2 * (rows.min() > 0) + (columns.min() > 0))
        assert found == corners


def test_a_patch_goes_from_white_to_black():
    greys = [drawn("patch", mark, blob(18, 20))[1:] for mark in range(4)]
    assert [round(float(pixels[where].mean()), 3) for pixels, where in greys] == [1.0, 0.667, 0.333, 0.0]


def test_a_background_leaves_objects_and_void_alone():
    mask = blob(18, 20)
    mask[17] = 255
    assert np.array_equal(drawn("background", 0, mask)[2], mask == 0)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_the_own_class_is_drawn_as_often_as_the_strength_says(strength: float):
    random = np.random.default_rng(1)
    draws = np.array([drawn_class(2, 5, strength, random) for _ in range(4000)])
    assert abs((draws == 2).mean() - strength) < 0.03
    others = [(draws == other).mean() for other in (0, 1, 3, 4)]
    assert np.allclose(others, (1 - strength) / 4, atol=0.03)
