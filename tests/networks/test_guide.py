"""Any torch module guided: the same outputs and maps as by other means, in every mode, and nothing of it changed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wheretolook import attention_maps

from .zoo import ZOO, guided, images, network

every_network = pytest.mark.parametrize("name", ZOO)


def own_output(name: str, result: Any) -> Tensor:
    """The scores of a bare module's output."""
    if name == "two_outputs":
        return result[1]
    if name == "dict_output":
        return result["scores"]
    if isinstance(result, Tensor):
        return result
    return result["out"] if "out" in result else result["logits"]


def own_class_scores(name: str, result: Any) -> Tensor:
    """Class scores by their definition: a segmenter's are the log of the mean odds of each class."""
    scores = own_output(name, result)
    if not ZOO[name].segments:
        return scores
    share = scores.double().softmax(dim=1)
    return (share / (1 - share)).mean(dim=(2, 3)).log()[:, 1:].float()


def grid_of(name: str, output: Any, size: tuple[int, int]) -> Tensor:
    """A layer's output as (B, K, h, w), as the zoo says that it is."""
    if not isinstance(output, Tensor):
        output = output["out"] if "out" in output else output[0]
    if ZOO[name].layout == "channels_last":
        return output.permute(0, 3, 1, 2)
    if ZOO[name].layout == "tokens":
        tokens = output[:, ZOO[name].prefix :]
        return tokens.transpose(1, 2).reshape(len(output), -1, size[0] // 16, size[1] // 16)
    return output


def reference_maps(name: str, pixels: Tensor) -> Tensor:
    """Grad-CAM as a textbook has it: hold a layer's output, go back from one score at a time."""
    held = []

    def hold(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            held.append(output)
            return output.clone()
        held.append(output["out"] if "out" in output else output[0])
        return None

    module = network(name)
    handle = module.get_submodule(ZOO[name].layer).register_forward_hook(hold)
    scores = own_class_scores(name, module(pixels))
    handle.remove()
    maps = []
    features = grid_of(name, held[0], ZOO[name].size)
    for column in range(scores.shape[1]):
        (raw,) = torch.autograd.grad(scores[:, column].sum(), held[0], retain_graph=True)
        gradient = grid_of(name, raw, ZOO[name].size)
        maps.append((gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1).relu())
    return torch.stack(maps, dim=1).detach()


@every_network
def test_the_layer_is_found(name: str):
    assert guided(name).layer == ZOO[name].layer


@every_network
def test_outputs_are_the_bare_modules(name: str):
    pixels = images(name)
    expected = network(name)(pixels)
    output = guided(name)(pixels)
    if not ZOO[name].segments:
        assert torch.equal(output.class_scores, own_output(name, expected))
        assert output.mask_scores is None
        return
    torch.testing.assert_close(output.class_scores, own_class_scores(name, expected), rtol=1e-4, atol=1e-4)
    masks = own_output(name, expected)
    torch.testing.assert_close(
        output.mask_scores, F.interpolate(masks, size=ZOO[name].size, mode="bilinear", align_corners=False)
    )
    assert guided(name)(pixels, segment=False).mask_scores is None


@every_network
def test_maps_are_those_of_the_textbook(name: str):
    pixels = images(name)
    expected = reference_maps(name, pixels)
    maps = attention_maps(guided(name)(pixels))
    assert expected.amax() > 0
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4 * float(expected.amax()))


@contextmanager
def frozen(name: str) -> Iterator[None]:
    network(name).requires_grad_(False)
    try:
        yield
    finally:
        network(name).requires_grad_(True)


def without_gradients(_name: str) -> AbstractContextManager[Any]:
    return torch.no_grad()


def in_inference_mode(_name: str) -> AbstractContextManager[Any]:
    return torch.inference_mode()


@every_network
@pytest.mark.parametrize("mode", [without_gradients, in_inference_mode, frozen])
def test_maps_are_the_same_to_the_bit_with_gradients_off(name: str, mode: Callable[[str], AbstractContextManager[Any]]):
    pixels = images(name)
    expected = guided(name)(pixels)
    with mode(name):
        output = guided(name)(images(name))
        maps = attention_maps(output)
    assert expected.differentiable and not output.differentiable
    assert torch.equal(maps, attention_maps(expected))
    assert torch.equal(output.class_scores, expected.class_scores)
    if expected.mask_scores is not None:
        assert torch.equal(output.mask_scores, expected.mask_scores)
        assert not (mode is not frozen and output.mask_scores.requires_grad)


@every_network
def test_a_loss_on_maps_trains_the_first_layer(name: str):
    output = guided(name)(images(name))
    maps = attention_maps(output, [0, 1], differentiable=True)
    first = next(parameter for parameter in network(name).parameters() if parameter.ndim == 4)
    (gradient,) = torch.autograd.grad(maps.square().sum(), first)
    assert gradient.abs().sum() > 0


@every_network
def test_half_precision_makes_single_precision_maps(name: str):
    pixels = images(name)
    expected = attention_maps(guided(name)(pixels))
    with torch.autocast("cpu", torch.bfloat16):
        output = guided(name)(pixels)
        maps = attention_maps(output, differentiable=True)
    assert output.features.dtype == output.class_scores.dtype == maps.dtype == torch.float32
    similarity = F.cosine_similarity((maps / maps.max()).flatten(), (expected / expected.max()).flatten(), dim=0)
    assert similarity > 0.9
