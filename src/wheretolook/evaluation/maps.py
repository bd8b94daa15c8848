"""The maps that figures and pictures are of: at image size, and of the mirrored image too where that is asked for."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.maps import upsampled
from wheretolook.attention.methods import pair_maps
from wheretolook.options.objective import Method
from wheretolook.records import GuidedOutput


def shown_maps(
    output: GuidedOutput,
    pairs: Int[Tensor, "pairs 2"],
    size: tuple[int, int],
    method: Method,
    mirrored: GuidedOutput | None = None,
) -> Float[Tensor, "pairs height width"]:
    """The attention of (image, class) pairs, each cell where it lies in the image.

    Args:
        output: what the network gave for the images.
        pairs: (image, class).
        size: height and width of the images.
        method: how maps are made.
        mirrored: what it gave for the images mirrored left to right: the map is then the mean of the image's and of
            the mirrored image's, mirrored back. What a network sees on one side only is evened out.
    """
    maps = upsampled(pair_maps(output, pairs, method=method), size, cells=output.cells)
    if mirrored is None:
        return maps
    return torch.lerp(maps, shown_maps(mirrored, pairs, size, method).flip(2), 0.5)
