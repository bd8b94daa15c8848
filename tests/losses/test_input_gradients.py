"""Losses on input gradients: closed forms on linear scores, what is irrelevant, and the worst of a neighbourhood."""

from dataclasses import replace

import pytest
import torch

from wheretolook.losses.input_gradients import input_gradients, input_gradients_loss, regions, summed_log_chances
from wheretolook.losses.robust_gradients import perturbed_loss, worst_changes
from wheretolook.losses.step import Step
from wheretolook.options.objective import ObjectiveOptions, RobustGradientsOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID
from wheretolook.training.stage import Stage, objective_of

from ..training.made import made_batch, made_network

WEIGHTS = torch.tensor([[1.0, 2.0, 3.0, -4.0], [0.5, -1.0, 0.0, 2.0]], dtype=torch.float64)  # of classes and pixels


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_gradient_of_linear_scores_by_hand(exclusive: bool):
    """Every channel alike; the sum of d log p over outcomes is 1 - 2 p for a class, or 1 - classes p of a softmax."""
    images = torch.rand(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    scores = images.sum(dim=1).flatten(1) @ WEIGHTS.T
    chances = scores.softmax(dim=1) if exclusive else scores.sigmoid()
    by_hand = (1 - 2 * chances) @ WEIGHTS
    found = input_gradients(scores, images, exclusive=exclusive)
    torch.testing.assert_close(found, by_hand.view(2, 1, 2, 2).expand(-1, 3, -1, -1))
    half = input_gradients(scores, images, exclusive=exclusive, scale=1024.0)
    torch.testing.assert_close(half, found)

    forbidden = torch.tensor([[[True, False], [False, True]]] * 2)
    wanted = torch.tensor([[[False, True], [False, False]]] * 2)
    squares = by_hand.square()
    total = input_gradients_loss(found, forbidden, wanted)
    torch.testing.assert_close(total, 3 * (squares[:, 0] + squares[:, 3]))
    share = input_gradients_loss(found, forbidden, wanted, "share")  # of the third pixel nothing is known
    torch.testing.assert_close(share, (squares[:, 0] + squares[:, 3]) / (squares[:, [0, 1, 3]]).sum(dim=1))
    torch.testing.assert_close(input_gradients_loss(1e-6 * found, forbidden, wanted, "share"), share)
    assert input_gradients_loss(0 * found, forbidden, wanted, "share").tolist() == [0, 0]


def test_outcomes_of_a_confident_answer_still_have_a_slope():
    """The chance of the class alone would have none, and the loss nothing to hold on to."""
    score = torch.tensor([[20.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(summed_log_chances(score).sum(), score)
    assert slope.item() == pytest.approx(-1)


def test_a_pixel_is_irrelevant_where_every_class_of_its_image_says_so():
    pairs = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 2], [3, 1]])
    planes = torch.tensor([[1, 0, 0, 0], [0, 1, 0, VOID], [1, 0, 0, 0], [0, 0, 0, 0], [VOID] * 4], dtype=torch.uint8)
    forbidden, wanted = regions(pairs, planes[:, None], 4)
    assert forbidden[:, 0].tolist() == [
        [False, False, True, False],
        [False] * 4,  # one of its classes is nowhere to be seen, so it may be anywhere
        [False] * 4,  # an image without any class
        [False] * 4,
    ]
    assert wanted[:, 0].tolist() == [[True, True, False, False], [True, False, False, False], [False] * 4, [False] * 4]


def robust_step() -> tuple[Step, torch.Tensor, torch.Tensor]:
    stage = Stage.guidance(made_network(), TrainingOptions(), objective_of(robust_gradients=1.0))
    step = stage.forward_step(made_batch())
    return step, *regions(step.batch.pairs, step.batch.targets, len(step.images))


@pytest.mark.parametrize(("samples", "ascent"), [(3, 0), (0, 1), (2, 2)])
def test_the_worst_change_is_small_and_elsewhere_and_no_better_than_none(samples: int, ascent: int):
    options = RobustGradientsOptions(epsilon=0.2, samples=samples, ascent=ascent)
    step, forbidden, wanted = robust_step()
    changes = worst_changes(step, forbidden, wanted, options)
    assert changes.abs().max() <= 0.2 and not (changes * ~forbidden[:, None]).any() and not changes.requires_grad

    def loss(of: torch.Tensor) -> torch.Tensor:
        return perturbed_loss(step, of, forbidden, wanted, options, train=False).detach()

    known = forbidden.any(dim=2).any(dim=1)
    assert (loss(changes) >= loss(torch.zeros_like(changes)) - 1e-15).all()
    assert (loss(changes) > 1.01 * loss(torch.zeros_like(changes)))[known].any()
    assert not loss(changes)[~known].any()


def test_more_draws_are_never_better():
    step, forbidden, wanted = robust_step()
    values = []
    for samples in (1, 4):
        torch.manual_seed(0)
        options = replace(ObjectiveOptions().robust_gradients, samples=samples, ascent=0)
        worst = worst_changes(step, forbidden, wanted, options)
        values.append(perturbed_loss(step, worst, forbidden, wanted, options, train=False).detach())
    assert (values[1] >= values[0]).all() and (values[1] > values[0]).any()


def test_looking_around_changes_neither_modes_nor_gradients_nor_statistics():
    network = made_network(dropout=0.5).train()
    stage = Stage.guidance(network, TrainingOptions(), objective_of(robust_gradients=1.0))
    step = stage.forward_step(made_batch())
    worst_changes(step, *regions(step.batch.pairs, step.batch.targets, 6), RobustGradientsOptions())
    assert all(module.training for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())
