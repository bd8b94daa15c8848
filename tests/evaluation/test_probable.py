"""Propagation place by place and pixel by pixel: what an annotated image teaches, and what a probable mask says."""

import numpy as np
import pytest
import torch

from wheretolook.data import open_dataset
from wheretolook.evaluation.propagate import (
    PENALTIES,
    Probe,
    cross_validated,
    gathered,
    overlap,
    probable_mask,
    seen_in,
)
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID, Sample

from .test_propagate import drawn


def annotated(*planes: torch.Tensor) -> Sample:
    """An image of three classes that shows the first and the last, and one plane of each."""
    first = open_dataset(DataOptions(scenes=ScenesOptions(32, 3, 2)), "train")[0]
    labels = torch.tensor([True, False, True])
    return first._replace(labels=labels, targets=torch.stack(planes), mask=torch.zeros_like(first.mask))


def test_what_an_image_teaches_is_what_each_place_shows():
    """Places of 4x4 pixels: how much of each is an object's, and whose; where less than half is told, nothing."""
    random = np.random.default_rng(0)
    planes = random.choice([0, 1, VOID], (2, 32, 32), p=[0.3, 0.5, 0.2]).astype(np.uint8)
    planes[:, :8] = np.where(planes[:, :8] == VOID, 0, planes[:, :8])
    places = torch.arange(64.0).view(1, 1, 8, 8)
    found = seen_in(annotated(*torch.from_numpy(planes)), lambda image: places)
    expected = {}
    for row in range(8):
        for column in range(8):
            part = planes[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(2, 16)
            if (part != VOID).all(axis=0).sum() <= 8:
                continue
            on = (part == 1).sum(axis=1) / 16
            shown = [class_index for class_index, share in zip((0, 2), on, strict=True) if share > 0.5]
            expected[8 * row + column] = (on.max(), shown[0] if len(shown) == 1 else -1)
    assert 10 < len(expected) < 64 and {index for _, index in expected.values()} == {-1, 0, 2}
    assert found.columns.flatten().tolist() == list(expected)
    assert found.shares.tolist() == pytest.approx([share for share, _ in expected.values()])
    assert found.classes.tolist() == [index for _, index in expected.values()]


def test_a_class_of_which_nothing_is_told_takes_nothing_from_the_others():
    plane = torch.zeros(32, 32, dtype=torch.uint8)
    plane[:16] = 1
    silent = torch.full_like(plane, VOID)
    for planes, index in (((silent, plane), 2), ((plane, silent), 0)):
        found = seen_in(annotated(*planes), lambda image: torch.zeros(1, 2, 4, 4))
        assert found.shares.tolist() == [1] * 8 + [0] * 8 and found.classes.tolist() == [index] * 8 + [-1] * 8


def stretched(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, between the centres of the places."""

    def positions(pixels: int, places: int) -> np.ndarray:
        return np.clip((np.arange(pixels) + 0.5) * places / pixels - 0.5, 0, places - 1)

    down, across = positions(height, len(values)), positions(width, values.shape[1])
    rows = np.stack([np.interp(across, np.arange(values.shape[1]), row) for row in values])
    return np.stack([np.interp(down, np.arange(len(values)), column) for column in rows.T], axis=1)


@pytest.mark.parametrize("lower", [0.0, 6.0])  # far below, no place is an object's but for the surest
@pytest.mark.parametrize("present", [(0, 1, 2), (1,), (0, 2)])
def test_a_probable_mask_is_what_its_definition_says_of_each_pixel(present: tuple[int, ...], lower: float):
    random = torch.Generator().manual_seed(3)
    probe = Probe(*(torch.randn(5, generator=random) for _ in range(3)), torch.tensor(0.2 - lower), torch.zeros(3, 5))
    spread, means = probe.spread.abs() + 0.5, torch.randn(3, 5, generator=random)
    probe = probe._replace(spread=spread, of_class=means)
    columns = torch.randn(5, 4, 6, generator=random)
    labels, margin = torch.tensor([index in present for index in range(3)]), 0.4
    found = probable_mask(probe, columns, labels, (13, 20), margin)
    scaled = (columns.numpy() - probe.mean.numpy()[:, None, None]) / spread.numpy()[:, None, None]
    sure = stretched(np.einsum("c,chw->hw", probe.weight.numpy(), scaled) + float(probe.bias), 13, 20)
    if sure.max() < margin:
        sure = sure + margin - sure.max()
        assert lower
    expected = np.zeros((13, 20), int)
    for row in range(13):
        for column in range(20):
            place = scaled[:, int((row + 0.5) * 4 / 13), int((column + 0.5) * 6 / 20)]
            nearest = min(present, key=lambda index: float(((place - means[index].numpy()) ** 2).sum()))
            if sure[row, column] >= margin - 1e-5:
                expected[row, column] = 1 + nearest
            elif sure[row, column] > -margin:
                expected[row, column] = VOID
    assert np.mean(found.numpy() == expected) > 0.995 and (found.numpy() > 0).any()  # but for what lies on the margin
    assert len(np.unique(expected)) >= 3 - bool(lower)


def test_of_penalties_the_one_that_serves_others_best_is_taken(monkeypatch: pytest.MonkeyPatch):
    """Whatever it is: the overlap of each is planted."""
    import wheretolook.evaluation.propagate as module

    known = gathered([drawn(30, seed) for seed in range(3)])
    for best in PENALTIES:
        asked: list[float] = []

        def planted(known, classes, penalty, learned, asked=asked, best=best):
            asked.append(penalty)
            assert 0 < learned.sum() < len(learned)
            return Probe(
                known.mean, known.spread, torch.zeros(3), torch.tensor(1.0 if penalty == best else -1.0), known.mean
            )

        monkeypatch.setattr(module, "fitted", planted)
        penalty, overlap = cross_validated(known, 2)
        assert penalty == best and asked == [each for each in PENALTIES for _ in range(3)]
        shares = [float((known.shares[known.images == number] > 0.5).float().mean()) for number in range(3)]
        assert overlap == pytest.approx(sum(shares) / 3)


def test_of_nothing_said_and_nothing_true_the_overlap_is_none():
    assert overlap(torch.tensor([-1.0, 0.0]), torch.tensor([0.5, 0.0])) == 0
    assert overlap(torch.tensor([1.0, -1.0]), torch.tensor([0.51, 0.5])) == 1
