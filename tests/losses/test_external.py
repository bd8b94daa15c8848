"""External supervision: closed forms on a few pixels, void, empty maps, and gradients."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from wheretolook.attention.maps import normalised
from wheretolook.losses.compare import at_resolution
from wheretolook.losses.cross_entropy import cross_entropy_loss
from wheretolook.losses.energy import energy_loss
from wheretolook.losses.l1 import l1_loss
from wheretolook.losses.rrr_maps import rrr_maps_loss
from wheretolook.losses.size_fair_energy import size_fair_energy_loss
from wheretolook.losses.squared import external_loss, squared_sum

LOSSES = (external_loss, squared_sum, energy_loss, size_fair_energy_loss, l1_loss, cross_entropy_loss, rrr_maps_loss)


def four_pixels() -> tuple[Tensor, Tensor, Tensor]:
    """Two pairs of 2x2; in the second, the last two pixels are void."""
    attention = torch.tensor([[[1.0, 0.5], [0.0, 0.25]], [[0.5, 0.25], [1.0, 1.0]]], dtype=torch.float64)
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    valid = torch.tensor([[[True, True], [True, True]], [[True, True], [False, False]]])
    return attention, target, valid


def surprised(*chances: float) -> float:
    """The logarithms of probabilities that are never below a thousandth."""
    return sum(math.log(0.001 + 0.999 * chance) for chance in chances)


@pytest.mark.parametrize(
    ("loss", "first", "second"),
    [
        (squared_sum, 0.25 + 0.0625, 0.25 + 0.0625),
        (external_loss, 0.3125 / 4, 0.3125 / 2),  # the mean over the valid pixels, not over all four
        (energy_loss, 1 - 1.5 / 1.75, 1 - 0.5 / 0.75),
        (size_fair_energy_loss, 0.125 / 0.875, 0.25 / 0.75),
        (l1_loss, 0.75 / 4, 0.75 / 2),
        (cross_entropy_loss, -surprised(0.5) / 2, -surprised(0.5)),  # of the object's pixels alone
        (partial(cross_entropy_loss, outside=True), -(surprised(0.5, 0.75)) / 4, -surprised(0.5, 0.75) / 2),
        (rrr_maps_loss, 0.0625 / 4, 0.0625 / 2),
    ],
)
def test_by_hand(loss, first, second):
    torch.testing.assert_close(loss(*four_pixels()), torch.tensor([first, second], dtype=torch.float64))


@pytest.mark.parametrize("loss", LOSSES)
def test_void_pixels_change_neither_value_nor_gradient(loss):
    attention, target, valid = four_pixels()
    attention.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(attention, target, valid).sum(), attention)
    assert gradient[1, 1].tolist() == [0, 0] and gradient[1, 0].abs().sum() > 0
    other = torch.where(valid, attention, 7.0)
    torch.testing.assert_close(loss(other, target, valid), loss(attention, target, valid))


@pytest.mark.parametrize("loss", LOSSES)
def test_where_nothing_is_valid_loss_and_gradient_are_zero(loss):
    attention, target, _ = four_pixels()
    attention.requires_grad_()
    values = loss(attention, target, torch.zeros(2, 2, 2, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(values.sum(), attention)
    assert values.tolist() == [0, 0] and not gradient.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss):
    attention = torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    target, valid = (torch.rand(3, 4, 5) < 0.4).double(), torch.rand(3, 4, 5) < 0.8
    assert torch.autograd.gradcheck(lambda maps: loss(maps, target, valid), attention)


def test_a_map_of_zeros_has_all_its_energy_nowhere_and_no_gradient():
    attention, target, valid = four_pixels()
    zero = torch.zeros_like(attention, requires_grad=True)
    values = energy_loss(zero, target, valid)
    (gradient,) = torch.autograd.grad(values.sum(), zero)
    assert values.tolist() == [1, 1] and not gradient.any()


@pytest.mark.parametrize("area", [1, 3, 9])
def test_an_even_map_is_worth_one_half_whatever_the_size_of_the_object(area: int):
    """The energy loss is content with it on a large object: 1 - area / 10."""
    target = (torch.arange(10) < area).double().view(1, 2, 5)
    even, everywhere = torch.full_like(target, 0.3), target >= 0
    assert size_fair_energy_loss(even, target, everywhere).item() == pytest.approx(0.5)
    assert energy_loss(even, target, everywhere).item() == pytest.approx(1 - area / 10)
    assert size_fair_energy_loss(target, target, everywhere).item() == 0
    assert size_fair_energy_loss(1 - target, target, everywhere).item() == 1
    assert size_fair_energy_loss(0 * even, target, everywhere).item() == 1
    assert size_fair_energy_loss(even, torch.ones_like(target), everywhere).item() == 0


def test_cross_entropy_of_the_object_alone_does_not_mind_attention_beside_it():
    attention, target, valid = four_pixels()
    louder = torch.where(target > 0, attention, 1.0)
    torch.testing.assert_close(cross_entropy_loss(louder, target, valid), cross_entropy_loss(attention, target, valid))
    more = cross_entropy_loss(louder, target, valid, outside=True)
    assert (more > 2 * cross_entropy_loss(attention, target, valid, outside=True)).all() and more.isfinite().all()


def test_right_for_the_right_reasons_does_not_mind_what_happens_on_the_object():
    attention, target, valid = four_pixels()
    torch.testing.assert_close(
        rrr_maps_loss(attention * (1 - target), target, valid), rrr_maps_loss(attention, target, valid)
    )


@pytest.mark.parametrize("how", ["min_max", "max"])
def test_a_map_cannot_be_made_smaller_where_its_extremes_are_differentiated(how: str):
    """With constants every such loss has a slope along the map's own size, though its value does not depend on it."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(3, 4, 5, generator=generator) < 0.3).double()
    for loss in (external_loss, l1_loss, rrr_maps_loss, cross_entropy_loss):
        sizes = []
        for extremes in ("constant", "differentiated"):
            value = loss(normalised(maps, how, extremes=extremes), target, target >= 0).sum()
            (gradient,) = torch.autograd.grad(value, maps)
            sizes.append((gradient * maps).sum().abs().item())
        assert sizes[0] > 0.01 and sizes[1] < 1e-12


def test_energy_does_not_depend_on_the_maps_scale():
    attention, target, valid = four_pixels()
    torch.testing.assert_close(energy_loss(1000 * attention, target, valid), energy_loss(attention, target, valid))
    assert energy_loss(target, target, valid).tolist() == [0, 0]
    assert energy_loss(1 - target, target, valid).tolist() == [1, 1]


def test_a_coarse_cell_is_the_objects_share_of_its_valid_pixels():
    target, valid = (torch.rand(2, 6, 8) < 0.5).float(), torch.rand(2, 6, 8) < 0.7
    valid[0, :3, :4] = False  # a cell about which nothing is known
    cover, known = at_resolution(target, valid, (2, 2))
    for pair in range(2):
        for row in range(2):
            for column in range(2):
                window = (pair, slice(3 * row, 3 * row + 3), slice(4 * column, 4 * column + 4))
                inside = target[window][valid[window]]
                assert known[pair, row, column] == (len(inside) > 0)
                share = inside.mean().item() if len(inside) else 0.0
                assert cover[pair, row, column].item() == pytest.approx(share)
    assert not known[0, 0, 0] and known.sum() == 7


def test_a_grid_that_does_not_divide_the_image_still_covers_it():
    target = torch.ones(1, 33, 47)
    cover, known = at_resolution(target, torch.ones(1, 33, 47, dtype=torch.bool), (3, 3))
    assert known.all()
    torch.testing.assert_close(cover, torch.ones(1, 3, 3))
