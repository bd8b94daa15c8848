"""Mixed backgrounds: the object should be recognised in front of another image's background.

Not a loss on maps: it shows the network images in which what surrounds an object says nothing of its class.
"""

from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wheretolook.losses.classification import classification_loss
from wheretolook.losses.reduce import average_images
from wheretolook.losses.step import Step
from wheretolook.networks.modes import steady_norms
from wheretolook.options.objective import MixedBackgroundOptions
from wheretolook.records import shows_object, where_objects


def mixed_backgrounds(
    images: Float[Tensor, "batch 3 height width"],
    kept: Bool[Tensor, "batch height width"],
    donors: Int[Tensor, " batch"],
    erased: Bool[Tensor, "batch height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Each image's objects in front of another image's background; that of its own is left out.

    What is erased of the other's background, and all of its own, is the mean colour, 0 in the network's space.

    Args:
        images: in the network's own space.
        kept: which pixels of each image stay.
        donors: for each image the number of that which lends its background; its own number for none.
        erased: which pixels of each image are no background to lend.

    Source: arXiv:2006.09994 section 3.1, "Mixed-Rand", which fills the object's place in the background with tiles of
    that background.

    Example:
        >>> images = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 1, 3)
        >>> objects = torch.tensor([[[True, False, False]], [[False, True, False]]])
        >>> mixed_backgrounds(images, objects, torch.tensor([1, 1]), objects)[:, 0, 0]
        tensor([[1., 0., 2.],
                [0., 2., 0.]])
    """
    lent = donors != torch.arange(len(images), device=images.device)
    backgrounds = torch.where(erased[:, None], 0, images)[donors] * lent[:, None, None, None]
    return torch.where(kept[:, None], images, backgrounds)


def next_of(which: Bool[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """For each image the next of those, the first one after the last; its own number where there is no other.

    Example:
        >>> next_of(torch.tensor([False, True, False, True])).tolist()
        [1, 3, 3, 1]
    """
    numbers = torch.arange(len(which), device=which.device)
    ahead = (numbers[None] - numbers[:, None] - 1) % len(which)  # of the image in the row, 0 for the one behind it
    nearest = ahead.masked_fill(~which, len(which)).min(dim=1)
    return torch.where(nearest.values < len(which), nearest.indices, numbers)


def mixed_background(step: Step, options: MixedBackgroundOptions) -> Float[Tensor, ""]:
    """The cross-entropy of the class scores of a step's mixed images, those of which all classes are annotated.

    It is summed over them and divided by the number of all images: where few are annotated, each counts as much as an
    image does in the classification loss, and not for a whole batch. Where they are fewer than half, norms go by their
    running statistics in this pass, and do not move them.
    """
    batch, images = step.batch, step.batch.pairs[:, 0]
    size = len(batch.images)
    shown = shows_object(batch.targets)
    present = images.bincount(minlength=size)
    counted = (images[shown].bincount(minlength=size) == present) & (present > 0)
    if not counted.any():
        return average_images(0 * step.output.class_scores.sum(dim=1), weights=batch.weights)  # other processes wait
    objects = where_objects(batch.targets, images, size)
    donors = next_of(counted if options.donors == "annotated" else torch.ones_like(counted))
    mixed = mixed_backgrounds(step.images, objects, donors, objects)[counted]
    few = 2 * int(counted.sum()) < size  # one image has no statistics, and those of a few are not the batch's
    with steady_norms(step.network) if few else nullcontext():
        scores = step.network(mixed, segment=False).class_scores
    values = classification_loss(scores, batch.labels[counted], exclusive=batch.exclusive)
    losses = values.new_zeros(size).masked_scatter(counted, values)
    return average_images(losses, weights=batch.weights)
