"""Attention of an FCN's earlier layers: the trunk once more, layer by layer, and Grad-CAM of what it holds."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wheretolook import attention_maps, energy_loss, pair_maps
from wheretolook.cli.main import main
from wheretolook.errors import ConfigError, WeightsError
from wheretolook.networks.build import network_for
from wheretolook.networks.fcn.network import LAYERS, FCN8s
from wheretolook.networks.files import load_network, read_weights, save_network
from wheretolook.records import Cells

from ..command_line import CLASSES, NARROW, SERVED, complaint

PIXELS = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(5))
NAMES = ("conv3_3", "conv4_3", "conv5_3")


def made(*layers: str, **options: Any) -> FCN8s:
    network = FCN8s(CLASSES, **NARROW, seed=2, **options).eval()
    network.classifier.score_cl.bias.data += 0.1  # or it would count as untrained
    if layers:
        network.read_from(*layers)
    return network


def by_hand(network: FCN8s, index: int) -> dict[str, Tensor]:
    """The Grad-CAM of each of the three layers, of one class, before its ReLU."""
    weights, features, held = network.state_dict(), PIXELS, {}
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for layer in range(1, depth + 1):
            name = f"trunk.conv{block}_{layer}"
            features = F.conv2d(features, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).clamp(min=0)
        if block >= 3:
            held[f"conv{block}_3"] = features = features if held else features.clone().requires_grad_()
        if block < 5:
            features = F.max_pool2d(features, 2, ceil_mode=True)
    score = network.classifier(features)[:, index].sum()
    gradients = torch.autograd.grad(score, [*held.values()])
    return {
        name: (gradient.mean(dim=(2, 3), keepdim=True) * held[name]).sum(dim=1).detach()
        for name, gradient in zip(held, gradients, strict=True)
    }


@pytest.mark.parametrize("mode", ["train", "no_grad", "inference", "frozen"])
@pytest.mark.parametrize("padding", ["same", "caffe"])
def test_maps_of_earlier_layers_are_those_by_hand(mode: str, padding: str) -> None:
    network = made(padding=padding)
    plain = network(PIXELS)
    expected = {index: by_hand(network, index) for index in range(3)}
    network.requires_grad_(mode != "frozen")
    contexts: dict[str, Any] = {"no_grad": torch.no_grad(), "inference": torch.inference_mode()}
    for name in NAMES:
        network.read_from(name)
        with contexts.get(mode, nullcontext()):
            output = network(PIXELS)
            maps = attention_maps(output, signed=True)
        assert output.cells == LAYERS[name] and not output.layers and output.differentiable == (mode == "train")
        for index, layers in expected.items():
            torch.testing.assert_close(maps[:, index].clone(), layers[name], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(output.class_scores.detach().clone(), plain.class_scores.detach())
        torch.testing.assert_close(output.mask_scores.detach().clone(), plain.mask_scores.detach())


def test_several_become_one_on_the_finest() -> None:
    """Fine cell i is centred at 8 i + 3.5, coarse cell j at 16 j + 7.5."""
    network = made("conv5_3", "conv4_3")
    network.fusion = "max"
    output = network(PIXELS)
    assert network.layers == ("conv4_3", "conv5_3") and output.fusion == "max"
    assert [layer.features.shape[2:] for layer in output.layers] == [(5, 7), (3, 4)]
    rows, columns = (
        torch.stack([hat(min(max((cell - 0.5) / 2, 0), coarse - 1), coarse) for cell in range(fine)])
        for fine, coarse in ((5, 3), (7, 4))
    )
    for index in range(3):
        maps = [by_hand(network, index)[name].relu() for name in network.layers]
        fine, coarse = (layer / layer.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30) for layer in maps)
        found = attention_maps(output)[:, index]
        torch.testing.assert_close(found, torch.maximum(fine, rows @ coarse @ columns.T), rtol=1e-4, atol=1e-5)


def hat(place: float, count: int) -> Tensor:
    return (1 - (torch.arange(count) - place).abs()).clamp(min=0)


def test_where_the_cells_lie_is_what_the_pools_say() -> None:
    for pools, name in enumerate(NAMES, start=2):
        assert LAYERS[name] == Cells((2.0**pools,) * 2, ((2**pools - 1) / 2,) * 2)


def test_a_loss_at_an_earlier_layer_trains_what_comes_before_it() -> None:
    network = made("conv4_3")
    target = torch.zeros(1, 5, 7)
    target[:, :2] = 1
    maps = pair_maps(network(PIXELS), torch.tensor([[0, 0]]), differentiable=True)
    energy_loss(maps, target, target >= 0).sum().backward()
    assert network.trunk.conv4_3.weight.grad.any() and network.trunk.conv1_1.weight.grad.any()
    assert network.trunk.conv5_1.weight.grad is None and network.classifier.score_cl.weight.grad is None


def test_commands_and_files_keep_the_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_network(made(), "start.safetensors")
    assert "layer" not in read_weights(Path("start.safetensors")).description
    steps = ["--training.steps=2", "--hardware.accelerator=cpu", "--objective.energy.weight=1", "--network.fusion=max"]
    train = ["train-gain", "--weights=start.safetensors", "--layer", "conv5_3", "conv4_3", "--out=run", *SERVED, *steps]
    assert main(train) == 0
    network = load_network("run")
    assert network.layers == ("conv4_3", "conv5_3") and network.fusion == "max"
    back = network_for(read_weights(Path("run")), CLASSES)
    assert torch.equal(attention_maps(back(PIXELS)), attention_maps(network(PIXELS)))


def test_what_is_no_layer_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    save_network(made("conv4_3"), path)
    said = complaint(capsys, "evaluate", f"--weights={path}", *SERVED, "--accelerator=cpu", "--layer", "conv4_2")
    assert said == "expected layers of an FCN, each once, of conv3_3, conv4_3, conv5_3, got conv4_2"
    with pytest.raises(ConfigError, match="each once"):
        made("conv4_3", "conv4_3")
    network = made()
    for broken in (("conv9",), (3,)):
        network.layers = broken
        save_network(network, path)
        with pytest.raises(WeightsError, match="expected its network's description, got a broken one"):
            load_network(path)
