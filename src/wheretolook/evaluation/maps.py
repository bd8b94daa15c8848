"""The maps that figures and pictures are of: at image size, and averaged over other looks at the image if asked for."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.maps import normalised, upsampled
from wheretolook.attention.methods import pair_maps
from wheretolook.cells import standard_cells
from wheretolook.errors import ConfigError
from wheretolook.options.objective import Method
from wheretolook.records import Cells, GuidedNetwork, GuidedOutput, LayerGrid, side_lengths


class OtherLook(NamedTuple):
    """What a network gave for images in another size or mirrored; its cells lie in the images as they are.

    Attributes:
        output: the record.
        mirrored: of the images mirrored left to right, so that maps are to be mirrored back.
        scale: of the images' sides.
    """

    output: GuidedOutput
    mirrored: bool = False
    scale: float = 1.0


def other_looks(
    network: GuidedNetwork,
    images: Float[Tensor, "batch 3 height width"],
    *,
    flip: bool = False,
    scales: Sequence[float] = (),
) -> list[OtherLook]:
    """What a network gives for images mirrored, and in other sizes.

    Args:
        network: any guided network.
        images: its input.
        flip: look at each size mirrored, too.
        scales: of the sides; 1 is the images as they are, which are not looked at again.

    Raises:
        ConfigError: a scale that is not above 0.
        ImageSizeError: the network takes no images of that size.
    """
    looks = []
    for scale in dict.fromkeys((1.0, *scales)):
        resized = images if scale == 1 else _resized(images, scale)
        for mirrored in (False, True) if flip else (False,):
            if scale != 1 or mirrored:
                output = network(resized.flip(3) if mirrored else resized, segment=False)
                looks.append(OtherLook(_placed(output, side_lengths(resized), side_lengths(images)), mirrored, scale))
    return looks


def shown_maps(
    output: GuidedOutput,
    pairs: Int[Tensor, "pairs 2"],
    size: tuple[int, int],
    method: Method,
    others: Sequence[OtherLook] = (),
) -> Float[Tensor, "pairs height width"]:
    """The attention of (image, class) pairs, each cell where it lies in the image.

    Args:
        output: what the network gave for the images.
        pairs: (image, class).
        size: height and width of the images.
        method: how maps are made.
        others: other looks at the images: the map is then the mean over all, mirrored back where need be. What a
            network sees on one side or in one size only is evened out. Where sizes differ each map is divided by its
            maximum first, since gradients of means over positions shrink with their number.
    """
    found, sizes = [], {1.0, *(look.scale for look in others)}
    for look in (OtherLook(output), *others):
        maps = upsampled(pair_maps(look.output, pairs, method=method), size, cells=look.output.cells)
        maps = maps.flip(2) if look.mirrored else maps
        found.append(normalised(maps, "max") if len(sizes) > 1 else maps)
    return torch.stack(found).mean(dim=0) if others else found[0]


def _resized(images: Tensor, scale: float) -> Tensor:
    if not 0 < scale < float("inf"):
        raise ConfigError(f"expected scales above 0, got {scale:g}")
    height, width = (max(1, round(side * scale)) for side in side_lengths(images))
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=scale < 1)


def _placed(output: GuidedOutput, size: tuple[int, int], original: tuple[int, int]) -> GuidedOutput:
    """The record with its cells where they lie in the images before these were resized."""
    if size == original:
        return output
    layers = tuple(LayerGrid(grid.features, _moved(grid, size, original)) for grid in output.layers)
    return output._replace(cells=_moved(output, size, original), layers=layers)


def _moved(grid: GuidedOutput | LayerGrid, size: tuple[int, int], original: tuple[int, int]) -> Cells:
    cells = grid.cells or standard_cells(size, side_lengths(grid.features))
    down, across = (before / after for before, after in zip(original, size, strict=True))
    return Cells(
        (cells.stride[0] * down, cells.stride[1] * across),
        ((cells.offset[0] + 0.5) * down - 0.5, (cells.offset[1] + 0.5) * across - 0.5),
    )
