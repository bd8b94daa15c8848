"""Stretching maps and averaging targets: closed forms, torch's own kernels where cells are even, gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wheretolook.attention.maps import image_maps, normalised, upsampled
from wheretolook.cells import aligned_cells, averaged, readings, standard_cells, stretched, windows
from wheretolook.metrics.attention import grid_ceiling
from wheretolook.records import Cells

SHAPES = [((64, 96), (4, 6)), ((33, 47), (3, 4)), ((7, 9), (7, 9)), ((5, 6), (1, 1)), ((20, 30), (40, 45))]


def by_hand(maps: Tensor, size: tuple[int, int], cells: Cells) -> np.ndarray:
    """Numpy's interpolation, one row and then one column at a time."""
    result = maps.double().numpy()
    for axis in (0, 1):
        centres = cells.offset[axis] + np.arange(result.shape[1 + axis]) * cells.stride[axis]
        pixels = np.arange(size[axis])
        result = np.apply_along_axis(lambda line, x=pixels, at=centres: np.interp(x, at, line), 1 + axis, result)
    return result


@pytest.mark.parametrize("cells", [Cells((16.0, 16.0), (7.5, 7.5)), Cells((32.0, 8.0), (0.0, 31.0))])
def test_maps_are_interpolated_between_the_centres_of_their_cells_and_constant_beyond(cells):
    maps = torch.rand(3, 5, 4)
    np.testing.assert_allclose(stretched(maps, (75, 60), cells).numpy(), by_hand(maps, (75, 60), cells), atol=1e-6)
    assert torch.equal(upsampled(maps, (75, 60), cells=cells), stretched(maps, (75, 60), cells))


@pytest.mark.parametrize(("size", "grid"), SHAPES)
@pytest.mark.parametrize("aligned", [False, True])
def test_even_and_aligned_cells_are_what_torch_interpolates(size, grid, aligned):
    """The matrices themselves too: even cells do not take that path otherwise."""
    maps = torch.rand(3, *grid, dtype=torch.float64)
    expected = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=aligned)[:, 0]
    torch.testing.assert_close(upsampled(maps, size, "aligned" if aligned else "bilinear"), expected, atol=1e-6, rtol=0)
    cells = aligned_cells(size, grid) if aligned else standard_cells(size, grid)
    rows, columns = (readings(n, count, *place) for n, count, *place in zip(size, grid, *cells, strict=True))
    torch.testing.assert_close(rows @ maps @ columns.T, expected, atol=1e-6, rtol=0)
    if not aligned:
        torch.testing.assert_close(upsampled(maps, size, cells=cells), expected, atol=0, rtol=0)


def test_aligned_corners_stay_aligned_wherever_the_cells_are_said_to_lie():
    maps, cells = torch.rand(2, 3, 4), Cells((32.0, 32.0), (0.0, 0.0))
    assert torch.equal(upsampled(maps, (60, 90), "aligned", cells), upsampled(maps, (60, 90), "aligned"))
    assert not torch.allclose(upsampled(maps, (60, 90), cells=cells), upsampled(maps, (60, 90)), atol=0.1)


def test_image_maps_take_the_cells_in_either_order():
    maps, size, cells = torch.rand(2, 3, 4), (60, 90), Cells((20.0, 20.0), (0.0, 5.0))
    assert torch.equal(image_maps(maps, size, cells=cells), normalised(stretched(maps, size, cells)))
    first = image_maps(maps, size, upsampling="features", cells=cells)
    assert torch.equal(first, stretched(normalised(maps), size, cells))


def test_gradients_are_those_of_finite_differences_twice():
    maps, cells = torch.rand(2, 3, 2, dtype=torch.float64, requires_grad=True), Cells((3.0, 4.0), (0.0, 2.5))
    assert torch.autograd.gradcheck(lambda given: stretched(given, (8, 7), cells), maps)
    assert torch.autograd.gradgradcheck(lambda given: stretched(given, (8, 7), cells).square(), maps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_stays_as_it_is_under_autocast_too(dtype):
    maps, cells = torch.rand(2, 3, 4, dtype=dtype), Cells((20.0, 20.0), (0.0, 5.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result, mean = stretched(maps, (60, 90), cells), averaged(torch.rand(2, 60, 90, dtype=dtype), (3, 4), cells)
    assert result.dtype == mean.dtype == dtype
    np.testing.assert_allclose(
        result.double(), by_hand(maps, (60, 90), cells), atol=1e-12 if dtype.itemsize > 2 else 0.01
    )


# --- targets on the grid -------------------------------------------------------------------------------------------


def by_fine_pixels(values: Tensor, grid: tuple[int, int], cells: Cells, parts: int = 8) -> Tensor:
    """Each pixel cut into parts x parts, and every part given to each cell whose window its centre lies in."""
    fine = values.repeat_interleave(parts, 1).repeat_interleave(parts, 2)
    masks = []
    for axis in (0, 1):
        x = (torch.arange(fine.shape[1 + axis]) + 0.5) / parts - 0.5
        centres = cells.offset[axis] + torch.arange(grid[axis]) * cells.stride[axis]
        inside = (x - centres[:, None]).abs() < cells.stride[axis] / 2
        inside[0] |= x < centres[0]
        inside[-1] |= x > centres[-1]
        masks.append(inside.double())
    count = masks[0].sum(1)[:, None] * masks[1].sum(1)
    return torch.einsum("iy,nyx,jx->nij", masks[0], fine.double(), masks[1]) / count.clamp(min=1)


@pytest.mark.parametrize(
    ("grid", "cells"),
    [
        ((3, 4), Cells((16.0, 16.0), (7.5, 7.5))),  # 48 by 64 pixels of cells in 45 by 58
        ((2, 2), Cells((32.0, 32.0), (0.0, 0.0))),
        ((4, 5), Cells((11.25, 11.5), (5.125, 5.25))),
        ((5, 3), Cells((16.0, 16.0), (7.5, 7.5))),  # the last two rows lie outside
    ],
)
def test_a_cell_takes_the_pixels_around_its_centre(grid, cells):
    values = torch.rand(2, 45, 58)
    torch.testing.assert_close(averaged(values, grid, cells), by_fine_pixels(values, grid, cells).float())


@pytest.mark.parametrize(("size", "grid"), [((64, 96), (4, 6)), ((7, 9), (7, 9)), ((6, 12), (1, 2))])
def test_even_cells_are_pooled_as_torch_pools(size, grid):
    values = torch.rand(2, *size)
    expected = F.adaptive_avg_pool2d(values, grid)
    torch.testing.assert_close(averaged(values, grid), expected, atol=0, rtol=0)
    rows, columns = (
        windows(n, c, *place) for n, c, *place in zip(size, grid, *standard_cells(size, grid), strict=True)
    )
    torch.testing.assert_close((rows @ values.double() @ columns.T).float(), expected)


def test_no_pixel_is_shared_by_rounding():
    """14 pixels on 3 cells: a window's edge at 14/3 - 1/2 is no exact number."""
    for cells in range(1, 15):
        (stride, _), (offset, _) = standard_cells((14, 14), (cells, cells))
        shares = windows(14, cells, stride, offset)
        assert not ((shares > 0) & (shares < 1e-3)).any()
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(cells, dtype=torch.float64))


def test_the_ceiling_lies_where_the_cells_do():
    """An object of 17 x 17 inside one cell of 32 x 32: a tent of that height around its centre."""
    cells, target = Cells((32.0, 32.0), (0.0, 0.0)), torch.zeros(1, 224, 256, dtype=torch.bool)
    target[0, 96 - 8 : 96 + 9, 64 - 8 : 64 + 9] = True
    rows, columns = ((1 - (torch.arange(n) - at).abs() / 32).clamp(min=0) for n, at in ((224, 96), (256, 64)))
    expected = (17 / 32) ** 2 * rows[:, None] * columns
    torch.testing.assert_close(grid_ceiling(target, (7, 8), cells)[0], expected)
    assert grid_ceiling(target, (7, 8)).max() < 0.1  # even cells share it out among four
