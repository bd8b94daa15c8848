"""A network by itself: its classes are its file's, its library's on record, the user's, or numbers."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import wheretolook  # noqa: F401 - first: makes torchvision importable beside a torch that it was not built for
from wheretolook.errors import ConfigError
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import read_weights, save_network
from wheretolook.networks.own_classes import own_network
from wheretolook.options.network import NetworkOptions

from ..command_line import CLASSES, NARROW

SMALL = "torchvision:squeezenet1_1"
MAKERS = """
from torch import nn

def network(channels, count):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, count)
    )

def fixed():
    return network(4, 5)

def usual(num_classes=6):
    return network(4, num_classes)

def asking(num_classes):
    return network(4, num_classes)
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("makers_of_small", None)
    Path("makers_of_small.py").write_text(MAKERS)


def stored(module: nn.Module, prefix: str = "") -> Path:
    path = Path("weights.pth")
    torch.save({f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}, path)
    return path


def names(name: str | None, path: Path | None, given: tuple[str, ...] | None = None, **options: object) -> list[str]:
    network = own_network(
        NetworkOptions(name=name, input_size=(64, 64), **options), None if path is None else read_weights(path), given
    )
    return list(network.class_names)


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_torchvision_names_the_classes_of_imagenet_and_numbers_others(prefix: str) -> None:
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    named = names(SMALL, stored(squeezenet1_1(), prefix))
    assert named == SqueezeNet1_1_Weights.DEFAULT.meta["categories"] and named[285] == "Egyptian cat"
    assert names(SMALL, stored(squeezenet1_1(num_classes=3), prefix)) == ["class 0", "class 1", "class 2"]


def test_the_weights_are_those_of_the_file() -> None:
    from torchvision.models import squeezenet1_1

    module = squeezenet1_1(num_classes=7).eval()
    network = own_network(NetworkOptions(name=SMALL, input_size=(64, 64)), read_weights(stored(module)))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images).class_scores, module(images))


def test_timm_names_them_too() -> None:
    import timm

    module = timm.create_model("test_resnet")
    assert module.num_classes == 1000
    named = names("timm:test_resnet", stored(module))
    assert named[285] == "Egyptian cat" and named[0] == "tench" and len(named) == 1000
    assert names("timm:test_resnet", None)[-1] == named[-1]
    module.reset_classifier(2)
    assert names("timm:test_resnet", stored(module)) == ["class 0", "class 1"]


def test_a_segmenter_has_a_background_besides() -> None:
    import segmentation_models_pytorch as smp

    arguments = {"encoder_name": "timm-mobilenetv3_small_minimal_100"}
    module = smp.create_model("fpn", encoder_weights=None, classes=4, **arguments)
    assert names("smp:fpn", stored(module), arguments=arguments) == ["class 0", "class 1", "class 2"]


def test_a_function_of_the_users_own() -> None:
    import makers_of_small

    assert len(names("makers_of_small:asking", stored(makers_of_small.asking(9)))) == 9
    assert len(names("makers_of_small:fixed", stored(makers_of_small.fixed()))) == 5
    assert len(names("makers_of_small:fixed", None)) == 5 and len(names("makers_of_small:usual", None)) == 6
    with pytest.raises(ConfigError, match="--class_names, since makers_of_small:asking must be told"):
        names("makers_of_small:asking", None)
    assert names("makers_of_small:asking", None, ("a", "b")) == ["a", "b"]


def test_a_file_of_ours_has_its_own_and_neither_is_said() -> None:
    save_network(FCN8s(CLASSES, **NARROW), "own.safetensors")
    assert tuple(own_network(NetworkOptions(), read_weights(Path("own.safetensors"))).class_names) == CLASSES
    with pytest.raises(ConfigError, match="expected --weights"):
        own_network(NetworkOptions(), None)
