"""Softmax energy: closed forms on a few cells, what it is blind to, and gradients where the energy loss has none."""

import math

import pytest
import torch

from wheretolook.losses.energy import energy_loss
from wheretolook.losses.softmax_energy import softmax_energy_loss

EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)
TARGET = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]], dtype=torch.float64)


def signed_map() -> torch.Tensor:
    """Its standard deviation is 1 exactly: the squares of 1, -1, 1, -1 from a mean of -5."""
    return torch.tensor([[[-4.0, -6.0], [-4.0, -6.0]]], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_by_hand(temperature: float):
    high, low = math.exp(1 / temperature), math.exp(-1 / temperature)
    expected = 1 - (high + 0.5 * low) / (2 * high + 2 * low)
    assert softmax_energy_loss(signed_map(), TARGET, EVERYWHERE, temperature).item() == pytest.approx(expected)


def test_it_is_blind_to_scale_and_shift():
    expected = softmax_energy_loss(signed_map(), TARGET, EVERYWHERE)
    torch.testing.assert_close(softmax_energy_loss(1e-3 * signed_map() + 70, TARGET, EVERYWHERE), expected)


def test_positions_that_say_nothing_have_no_share_and_no_part_in_the_deviation():
    valid = torch.tensor([[[True, True], [True, False]]])
    values = torch.tensor([2.0, 5.0, -1.0], dtype=torch.float64)
    share = torch.exp(values / values.std(correction=0))
    expected = 1 - ((share * TARGET.flatten()[:3]).sum() / share.sum()).item()
    signed = torch.tensor([2.0, 5.0, -1.0, 1e6], dtype=torch.float64).view(1, 2, 2).requires_grad_()
    loss = softmax_energy_loss(signed, TARGET, valid)
    (gradient,) = torch.autograd.grad(loss.sum(), signed)
    assert loss.item() == pytest.approx(expected) and gradient[0, 1, 1] == 0 and gradient[0, 0].all()


@pytest.mark.parametrize("level", [-3.0, 0.0, 1e5])
def test_a_constant_map_is_uniform_and_can_still_be_moved(level: float):
    signed = torch.full((1, 2, 2), level, requires_grad=True)
    loss = softmax_energy_loss(signed, TARGET.float(), EVERYWHERE)
    (gradient,) = torch.autograd.grad(loss.sum(), signed)
    assert loss.item() == pytest.approx(1 - 1.5 / 4)
    torch.testing.assert_close(gradient, -(TARGET.float() - 1.5 / 4) / 4)


def test_a_map_below_zero_has_a_gradient_where_the_energy_loss_has_none():
    for loss, moves in ((softmax_energy_loss, True), (lambda maps, *rest: energy_loss(maps.relu(), *rest), False)):
        signed = signed_map().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(signed, TARGET, EVERYWHERE).sum(), signed)
        assert gradient.isfinite().all() and bool(gradient.any()) == moves
        assert not moves or gradient[0, 0, 0] < 0 < gradient[0, 1, 0]  # up on the object, down beside it


def test_where_nothing_is_valid_loss_and_gradient_are_zero():
    signed = signed_map().requires_grad_()
    loss = softmax_energy_loss(signed, TARGET, ~EVERYWHERE)
    (gradient,) = torch.autograd.grad(loss.sum(), signed)
    assert loss.item() == 0 and not gradient.any()


def test_the_deviation_is_a_constant_in_the_gradient():
    """The slope is that of a softmax with the deviation of the map as it stands, and not the loss's own."""
    generator = torch.Generator().manual_seed(0)
    signed = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    target, valid = torch.rand(2, 3, 4, generator=generator).double(), torch.rand(2, 3, 4, generator=generator) < 0.7
    stds = [one[known].std(correction=0).item() for one, known in zip(signed.detach(), valid, strict=True)]

    def by_hand(maps: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for one, known, cover, std in zip(maps, valid, target, stds, strict=True):
            total = total + 1 - ((one[known] / (1.5 * std)).softmax(dim=0) * cover[known]).sum()
        return total

    assert torch.autograd.gradcheck(by_hand, signed)
    (expected,) = torch.autograd.grad(by_hand(signed), signed)
    (found,) = torch.autograd.grad(softmax_energy_loss(signed, target, valid, 1.5).sum(), signed)
    torch.testing.assert_close(found, expected)
