import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wheretolook.metrics import (
    AttentionMetric,
    PairMeans,
    energy_chance,
    energy_inside,
    grid_ceiling,
    iou_at,
    iou_curve,
    pointing_hit,
    precision_at,
    recall_at,
)


def pairs(count: int = 6, levels: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (of few levels, so that thresholds are met exactly), a third of the pixels objects, a fifth void."""
    maps = torch.rand(count, 9, 7) if levels == 0 else torch.randint(0, levels + 1, (count, 9, 7)).float()
    maps = maps * torch.rand(count, 1, 1).mul(5).exp()  # maps of different heights
    return maps, torch.rand(count, 9, 7) < 0.3, torch.rand(count, 9, 7) > 0.2


def square() -> tuple[Tensor, Tensor]:
    """An object of 4 of the 15 valid pixels, all 16 but the first."""
    target, valid = torch.zeros(1, 4, 4, dtype=torch.bool), torch.ones(1, 4, 4, dtype=torch.bool)
    target[:, 1:3, 1:3], valid[:, 0, 0] = True, False
    return target, valid


def pair_by_lists(map_: np.ndarray, target: np.ndarray, valid: np.ndarray) -> dict[str, object]:
    """The definitions again, pixel by pixel in single precision, on lists without the void pixels."""
    pixels = [(value, on) for value, on, counts in zip(map_.flat, target.flat, valid.flat, strict=True) if counts]
    peak = max(value for value, _ in pixels)
    top = [on for value, on in pixels if value == peak]
    at_20 = [on for value, on in pixels if value >= np.float32(0.2) * peak]
    curve = []
    for step in range(1, 101):
        above = [value >= np.float32(step / 100) * peak for value, _ in pixels]
        both = sum(high and on for high, (_, on) in zip(above, pixels, strict=True))
        either = sum(high or on for high, (_, on) in zip(above, pixels, strict=True))
        curve.append(both / either)
    return {
        "energy": sum(float(value) for value, on in pixels if on) / sum(float(value) for value, _ in pixels),
        "chance": sum(on for _, on in pixels) / len(pixels),
        "hit": sum(top) / len(top),
        "curve": curve,
        "recall": sum(at_20) / sum(on for _, on in pixels),
        "precision": sum(at_20) / len(at_20),
    }


def figures_of(maps: Tensor, target: Tensor, valid: Tensor):
    metric = AttentionMetric()
    metric.update(maps, target, valid)
    return metric.compute()


@pytest.mark.parametrize("levels", [0, 3, 100])
def test_pair_figures_equal_loops_over_pixels(levels: int):
    maps, target, valid = pairs(levels=levels)
    loops = [pair_by_lists(*pair) for pair in zip(maps.numpy(), target.numpy(), valid.numpy(), strict=True)]
    expected = {name: torch.tensor([loop[name] for loop in loops], dtype=torch.float32) for name in loops[0]}
    torch.testing.assert_close(energy_inside(maps, target, valid), expected["energy"])
    torch.testing.assert_close(energy_chance(target, valid), expected["chance"])
    torch.testing.assert_close(pointing_hit(maps, target, valid), expected["hit"])
    torch.testing.assert_close(iou_curve(maps, target, valid), expected["curve"])
    torch.testing.assert_close(recall_at(maps, target, valid), expected["recall"])
    torch.testing.assert_close(precision_at(maps, target, valid), expected["precision"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [0, 1, 20, 100])
def test_curve_equals_single_thresholds(levels: int, dtype: torch.dtype):
    """Exactly, also where many pixels lie on a threshold; a rounded-down bin number would miss some."""
    maps, target, valid = pairs(count=5, levels=levels)
    maps = maps.to(dtype)
    maps[0] = 0
    curve = iou_curve(maps, target, valid)
    singles = [iou_at(maps, target, valid, share=step / 100) for step in range(1, 101)]
    assert torch.equal(curve, torch.stack(singles, dim=1))
    quarters = [iou_at(maps, target, valid, share=step / 4) for step in range(1, 5)]
    assert torch.equal(iou_curve(maps, target, valid, bins=4), torch.stack(quarters, dim=1))


def test_a_perfect_map_has_perfect_figures():
    target, valid = square()
    figures = figures_of(7.0 * target, target, valid)
    assert figures[:6] == pytest.approx((1, 15 / 4, 1, 1, 1, 0))
    assert (figures.pairs, figures.best_threshold) == (1, 0.01)


def test_a_uniform_map_scores_chance():
    """Ties of the pointing game included: the first pixel found would be a miss here, the last as well."""
    target, valid = square()
    figures = figures_of(torch.full((1, 4, 4), 0.3), target, valid)
    assert figures[:6] == pytest.approx((4 / 15, 1, 4 / 15, 4 / 15, 4 / 15, 0))


def test_recall_and_precision_of_empty_perfect_and_uniform_maps_and_their_iou():
    target, valid = square()
    maps = torch.cat([torch.zeros(1, 4, 4), 7.0 * target, torch.full((1, 4, 4), 0.3)])
    target, valid = target.expand(3, -1, -1), valid.expand(3, -1, -1)
    assert recall_at(maps, target, valid).tolist() == [0, 1, 1]
    assert precision_at(maps, target, valid).tolist() == pytest.approx([0, 1, 4 / 15])
    maps, target, valid = pairs()
    recall, precision = recall_at(maps, target, valid), precision_at(maps, target, valid)
    torch.testing.assert_close(1 / (1 / recall + 1 / precision - 1), iou_at(maps, target, valid, 0.2))


def test_a_map_on_everything_else_scores_nothing():
    target, valid = square()
    figures = figures_of((~target).float(), target, valid)
    assert figures[:6] == (0, 0, 0, 0, 0, 0)


def test_an_empty_map_is_a_miss_and_counts():
    target, valid = square()
    both = torch.cat([torch.zeros(1, 4, 4), target.float()])
    figures = figures_of(both, target.repeat(2, 1, 1), valid.repeat(2, 1, 1))
    assert figures[:6] == pytest.approx((0.5, 15 / 8, 0.5, 0.5, 0.5, 0.5))
    assert figures.pairs == 2


def test_attention_on_void_counts_neither_as_energy_nor_as_maximum():
    maps, target, valid = pairs()
    raised = torch.where(valid, maps, 1e3)
    assert figures_of(raised, target, valid) == figures_of(maps, target, valid)
    assert figures_of(torch.where(valid, 0, maps), target, valid).empty_maps == 1


def test_objects_under_void_change_nothing():
    maps, target, valid = pairs()
    assert figures_of(maps, target | ~valid, valid) == figures_of(maps, target & valid, valid)


def test_the_height_of_a_map_changes_nothing():
    maps, target, valid = pairs()
    assert figures_of(1e-30 * maps, target, valid) == pytest.approx(figures_of(maps, target, valid), rel=1e-5)


@pytest.mark.parametrize("height", [2.0**-40, 2.0**40])
def test_nor_does_it_for_a_single_pair(height: float):
    """Powers of two, so that nothing is rounded; the lowest map has its peak far below 1, the highest far above."""
    maps, target, valid = pairs()
    assert torch.equal(iou_at(height * maps, target, valid, 0.2), iou_at(maps, target, valid, 0.2))
    for figure in (energy_inside, iou_curve, pointing_hit):
        assert torch.equal(figure(height * maps, target, valid), figure(maps, target, valid)), figure
    assert iou_at(maps, target, valid, 0.2).max() > 0


def test_one_threshold_serves_the_whole_data_set():
    """Each map alone is perfect at its own threshold, but no threshold suits both."""
    target = torch.tensor([[[True, True, False, False]], [[True, True, False, False]]])
    maps = torch.tensor([[[1.0, 0.3, 0.1, 0.1]], [[1.0, 0.9, 0.7, 0.7]]])
    figures = figures_of(maps, target, torch.ones_like(target))
    # At 11 to 30 % the first is perfect and the second covers all; at 71 to 90 % the second is perfect, the first half.
    assert figures.attention_iou == pytest.approx((1 + 0.5) / 2)
    assert figures.attention_iou_20 == pytest.approx((1 + 0.5) / 2)
    assert figures.best_threshold == pytest.approx(0.11)
    assert figures_of(maps[1:], target[1:], torch.ones_like(target[1:])).best_threshold == pytest.approx(0.71)


def test_pairs_without_a_valid_object_pixel_are_left_out():
    maps, target, valid = pairs(count=4)
    target[1], valid[3], maps[1] = False, False, 0
    kept = [0, 2]
    assert figures_of(maps, target, valid) == figures_of(maps[kept], target[kept], valid[kept])


def test_over_chance_is_a_ratio_of_means():
    """A mean of ratios would let the smallest objects decide."""
    target = torch.tensor([[[True, False, False, False]], [[True, True, False, False]]])
    maps = torch.tensor([[[1.0, 0, 0, 0]], [[1.0, 1, 1, 1]]])
    figures = figures_of(maps, target, torch.ones_like(target))
    assert figures.energy_pointing_over_chance == pytest.approx((1 + 0.5) / (0.25 + 0.5))


def test_batch_equals_singles_and_merged_halves_equal_the_whole():
    maps, target, valid = pairs(count=7)
    first, rest = AttentionMetric(), AttentionMetric()
    first.update(maps[:5], target[:5], valid[:5])
    for pair in (5, 6):
        rest.update(maps[pair, None], target[pair, None], valid[pair, None])
    rest.update(maps[:0], target[:0], valid[:0])  # an image that shows no class
    first.merge_state(rest)
    assert first.compute() == pytest.approx(figures_of(maps, target, valid), rel=1e-5)


def test_half_precision_maps_are_added_up_in_single_precision():
    """65,504 is the largest half-precision number; this map's energy is 90,000."""
    maps = torch.ones(1, 300, 300, dtype=torch.float16)
    target = torch.zeros(1, 300, 300, dtype=torch.bool)
    target[:, :150] = True
    figures = figures_of(maps, target, torch.ones_like(target))
    assert figures.energy_pointing == 0.5


def test_means_over_pairs_are_those_of_the_functions_over_the_pairs_that_count():
    """In batches of unequal size; one pair has no object, one nothing but void."""
    maps, target, valid = pairs(count=7)
    target[1], valid[5] = False, False
    metric = PairMeans({"inside": energy_inside, "hit": pointing_hit, "first": lambda maps, *_: maps[:, 0, 0]})
    for part in (slice(0, 4), slice(4, 7)):
        metric.update(maps[part].double(), target[part], valid[part])
    kept = [0, 2, 3, 4, 6]
    assert metric.compute() == pytest.approx(
        {
            "inside": energy_inside(maps, target, valid)[kept].mean().item(),
            "hit": pointing_hit(maps, target, valid)[kept].mean().item(),
            "first": maps[kept, 0, 0].mean().item(),
        }
    )


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_pairs_give_nan_and_say_so():
    figures = AttentionMetric().compute()
    assert figures.pairs == 0
    assert all(math.isnan(value) for name, value in figures._asdict().items() if name != "pairs")


def test_grid_ceiling_is_the_mean_of_each_cell_between_the_cells():
    """An object that fills the left third of 12 columns, on 4 cells of 3: 1, 1/3, 0, 0 at columns 1, 4, 7, 10."""
    target = torch.zeros(1, 6, 12, dtype=torch.bool)
    target[..., :4] = True
    ceiling = grid_ceiling(target, grid=(2, 4))
    columns = np.interp(np.arange(12), [1, 4, 7, 10], [1, 1 / 3, 0, 0])
    np.testing.assert_allclose(ceiling[0].numpy(), np.tile(columns, (6, 1)), atol=1e-6)


def test_grid_ceiling_rises_to_perfect_with_the_grid():
    target = torch.zeros(2, 32, 32, dtype=torch.bool)
    target[0, 5:20, 3:17], target[1, 18:30, 10:31] = True, True
    valid = torch.ones_like(target)
    energies = [figures_of(grid_ceiling(target, (n, n)), target, valid).energy_pointing for n in (1, 4, 16, 32)]
    assert energies == sorted(energies)
    assert energies[0] == pytest.approx(float(energy_chance(target, valid).mean()))
    assert energies[-1] == 1
