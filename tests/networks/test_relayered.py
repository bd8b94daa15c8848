"""Attention of one module at several layers, one after the other."""

import pytest
import torch

from wheretolook.attention.methods import attention_maps
from wheretolook.errors import ConfigError
from wheretolook.networks.guide import guide
from wheretolook.networks.relayered import at_layer, layers_of, own_layer

from .narrow import narrow
from .zoo import network as zoo_network

NAMES = ("a", "b")


def small() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 5, 3, padding=1),
        torch.nn.Conv2d(5, 6, 3, 2, 1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 2),
    )


def test_the_last_layer_of_each_grid_is_offered_the_coarsest_first() -> None:
    network = guide(small(), class_names=NAMES, input_size=32)
    assert layers_of(network) == {"3": (8, 8), "2": (16, 16)} and own_layer(network) == "3"
    other = guide(small(), "0", class_names=NAMES, input_size=32)
    assert layers_of(other) == {"0": (16, 16), "3": (8, 8), "2": (16, 16)}
    both = guide(small(), ["0", "3"], class_names=NAMES, input_size=32)
    assert list(layers_of(both)) == ["0 + 3", "3", "2"] and own_layer(both) == "0 + 3"


def test_maps_there_are_those_of_the_module_guided_there() -> None:
    """And the module itself is the very same, so nothing is held twice; the first network's maps stay."""
    module, images = small().eval(), torch.rand(1, 3, 32, 32)
    network = guide(module, class_names=NAMES, input_size=32)
    before = attention_maps(network(images))
    moved = at_layer(network, "2")
    assert moved.module is module and moved.preprocessing == network.preprocessing
    wanted = attention_maps(guide(small().eval(), "2", class_names=NAMES, input_size=32)(images))
    torch.testing.assert_close(attention_maps(moved(images)), wanted)
    torch.testing.assert_close(attention_maps(network(images)), before)


def test_a_segmenter_keeps_its_scores() -> None:
    network = guide(zoo_network("fcn_resnet50"), class_names=("a", "b", "c"), input_size=64)
    name = list(layers_of(network))[-1]
    images = torch.rand(1, 3, 64, 64)
    moved = at_layer(network, name)
    torch.testing.assert_close(moved.eval()(images).class_scores, network.eval()(images).class_scores)


def test_there_is_no_choice_where_a_classifier_is_made_for_its_layer() -> None:
    assert layers_of(narrow()) == {}
    assert layers_of(guide(small(), class_names=NAMES, input_size=32, scores="classifier")) == {}
    with pytest.raises(ConfigError, match="expected the name of a layer"):
        at_layer(guide(small(), class_names=NAMES, input_size=32), "9")
