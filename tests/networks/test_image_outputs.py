"""An output with the shape of the images may be one: it is taken for mask scores only where that is said."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wheretolook.errors import ConfigError
from wheretolook.networks.build import new_network
from wheretolook.networks.files import load_network, save_network
from wheretolook.networks.guide import guide
from wheretolook.options.network import NetworkOptions

from .libraries import SMALL_VIT  # noqa: F401  (first: makes torchvision importable)

LIKELY = "the output of 3 channels that has the shape of the images is taken for an image"


class Autoencoder(nn.Module):
    """Gives its images again, as well as it can, and on demand class scores besides."""

    def __init__(self, classes: int, channels: int = 3, coarse: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.again = nn.Sequential(nn.Conv2d(8, channels, 1), nn.Upsample(scale_factor=4 if coarse else 8))
        self.head = nn.Linear(8, classes) if classes else None

    def forward(self, images: Tensor) -> object:
        features = self.body(images)
        again = self.again(features)
        return again if self.head is None else (again, self.head(features.mean(dim=(2, 3))))


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "dog", "boat")])
def test_an_image_is_no_mask(names: tuple[str, ...], caplog: pytest.LogCaptureFixture):
    """With two classes three channels could be they and background, with three the classes themselves."""
    module, images = Autoencoder(len(names)), torch.rand(2, 3, 64, 64)
    network = guide(module, class_names=names, input_size=64)
    assert not network.segments and network(images).mask_scores is None
    assert caplog.text.count(LIKELY) == 1 and "segments=True" in caplog.text
    caplog.clear()
    assert not guide(module, class_names=names, input_size=64, segments=False).segments
    told = guide(module, class_names=names, input_size=64, segments=True)
    torch.testing.assert_close(told(images).mask_scores[:, -len(names) :], module(images)[0][:, -len(names) :])
    assert not caplog.text


def test_without_class_scores_it_has_to_be_said(caplog: pytest.LogCaptureFixture):
    module = Autoencoder(0)
    for names in (None, ("cat", "dog")):
        with pytest.raises(ConfigError, match=r"shape of the images may be an image; say segments=True"):
            guide(module, class_names=names, input_size=64)
        for said in ({"segments": True}, {"scores": "pooled"}):
            network = guide(module, class_names=names, input_size=64, **said)
            assert network.segments and network.scores == "pooled" and len(network.class_names) == 2
    assert not caplog.text
    added = guide(module, class_names=("cat", "dog"), input_size=64, scores="classifier")
    assert not added.segments and LIKELY in caplog.text


@pytest.mark.parametrize("module", [Autoencoder(3, channels=4), Autoencoder(2, coarse=True)])
def test_what_has_another_shape_is_no_image(module: nn.Module, caplog: pytest.LogCaptureFixture):
    names = ("cat", "dog", "boat")[: module.head.out_features]
    assert guide(module, class_names=names, input_size=64).segments
    assert not guide(module, class_names=names, input_size=64, segments=False).segments
    assert not caplog.text


def test_masks_that_were_said_to_be_there_must_be():
    with pytest.raises(ConfigError, match="since segments is true, but the module gives none"):
        guide(Autoencoder(2, channels=5), class_names=("cat", "dog"), input_size=64, segments=True)
    with pytest.raises(ConfigError, match=r"expected mask scores .* for scores='pooled'"):
        guide(Autoencoder(2), class_names=("cat", "dog"), input_size=64, segments=False, scores="pooled")


def test_a_library_says_it_and_a_file_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A U-Net of two classes has three channels at the size of the image."""
    options = NetworkOptions("smp:Unet", {"encoder_name": "resnet18"}, input_size=(64, 64))
    with caplog.at_level(logging.WARNING):
        network = new_network(options, ("cat", "dog"), None, 0)
        assert network.segments and network(torch.rand(2, 3, 64, 64)).mask_scores.shape == (2, 3, 64, 64)
        for number, segments in enumerate((True, False)):
            own = guide(Autoencoder(2), class_names=("cat", "dog"), input_size=64, segments=segments)
            save_network(own, tmp_path / f"{number}.safetensors")
            again = load_network(tmp_path / f"{number}.safetensors", make=lambda: Autoencoder(2))
            assert again.segments == own.segments == segments
    assert not caplog.text


def test_an_option_says_it():
    for segments in (True, None):
        options = NetworkOptions("own:network", input_size=(64, 64), segments=segments)
        made = new_network(options, ("cat", "dog"), None, 0, make=lambda: Autoencoder(2))
        assert made.segments == bool(segments)
    with pytest.raises(ConfigError, match=r"leave out network.segments"):
        new_network(NetworkOptions("fcn8s", segments=True), ("cat", "dog"), None, 0)
