"""Maps and annotations of a step's pairs, brought to one resolution so that a loss can compare them."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wheretolook.attention.maps import image_maps, normalised
from wheretolook.cells import averaged
from wheretolook.losses.reduce import average_images, average_pairs
from wheretolook.losses.step import Step
from wheretolook.options.objective import Extremes, Normalising, Resolution, Upsampling
from wheretolook.records import VOID, Cells, shows_object, side_lengths

PairLoss = Callable[[Tensor, Tensor, Tensor], Tensor]  # attention, target and valid: one value a pair


def average_over_annotated(
    step: Step,
    loss: PairLoss,
    resolution: Resolution,
    normalising: Normalising = "none",
    upsampling: Upsampling = "bilinear",
    *,
    extremes: Extremes = "constant",
    signed: bool = False,
) -> Float[Tensor, ""]:
    """A loss on maps and annotations: the mean over an image's annotated pairs, then over the annotated images.

    A pair whose plane shows no pixel of its object, a class that is only labelled say, takes no part.

    Args:
        step: with maps of its pairs.
        loss: of attention, target and valid, all of one size: one value a pair.
        resolution: where they are compared.
        normalising: of the maps.
        upsampling: of the maps, where they are compared at the image's resolution.
        extremes: whether those by which maps are normalised are constants in the gradient.
        signed: take the maps before their ReLU.
    """
    cells = step.output.cells
    shown = shows_object(step.targets)
    maps = (step.signed_maps if signed else step.maps)[shown]
    pairs, targets = step.pairs[shown], step.targets[shown]
    cover, valid = (targets == 1).to(maps.dtype), targets != VOID
    if resolution == "features":
        cover, valid = at_resolution(cover, valid, side_lengths(maps), cells)
        attention = normalised(maps, normalising, extremes=extremes)
    else:
        size = side_lengths(targets)
        attention = image_maps(
            maps, size, upsampling=upsampling, normalising=normalising, cells=cells, extremes=extremes
        )
    return average_over_counted(loss(attention, cover, valid), pairs, len(step.images), step.batch.weights)


def average_over_counted(
    values: Float[Tensor, " pairs"],
    pairs: Int[Tensor, "pairs 2"],
    batch: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """The mean over an image's pairs, then over the images that have any.

    Args:
        values: one a pair that takes part.
        pairs: those pairs.
        batch: how many images there are.
        weights: how much each of these counts; None for all alike.

    Example:
        >>> average_over_counted(torch.tensor([1.0, 3.0, 8.0]), torch.tensor([[0, 0], [0, 2], [2, 1]]), batch=4)
        tensor(5.)
    """
    return average_images(average_pairs(values, pairs, batch), pairs[:, 0].bincount(minlength=batch) > 0, weights)


def at_resolution(
    target: Float[Tensor, "pairs height width"],
    valid: Bool[Tensor, "pairs height width"],
    grid: tuple[int, int],
    cells: Cells | None = None,
) -> tuple[Float[Tensor, "pairs h w"], Bool[Tensor, "pairs h w"]]:
    """Average a target onto a coarser grid; a cell's target is the object's share of its valid pixels.

    Args:
        target: 1 on the object, 0 elsewhere.
        valid: False where the annotation says nothing.
        grid: height and width of the grid.
        cells: where its cells lie; None for an even division of the image.

    Returns:
        The shares, and which cells have a valid pixel.

    Example:
        >>> target = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> at_resolution(target, target >= 0, (1, 1))[0]
        tensor([[[0.7500]]])
    """
    weight = averaged(valid.to(target.dtype), grid, cells)
    covered = averaged(target * valid, grid, cells)
    return covered / torch.where(weight > 0, weight, 1.0), weight > 0
