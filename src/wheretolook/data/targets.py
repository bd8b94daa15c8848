"""A plane for each class that an image shows: 1 look here, 0 not here, VOID says nothing."""

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

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
