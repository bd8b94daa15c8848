"""Losses that look at several layers: their own maps by networks of one layer each, put together by hand."""

import math

import pytest
import torch
from torch import Tensor

import wheretolook
from wheretolook.losses.layer_consistency import layer_consistency_loss
from wheretolook.losses.separability import separability_loss
from wheretolook.networks.guide import GuidedModule
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, Batch, Cells, Sample, collate
from wheretolook.training.stage import Stage, objective_of

from ..networks.zoo import ZOO

MAPS = torch.tensor([[[4.0, 1.0], [0.0, 3.0]]], dtype=torch.float64)
LAYERS = ("layer3", "layer4")


def test_consistency_by_hand():
    last = torch.tensor([[[1.0, 2.0], [5.0, 4.0]]], dtype=torch.float64)
    mask = [1 / (1 + math.exp(-10 * (share - 0.55))) for share in (0.2, 0.4, 1, 0.8)]
    expected = 1 - (4 * mask[0] + 1 * mask[1] + 3 * mask[3]) / 8
    assert layer_consistency_loss(MAPS, last, slope=10.0).item() == pytest.approx(expected)
    assert layer_consistency_loss(7 * MAPS, 50 * last, slope=10.0).item() == pytest.approx(expected)
    assert layer_consistency_loss(MAPS, 9 * MAPS).item() == pytest.approx(1 / 8)  # all but the faint cell
    empty = torch.zeros(1, 2, 2, requires_grad=True)
    loss = layer_consistency_loss(empty, last.float())
    assert loss.item() == 1 and not torch.autograd.grad(loss.sum(), empty)[0].any()


def test_the_last_layer_shows_and_is_not_drawn():
    earlier, last = MAPS.clone().requires_grad_(), MAPS.flip(2).requires_grad_()
    loss = layer_consistency_loss(earlier, last, slope=10.0).sum()
    of_earlier, of_last = torch.autograd.grad(loss, (earlier, last), allow_unused=True)
    assert of_earlier.any() and of_last is None


def network(*layers: str) -> GuidedModule:
    torch.manual_seed(4)
    module = ZOO["not_square"].make().eval()
    return wheretolook.guide(module, layers, input_size=(64, 96), class_names=("cat", "dog", "boat"))


def made_batch() -> Batch:
    """Three images: of one class, of two, of all, without annotation."""
    generator = torch.Generator().manual_seed(3)
    samples = []
    for shown in ((1,), (0, 2), (0, 1, 2)):
        labels = torch.zeros(3, dtype=torch.bool)
        labels[list(shown)] = True
        image, mask = torch.rand(3, 64, 96, generator=generator), torch.full((64, 96), VOID)
        planes = torch.full((len(shown), 64, 96), VOID, dtype=torch.uint8)
        samples.append(Sample(image, mask, labels, planes, False, "made"))
    return collate(samples)


def step_maps(*layers: str) -> tuple[Tensor, Tensor]:
    """The maps of pairs, and of the classes that they are most confused with, of a network that reads these layers."""
    stage = Stage.guidance(network(*layers), TrainingOptions(), objective_of(separability=1.0))
    step = stage.forward_step(made_batch())
    return step.maps.detach(), step.rivals.layer_maps[0].detach()


def term(loss: str, *layers: str) -> float:
    stage = Stage.guidance(network(*layers), TrainingOptions(), objective_of(**{loss: 1.0}))
    total, losses = stage.terms(made_batch())
    total.backward()
    moved = [name for name in ("layer1", "layer3", "layer4", "fc") if reached(stage.network.module, name)]
    expected = {"layer3"} if loss == "layer_consistency" and len(layers) > 1 else {*layers}
    assert set(moved) == {"layer1", "layer3"} | expected
    return losses[loss].item()


def reached(module: torch.nn.Module, name: str) -> bool:
    return any(weight.grad is not None and weight.grad.any() for weight in module.get_submodule(name).parameters())


def test_separability_of_two_layers_is_the_sum_of_theirs():
    assert term("separability", *LAYERS) == pytest.approx(sum(term("separability", name) for name in LAYERS), rel=1e-4)
    (maps, rival), found = step_maps("layer3"), []
    for pair in range(3):  # the first image's, then the second's; the third shows every class
        found.append(separability_loss(maps[pair : pair + 1], rival[pair : pair + 1]).item())
    assert term("separability", "layer3") == pytest.approx((found[0] + (found[1] + found[2]) / 2) / 2, rel=1e-4)


def test_consistency_is_of_the_earlier_layer_with_the_last_read_at_its_cells():
    earlier, last = step_maps("layer3")[0], step_maps("layer4")[0]
    output = network(*LAYERS)(torch.rand(1, 3, 64, 96))
    fine, coarse = (layer.cells for layer in output.layers)
    rows, columns = (readings(fine, coarse, axis, count) for axis, count in ((0, 2), (1, 3)))
    losses = layer_consistency_loss(earlier, rows @ last @ columns.T)
    expected = (losses[0] + losses[1:3].mean() + losses[3:].mean()) / 3
    assert term("layer_consistency", *LAYERS) == pytest.approx(expected.item(), rel=1e-4)
    alone = layer_consistency_loss(earlier, earlier)
    expected = (alone[0] + alone[1:3].mean() + alone[3:].mean()) / 3
    assert term("layer_consistency", "layer3") == pytest.approx(expected.item(), rel=1e-4)


def readings(fine: Cells, coarse: Cells, axis: int, count: int) -> Tensor:
    """What each of twice as many fine cells reads of the coarse ones along one side."""
    rows = []
    for cell in range(2 * count):
        place = (fine.offset[axis] + cell * fine.stride[axis] - coarse.offset[axis]) / coarse.stride[axis]
        rows.append((1 - (torch.arange(count) - min(max(place, 0.0), count - 1.0)).abs()).clamp(min=0))
    return torch.stack(rows)
