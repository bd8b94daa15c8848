"""RES: the threshold against trying them all, closed forms, and what slack, borders and void are for."""

import math

import pytest
import torch

from wheretolook.losses.blur import blurred
from wheretolook.losses.res import best_threshold, res_loss

ROW = torch.tensor([[[1.0, 0.2, 0.0, 0.0]]], dtype=torch.float64)  # covered, border, bare, bare


def test_the_threshold_parts_cells_as_well_as_any_does():
    generator = torch.Generator().manual_seed(0)
    attention = torch.randint(0, 6, (40, 3, 4), generator=generator) / 5  # with many ties
    covered = torch.rand(40, 3, 4, generator=generator) < 0.4
    covered[:, 0, 0] = True
    bare = ~covered & (torch.rand(40, 3, 4, generator=generator) < 0.8)
    found = best_threshold(attention, covered, bare)

    def gain(pair: int, threshold: float) -> float:
        attended = attention[pair] >= threshold
        right = attended[covered[pair]].float().mean().item()
        return right - (attended[bare[pair]].float().mean().item() if bare[pair].any() else 0.0)

    for pair in range(40):
        best = max(gain(pair, value) for value in attention[pair].flatten().tolist())
        assert gain(pair, found[pair].item()) == pytest.approx(best)


def test_by_hand():
    """The threshold is .9: the covered cell stands on it, the two bare ones far below; the border has no side."""
    attention = torch.tensor([[[0.9, 0.8, 0.3, 0.0]]], dtype=torch.float64)
    sides = (1 - math.tanh(0) + (1 - math.tanh(5 * 0.6)) + (1 - math.tanh(5 * 0.9))) / 3
    apart = (0.1 + 0.8 + 0.3 + 0.0) / 4  # from the covered cell alone, which is all that is drawn
    found = res_loss(attention, ROW, ROW >= 0, blur=0.0)
    assert found.item() == pytest.approx(sides + apart)
    assert res_loss(attention, ROW, ROW >= 0, blur=0.0, slack=0.1).item() == pytest.approx(sides + apart - 0.1)
    assert res_loss(attention, ROW, ROW >= 0, blur=0.0, slack=0.9).item() == pytest.approx(apart)


def test_a_blurred_drawing_has_weights_by_the_distance_and_a_maximum_of_one():
    weights = [math.exp(-(distance**2) / 2 / 0.8**2) for distance in range(4)]
    first = weights[0] / sum(weights)
    second = weights[1] / (weights[0] + 2 * weights[1] + weights[2])
    found = blurred((ROW == 1).double(), 0.8)[0, 0]
    assert found[:2].tolist() == pytest.approx([first, second])
    assert blurred(torch.ones(1, 3, 5), 1.3).flatten().tolist() == pytest.approx([1.0] * 15)


def test_void_cells_count_nowhere_and_a_map_without_any_other_has_no_loss():
    attention = torch.tensor([[[0.9, 0.8, 0.3, 0.0]]], dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[[True, True, True, False]]])
    loss = res_loss(attention, ROW, valid)
    (gradient,) = torch.autograd.grad(loss.sum(), attention)
    assert gradient[0, 0, 3] == 0 and gradient[0, 0, :3].all()
    nothing = res_loss(attention, ROW, ~(ROW >= 0))
    (gradient,) = torch.autograd.grad(nothing.sum(), attention)
    assert nothing.item() == 0 and not gradient.any()


def test_a_small_object_that_covers_no_cell_by_half_still_has_a_side():
    target = torch.tensor([[[0.3, 0.1, 0.0, 0.0]]])
    right, wrong = (res_loss(maps, target, target >= 0) for maps in (ROW.float(), ROW.float().flip(2)))
    assert right.item() < 0.7 < 1 < wrong.item()
