"""The seed of a command reaches the weights that start afresh: what is saved is what that seed draws, and no other."""

from pathlib import Path

import pytest
import torch

from wheretolook.cli.main import main
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import load_network, save_network

from ..command_line import CLASSES, NARROW, QUICK, SERVED

# so small that the weights stay where they started, but for the biases that must not all be zero
BARELY = [*QUICK, "--training.steps=1", "--training.learning_rate=1e-12", "--training.schedule=constant"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def distances(found: torch.nn.Module, layer: str, drawn: dict[int, torch.nn.Module]) -> dict[int, float]:
    """How far a layer's weights are from what each seed draws."""
    weight = found.get_submodule(layer).weight
    return {seed: (weight - module.get_submodule(layer).weight).abs().max().item() for seed, module in drawn.items()}


@pytest.mark.parametrize(
    ("start", "seed"), [("no classifier", 3), ("another classifier", 3), ("another classifier", 4)]
)
def test_a_fresh_classifier_is_the_seeds(start: str, seed: int) -> None:
    """Whether the file has none, or `--fresh` starts the one that it has again."""
    first = FCN8s(CLASSES, **NARROW, seed=11)
    save_network(first, Path("start.safetensors"))
    arrays = {name.split(".", 1)[1]: value for name, value in first.state_dict().items() if "classifier" not in name}
    torch.save(arrays, "start.pth")
    weights = "start.pth" if start == "no classifier" else "start.safetensors"
    more = [] if start == "no classifier" else ["--fresh"]
    argv = ["train-classifier", f"--weights={weights}", *more, *SERVED, *BARELY, f"--training.seed={seed}", "--out=out"]
    assert main(argv) == 0
    sizes = {**NARROW, "classifier_widths": (4096, 4096)} if start == "no classifier" else NARROW
    drawn = {number: FCN8s(CLASSES, **sizes, seed=number) for number in (0, 3, 4)}
    for number, network in drawn.items():
        if start == "another classifier":
            network.reset_classifier(number)
    for layer in ("fc6_cl", "fc7_cl", "score_cl"):
        away = distances(load_network(Path("out")), f"classifier.{layer}", drawn)
        assert away.pop(seed) < 1e-6 < 1e-2 < min(away.values())


@pytest.mark.parametrize("seed", [3, 4])
def test_a_fresh_network_is_the_seeds(seed: int) -> None:
    sizes = [
        *(f"--network.{name}={list(value)}" for name, value in NARROW.items() if isinstance(value, tuple)),
        f"--network.segmenter_width={NARROW['segmenter_width']}",
    ]
    assert main(["train-segmenter", *SERVED, *BARELY, *sizes, f"--training.seed={seed}", "--out=out"]) == 0
    drawn = {number: FCN8s(CLASSES, **NARROW, seed=number) for number in (0, 3, 4)}
    for layer in ("trunk.conv1_1", "segmenter.fc7", "classifier.score_cl"):
        away = distances(load_network(Path("out")), layer, drawn)
        assert away.pop(seed) < 1e-6 < 1e-2 < min(away.values())
