"""Methods on pixels: closed forms of linear networks, captum's own values, and what must follow of them."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import wheretolook
from wheretolook.attention.methods import attention_maps, pair_maps
from wheretolook.errors import ConfigError
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.modes import second_order_attention
from wheretolook.options.objective import OF_PIXELS
from wheretolook.options.training import TrainingOptions
from wheretolook.training.stage import Stage, objective_of

from ..networks import zoo
from .small import narrow

PIXELS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def small(activation: type[nn.Module], method: str = "input_x_gradient") -> GuidedModule:
    """A network of two convolutions for images of 8x8, in double precision."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), activation(), nn.Conv2d(5, 6, 3, stride=2), activation())
    module = nn.Sequential(trunk, nn.Flatten(), nn.Linear(6 * 9, 4)).eval()
    guided = wheretolook.guide(module, "0.2", input_size=8).double()
    guided.attention = method
    return guided


def test_input_x_gradient_of_a_linear_network_is_weight_times_input() -> None:
    """The weights are read off one pixel at a time: what the score gains where that pixel alone is 1."""
    network, images = small(nn.Identity), PIXELS.double()
    units = torch.eye(3 * 64, dtype=torch.float64).view(-1, 3, 8, 8)
    with torch.no_grad():
        weights = network.module(units) - network.module(torch.zeros_like(units))
        bias = network.module(torch.zeros_like(images[:1]))
    expected = torch.einsum("pk,bp->bkp", weights, images.flatten(1)).view(2, 4, 3, 8, 8).sum(dim=2)
    output = network(images)
    found = attention_maps(output, method="input_x_gradient", signed=True)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=(2, 3)), (output.class_scores - bias).detach())
    torch.testing.assert_close(attention_maps(output, method="input_x_gradient"), expected.relu())


def test_integrated_gradients_of_a_linear_network_are_the_same() -> None:
    expected = attention_maps(small(nn.Identity)(PIXELS.double()), method="input_x_gradient", signed=True)
    network = small(nn.Identity, "integrated_gradients")
    torch.testing.assert_close(
        attention_maps(network(PIXELS.double()), method="integrated_gradients", signed=True), expected
    )


@pytest.mark.parametrize("mode", ["train", "no_grad", "inference"])
def test_integrated_gradients_add_up_to_what_the_score_gains(mode: str) -> None:
    network, images = small(nn.Tanh, "integrated_gradients"), 3 * PIXELS.double()
    contexts: dict[str, Any] = {"no_grad": torch.no_grad(), "inference": torch.inference_mode()}
    with contexts.get(mode, nullcontext()):
        maps = attention_maps(network(images), method="integrated_gradients", signed=True)
    gain = network.module(images) - network.module(torch.zeros_like(images))
    torch.testing.assert_close(maps.sum(dim=(2, 3)), gain.detach(), rtol=2e-3, atol=2e-3)
    plain = attention_maps(small(nn.Tanh)(images), method="input_x_gradient", signed=True)
    assert (plain.sum(dim=(2, 3)) - gain).abs().max() > 0.1  # which does not add up where the network bends


@pytest.mark.parametrize("name", ["resnet18", "vit_small"])
def test_both_are_captums(name: str) -> None:
    attribution = pytest.importorskip("captum.attr")
    network, images = zoo.guided(name), zoo.images(name)
    references = {
        "input_x_gradient": attribution.InputXGradient(network.module).attribute,
        "integrated_gradients": lambda images, target: attribution.IntegratedGradients(network.module).attribute(
            images, target=target, n_steps=32, method="riemann_middle"
        ),
    }
    for method, reference in references.items():
        with methods_of(network, method):
            found = attention_maps(network(images), method=method, signed=True)
        for index in range(zoo.CLASSES):
            expected = reference(images.clone(), target=index).sum(dim=1)
            torch.testing.assert_close(found[:, index], expected.float(), rtol=1e-3, atol=1e-5)


class methods_of:  # noqa: N801 (a context)
    """A network of the zoo attends by another method for a while."""

    def __init__(self, network: GuidedModule, method: str) -> None:
        self.network, self.method = network, method

    def __enter__(self) -> None:
        self.network.attention = self.method

    def __exit__(self, *_: object) -> None:
        self.network.attention = "grad_cam"


@pytest.mark.parametrize("method", sorted(OF_PIXELS))
def test_a_batch_gives_what_its_images_give_alone_in_every_mode(method: str) -> None:
    network, images = narrow(), torch.randn(3, 3, 40, 56)
    network.attention = method
    output = network(images)
    assert output.features.shape == images.shape and output.cells == ((1.0, 1.0), (0.0, 0.0))
    assert output.mask_scores is not None and output.mask_scores.requires_grad
    together = attention_maps(output, method=method)
    assert together.shape == (3, 4, 40, 56) and together.amax() > 0
    for index in range(3):
        alone = attention_maps(network(images[index : index + 1]), [3, 0], method=method)
        torch.testing.assert_close(alone, together[index : index + 1, [3, 0]], rtol=1e-4, atol=1e-6)
    pairs = torch.tensor([[0, 1], [2, 0], [2, 3]])
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            quiet = network(images)
            torch.testing.assert_close(pair_maps(quiet, pairs, method=method), together[pairs[:, 0], pairs[:, 1]])
        assert not quiet.differentiable and not quiet.mask_scores.requires_grad
    network.requires_grad_(False)
    torch.testing.assert_close(attention_maps(network(images), method=method), together)


def test_a_loss_on_input_x_gradient_has_the_slope_of_its_weights() -> None:
    """Central differences of the map along a random direction of all weights."""
    network, images = small(nn.Tanh), PIXELS.double()
    pairs = torch.tensor([[0, 3], [1, 1]])
    mixture = torch.randn(2, 8, 8, dtype=torch.float64)

    def loss() -> Tensor:
        with second_order_attention():
            output = network(images)
        maps = pair_maps(output, pairs, method="input_x_gradient", differentiable=True, signed=True)
        return (maps * mixture).sum()

    weights = list(network.parameters())
    directions = [torch.randn_like(weight) for weight in weights]
    found = torch.autograd.grad(loss(), weights, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(found, directions, strict=True) if g is not None)

    def moved(step: float) -> Tensor:
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += step * direction
        value = loss().detach()
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight -= step * direction
        return value

    torch.testing.assert_close(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-5, atol=1e-7)


def test_the_record_must_be_one_for_the_method() -> None:
    network = small(nn.Tanh, "grad_cam")
    with pytest.raises(ConfigError, match=r"set network.attention = 'input_x_gradient' before the forward"):
        attention_maps(network(PIXELS.double()), method="input_x_gradient")
    network.attention = "input_x_gradient"
    with pytest.raises(ConfigError, match=r"for the method grad_cam, got one for a method on pixels; set network"):
        attention_maps(network(PIXELS.double()))


def test_integrated_gradients_say_that_they_are_not_for_training() -> None:
    network = narrow()
    network.attention = "integrated_gradients"
    with pytest.raises(ConfigError, match="is for looking, not for training; train with input_x_gradient"):
        attention_maps(network(torch.randn(1, 3, 40, 56)), method="integrated_gradients", differentiable=True)
    with pytest.raises(ConfigError, match="is for looking, not for training"):
        Stage.guidance(network, TrainingOptions(), objective_of(energy=1.0))
    Stage.guidance(network, TrainingOptions(), objective_of(classification=1.0))  # which makes no maps
