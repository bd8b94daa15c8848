"""Between a grid of cells and the image that they lie in: stretching maps, averaging targets.

Both are linear along each side of the image, so both are two small matrices: one for the rows and one for the columns.
They may be differentiated any number of times, on any device and in any precision.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from wheretolook.records import Cells, side_lengths


def standard_cells(size: tuple[int, int], grid: tuple[int, int]) -> Cells:
    """Cells that divide the image evenly, as interpolation with "corners not aligned" has them.

    Args:
        size: height and width of the image.
        grid: height and width of the grid.

    Example:
        >>> standard_cells((64, 96), (4, 4))
        Cells(stride=(16.0, 24.0), offset=(7.5, 11.5))
    """
    down, across = (pixels / cells for pixels, cells in zip(size, grid, strict=True))
    return Cells((down, across), ((down - 1) / 2, (across - 1) / 2))


def aligned_cells(size: tuple[int, int], grid: tuple[int, int]) -> Cells:
    """Cells of which the outermost are centred on the image's outermost pixels ("corners aligned").

    Args:
        size: height and width of the image.
        grid: height and width of the grid.
    """
    down, across = (max(pixels - 1, 1) / max(cells - 1, 1) for pixels, cells in zip(size, grid, strict=True))
    return Cells((down, across), (0.0, 0.0))


def readings(pixels: int, cells: int, stride: float, offset: float) -> Float[Tensor, "{pixels} {cells}"]:
    """What each pixel reads of each cell along one side: linear between the two nearest centres, constant beyond them.

    Args:
        pixels: length of the image's side.
        cells: how many cells lie along it.
        stride: pixels from centre to centre.
        offset: where the first centre is; pixel p is centred at p.

    Returns:
        Rows that sum to 1, in double precision.

    Example:
        >>> readings(3, 2, stride=2.0, offset=0.0)
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]], dtype=torch.float64)
    """
    positions = ((torch.arange(pixels, dtype=torch.float64) - offset) / stride).clamp(0, cells - 1)
    return (1 - (positions[:, None] - torch.arange(cells, dtype=torch.float64)).abs()).clamp(min=0)


def windows(pixels: int, cells: int, stride: float, offset: float) -> Float[Tensor, "{cells} {pixels}"]:
    """The pixels that belong to each cell along one side: those within half a stride of its centre, cut where need be.

    The outermost cells reach to the image's edge. The arguments are those of `readings`.

    Returns:
        Rows that sum to 1, or to 0 where a cell lies wholly outside of the image, in double precision.

    Example:
        >>> windows(4, 2, stride=2.0, offset=0.0)
        tensor([[0.6667, 0.3333, 0.0000, 0.0000],
                [0.0000, 0.2000, 0.4000, 0.4000]], dtype=torch.float64)
    """
    low = offset + (torch.arange(cells, dtype=torch.float64) - 0.5) * stride
    high = low + stride
    low[0], high[-1] = low[0].clamp(max=-0.5), high[-1].clamp(min=pixels - 0.5)
    centres = torch.arange(pixels, dtype=torch.float64)
    shared = torch.minimum(high[:, None], centres + 0.5) - torch.maximum(low[:, None], centres - 0.5)
    shared = shared.clamp(min=0).round(decimals=6)  # a pixel that is only touched, by rounding, is not shared
    total = shared.sum(dim=1, keepdim=True)
    return shared / torch.where(total > 0, total, 1)


def stretched(
    maps: Float[Tensor, "pairs h w"], size: tuple[int, int], cells: Cells | None = None
) -> Float[Tensor, "pairs height width"]:
    """Maps of cells at every pixel of the image, linear between the centres of the cells.

    Args:
        maps: one value a cell.
        size: height and width of the image.
        cells: where the cells lie; None for an even division of the image.

    Example:
        >>> stretched(torch.tensor([[[0.0, 1.0]]]), (1, 4), Cells(stride=(1.0, 2.0), offset=(0.0, 0.0)))
        tensor([[[0.0000, 0.5000, 1.0000, 1.0000]]])
    """
    grid = side_lengths(maps)
    if cells in (None, standard_cells(size, grid)):
        # the same numbers as below but for rounding: training that ran before cells were known is repeated to the bit
        return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return _by_matrices(readings, maps, size, grid, cells)


def onto_grid(
    maps: Float[Tensor, "pairs h w"],
    grid: tuple[int, int],
    cells: Cells | None = None,
    onto: Cells | None = None,
) -> Float[Tensor, "pairs height width"]:
    """Maps of one grid's cells, read where the cells of another grid lie in the image.

    Args:
        maps: one value a cell.
        grid: height and width of the other grid.
        cells: where the maps' cells lie.
        onto: where those of the other grid lie; where either is None, both divide the image evenly.

    Example:
        >>> coarse, fine = Cells((1.0, 4.0), (0.0, 2.0)), Cells((1.0, 2.0), (0.0, 2.0))
        >>> onto_grid(torch.tensor([[[0.0, 1.0]]]), (1, 3), coarse, fine)
        tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    if cells is None or onto is None:
        return stretched(maps, grid)
    strides = zip(cells.stride, onto.stride, strict=True)
    offsets = zip(cells.offset, onto.offset, onto.stride, strict=True)
    down, across = (step / fine for step, fine in strides)
    first_down, first_across = ((offset - fine) / stride for offset, fine, stride in offsets)
    return stretched(maps, grid, Cells((down, across), (first_down, first_across)))


def averaged(
    values: Float[Tensor, "pairs height width"], grid: tuple[int, int], cells: Cells | None = None
) -> Float[Tensor, "pairs h w"]:
    """The mean of the image's values over each cell's window: one stride wide, around the cell's centre.

    Args:
        values: one value a pixel.
        grid: height and width of the grid.
        cells: where the cells lie; None for an even division of the image.

    Returns:
        One value a cell; 0 for a cell that lies wholly outside of the image.

    Example:
        >>> averaged(torch.tensor([[[1.0, 0.0, 0.0, 1.0]]]), (1, 2), Cells(stride=(1.0, 2.0), offset=(0.0, 0.0)))
        tensor([[[0.6667, 0.4000]]])
    """
    size = side_lengths(values)
    even = standard_cells(size, grid)
    if cells in (None, even) and not (size[0] % grid[0] or size[1] % grid[1]):
        return F.adaptive_avg_pool2d(values, grid)  # as above: the same, to the bit
    return _by_matrices(windows, values, size, grid, cells or even)


def _by_matrices(
    matrix: Callable[[int, int, float, float], Tensor],
    values: Tensor,
    size: tuple[int, int],
    grid: tuple[int, int],
    cells: Cells,
) -> Tensor:
    rows, columns = (
        matrix(pixels, count, stride, offset).to(values)
        for pixels, count, stride, offset in zip(size, grid, *cells, strict=True)
    )
    with torch.autocast(values.device.type, enabled=False):
        return rows @ values @ columns.T
