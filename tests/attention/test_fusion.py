"""Maps of several layers as one, cell by cell with numbers that can be worked out by hand."""

import pytest
import torch

from wheretolook.attention.fusion import each_layer, fused
from wheretolook.records import Cells, GuidedOutput, LayerGrid

FINE = [[4.0, -2.0, 0.0, -8.0], [2.0, 0.0, -4.0, 0.0]]
COARSE = [[-3.0, 6.0, 0.0, -1.5], [0.0, 3.0, -6.0, 0.0]]  # of the same grid, so that no cell moves


def output_of(fusion: str) -> GuidedOutput:
    features = torch.zeros(1, 3, 2, 4)
    return GuidedOutput(torch.zeros(1, 1), features, layers=(LayerGrid(features), LayerGrid(features)), fusion=fusion)


def by_hand(fusion: str) -> list[list[float]]:
    """For the class: each layer's share of its maximum; where none is above 0, against it: of its minimum."""

    def fuse(one: float, other: float) -> float:
        return (one + other) / 2 if fusion == "mean" else max(one, other)

    found = []
    for fine, coarse in zip(FINE, COARSE, strict=True):
        row = []
        for a, b in zip(fine, coarse, strict=True):
            towards = fuse(max(a, 0) / 4, max(b, 0) / 6)
            row.append(towards if towards > 0 else -fuse(max(-a, 0) / 8, max(-b, 0) / 6))
        found.append(row)
    return found


@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_what_speaks_for_the_class_and_what_speaks_against_it(fusion: str):
    maps = [torch.tensor(values)[None] for values in (FINE, COARSE)]
    found = fused(maps, output_of(fusion))[0]
    torch.testing.assert_close(found, torch.tensor(by_hand(fusion)))
    assert (found < 0).sum() == 2 and (found > 0).sum() == 4


def test_every_pair_has_maxima_of_its_own_and_an_empty_layer_adds_nothing():
    values = torch.tensor([FINE, COARSE, [[0.0] * 4] * 2])
    fine, coarse = values[[0, 1, 2, 1]], values[[1, 0, 0, 2]] * torch.tensor([100, 100, 0.001, 1]).view(4, 1, 1)
    found = fused([fine, coarse], output_of("mean"))
    torch.testing.assert_close(found[:2], torch.tensor([by_hand("mean")] * 2))
    for pair, alone in ((2, FINE), (3, COARSE)):
        plane = torch.tensor(alone)
        expected = torch.where(plane > 0, plane / plane.max(), -(-plane).relu() / -plane.min()) / 2
        torch.testing.assert_close(found[pair], expected)
    assert not fused([0 * fine, 0 * coarse], output_of("mean")).any()


def test_tiny_maps_are_divided_by_their_maximum_as_large_ones_are():
    maps = [torch.tensor(values)[None] for values in (FINE, COARSE)]
    torch.testing.assert_close(
        fused([1e-20 * layer for layer in maps], output_of("mean")), fused(maps, output_of("mean"))
    )


def test_a_coarse_layer_is_laid_where_its_own_cells_are():
    """A spot in a coarse cell that lies at the right edge is brought to the fine cells there."""
    fine, coarse = torch.zeros(1, 2, 8), torch.zeros(1, 1, 2)
    coarse[..., 1] = 1.0
    cells = Cells((8.0, 4.0), (3.5, 1.5))
    at_edges = Cells((16.0, 28.0), (7.5, 1.5))  # columns 1.5 and 29.5, the first and the last of the fine ones
    layers = (LayerGrid(fine[None], cells), LayerGrid(coarse[None], at_edges))
    output = GuidedOutput(torch.zeros(1, 1), fine[None], cells=cells, layers=layers, fusion="max")
    found = fused([fine, coarse], output)[0, 0]
    torch.testing.assert_close(found, torch.arange(8) / 7)
    first, second = each_layer(output)
    assert first.cells == cells and second.cells == at_edges and not (first.layers or second.layers)


def test_the_map_of_one_layer_is_left_as_it_is():
    alone = GuidedOutput(torch.zeros(1, 1), torch.zeros(1, 3, 2, 4))
    maps = torch.tensor(FINE)[None]
    assert fused([maps], alone) is maps and each_layer(alone) == [alone]
