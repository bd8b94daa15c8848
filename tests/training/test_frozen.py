"""Losses on maps and a trunk that cannot move: refused before the first step, since they would train nothing."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from wheretolook.errors import ConfigError
from wheretolook.losses.objective import LOSSES
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.networks.modes import training_only
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.training.stage import Stage

from .made import NAMES, changed, floats, made_batch, weighing

ON_MAPS = [name for name, loss in LOSSES.items() if "maps" in loss.needs]


class Net(nn.Module):
    """Two convolutions and a linear layer; the convolutions may be kept from their gradients, as a fixed encoder is."""

    def __init__(self, *, gradients: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low, self.high, self.head = nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Linear(6, len(NAMES))
        self.gradients = gradients

    def forward(self, images: Tensor) -> Tensor:
        with nullcontext() if self.gradients else torch.no_grad():
            features = self.high(self.low(images).relu()).relu()
        return self.head(features.mean(dim=(2, 3)))


def stage_of(network: GuidedModule, *losses: str, **options: object) -> Stage:
    weights = weighing(**dict.fromkeys(losses, 1.0))
    return Stage.guidance(network, TrainingOptions(), changed(ObjectiveOptions(), {**weights, **options}))


def guided(**options: bool) -> GuidedModule:
    return guide(Net(**options), "high", class_names=NAMES, input_size=64)


@pytest.mark.parametrize("loss", ON_MAPS)
def test_a_frozen_trunk_is_refused_at_once(loss: str):
    """The classifier trains along by classification, so that nothing else would show it."""
    network = guided()
    network.module.low.requires_grad_(False)
    free = {"freeze_classifier": False, "mining.updates": "attention"}
    stage_of(network, "classification", loss, **free)  # what is behind the frozen layer still moves the maps
    network.module.high.requires_grad_(False)
    with pytest.raises(ConfigError, match=rf"for the loss {loss} on maps, got one that is frozen .*; unfreeze it"):
        stage_of(network, "classification", loss, **free)
    stage_of(network, "classification", **free)
    Stage.classifier(network, TrainingOptions())


@pytest.mark.parametrize("loss", ON_MAPS)
def test_a_trunk_without_gradients_is_refused_at_the_first_step(loss: str):
    """Its weights are free, but the module's own `no_grad` keeps every gradient from them."""
    batch, free = floats(made_batch()), {"freeze_classifier": False, "mining.updates": "attention"}
    stage = stage_of(guided(gradients=False), "classification", loss, **free)
    with pytest.raises(ConfigError, match=rf"for the loss {loss} on maps, .* no no_grad\(\)"):
        stage.terms(batch)
    stage_of(guided(gradients=False), "classification", **free).terms(batch)
    stage = stage_of(guided(), "classification", loss, **free)
    with training_only(stage.network, stage.trained_modules()):
        stage.terms(batch)[1][loss].backward()
    gradient = stage.network.module.low.weight.grad
    assert bool(gradient.any()) or (loss == "attention_distillation" and gradient is not None)  # that one starts at 0


def test_mining_may_train_a_classifier_on_a_frozen_trunk():
    """Its masked pass reaches the classifier as well."""
    network = guided()
    for layer in (network.module.low, network.module.high):
        layer.requires_grad_(False)
    stage = stage_of(network, "mining", freeze_classifier=False)
    with training_only(network, stage.trained_modules()):
        stage.terms(floats(made_batch()))[0].backward()
    assert bool(network.module.head.weight.grad.any())
    with pytest.raises(ConfigError, match=r"expected (weights to train|a trunk that trains)"):
        stage_of(network, "mining")
