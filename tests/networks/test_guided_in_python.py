"""Files of networks that were guided in Python, where no more is known of their maker than the class it made."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wheretolook.cli.main import main
from wheretolook.errors import WeightsError
from wheretolook.networks.files import load_network, read_weights, save_network
from wheretolook.networks.guide import guide
from wheretolook.networks.libraries import make_module
from wheretolook.networks.made import Wanted
from wheretolook.options.network import NetworkOptions

from ..command_line import CLASSES, QUICK, SERVED, complaint
from .libraries import images, same_outputs

MAKERS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width, classes=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, images):
        return self.head(self.body(images).mean(dim=(2, 3)))

def of_six(num_classes):
    return Net(6, num_classes)

def of_seven(num_classes):
    return Net(7, num_classes)

class Shorter(Net):
    def __init__(self, num_classes):
        super().__init__(6, num_classes)
        self.body = self.body[:2]
"""


@pytest.fixture(autouse=True)
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[nn.Module]:
    """`net.safetensors`, of a network that was guided in Python, in the folder where its makers are."""
    monkeypatch.chdir(tmp_path)
    Path("makers_of_mine.py").write_text(MAKERS)
    made: dict[str, Any] = {"__name__": "__main__"}
    exec(MAKERS, made)
    torch.manual_seed(0)
    module = made["of_six"](3)
    nn.init.normal_(module.head.weight)
    network = guide(module, class_names=CLASSES, input_size=64)
    assert network.describe()["network"] == "__main__:Net"
    save_network(network, "net.safetensors")
    yield network
    sys.modules.pop("makers_of_mine", None)


@pytest.mark.parametrize(
    "options",
    [
        NetworkOptions("makers_of_mine:of_six"),
        NetworkOptions("makers_of_mine:Net", {"width": 6}),
    ],
)
def test_it_is_made_by_what_the_user_names(options: NetworkOptions, saved: nn.Module):
    again = load_network("net.safetensors", network=options)
    assert same_outputs(saved, again)
    save_network(again, "again.safetensors")
    assert same_outputs(saved, load_network("again.safetensors", network=options.name))  # now its maker is known
    assert json.loads(json.dumps(again.describe()))["arguments"] == options.arguments


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("of_seven", "expected the arrays of makers_of_mine:of_seven, got none that fits for module.body.0.weight"),
        ("Shorter", r"expected the arrays of makers_of_mine:Shorter, got module.body.2.bias, .* besides"),
    ],
)
def test_a_maker_of_another_network_is_refused(name: str, says: str):
    with pytest.raises(WeightsError, match=says):
        load_network("net.safetensors", network=f"makers_of_mine:{name}")


def test_commands_take_it(capsys: pytest.CaptureFixture[str]):
    own = "--network=makers_of_mine:of_six"
    served = [*SERVED, "--data.scenes.size=64"]
    said = complaint(capsys, "evaluate", "--weights=net.safetensors", *served, "--out=table")
    assert "__main__:Net" in said and "--network package.module:function" in said
    gained = ["--data.crop=[64, 64]", *QUICK, "--objective.energy.weight=1", "--out=guided"]
    assert main(["train-gain", "--weights=net.safetensors", own, *served, *gained]) == 0
    measured = ["--weights", "net.safetensors", "guided", own, *served, "--accelerator=cpu", "--out=table"]
    assert main(["evaluate", *measured]) == 0
    assert len(json.loads(Path("table/metrics.json").read_text())) == 2
    assert main(["convert", "net.safetensors", "bare.pth", own]) == 0
    bare, tensors = torch.load("bare.pth", weights_only=True), read_weights(Path("net.safetensors")).tensors
    assert bare.keys() == {name.removeprefix("module.") for name in tensors}


def test_a_librarys_network_is_made_by_its_library():
    module = make_module("torchvision:mobilenet_v3_small", Wanted("mobilenet_v3_small", {}, 3)).module
    network = guide(module.eval(), class_names=CLASSES, input_size=64)
    save_network(network, "library.safetensors")
    with pytest.raises(WeightsError, match=r"its network is torchvision\.models\.mobilenetv3:MobileNetV3"):
        load_network("library.safetensors")
    again = load_network("library.safetensors", network="torchvision:mobilenet_v3_small")
    assert same_outputs(network, again)
    save_network(again, "again.safetensors")
    assert same_outputs(network, load_network("again.safetensors"))


def test_a_last_layer_that_starts_at_zero_is_loaded_before_anything_is_said_of_it(
    saved: nn.Module, caplog: pytest.LogCaptureFixture
):
    """A network as its maker leaves it has maps that are zero; the file's has not."""
    with caplog.at_level(logging.WARNING):
        again = load_network("net.safetensors", network="makers_of_mine:of_six")
    assert not caplog.text
    assert bool(again(images()).class_scores.any())
    saved.module.head.weight.data.zero_()
    save_network(saved, "zero.safetensors")
    load_network("zero.safetensors", network="makers_of_mine:of_six")
    assert "so its maps are zero" in caplog.text
