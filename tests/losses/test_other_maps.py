"""Losses that compare a map with another map: of the class that is confused with it, of the network as it was."""

import math

import pytest
import torch

from wheretolook.losses.attention_distillation import attention_distillation_loss, was_right
from wheretolook.losses.separability import separability_loss
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, collate
from wheretolook.training.stage import Stage, objective_of

from ..training.made import guided_stage, made_batch, made_network, sample, weighing

MAPS = torch.tensor([[[4.0, 1.0], [0.0, 3.0]]], dtype=torch.float64)


def test_separability_by_hand():
    rival = torch.tensor([[[1.0, 2.0], [5.0, 4.0]]], dtype=torch.float64)
    mask = [1 / (1 + math.exp(-10 * (share - 0.55))) for share in (1, 0.25, 0, 0.75)]
    expected = 2 * (mask[0] * 1 + mask[1] * 1 + mask[3] * 3) / 20
    assert separability_loss(MAPS, rival, slope=10.0).item() == pytest.approx(expected)
    assert separability_loss(50 * MAPS, 50 * rival, slope=10.0).item() == pytest.approx(expected)


def test_maps_that_do_not_meet_are_separate_and_empty_ones_have_no_gradient():
    apart = torch.where(MAPS > 0, 0.0, 7.0)
    assert separability_loss(MAPS, apart).item() == 0
    maps = torch.zeros(1, 2, 2, requires_grad=True)
    loss = separability_loss(maps, torch.zeros(1, 2, 2))
    (gradient,) = torch.autograd.grad(loss.sum(), maps)
    assert loss.item() == 0 and gradient.abs().max() < 1e-20


def test_the_rival_is_the_largest_score_that_the_image_does_not_show():
    stage = guided_stage(weighing(separability=1.0))
    step = stage.forward_step(made_batch())
    (every,) = stage.layer_maps(step.output, torch.cartesian_prod(torch.arange(6), torch.arange(3)))
    every = every.relu().view(6, 3, *every.shape[1:])
    for place, (image, _) in enumerate(step.pairs.tolist()):
        scores, shown = step.output.class_scores[image].tolist(), step.batch.labels[image].tolist()
        others = [index for index in range(3) if not shown[index]]
        assert bool(step.rivals.there[place]) == bool(others)
        if others:
            rival = max(others, key=lambda index: scores[index])
            torch.testing.assert_close(step.rivals.layer_maps[0][place], every[image, rival])
    assert not step.rivals.there.all()


def test_distillation_is_blind_to_scale_and_zero_where_nothing_has_changed():
    assert attention_distillation_loss(3 * MAPS, MAPS).item() == pytest.approx(0, abs=1e-12)
    other = MAPS.flip(2)
    root = math.sqrt(26)
    assert attention_distillation_loss(MAPS, 9 * other).item() == pytest.approx((3 + 3 + 3 + 3) / root)
    empty = torch.zeros_like(MAPS, requires_grad=True)
    loss = attention_distillation_loss(empty, MAPS)
    (gradient,) = torch.autograd.grad(loss.sum(), empty)
    assert loss.item() == pytest.approx(8 / root) and gradient.isfinite().all()


def test_only_maps_that_were_on_the_object_are_kept_if_that_is_asked_for():
    stage = guided_stage(weighing(attention_distillation=1.0))
    step = stage.forward_step(collate([sample("one", (1,)), sample("bare", (0,), annotated=False)]))
    earlier = torch.rand(2, 3, 2, dtype=torch.float64) + 0.1
    assert was_right(step, earlier, 0.0).tolist() == [True, True]
    assert was_right(step, earlier, 1e-6).tolist() == [True, False]  # nobody knows of the second
    assert was_right(step, earlier, 1.0).tolist() == [False, False]
    assert (step.targets[1] == VOID).all()


def test_the_earlier_network_stays_what_it_was_and_is_no_part_of_the_stage():
    network = made_network()
    stage = Stage.guidance(network, TrainingOptions(), objective_of(attention_distillation=1.0))
    step = stage.forward_step(made_batch())
    torch.testing.assert_close(step.earlier_maps, step.maps.detach())
    assert not step.earlier_maps.requires_grad
    assert sum(weight.numel() for weight in stage.parameters()) == sum(w.numel() for w in network.parameters())
    with torch.no_grad():
        for weight in network.trunk.parameters():
            weight += 0.1
    again = stage.forward_step(made_batch())
    torch.testing.assert_close(again.earlier_maps, step.earlier_maps)
    assert not torch.allclose(again.maps, step.maps)


def test_without_the_loss_no_copy_is_kept():
    assert guided_stage({}).earlier == () and guided_stage({}).forward_step(made_batch()).rivals is None
