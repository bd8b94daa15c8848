"""Channel weights written out in the operators of a graph are those that autograd finds."""

import pytest
import torch

from wheretolook.attention.methods import attention_maps
from wheretolook.errors import ConfigError
from wheretolook.export import gradient
from wheretolook.export.gradient import NotWrittenOutError
from wheretolook.export.graph import ScoresAndMaps, traced
from wheretolook.networks.modes import untouched
from wheretolook.networks.plain import PlainNetwork
from wheretolook.records import GuidedNetwork

from ..networks.narrow import narrow
from .heads import HEADS, headed


def written_out(network: GuidedNetwork, size: tuple[int, int]) -> ScoresAndMaps:
    with untouched(network):
        graph = traced(PlainNetwork(network), torch.rand(2, 3, *size), any_size=True)
    return ScoresAndMaps(graph, maps=True, signed=True)


def maps_of(network: GuidedNetwork, whole: ScoresAndMaps, size: tuple[int, int], batch: int) -> tuple[float, float]:
    """How far written-out maps are from autograd's, and the largest of those."""
    images = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(batch))
    expected = attention_maps(network(network.preprocessing(images)), signed=True)
    with torch.no_grad():
        *_, given = whole(images)
    assert given.shape == expected.shape
    return float((given - expected).abs().max()), float(expected.abs().max())


@pytest.mark.parametrize("name", HEADS)
def test_each_rule_is_the_gradient(name: str) -> None:
    network = headed(name)
    whole = written_out(network, (40, 48))
    for size, batch in (((40, 48), 1), ((61, 83), 3)):
        far, largest = maps_of(network, whole, size, batch)
        assert largest > 1e-4 and far < 1e-5 * largest, (far, largest)


@pytest.mark.parametrize("padding", ["same", "caffe"])
def test_an_fcn_at_sizes_that_are_no_multiple_of_its_stride(padding: str) -> None:
    """Its classifier is a max-pool in ceil mode, a mean, and three layers with two ReLUs."""
    network = narrow(padding=padding)
    whole = written_out(network, (64, 96))
    for size, batch in (((64, 96), 1), ((75, 101), 2)):
        far, largest = maps_of(network, whole, size, batch)
        assert largest > 1e-4 and far < 1e-5 * largest


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above would find a mask of the wrong side."""
    network = headed("relu")
    monkeypatch.setitem(gradient.RULES, "relu", gradient._activation(lambda x, y: y <= 0))
    far, largest = maps_of(network, written_out(network, (40, 48)), (40, 48), 1)
    assert far > 0.1 * largest


def test_what_has_no_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = headed("gelu")
    monkeypatch.delitem(gradient.RULES, "gelu")
    with pytest.raises(NotWrittenOutError, match="gelu"):
        maps_of(network, written_out(network, (40, 48)), (40, 48), 1)
    assert issubclass(NotWrittenOutError, ConfigError)
