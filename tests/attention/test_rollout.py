"""Methods on attention matrices: those that the libraries themselves give out, rolled out with numpy."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import wheretolook
from wheretolook.attention.methods import attention_maps, pair_maps
from wheretolook.errors import ConfigError
from wheretolook.networks.guide import GuidedModule
from wheretolook.options.objective import OF_TOKENS

from ..networks import zoo
from .small import narrow

Array = np.ndarray[Any, Any]


def of_timm(module: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Scores and matrices where timm itself multiplies them out: what its dropout of attention gives."""
    kept: list[Tensor] = []
    for block in module.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda *call: kept.append(call[2]))
    return module(pixels), kept


def of_torchvision(module: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Scores and matrices that torch's attention layer gives out when it is asked for them."""
    kept: list[Tensor] = []

    def ask(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    for layer in module.encoder.layers:
        layer.self_attention.register_forward_pre_hook(ask, with_kwargs=True)
        layer.self_attention.register_forward_hook(lambda *call: kept.append(call[2][1]))
    return module(pixels), kept


def of_transformers(module: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Scores and matrices that the library's eager attention gives out."""
    module.set_attn_implementation("eager")
    result = module(pixels, output_attentions=True)
    return result.logits, list(result.attentions)


LIBRARIES: dict[str, Callable[[Any, Tensor], tuple[Tensor, list[Tensor]]]] = {
    "vit_small": of_timm,
    "vit_average": of_timm,
    "dinov2_registers": of_timm,
    "vit_b_16": of_torchvision,
    "huggingface_vit": of_transformers,
}


def guided(name: str, method: str) -> GuidedModule:
    network = wheretolook.guide(copy.deepcopy(zoo.network(name)), zoo.guided(name).layer, input_size=zoo.ZOO[name].size)
    network.attention = method
    return network


def rolled(matrices: list[Array], mix: Callable[[Array], Array], prefix: int) -> Array:
    """One image's product of blocks, from the last block to the first; read for the cells as (h, w) of 4x4."""
    joint = np.eye(matrices[0].shape[-1])
    for matrix in matrices:
        joint = mix(matrix) @ joint
    read = joint[0] if prefix else joint.mean(axis=0)
    return read[prefix:].reshape(4, 4)


@pytest.mark.parametrize("name", LIBRARIES)
def test_rollout_is_the_product_of_the_librarys_own_matrices(name: str) -> None:
    pixels, prefix = zoo.images(name), zoo.ZOO[name].prefix
    network = guided(name, "rollout")
    output = network(pixels)
    scores, matrices = LIBRARIES[name](copy.deepcopy(zoo.network(name)), pixels)
    torch.testing.assert_close(output.class_scores, scores, rtol=1e-4, atol=1e-5)
    assert len(output.matrices) == len(matrices) == 2
    maps = attention_maps(output, method="rollout")
    for image in range(2):
        own = [matrix[image].mean(dim=0).detach().double().numpy() for matrix in matrices]
        expected = rolled(own, lambda matrix: (matrix + np.eye(len(matrix))) / 2, prefix)
        for column in range(zoo.CLASSES):
            np.testing.assert_allclose(maps[image, column].detach().numpy(), expected, rtol=1e-4)
    with torch.inference_mode():
        quiet = network(pixels)
        torch.testing.assert_close(attention_maps(quiet, method="rollout"), maps.detach())
    assert not quiet.differentiable and output.differentiable


@pytest.mark.parametrize("name", ["vit_small", "vit_average"])
def test_gradient_rollout_weighs_by_gradients_that_are_held_in_timm(name: str) -> None:
    pixels, prefix = zoo.images(name), zoo.ZOO[name].prefix
    network = guided(name, "gradient_rollout")
    maps = attention_maps(network(pixels), method="gradient_rollout")
    for column in range(zoo.CLASSES):
        scores, matrices = of_timm(copy.deepcopy(zoo.network(name)), pixels)
        for matrix in matrices:
            matrix.retain_grad()
        scores[:, column].sum().backward()
        for image in range(2):
            own = [
                np.clip((matrix[image] * matrix.grad[image]).detach().double().numpy(), 0, None).mean(axis=0)
                for matrix in matrices
            ]
            expected = rolled(own, lambda shown: np.eye(len(shown)) + shown, prefix)
            np.testing.assert_allclose(maps[image, column].numpy(), expected, rtol=1e-3, atol=1e-7)
    assert (maps[:, 0] - maps[:, 1]).abs().max() > 0  # of a class, which rollout is not
    with torch.no_grad():
        torch.testing.assert_close(attention_maps(network(pixels), method="gradient_rollout"), maps)
    network.requires_grad_(False)
    torch.testing.assert_close(attention_maps(network(pixels), method="gradient_rollout"), maps)
    pairs = torch.tensor([[1, 2], [0, 1]])
    alone = pair_maps(network(pixels[1:]), torch.tensor([[0, 2]]), method="gradient_rollout")
    torch.testing.assert_close(pair_maps(network(pixels), pairs, method="gradient_rollout")[:1], alone)


@pytest.mark.parametrize("method", sorted(OF_TOKENS))
def test_a_loss_on_either_has_the_slope_of_the_weights(method: str) -> None:
    """Central differences along a random direction of the first block's weights, which move both blocks' matrices."""
    network = guided("vit_small", method).double()
    pixels, pairs = zoo.images("vit_small").double(), torch.tensor([[0, 2], [1, 0]])
    mixture = torch.randn(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss() -> Tensor:
        maps = pair_maps(
            network(pixels), pairs, method=method, differentiable=True, channel_weights="second_order", signed=True
        )
        return (maps * mixture).sum()

    weights = list(network.module.blocks[0].parameters())
    directions = [torch.randn_like(weight) for weight in weights]
    found = torch.autograd.grad(loss(), weights)
    slope = sum((g * d).sum() for g, d in zip(found, directions, strict=True))
    assert abs(slope) > 1e-4

    def moved(step: float) -> Tensor:
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += step * direction
        return loss().detach()

    torch.testing.assert_close(slope, (moved(1e-6) - moved(-2e-6)) / 2e-6, rtol=1e-3, atol=1e-7)


def test_constant_gradients_still_train_what_makes_the_matrices() -> None:
    network = guided("vit_small", "gradient_rollout")
    output = network(zoo.images("vit_small"))
    maps = pair_maps(output, torch.tensor([[0, 1]]), method="gradient_rollout", differentiable=True)
    maps[:, 0].sum().backward()
    assert network.module.blocks[0].attn.qkv.weight.grad.any()
    assert network.module.head.weight.grad is None


def test_networks_without_such_attention_are_told_in_one_line() -> None:
    for network, pixels in (
        (guided("resnet18", "rollout"), zoo.images("resnet18")),
        (guided("swin_tiny", "rollout"), zoo.images("swin_tiny")),
        (narrow(), torch.randn(1, 3, 40, 56)),
    ):
        network.attention = "rollout"
        with pytest.raises(ConfigError, match=r"by torch's scaled_dot_product_attention, for rollout, got") as caught:
            network(pixels)
        assert "\n" not in str(caught.value)
    network = guided("vit_small", "grad_cam")
    with pytest.raises(ConfigError, match=r"set network.attention = 'rollout' before the forward"):
        attention_maps(network(zoo.images("vit_small")), method="rollout")
