"""A plane for each class that an image shows: 1 look here, 0 not here, VOID says nothing."""

from collections.abc import Collection

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from wheretolook.data.boxes import Box, pixels_of
from wheretolook.records import VOID


def mask_planes(
    mask: Int[Tensor, "height width"], labels: Bool[Tensor, " classes"]
) -> UInt8[Tensor, "present height width"]:
    """The planes of the classes in `labels`, in their order, as an index mask shows them.

    A class that has no pixel in the mask (one that is only labelled) has a plane that says nothing.

    Args:
        mask: 0 background, 1 + class index, VOID.
        labels: which classes are present.

    Example:
        >>> mask_planes(torch.tensor([[0, 2, VOID]]), torch.tensor([True, True])).tolist()
        [[[255, 255, 255]], [[0, 1, 255]]]
    """
    own = mask == (1 + labels.nonzero())[:, :, None]
    planes = own.to(torch.uint8)
    unknown = (mask == VOID) | ~own.any(dim=2).any(dim=1)[:, None, None]
    return planes.masked_fill(unknown, VOID)


def box_planes(
    boxes: Collection[Box], labels: Bool[Tensor, " classes"], size: tuple[int, int]
) -> UInt8[Tensor, "present height width"]:
    """The planes of the classes in `labels`, in their order, as boxes show them: those of one class cut no other's.

    A class without a box (one that is only labelled) has a plane that says nothing.

    Args:
        boxes: where objects are, in pixels of the size.
        labels: which classes are present, those of the boxes among them.
        size: height and width of the planes.

    Example:
        >>> box_planes([Box(0, 0, 0, 2, 1), Box(2, 1, 0, 3, 1)], torch.tensor([True, True, True]), (1, 3)).tolist()
        [[[1, 1, 0]], [[255, 255, 255]], [[0, 1, 1]]]
    """
    present = labels.nonzero().flatten().tolist()
    planes = torch.full((len(present), *size), VOID, dtype=torch.uint8)
    planes[[present.index(box.class_index) for box in boxes]] = 0
    for box in boxes:
        planes[present.index(box.class_index)][pixels_of(box)] = 1
    return planes
