"""A guided network as a plain function of images: no hooks that stay, no gradients, nothing that is remembered."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.errors import ConfigError
from wheretolook.networks.fcn.network import CAFFE_BORDER, FCN
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.heads import pooled_scores
from wheretolook.networks.reading import read_layers, uncompiled
from wheretolook.records import GuidedNetwork, Preprocessing, side_lengths


class PlainOutput(NamedTuple):
    """What one forward gives, and nothing about gradients."""

    features: Float[Tensor, "batch channels h w"]
    class_scores: Float[Tensor, "batch classes"]
    mask_scores: Float[Tensor, "batch 1+classes height width"] | None


class PlainNetwork(nn.Module):
    """RGB images in [0, 1] to features and scores, preprocessing included; what `torch.export` can trace.

    The network is not copied: its weights are shared.

    Args:
        network: an FCN, or what `guide` makes.

    Raises:
        ConfigError: it is another kind of guided network.
    """

    def __init__(self, network: GuidedNetwork) -> None:
        super().__init__()
        if not isinstance(network, FCN | GuidedModule):
            raise ConfigError(f"expected an FCN or a network that `guide` made, got {type(network).__name__}")
        self.network = network
        mean, scale, self.swapped = _affine(network.preprocessing)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> tuple[Tensor, ...]:
        """Features, class scores and, where the network segments, mask scores at the size of the images."""
        images = images.flip(1) if self.swapped else images
        images = (images - self.get_buffer("mean")) * self.get_buffer("scale")
        network = self.network
        found = _of_fcn(network, images) if isinstance(network, FCN) else _of_module(network, images)
        return tuple(tensor for tensor in found if tensor is not None)


def _affine(preprocessing: Preprocessing) -> tuple[Tensor, Tensor, bool]:
    """Preprocessing as `(image - mean) * scale`, channel by channel, and whether red and blue change places first."""
    full, std = preprocessing.scale, torch.tensor(preprocessing.std)
    mean = torch.tensor(preprocessing.mean) / full
    return mean.view(3, 1, 1), (full / std).view(3, 1, 1), preprocessing.channels == "BGR"


def _of_fcn(network: FCN, images: Tensor) -> PlainOutput:
    grids: list[Tensor] = []

    def take(name: str, features: Tensor) -> Tensor:
        if name in network.layers:
            grids.append(features)
        return features

    pools = network.trunk(images, take=take)
    scores = network.classifier(pools[2])
    if network.padding == "caffe":
        pools = network.trunk(images, border=CAFFE_BORDER)
    return PlainOutput(grids[-1], scores, network.segmenter(pools, side_lengths(images)))


def _of_module(network: GuidedModule, images: Tensor) -> PlainOutput:
    readings, result = read_layers(uncompiled(network.module), network.forms, images, leaf=False, whole=True)
    features = readings[-1].features
    own = network.shapes.find(result, images.shape[0])  # not len(): a traced batch has no number
    masks = None if own.masks is None else network.with_background(own.masks)
    if network.classifier is not None:
        scores = network.classifier(features)
    elif network.scores == "logits":
        scores = own.logits
    else:
        scores = None if masks is None else pooled_scores(masks)
    if scores is None:
        raise ConfigError("expected class scores, as the module gave when it was guided, got none")
    if masks is not None:
        masks = nn.functional.interpolate(masks, size=side_lengths(images), mode="bilinear", align_corners=False)
    return PlainOutput(features, scores.float(), masks)
