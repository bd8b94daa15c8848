"""Maps made comparable: normalised to [0, 1], and stretched to where the network looks in the image."""

import torch
from jaxtyping import Float
from torch import Tensor

from wheretolook.cells import aligned_cells, stretched
from wheretolook.options.objective import Extremes, Normalising, Upsampling
from wheretolook.records import Cells, side_lengths


def normalised(
    maps: Float[Tensor, "pairs h w"],
    how: Normalising = "min_max",
    eps: float = 1e-8,
    *,
    extremes: Extremes = "constant",
) -> Float[Tensor, "pairs h w"]:
    """Bring each map to [0, 1] by its own extremes.

    Args:
        maps: at least 0.
        how: `"min_max"`: (map - min) / (max - min); `"max"`: map / max; `"none"`: as it is.
        eps: a map whose range is not above it stays all zero, with a gradient of 0, instead of becoming NaN.
        extremes: `"constant"` in the gradient, or `"differentiated"`: then nothing is gained by making a map smaller or
            larger as a whole.

    Source: the predecessor for `"min_max"`; arXiv:1802.10171 leaves it open.

    Example:
        >>> normalised(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])).tolist()
        [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    if how == "none":
        return maps
    source = maps.detach() if extremes == "constant" else maps
    high = source.amax(dim=(1, 2), keepdim=True)
    low = source.amin(dim=(1, 2), keepdim=True) if how == "min_max" else torch.zeros_like(high)
    usable = high - low > eps
    return (maps - low) / torch.where(usable, high - low, 1.0) * usable


def upsampled(
    maps: Float[Tensor, "pairs h w"], size: tuple[int, int], how: Upsampling = "bilinear", cells: Cells | None = None
) -> Float[Tensor, "pairs height width"]:
    """Stretch maps to the image, bilinearly between the centres of their cells.

    Args:
        maps: at feature resolution.
        size: height and width of the image.
        how: `"aligned"` puts the outermost cells on the outermost pixels, as the predecessor does, whatever `cells`
            says; `"bilinear"` and `"features"` leave the cells where they lie.
        cells: where the cells lie (`GuidedOutput.cells`); None for an even division of the image.
    """
    return stretched(maps, size, aligned_cells(size, side_lengths(maps)) if how == "aligned" else cells)


def image_maps(
    maps: Float[Tensor, "pairs h w"],
    size: tuple[int, int],
    *,
    upsampling: Upsampling = "bilinear",
    normalising: Normalising = "min_max",
    cells: Cells | None = None,
    extremes: Extremes = "constant",
) -> Float[Tensor, "pairs height width"]:
    """Maps at image size and in [0, 1]: upsampled, then normalised; with `"features"` the other way round."""
    if upsampling == "features":
        return upsampled(normalised(maps, normalising, extremes=extremes), size, upsampling, cells)
    return normalised(upsampled(maps, size, upsampling, cells), normalising, extremes=extremes)
