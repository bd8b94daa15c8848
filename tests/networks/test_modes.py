"""Modes and frozen parameters are changed for a while and come back as they were, errors included."""

import pytest
import torch
from torch import nn

from wheretolook.networks.modes import evaluation_mode, training_only


def mixed() -> nn.ModuleDict:
    """Parts in every state: training, in evaluation mode inside a training parent, partly frozen."""
    network = nn.ModuleDict(
        {
            "trunk": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()),
            "classifier": nn.Sequential(nn.Linear(4, 4), nn.Dropout()),
            "segmenter": nn.Sequential(nn.Conv2d(4, 2, 1), nn.ConvTranspose2d(2, 2, 4)),
        }
    )
    network["trunk"][1].eval()
    network["segmenter"][1].requires_grad_(False)
    return network


def state(network: nn.Module) -> tuple[list[bool], list[bool]]:
    return [part.training for part in network.modules()], [value.requires_grad for value in network.parameters()]


@pytest.mark.parametrize("trained", [None, [], ["trunk"], ["trunk", "segmenter"]])
@pytest.mark.parametrize("broken", [False, True])
def test_everything_comes_back(trained, broken):
    network = mixed()
    before = state(network)
    context = evaluation_mode(network) if trained is None else training_only(network, [network[n] for n in trained])
    with pytest.raises(KeyError) if broken else evaluation_mode(nn.Dropout()), context:
        assert state(network) != before
        if broken:
            raise KeyError("in the middle")
    assert state(network) == before


def test_evaluation_mode_moves_no_statistics_and_drops_nothing():
    network, images = mixed()["trunk"].train(), torch.randn(4, 3, 8, 8)
    mean = network[1].running_mean.clone()
    with evaluation_mode(network):
        assert torch.equal(network(images), network(images))
    assert torch.equal(network[1].running_mean, mean)
    network(images)
    assert not torch.equal(network[1].running_mean, mean)


def test_only_the_named_parts_train_and_what_was_fixed_stays_fixed():
    network = mixed()
    with training_only(network, [network["segmenter"]]):
        on = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        training = {name for name, part in network.named_modules() if part.training}
    assert on == {"segmenter.0.weight", "segmenter.0.bias"}  # not the fixed upsampling
    assert training == {"segmenter", "segmenter.0", "segmenter.1"}  # a frozen classifier's dropout is off
