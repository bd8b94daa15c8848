"""Masks made wrong on purpose: by how much, which way, and of what is trained on alone."""

import numpy as np
import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.data.noise import grown, noisy, shifted
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID

SCENES = ScenesOptions(size=40, classes=3, images=12)


def square() -> torch.Tensor:
    """An object of 20 x 20 pixels in the middle of 80 x 90, with a void frame around it that is 2 pixels wide."""
    targets = torch.zeros(1, 80, 90, dtype=torch.uint8)
    targets[0, 28:52, 33:57] = VOID
    targets[0, 30:50, 35:55] = 1
    return targets


def box(shown: torch.Tensor) -> list[int]:
    rows, columns = shown.nonzero().unbind(dim=1)
    return [int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1]


def test_an_object_moves_or_grows_or_shrinks_by_a_share_of_its_size():
    """A fifth of 20 pixels, the root of the area, is 4."""
    kinds = set()
    for seed in range(200):
        found = noisy(square(), 0.2, np.random.default_rng(seed))[0]
        top, bottom, left, right = box(found == 1)
        if (top, bottom, left, right) == (26, 54, 31, 59):
            kinds.add("grown")
        elif (top, bottom, left, right) == (34, 46, 39, 51):
            kinds.add("shrunk")
        else:
            assert (bottom - top, right - left) == (20, 20) and np.hypot(top - 30, left - 35) == pytest.approx(
                4, abs=0.71
            )
            kinds.add(("down" if top > 30 else "up", "right" if left > 35 else "left"))
        assert (found == 1).sum() == (bottom - top) * (right - left)
        kept = found != 1
        assert torch.equal(found[kept], torch.where(square()[0] == 1, 0, square()[0])[kept])
    assert len(kinds) == 6


def test_something_is_left_whatever_the_share():
    small = torch.zeros(2, 30, 30, dtype=torch.uint8)
    small[0, 0, 0] = small[1, :, 14:16] = 1
    for seed in range(40):
        for share in (0.5, 1.0):
            found = noisy(small, share, np.random.default_rng(seed))
            assert (found == 1).any(dim=2).any(dim=1).all()
    assert noisy(small, 0.0, np.random.default_rng(0)) is small
    silent = torch.full((1, 4, 4), VOID, dtype=torch.uint8)
    assert torch.equal(noisy(silent, 0.5, np.random.default_rng(0)), silent)


def test_growing_and_moving_by_a_loop():
    shown = torch.rand(9, 11, generator=torch.Generator().manual_seed(0)) < 0.1
    near, away = torch.zeros_like(shown), torch.zeros_like(shown)
    for row, column in shown.nonzero().tolist():
        near[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = True
        if 0 <= row - 3 < 9 and 0 <= column + 4 < 11:
            away[row - 3, column + 4] = True
    assert torch.equal(grown(shown, 2), near) and torch.equal(shifted(shown, -3, 4), away)
    assert torch.equal(grown(shown, 0), shown) and not shifted(shown, 0, 99).any()


def test_only_what_guides_in_training_is_noisy():
    data, plain = (ImageData(DataOptions(scenes=SCENES, noise=noise), steps=1) for noise in (0.3, 0.0))
    same = 0
    for index in range(12):
        ours, theirs = data.train_set[index], plain.train_set[index]
        assert torch.equal(ours.mask, theirs.mask) and torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.targets, data.train_set[index].targets)
        assert torch.equal(data.val_set[index].targets, plain.val_set[index].targets)
        same += torch.equal(ours.targets, theirs.targets)
    assert same == 0
    other = ImageData(DataOptions(scenes=SCENES, noise=0.3, annotated_seed=1), steps=1).train_set
    assert any(not torch.equal(other[index].targets, data.train_set[index].targets) for index in range(12))
    boxes = ImageData(DataOptions(scenes=SCENES, noise=0.3, annotations="boxes"), steps=1).train_set
    for index in range(12):
        for plane, noise in zip(boxes[index].targets, data.train_set[index].targets, strict=True):
            assert box(plane == 1) == box(noise == 1)
