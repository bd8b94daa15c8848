"""What the losses take from a step: the right field, the right cells, the right images; by references of their own."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from wheretolook.losses.classification import classification
from wheretolook.losses.energy import energy, energy_loss
from wheretolook.losses.segmentation import segmentation, segmentation_loss
from wheretolook.losses.squared import external_loss, squared
from wheretolook.losses.step import Step
from wheretolook.options.objective import ClassificationOptions, EnergyOptions, SegmentationOptions, SquaredOptions
from wheretolook.records import VOID, Cells, GuidedOutput, collate

from ..training.made import ConstantNetwork, made_batch, sample

GRID = (3, 2)


def made_step(cells: Cells | None = None, *, one_class: bool = False) -> Step:
    """Random maps of 3x2 cells, scores that all differ, and the made batch; or two images of one class each."""
    batch = made_batch()
    if one_class:
        batch = collate([sample(name, (index,))._replace(exclusive=True) for name, index in (("a", 2), ("b", 0))])
    images, classes = batch.labels.shape
    size = batch.masks.shape[1:]

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)

    masks = 3 * drawn(images, 1 + classes, *size)
    output = GuidedOutput(3 * drawn(images, classes) - 1, drawn(images, 4, *GRID), masks, cells=cells)
    maps = drawn(len(batch.pairs), *GRID)
    return Step(ConstantNetwork(), batch, batch.images, output, batch.pairs, maps, batch.targets)


def at_every_pixel(values: np.ndarray, size: tuple[int, int], cells: Cells) -> np.ndarray:
    """Linear between the centres of the cells, down and then across."""
    for axis in (0, 1):
        centres = cells.offset[axis] + cells.stride[axis] * np.arange(values.shape[axis])
        rows = [np.interp(np.arange(size[axis]), centres, line) for line in np.moveaxis(values, axis, 1)]
        values = np.moveaxis(np.array(rows), 1, axis)
    return values


def on_cells(values: np.ndarray, cells: Cells, fine: int = 8) -> np.ndarray:
    """The mean over the pieces of pixels, an eighth wide, that each cell's centre is nearest to."""
    nearest = []
    for axis in (0, 1):
        places = (np.arange(fine * values.shape[axis]) + 0.5) / fine - 0.5
        centres = cells.offset[axis] + cells.stride[axis] * np.arange(GRID[axis])
        nearest.append(np.abs(places[:, None] - centres).argmin(axis=1))
    pieces = values.repeat(fine, axis=0).repeat(fine, axis=1)
    return np.array(
        [[pieces[nearest[0] == i][:, nearest[1] == j].mean() for j in range(GRID[1])] for i in range(GRID[0])]
    )


@pytest.mark.parametrize("loss", ["energy", "squared"])
@pytest.mark.parametrize("resolution", ["image", "features"])
def test_maps_and_annotations_meet_where_the_cells_lie(loss: str, resolution: str):
    """Cells off the even division by a quarter of a stride and more; pair by pair, in loops over numpy's own."""
    height, width = made_batch().masks.shape[1:]
    even = Cells((height / GRID[0], width / GRID[1]), ((height / GRID[0] - 1) / 2, (width / GRID[1] - 1) / 2))
    cells = Cells((height / 4, width / 2), (height / 4 - 0.5, width / 8 - 0.5))
    step = made_step(cells)

    def value(pair: int, places: Cells) -> float | None:
        target, attention = step.targets[pair].numpy(), step.maps[pair].numpy()
        if not (target == 1).any():
            return None
        cover, valid = (target == 1).astype(float), (target != VOID).astype(float)
        if resolution == "image":
            attention = at_every_pixel(attention, (height, width), places)
        else:
            weight = on_cells(valid, places)
            cover, valid = on_cells(cover, places) / np.where(weight > 0, weight, np.inf), (weight > 0).astype(float)
        if loss == "energy":
            return 1 - float((attention * cover * valid).sum() / (attention * valid).sum())
        spread = attention.max() - attention.min()
        apart = ((attention - attention.min()) / spread - cover) ** 2
        return float((apart * valid).sum() / valid.sum())

    def expected(places: Cells) -> float:
        images: dict[int, list[float]] = {}
        for pair, (image, _) in enumerate(step.pairs.tolist()):
            found = value(pair, places)
            if found is not None:
                images.setdefault(image, []).append(found)
        return float(np.mean([np.mean(values) for values in images.values()]))

    options = {"energy": EnergyOptions, "squared": SquaredOptions}[loss](resolution=resolution)
    found = {"energy": energy, "squared": squared}[loss](step, options).item()
    assert found == pytest.approx(expected(cells), rel=1e-6)
    assert abs(found - expected(even)) > 1e-4


@pytest.mark.parametrize(("exclusive", "says"), [(True, "softmax"), (False, "sigmoids")])
def test_the_classification_of_a_batch_is_of_its_kind(exclusive: bool, says: str):
    step = made_step(one_class=True)
    step = replace(step, batch=step.batch._replace(exclusive=exclusive))
    total = 0.0
    for scores, label in zip(step.output.class_scores.tolist(), (2, 0), strict=True):
        if says == "softmax":
            total += math.log(sum(math.exp(score) for score in scores)) - scores[label]
        else:
            total += sum(math.log1p(math.exp(-s if c == label else s)) for c, s in enumerate(scores)) / len(scores)
    assert classification(step, ClassificationOptions()).item() == pytest.approx(total / 2, rel=1e-6)


def test_the_segmentation_of_a_batch_leaves_out_images_without_an_exact_or_valid_mask():
    """Two of the made images have no exact mask; a third is given one of nothing but void."""
    step = made_step()
    masks = step.batch.masks.clone()
    masks[1] = VOID
    step = replace(step, batch=step.batch._replace(masks=masks))
    values = []
    for index, (scores, mask) in enumerate(zip(step.output.mask_scores, masks, strict=True)):
        if bool(step.batch.segmented[index]) and index != 1:
            logs = scores.softmax(dim=0).log()
            known = [(y, x) for y, x in (mask != VOID).nonzero().tolist()]
            values.append(-sum(logs[mask[y, x], y, x].item() for y, x in known) / len(known))
    assert len(values) == 3
    assert segmentation(step, SegmentationOptions()).item() == pytest.approx(np.mean(values), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_a_mean_over_very_few_pixels_is_one(count: int):
    """One valid pixel, or two, of a pair or an image."""
    attention, target = torch.full((1, 2, 2), 0.75), torch.full((1, 2, 2), 0.25)
    valid = torch.arange(4).view(1, 2, 2) < count
    assert external_loss(attention, target, valid).tolist() == [0.25]
    masks = torch.where(valid, 1, VOID)
    scores = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), math.log(3.0))], dim=1)
    torch.testing.assert_close(segmentation_loss(scores, masks), torch.tensor([math.log(4 / 3)]))


def test_a_pair_without_a_valid_pixel_has_no_energy_to_lose_and_the_others_have():
    attention = torch.ones(3, 2, 2)
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]).expand(3, 2, 2)
    valid = torch.tensor([True, False, True])[:, None, None].expand(3, 2, 2)
    assert energy_loss(attention, target, valid).tolist() == [0.75, 0.0, 0.75]
    assert energy_loss(attention, target, torch.zeros_like(valid)).tolist() == [0.0, 0.0, 0.0]
