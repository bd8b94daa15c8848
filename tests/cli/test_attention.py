"""The attention method of a network in every command: it trains, measures and draws, and stays with the weights."""

import json
from pathlib import Path

import pytest
import torch

from wheretolook.attention.maps import upsampled
from wheretolook.attention.methods import attention_maps
from wheretolook.cli.main import main
from wheretolook.data import open_dataset
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import load_network, save_network
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID

from ..command_line import CLASSES, NARROW, QUICK, SCENES, SERVED, complaint

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU())
        self.head = nn.Linear(6, num_classes)

    def forward(self, images):
        return self.head(self.body(images).mean(dim=(2, 3)))
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a network that is to be guided."""
    monkeypatch.chdir(tmp_path)
    network = FCN8s(CLASSES, **NARROW, seed=2)  # without an empty map
    network.classifier.score_cl.bias.data += 0.1  # or it would count as untrained
    save_network(network, "start.safetensors")


def measured(*argv: str) -> dict[str, float]:
    assert main(["evaluate", *argv, *SERVED, "--accelerator=cpu", "--out=table"]) == 0
    return json.loads(Path("table/metrics.json").read_text())[0]


def energies(weights: str, method: str) -> list[float]:
    """The shares of maps on their objects, image by image and class by class."""
    network, shares = load_network(weights), []
    for sample in open_dataset(DataOptions(split="val", scenes=ScenesOptions(**SCENES)), "val"):
        output = network(network.preprocessing(sample.image[None]), segment=False)
        for index, plane in zip(sample.labels.nonzero()[:, 0].tolist(), sample.targets, strict=True):
            (single,) = attention_maps(output, [index], method=method)
            known = upsampled(single, sample.mask.shape, cells=output.cells)[0] * (plane != VOID)
            if (plane == 1).any():
                shares.append(float(known[plane == 1].sum() / known.sum().clamp(min=1e-30)))
    return shares


def energy_pointing(weights: str, method: str) -> float:
    shares = energies(weights, method)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("method", ["layer_cam", "hires_cam"])
def test_a_method_is_measured_trained_drawn_and_kept(method: str, capsys: pytest.CaptureFixture[str]):
    plain, chosen = (measured("--weights=start.safetensors", *said) for said in ((), (f"--attention={method}",)))
    assert f"start.safetensors: attention maps by {method}" in capsys.readouterr().out
    assert plain["energy_pointing"] == pytest.approx(energy_pointing("start.safetensors", "grad_cam"), rel=1e-4)
    assert chosen["energy_pointing"] == pytest.approx(energy_pointing("start.safetensors", method), rel=1e-4)
    assert plain["energy_pointing"] != pytest.approx(chosen["energy_pointing"], rel=1e-3)

    train = ["train-gain", "--weights=start.safetensors", "--objective.energy.weight=1", *SERVED, *QUICK]
    losses = []
    for said in ([], ["--attention", method]):
        assert main([*train, *said, f"--out=run{len(said)}"]) == 0
        heading, first, *_ = Path(f"run{len(said)}/history.csv").read_text().splitlines()
        losses.append(dict(zip(heading.split(","), first.split(","), strict=True))["train/energy"])
    assert losses[0] != losses[1]
    assert load_network("run0").attention == "grad_cam" and load_network("run2").attention == method

    kept = measured("--weights=run2")
    assert kept["energy_pointing"] == pytest.approx(energy_pointing("run2", method), rel=1e-4)
    assert main(["convert", "run2", "other.npz"]) == 0
    assert measured("--weights=other.npz")["energy_pointing"] == kept["energy_pointing"]
    back = measured("--weights=run2", "--attention=grad_cam")
    assert back["energy_pointing"] == pytest.approx(energy_pointing("run2", "grad_cam"), rel=1e-4)

    drawn = ["visualize", "--before=run2", "--after=run2", "--accelerator=cpu", *SERVED, "--out=drawn", "--count=1"]
    assert main(drawn) == 0
    (row,) = json.loads(Path("drawn/pictures.json").read_text())
    assert any(row["energy_after"] == pytest.approx(share, rel=1e-4) for share in energies("run2", method))


def test_a_recipe_keeps_its_method():
    recipe = ["run", "--weights=start.safetensors", "--classifier=none", "--controls=false", "--pictures=1"]
    steps = ["--guidance.steps=1", "--hardware.accelerator=cpu", "--out=recipe"]
    assert main([*recipe, *steps, *SERVED, "--attention", "layer_cam"]) == 0
    assert load_network("recipe/guided").attention == "layer_cam"
    rows = json.loads(Path("recipe/report/metrics.json").read_text())
    for row, weights in zip(rows, ("start.safetensors", "recipe/guided"), strict=True):
        assert row["energy_pointing"] == pytest.approx(energy_pointing(weights, "layer_cam"), rel=1e-4)


def test_an_unknown_method_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]):
    for argv in (
        ["evaluate", "--weights=start.safetensors"],
        ["train-gain"],
        ["convert", "start.safetensors", "a.npz"],
    ):
        said = complaint(capsys, *argv, "--attention=layercam")
        assert said.startswith("--network.attention: expected grad_cam, cam, hires_cam, layer_cam, ")
        assert "or none, got layercam; did you mean 'layer_cam'?" in said


def test_cam_is_refused_where_the_classifier_has_hidden_layers(capsys: pytest.CaptureFixture[str]):
    for argv in (
        ["evaluate", "--weights"],
        ["train-gain", *QUICK, "--weights"],
        ["train-classifier", *QUICK, "--weights"],
    ):
        said = complaint(capsys, *argv, "start.safetensors", "--attention=cam", *SERVED, "--out=refused")
        assert said.startswith("expected one linear layer behind global average pooling, for the attention method cam")
    assert not Path("refused").exists()


def test_cam_and_grad_cam_measure_the_same_of_a_network_with_one_linear_layer(monkeypatch: pytest.MonkeyPatch):
    Path("net_with_one_layer.py").write_text(OWN)
    monkeypatch.syspath_prepend(Path.cwd())
    made: dict[str, type] = {}
    exec(OWN, made)
    torch.manual_seed(0)
    torch.save(made["Net"](3).state_dict(), "own.pth")
    own = ["--weights=own.pth", "--network=net_with_one_layer:Net", "--layer=body", "--network.input_size", "40", "40"]
    rows = [measured(*own, *said) for said in ((), ("--attention=cam",))]
    for key in ("energy_pointing", "attention_iou", "pointing_game", "empty_maps"):
        assert rows[0][key] == pytest.approx(rows[1][key], rel=1e-4)
    assert main(["convert", "own.pth", "own.safetensors", *own[1:], "--attention=cam", "--class_names", *CLASSES]) == 0
    network = load_network("own.safetensors", make=made["Net"])
    assert network.attention == "cam" and network.describe()["attention"] == "cam"


@pytest.mark.parametrize("method", ["gradient_rollout", "input_x_gradient"])
def test_what_needs_more_of_the_forward_trains_a_transformer_and_is_measured(method: str):
    vit = '{"img_size": 40, "patch_size": 10, "embed_dim": 24, "depth": 2, "num_heads": 2}'
    network = ["--network=timm:vit_tiny_patch16_224", "--network.arguments", vit, "--attention", method]
    objective = ["--objective.energy.weight=1", "--objective.mining.weight=0", "--objective.freeze_classifier", "false"]
    assert main(["train-gain", *network, *objective, *SERVED, *QUICK, "--out=vit"]) == 0
    heading, first, *_ = Path("vit/history.csv").read_text().splitlines()
    assert 0 < float(dict(zip(heading.split(","), first.split(","), strict=True))["train/energy"]) < 1
    assert load_network("vit").attention == method
    assert 0 < measured("--weights=vit")["energy_pointing"] < 1
    drawn = ["visualize", "--before=vit", "--after=vit", "--accelerator=cpu", *SERVED, "--out=drawn", "--count=1"]
    assert main(drawn) == 0


def test_integrated_gradients_are_for_looking(capsys: pytest.CaptureFixture[str]):
    assert measured("--weights=start.safetensors", "--attention=integrated_gradients")["energy_pointing"] > 0
    capsys.readouterr()
    train = ["train-gain", "--weights=start.safetensors", *SERVED, *QUICK, "--out=trained"]
    said = complaint(capsys, *train, "--attention=integrated_gradients")
    assert said.startswith("integrated_gradients is for looking, not for training; train with --attention input_x_grad")
    assert not Path("trained").exists()
    said = complaint(capsys, "evaluate", "--weights=start.safetensors", *SERVED, "--attention=rollout")
    assert said.startswith("expected attention among all 9 cells of the layer")
