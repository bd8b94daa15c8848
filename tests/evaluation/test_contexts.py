"""Where attention beside the object lies, and which patches are alike, in images of which that is known."""

import pytest
import torch
import torch.nn.functional as F

from wheretolook.evaluation.contexts import Patch, beside, clusters, contexts, patches, place_energies, places
from wheretolook.evaluation.pairs import Seen, seen_batches
from wheretolook.records import VOID, Cells, GuidedOutput, collate

from ..training.made import ConstantNetwork, floats, made_batch, made_network, planes, sample


def seen(maps: torch.Tensor, mask: torch.Tensor, cells: Cells | None = None, grid: tuple[int, int] = (4, 4)) -> Seen:
    """One image of the first class, whose map is given."""
    one = sample("one", (0,))._replace(
        image=torch.zeros(3, *mask.shape),
        mask=mask,
        targets=planes(mask, (0,)),
        labels=torch.tensor([True, False, False]),
    )
    features = torch.arange(float(2 * grid[0] * grid[1])).view(1, 2, *grid)
    output = GuidedOutput(torch.zeros(1, 3), features, cells=cells)
    return Seen(collate([one]), torch.zeros(1, 3, *mask.shape), output, maps[None])


def test_what_is_void_is_neither_object_nor_beside_it():
    mask = torch.tensor([[0, 1, VOID], [0, 0, 1]])
    assert beside(seen(torch.ones(2, 3), mask, grid=(1, 1)))[0].tolist() == [[True, False, False], [True, True, False]]
    nobody = torch.full((2, 3), VOID)
    assert beside(seen(torch.ones(2, 3), nobody, grid=(1, 1))).all()


@pytest.mark.parametrize("size", [(24, 36), (50, 31), (8, 9)])
def test_energies_of_places_sum_to_what_lies_beside_the_object(size: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    maps, mask = torch.rand(size, generator=generator), torch.zeros(size, dtype=torch.long)
    mask[2:6, 1:7] = 1
    found = place_energies(seen(maps, mask))
    expected = float(maps[mask == 0].sum() / maps.sum())
    # windows of a side that twelve does not divide overlap, so that some pixels count a little more than others
    assert float(found.sum()) == pytest.approx(expected, rel=1e-5 if size == (24, 36) else 0.1)
    assert found.shape == (1, 12, 12)
    assert not place_energies(seen(torch.zeros(size), mask)).any()


def test_a_spot_in_a_corner_is_named_and_counted():
    mean = torch.zeros(12, 12)
    mean[:3, 9:] = 1.0
    found = places(mean)
    assert found.where == "top right" and found.over_chance == pytest.approx(144 / 14)
    assert places(torch.ones(12, 12)).over_chance == pytest.approx(1.0)
    assert places(torch.zeros(12, 12)).where == "nowhere"
    mean = torch.zeros(12, 12)
    mean[5:7, 5:7] = 1
    assert places(mean).where == "middle"


def test_the_patch_is_the_most_attended_cell_that_the_object_does_not_fill():
    maps, mask = torch.zeros(16, 16), torch.zeros(16, 16, dtype=torch.long)
    maps[0:4, 0:4], maps[8:12, 4:8], maps[12:16, 12:16] = 5.0, 3.0, 2.0
    mask[0:4, 0:4] = 1
    (found,) = patches(seen(maps, mask))
    assert found.share == pytest.approx(0.3) and found.column.tolist() == [2 * 4 + 1, 16 + 2 * 4 + 1]
    left, top, right, bottom = found.box  # a cell of 4 pixels and as much again around it
    assert (left, top, right, bottom) == (1, 5, 9, 13)
    (whole,) = patches(seen(maps, torch.full((16, 16), VOID)))
    assert whole.share == pytest.approx(0.5) and whole.box[:2] == (0, 0)
    assert patches(seen(torch.zeros(16, 16), mask)) == []


def test_a_patch_lies_where_the_cells_lie():
    maps, mask = torch.zeros(16, 16), torch.zeros(16, 16, dtype=torch.long)
    maps[8, 8] = 1.0
    mask[0, 0] = 1
    (found,) = patches(seen(maps, mask, Cells((4.0, 4.0), (0.0, 0.0))))
    assert found.column.tolist() == [2 * 4 + 2, 16 + 2 * 4 + 2] and found.box == (4, 4, 12, 12)


def patch(name: str, column: torch.Tensor) -> Patch:
    return Patch(name, 0, 0.5, (0, 0, 1, 1), column)


def test_kinds_of_patches_are_told_apart_and_counted():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.eye(4, 20) * 5
    of = [0] * 9 + [1] * 5 + [2] * 2 + [3]
    found = [
        patch(f"{kind}_{number}", kinds[kind] + 0.3 * torch.randn(20, generator=generator))
        for number, kind in enumerate(of)
    ]
    mean = torch.stack([one.column for one in found]).mean(dim=0)
    shared = contexts(found, mean, images=20)
    assert [one.images for one in shared] == [9, 5, 2] and shared[0].share == 9 / 20
    assert {one.name[0] for one in shared[0].patches} == {"0"} and shared[0].likeness > 0.9
    cosines = F.cosine_similarity(
        torch.stack([one.column for one in shared[0].patches]) - mean,
        F.normalize(torch.stack([one.column for one in shared[0].patches]) - mean, dim=1).mean(dim=0)[None],
    )
    assert cosines.tolist() == sorted(cosines.tolist(), reverse=True)  # the most typical first
    assert shared[0].likeness == pytest.approx(float(cosines.mean()), rel=1e-4)


def test_of_what_is_unlike_nothing_is_shared():
    found = [patch(str(number), column) for number, column in enumerate(torch.eye(4))]
    assert contexts(found, torch.zeros(4), images=4) == [] and contexts([], torch.zeros(4), images=4) == []


def test_clusters_are_as_near_as_moving_a_column_allows():
    columns = F.normalize(torch.randn(40, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    of = clusters(columns, 3)
    centres = torch.stack([F.normalize(columns[of == index].sum(dim=0), dim=0) for index in range(3)])
    assert torch.equal((columns @ centres.T).argmax(dim=1), of) and len(of.unique()) == 3


def test_real_batches_give_a_patch_for_each_map_that_is_not_empty():
    network = made_network().float()
    (found,) = seen_batches(network, [floats(made_batch())])
    cells = patches(found)
    assert 0 < len(cells) <= len(found.batch.pairs) and all(0 < one.share <= 1 for one in cells)
    height, width = found.maps.shape[1:]
    for one in cells:
        left, top, right, bottom = one.box
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
    blank = floats(made_batch())._replace(images=torch.zeros(6, 3, 48, 32))
    (empty,) = seen_batches(ConstantNetwork(), [blank])
    assert patches(empty) == []
