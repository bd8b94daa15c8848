"""Networks of every library through every command: trained two steps, measured, drawn, loaded and handed on."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from wheretolook.cli import train
from wheretolook.cli.main import main
from wheretolook.networks.files import load_network

from ..command_line import CLASSES, QUICK, complaint
from ..data.folders_on_disk import write_lines
from ..networks.libraries import SMALL_VIT, segformer_folder, vit_folder

SERVED = ["--data.scenes.size=64", "--data.scenes.classes=3", "--data.scenes.images=4", "--data.batch_size=2"]
FREE = ["--objective.energy.weight=1", "--objective.mining.weight=0.5", "--objective.freeze_classifier", "false"]
OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=6, num_classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 4, 1), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        pooled = self.body(images).mean(dim=(2, 3))
        return {"logits": self.head(pooled), "pooled": pooled}
"""
# what the command line says of each, and whether it gives mask scores
NETWORKS: dict[str, tuple[Callable[[Path], list[str]], bool]] = {
    "timm resnet": (lambda _: ["--network=timm:resnet10t", "--network.input_size", "64", "64"], False),
    "timm vit": (
        lambda _: ["--network=timm:vit_tiny_patch16_224", "--network.arguments", json.dumps(SMALL_VIT)],
        False,
    ),
    "torchvision": (lambda _: ["--network=torchvision:mobilenet_v3_small", "--network.input_size", "64", "64"], False),
    "transformers": (lambda folder: [f"--network=transformers:{vit_folder(folder / 'vit')}"], False),
    "own": (lambda _: ["--network=net_of_my_own:Net", "--network.input_size", "64", "64", "--layer=body"], False),
    "smp, added classifier": (
        lambda _: [
            *("--network=smp:Unet", "--network.arguments.encoder_name=resnet18", "--scores=classifier"),
            *("--network.input_size", "64", "64", "--network.classifier_widths", "8", "8"),
        ],
        True,
    ),
    "transformers, pooled": (
        lambda folder: [
            *(f"--network=transformers:{segformer_folder(folder / 'segformer')}", "--scores=pooled"),
            *("--network.input_size", "64", "64"),
        ],
        True,
    ),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a network of the user's own, beside which the commands are run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net_of_my_own.py").write_text(OWN)
    yield
    sys.modules.pop("net_of_my_own", None)


def own_net() -> type[nn.Module]:
    """The network of the user's own, as the user has it."""
    made: dict[str, type] = {}
    exec(OWN, made)
    return made["Net"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_through_every_command(name: str, tmp_path: Path):
    options, segments = NETWORKS[name]
    spelled = options(tmp_path)
    assert main(["train-gain", *spelled, *SERVED, *QUICK, *FREE, "--out=guided"]) == 0
    named = [spelled[0]] if name == "own" else []  # a file never says which function of ours is run
    assert main(["evaluate", "--weights=guided", *named, *SERVED, "--accelerator=cpu", "--out=table"]) == 0
    (row,) = json.loads(Path("table/metrics.json").read_text())
    assert (row.get("mean_iu") is not None) == segments and 0 <= row["mean_average_precision"] <= 1
    assert 0 <= row["energy_pointing"] <= 1 and row["pairs"] > 0
    both = ["--before=guided", "--after=guided", "--count=2", "--accelerator=cpu"]
    assert main(["visualize", *both, *named, *SERVED, "--out=drawn"]) == 0
    assert len(list(Path("drawn").glob("0?_*.png"))) == 2

    network = load_network("guided", make=own_net() if named else None)
    assert network.class_names == CLASSES and network.segments == segments
    assert main(["convert", "guided", "bare.pth", *named]) == 0
    state = torch.load("bare.pth", weights_only=True)
    assert state.keys() == network.module.state_dict().keys()
    trained = network.module.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in state.items())
    if not segments:  # else class scores come from what the bare file has not
        assert main(["evaluate", "--weights=bare.pth", *spelled, *SERVED, "--accelerator=cpu", "--out=bare"]) == 0
        (again,) = json.loads(Path("bare/metrics.json").read_text())
        assert {**again, "weights": ""} == {**row, "weights": ""}


def test_an_interrupted_run_of_any_network_goes_on_to_the_same_weights():
    argv = ["train-gain", *NETWORKS["own"][0](Path()), *SERVED, *FREE, "--hardware.accelerator=cpu"]
    argv += ["--training.steps=3", "--training.validate_every=1"]
    assert main([*argv, "--out=whole"]) == 0
    assert main([*argv, "--out=cut"]) == 0
    for name in ("run.json", "network.safetensors"):
        Path("cut", name).unlink()
    assert main([*argv, "--out=cut", "--resume"]) == 0
    assert Path("cut/network.safetensors").read_bytes() == Path("whole/network.safetensors").read_bytes()


def test_a_network_that_only_classifies_has_no_segmenter_to_train(capsys: pytest.CaptureFixture[str]):
    own = NETWORKS["own"][0](Path())
    said = complaint(capsys, "train-segmenter", *own, *SERVED, *QUICK, "--out=run")
    assert said == "expected a network with a segmenter, got one that only classifies; run train-classifier"
    said = complaint(capsys, "train-gain", *own, *SERVED, *QUICK, "--objective.segmentation.weight=2", "--out=run")
    assert said.startswith("expected a network with a segmenter, for the segmentation loss, got one without")
    assert not Path("run").exists()


def test_a_strategy_that_shares_the_network_out_is_refused_before_one_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for maker in ("new_network", "given_network"):
        monkeypatch.setattr(train, maker, lambda *_, **__: 1 / 0)
    for command in ("train-segmenter", "train-classifier", "train-gain"):
        said = complaint(capsys, command, "--network=fcn8s", *SERVED, *QUICK, "--hardware.strategy=fsdp", "--out=run")
        assert said.startswith("expected a strategy that keeps the whole network on each device, got hardware.strategy")
    assert not Path("run").exists()


def test_guidance_by_maps_wants_images_that_show_where(capsys: pytest.CaptureFixture[str]):
    """Labels alone train a classifier, and GAIN's mining; energy wants masks or boxes."""
    for index, name in enumerate("abc"):
        Path("plain/images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), 60 * index, np.uint8)).save(f"plain/images/{name}.png")
    write_lines(Path("plain/labels.csv"), "image,classes", "a.png,x", "b.png,y", "c.png,x y")
    write_lines(Path("plain/classes.txt"), "x", "y")
    for split in ("train", "val"):
        write_lines(Path(f"plain/splits/{split}.txt"), *("ab" if split == "train" else "c"))
    argv = ["train-gain", *NETWORKS["own"][0](Path()), "--data.root=plain", *QUICK]
    said = complaint(capsys, *argv, "--objective.energy.weight=1", "--out=run")
    assert said.startswith("expected images with masks or boxes in the split train, for a loss on maps, got none;")
    assert main([*argv, "--out=mined"]) == 0
    assert main(["train-classifier", *argv[1:], "--out=classified"]) == 0


def test_a_trained_state_dict_of_ones_own_is_guided_by_one_command(tmp_path: Path):
    """`--weights` beside `--network`: the run starts from those weights, in which nothing is changed here."""
    torch.manual_seed(0)
    net = own_net()(num_classes=3)
    torch.save({"state_dict": {f"module.{name}": value for name, value in net.state_dict().items()}}, "mine.pth")
    own = NETWORKS["own"][0](tmp_path)
    still = ["--training.steps=1", "--training.learning_rate=0", "--training.trunk_learning_rate=0"]
    still += ["--training.classifier_learning_rate=0", "--hardware.accelerator=cpu"]
    assert main(["train-gain", "--weights=mine.pth", *own, *SERVED, *still, "--out=guided"]) == 0
    loaded = load_network("guided", make=own_net()).module.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in net.state_dict().items())


LOOKING = {
    "evaluate": ["--out=figures"],
    "audit": [],
    "suggest": [],
    "export": ["--out=net.onnx", "--class_names", "a", "b", "c"],
    "show": ["--class_names", "a", "b", "c"],
}


@pytest.mark.parametrize("command", LOOKING)
@pytest.mark.parametrize("change", ["other classes", "no head"])
def test_weights_of_other_classes_are_looked_at_by_no_command(
    command: str, change: str, capsys: pytest.CaptureFixture[str]
):
    """Five classes' weights, or those of a body alone, for data or names of three: the scores would be noise."""
    state = own_net()(num_classes=5).state_dict()
    torch.save({name: value for name, value in state.items() if change != "no head" or "head" not in name}, "five.pth")
    Image.new("RGB", (64, 64)).save("picture.png")
    options = [*LOOKING[command], *([] if "--class_names" in LOOKING[command] else SERVED)]
    network = ["--network=net_of_my_own:Net", "--network.input_size", "64", "64"]
    images = ["picture.png"] if command == "show" else []
    assert main([command, *images, "--weights=five.pth", *network, *options]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "five.pth: expected weights of a network with 3 classes, got none that fit head.weight, head.bias" in last
    assert "train-classifier" in last
    assert not any(Path(name).exists() for name in ("figures", "net.onnx", "runs"))


def test_training_may_start_from_weights_of_other_classes():
    torch.save(own_net()(num_classes=5).state_dict(), "five.pth")
    network = ["--network=net_of_my_own:Net", "--network.input_size", "64", "64"]
    assert main(["train-classifier", "--weights=five.pth", "--out=three", *network, *SERVED, *QUICK]) == 0
    assert main(["evaluate", "--weights=three", "--network=net_of_my_own:Net", *SERVED]) == 0


def test_a_recipe_takes_any_network_and_makes_it_once_a_row(monkeypatch: pytest.MonkeyPatch):
    made = []
    for name in ("new_network", "given_network"):
        make = getattr(train, name)
        monkeypatch.setattr(train, name, lambda *given, make=make, **more: (made.append(make), make(*given, **more))[1])
    argv = ["run", *NETWORKS["own"][0](Path()), *SERVED, "--out=all", "--guided.energy.weight=1", "--pictures=1"]
    argv += ["--hardware.accelerator=cpu", "--test_split=test"]
    argv += [f"--{stage}.steps=2" for stage in ("classifier", "guidance")]
    assert main(argv) == 0
    rows = json.loads(Path("all/report/metrics.json").read_text())
    assert [row["weights"] for row in rows] == ["Original", "Control", "Guided"]
    assert len(made) == len(rows)
    assert "| Guided - Control | 1 |" in Path("all/report/metrics.md").read_text()
