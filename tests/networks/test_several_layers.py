"""Attention of several layers: each layer's map by hooks of the test's own, brought together with numpy."""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import wheretolook
from wheretolook import attention_maps, energy_loss, pair_maps
from wheretolook.attention.fusion import fused
from wheretolook.cli.main import main, make_parser, read_recipe, spelled
from wheretolook.errors import ConfigError
from wheretolook.networks.files import load_network, save_network
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.wrapped import _makes_sense
from wheretolook.records import Cells

from .zoo import CLASSES, ZOO, images, network

PIXELS = images("not_square")
LAYERS = ["layer3", "layer4"]


def resnet(*names: str, **options: Any) -> GuidedModule:
    """A small ResNet for images of 64x96, its weights drawn anew."""
    torch.manual_seed(4)
    return wheretolook.guide(ZOO["not_square"].make().eval(), [*names] or LAYERS, input_size=(64, 96), **options)


def layer_map(module: nn.Module, name: str, class_index: int) -> np.ndarray[Any, Any]:
    """Grad-CAM of one layer before its ReLU, as a textbook has it."""
    held: list[Tensor] = []
    handle = module.get_submodule(name).register_forward_hook(lambda *call: held.append(call[2]))
    scores = module(PIXELS)
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[:, class_index].sum(), held[0])
    return (gradient.mean(dim=(2, 3), keepdim=True) * held[0]).sum(dim=1).detach().double().numpy()


def read_at(maps: np.ndarray[Any, Any], cells: Cells, where: Cells, grid: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Maps read where the cells of another grid are centred: linear in between, constant beyond."""
    for axis in (0, 1):
        known = cells.offset[axis] + np.arange(maps.shape[1 + axis]) * cells.stride[axis]
        wanted = where.offset[axis] + np.arange(grid[axis]) * where.stride[axis]
        maps = np.apply_along_axis(lambda line: np.interp(wanted, known, line), 1 + axis, maps)  # noqa: B023
    return maps


def divided(maps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    high = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(high > 0, high, 1)


def expected(module: nn.Module, cells: list[Cells], fusion: str) -> Tensor:
    """The maps of layer3 and layer4 as one: read at the finer cells, divided by their maxima, mean or maximum."""
    classes = []
    for class_index in range(CLASSES):
        fine, coarse = (divided(layer_map(module, name, class_index).clip(0)) for name in LAYERS)
        both = np.stack([fine, read_at(coarse, cells[1], cells[0], fine.shape[1:])])
        classes.append(both.mean(axis=0) if fusion == "mean" else both.max(axis=0))
    return torch.from_numpy(np.stack(classes, axis=1)).float()


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("mode", ["train", "no_grad", "inference", "frozen"])
def test_the_map_is_that_of_two_layers_by_hand(fusion: str, mode: str) -> None:
    guided = resnet(fusion=fusion)
    contexts: dict[str, AbstractContextManager[Any]] = {"no_grad": torch.no_grad(), "inference": torch.inference_mode()}
    guided.requires_grad_(mode != "frozen")
    with contexts.get(mode, nullcontext()):
        output = guided(PIXELS)
        maps = attention_maps(output)
    guided.requires_grad_(True)
    assert output.differentiable == (mode == "train") and output.fusion == fusion
    assert guided.layer == "layer3" and output.features.shape[1:] == (256, 4, 6) and output.cells is not None
    assert [tuple(layer.features.shape[1:]) for layer in output.layers] == [(256, 4, 6), (512, 2, 3)]
    cells = [layer.cells for layer in output.layers]
    assert cells[0].stride == (16, 16) and cells[1].stride == (32, 32)
    torch.testing.assert_close(maps.clone(), expected(guided.module, cells, fusion), rtol=1e-4, atol=1e-5)


def test_signed_maps_are_the_same_above_0_and_say_what_speaks_against_elsewhere() -> None:
    output = resnet()(PIXELS)
    signed, maps = attention_maps(output, signed=True), attention_maps(output)
    torch.testing.assert_close(signed.relu(), maps)
    assert signed.min() < 0 and signed.abs().max() <= 1


def test_one_layer_in_a_list_is_that_layer_to_the_bit() -> None:
    one, other = resnet("layer4"), wheretolook.guide(resnet("layer4").module, "layer4", input_size=(64, 96))
    outputs = one(PIXELS), other(PIXELS)
    assert not outputs[0].layers and one.layers == ("layer4",) and one.describe()["layer"] == "layer4"
    assert torch.equal(attention_maps(outputs[0]), attention_maps(outputs[1]))


def test_one_layer_of_the_command_line_is_recorded_as_runs_always_have(tmp_path: Path) -> None:
    for said, expected in ((["--layer", "layer4"], "layer4"), (["--layer", "a", "b"], ["a", "b"]), ([], None)):
        parser = make_parser()
        parsed = parser.instantiate(parser.parse_args(spelled(["evaluate", "--weights=x", *said])))
        assert parsed["evaluate"].network.layer == expected
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("network:\n  layer: layer4\n")
    assert read_recipe(recipe).network.layer == "layer4"
    recipe.write_text("network:\n  layer: [layer3, layer4]\n")
    assert read_recipe(recipe).network.layer == ["layer3", "layer4"]


def test_a_batch_equals_its_images_and_pairs_are_their_maps() -> None:
    guided = resnet("layer4", "layer2", "layer3")  # in the order in which they run, whatever order they are named in
    assert guided.layers == ("layer2", "layer3", "layer4") and guided.layer == "layer2"
    output = guided(PIXELS)
    together = attention_maps(output)
    for image in range(len(PIXELS)):
        torch.testing.assert_close(
            together[image], attention_maps(guided(PIXELS[image : image + 1]))[0], rtol=1e-3, atol=1e-4
        )
    pairs = torch.tensor([[0, 2], [1, 0], [1, 1]])
    torch.testing.assert_close(pair_maps(output, pairs), together[pairs[:, 0], pairs[:, 1]], rtol=1e-4, atol=1e-5)


def test_tokens_of_two_blocks_share_one_grid() -> None:
    guided = wheretolook.guide(network("vit_small"), ["blocks.0", "blocks.1.norm1"], input_size=(64, 64))
    assert guided.layer == "blocks.1.norm1"  # of equals the last
    output = guided(images("vit_small"))
    singles = [
        attention_maps(wheretolook.guide(network("vit_small"), name, input_size=(64, 64))(images("vit_small")))
        for name in guided.layers
    ]
    scaled = [maps / maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-30) for maps in singles]
    torch.testing.assert_close(attention_maps(output), (scaled[0] + scaled[1]) / 2, rtol=1e-4, atol=1e-5)


def test_a_loss_on_the_map_moves_the_layers_that_make_it() -> None:
    """Down to the second layer both maps are made of; between the two only the coarser one is."""
    guided = resnet()
    target = torch.zeros(2, 4, 6)
    target[:, :2] = 1
    maps = pair_maps(guided(PIXELS), torch.tensor([[0, 0], [1, 0]]), differentiable=True)
    energy_loss(maps, target, target >= 0).sum().backward()
    for name in ("layer1", "layer3", "layer4"):
        assert any(
            weight.grad is not None and weight.grad.any() for weight in guided.module.get_submodule(name).parameters()
        )
    assert all(weight.grad is None for weight in guided.module.fc.parameters())
    assert {*guided.part("trunk")} >= {guided.module.layer3, guided.module.layer4}
    assert guided.part("classifier")[-1] is guided.module.fc


def test_nothing_is_gained_by_a_smaller_map_of_one_layer() -> None:
    """The gradient of a loss on the fused map is at right angles to each layer's features as a whole."""
    output = resnet()(PIXELS)
    leaves = [layer.features.detach().requires_grad_() for layer in output.layers]
    weights = [grid.mean(dim=(2, 3)).detach() for grid in leaves]
    maps = [torch.einsum("bchw,bc->bhw", leaf, weight) for leaf, weight in zip(leaves, weights, strict=True)]
    loss = (fused(maps, output) * torch.rand(2, 4, 6)).sum()
    for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
        assert gradient.abs().max() > 0 and abs((leaf * gradient).sum()) < 1e-4 * (leaf * gradient).abs().sum()


@pytest.mark.parametrize("mode", ["train", "no_grad"])
def test_an_added_classifier_sits_on_the_last_layer(mode: str) -> None:
    guided = resnet(scores="classifier", class_names=("cat", "dog"), classifier_widths=(8, 8)).eval()
    with torch.no_grad() if mode == "no_grad" else nullcontext():
        output = guided(PIXELS, segment=False)
    assert guided.classifier is not None and guided.classifier.fc6_cl.in_features == 512
    assert output.differentiable == (mode == "train")
    torch.testing.assert_close(output.class_scores, guided.classifier(output.layers[1].features))
    assert attention_maps(output).shape == (2, 2, 4, 6) and attention_maps(output).any()


def test_weights_and_checkpoints_keep_the_layers(tmp_path: Path) -> None:
    """The network is made again from its file, with its layers, how they become one, and where their cells lie."""
    arguments = ["--network=timm:resnet10t", "--network.input_size", "64", "64", "--layer", "layer3", "layer4"]
    served = ["--data.scenes.size=64", "--data.scenes.classes=3", "--data.scenes.images=4", "--data.batch_size=2"]
    steps = [
        "--training.steps=2",
        "--training.validate_every=1",
        "--hardware.accelerator=cpu",
        "--objective.energy.weight=1",
    ]
    out = tmp_path / "trained"
    assert main(["train-gain", f"--out={out}", *arguments, "--network.fusion=max", *served, *steps]) == 0
    again = load_network(out)
    assert isinstance(again, GuidedModule) and again.layers == ("layer3", "layer4") and again.fusion == "max"
    states = again.cells_state()
    assert len(states["layers"]) == 2
    again.load_cells_state(states)
    save_network(again, tmp_path / "copy.safetensors")
    other = load_network(tmp_path / "copy.safetensors")
    pixels = torch.rand(1, 3, 64, 64)
    assert torch.equal(attention_maps(again(pixels)), attention_maps(other(pixels)))
    assert main(["evaluate", f"--weights={out}", f"--out={tmp_path / 'measured'}", "--flip", *served]) == 0
    (row,) = json.loads((tmp_path / "measured/metrics.json").read_text())
    assert row["energy_pointing"] > 0


def test_a_file_that_names_no_layers_is_refused() -> None:
    described = resnet().describe()
    assert described["layer"] == LAYERS and _makes_sense(described)
    assert not any(_makes_sense({**described, "layer": layer}) for layer in ([], [3], {"a": 1}))
    assert not _makes_sense({**described, "fusion": "sum"})


def test_what_cannot_be_is_said_in_a_line() -> None:
    with pytest.raises(ConfigError, match=r"expected names of layers, each once, got layer4 layer4"):
        resnet("layer4", "layer4")
    with pytest.raises(ConfigError, match=r"got 'layr4'; did you mean 'layer4'"):
        resnet("layer3", "layr4")
    with pytest.raises(ConfigError, match=r"nothing leads from layer 'lost' to the class scores; leave it out"):
        wheretolook.guide(Aside(), ["kept", "lost"], input_size=32)
    with pytest.raises(ConfigError, match=r"nothing leads from layer 'lost' to layer 'kept' and its classifier"):
        wheretolook.guide(Aside(), ["kept", "lost"], input_size=32, scores="classifier", class_names=("cat", "dog"))


class Aside(nn.Module):
    """A network with a branch that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.lost = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        self.lost(images)
        return self.head(self.kept(images).relu().mean(dim=(2, 3)))
