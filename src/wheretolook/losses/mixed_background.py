"""Mixed backgrounds: the object should be recognised in front of another image's background.

Not a loss on maps: it shows the network images in which what surrounds an object says nothing of its class.
"""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from wheretolook.losses.classification import classification_loss
from wheretolook.losses.reduce import average_images
from wheretolook.losses.step import Step
from wheretolook.options.objective import MixedBackgroundOptions
from wheretolook.records import VOID


def mixed_backgrounds(
    images: Float[Tensor, "batch 3 height width"],
    objects: Bool[Tensor, "batch height width"],
    known: Bool[Tensor, "batch height width"] | None = None,
) -> Float[Tensor, "batch 3 height width"]:
    """Each image's objects in front of the next image's background; the last image has the first one's.

    Where the next image has an object of its own there is the mean colour, 0 in the network's space.

    Args:
        images: in the network's own space.
        objects: where they show an object.
        known: False for pixels that may be object or background: those go with the object, and stay out of the next
            image's background. None where all are known.

    Source: arXiv:2006.09994 section 3.1, "Mixed-Rand", which fills the object's place in the background with tiles of
    that background.

    Example:
        >>> images = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 1, 3)
        >>> objects = torch.tensor([[[True, False, False]], [[False, True, False]]])
        >>> mixed_backgrounds(images, objects)[:, 0, 0]
        tensor([[1., 0., 2.],
                [0., 2., 1.]])
    """
    kept = (objects if known is None else objects | ~known)[:, None].to(images.dtype)
    others = (images * (1 - kept)).roll(-1, dims=0)
    return images * kept + others * (1 - kept)


def where_objects(
    targets: UInt8[Tensor, "pairs height width"], images: Tensor, batch: int
) -> tuple[Bool[Tensor, "batch height width"], Bool[Tensor, "batch height width"]]:
    """Where an image shows any object, and which pixels are known to show one or none.

    Args:
        targets: planes of (image, class) pairs.
        images: the image of each pair.
        batch: how many images there are.
    """
    shape = (batch, *targets.shape[1:])
    objects, unknown = (
        torch.zeros(shape, dtype=torch.int32, device=targets.device).index_add(0, images, found.int()) > 0
        for found in (targets == 1, targets == VOID)
    )
    return objects, objects | ~unknown


def mixed_background(step: Step, options: MixedBackgroundOptions) -> Float[Tensor, ""]:
    """The cross-entropy of the class scores of a step's mixed images, over those of which all classes are annotated."""
    batch = step.batch
    shown = (batch.targets == 1).flatten(1).any(dim=1)
    present = batch.pairs[:, 0].bincount(minlength=len(batch.images))
    counted = (batch.pairs[shown, 0].bincount(minlength=len(batch.images)) == present) & (present > 0)
    if not counted.any():
        return average_images(0 * step.output.class_scores.sum(dim=1), counted)
    objects, known = where_objects(batch.targets, batch.pairs[:, 0], len(batch.images))
    mixed = mixed_backgrounds(step.images[counted], objects[counted], known[counted])
    scores = step.network(mixed, segment=False).class_scores
    values = classification_loss(scores, batch.labels[counted], exclusive=batch.exclusive)
    losses = values.new_zeros(len(batch.images)).masked_scatter(counted, values)
    return average_images(losses, counted)
