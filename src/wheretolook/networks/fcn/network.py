"""Fully convolutional networks on a VGG16 trunk, with a classifier on the last convolution.

Source: arXiv:1411.4038 (FCN32s, FCN16s, FCN8s) and arXiv:1409.1556 (VGG16). Layers are named as in the public weights.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.errors import ConfigError, ImageSizeError
from wheretolook.networks.heads import PooledClassifier, classify
from wheretolook.networks.reading import gradients_as_they_are
from wheretolook.networks.recording import recorded
from wheretolook.records import CAFFE, Cells, GuidedNetwork, GuidedOutput, LayerGrid, Part, Preprocessing, side_lengths

VGG16_WIDTHS = (64, 128, 256, 512, 512)
VGG16_DEPTHS = (2, 2, 3, 3, 3)
CAFFE_BORDER = 100
SMALLEST_SIDE = 32

LAYERS = {  # where attention may be read, after the ReLU: two, three and four pools of 2x2, each rounding up
    "conv3_3": Cells((4.0, 4.0), (1.5, 1.5)),
    "conv4_3": Cells((8.0, 8.0), (3.5, 3.5)),
    "conv5_3": Cells((16.0, 16.0), (7.5, 7.5)),
}
LAST = "conv5_3"

CAFFE_CROPS = {8: (5, 9, 31), 16: (5, 27), 32: (19,)}  # by stride: of each skip's scores, then of the result

Architecture = Literal["fcn8s", "fcn16s", "fcn32s"]
Padding = Literal["same", "caffe"]
Pools = tuple[Float[Tensor, "batch k3 h3 w3"], Float[Tensor, "batch k4 h4 w4"], Float[Tensor, "batch k5 h5 w5"]]


def pool(features: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels half_h half_w"]:
    """Halve both sides, rounding up as Caffe does; rounding down is off by 0.9 in the logits."""
    return F.max_pool2d(features, 2, 2, ceil_mode=True)


class Trunk(nn.Module):
    """The 13 convolutions of VGG16, `conv1_1` to `conv5_3`."""

    def __init__(self, widths: tuple[int, ...] = VGG16_WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        channels = 3
        for block, (width, depth) in enumerate(zip(widths, VGG16_DEPTHS, strict=True), start=1):
            for layer in range(1, depth + 1):
                self.add_module(f"conv{block}_{layer}", nn.Conv2d(channels, width, 3, padding=1))
                channels = width

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        *,
        border: int = 1,
        take: Callable[[str, Tensor], Tensor] = lambda name, features: features,
    ) -> Pools:
        """Features for the three strides of the segmenter: after pool3, after pool4 and of conv5_3 (before pool5).

        Args:
            images: preprocessed.
            border: zeros around the image before the first convolution; 100 in the original segmenter.
            take: gives back what to go on with, of the name of each block's last layer and its features.
        """
        pooled = []
        features = images
        for block, depth in enumerate(VGG16_DEPTHS, start=1):
            for layer in range(1, depth + 1):
                convolution: nn.Conv2d = getattr(self, f"conv{block}_{layer}")
                padding = border if (block, layer) == (1, 1) else 1
                # in place: no one else holds the convolution's output, and the ReLU needs only its own
                features = F.conv2d(features, convolution.weight, convolution.bias, padding=padding).relu_()
            features = take(f"conv{block}_{depth}", features)
            if block < len(VGG16_DEPTHS):
                features = pool(features)
            pooled.append(features)
        return pooled[2], pooled[3], pooled[4]


class Segmenter(nn.Module):
    """`fc6` to the upsampled scores; strides 8 and 16 add the scores of earlier, finer layers.

    `padding="caffe"` crops by the original's fixed offsets, for features of an image padded by 100; `"same"` keeps
    every layer aligned with the image, so that the features of the classifier's pass serve here too.
    """

    def __init__(
        self, widths: tuple[int, ...], width: int, classes: int, stride: int, padding: Padding, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        scores = 1 + classes
        self.fc6 = nn.Conv2d(widths[4], width, 7, padding=3 if padding == "same" else 0)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.score_fr = nn.Conv2d(width, scores, 1)
        self.dropout = nn.Dropout(dropout)
        self.skips: list[tuple[str, str]] = []  # (layer that scores, layer that upsamples to it), coarse to fine
        if stride <= 16:
            self.score_pool4 = nn.Conv2d(widths[3], scores, 1)
            self.upscore2 = bilinear_upsampling(scores, 2)
            self.skips.append(("score_pool4", "upscore2"))
        if stride == 8:
            self.score_pool3 = nn.Conv2d(widths[2], scores, 1)
            self.upscore_pool4 = bilinear_upsampling(scores, 2)
            self.skips.append(("score_pool3", "upscore_pool4"))
        self.last = "upscore" if stride == 32 else f"upscore{stride}"
        self.add_module(self.last, bilinear_upsampling(scores, stride))

    def forward(self, pools: Pools, size: tuple[int, int]) -> Float[Tensor, "batch scores height width"]:
        """Scores of background and every class at each pixel of an image of that size (height, width)."""
        pool3, pool4, features = pools
        hidden = self.dropout(F.relu(self.fc6(pool(features))))
        hidden = self.dropout(F.relu(self.fc7(hidden)))
        scores = self.score_fr(hidden)
        crops = CAFFE_CROPS[self.stride]
        for (skip, upsample), finer, crop in zip(self.skips, (pool4, pool3), crops, strict=False):
            scores = self.get_submodule(upsample)(scores)
            skipped = self.get_submodule(skip)(finer)
            if self.padding == "caffe":
                skipped = cropped(skipped, crop, scores.shape[2:])
            else:
                scores = cropped(scores, 1, skipped.shape[2:])
            scores = scores + skipped
        offset = crops[-1] if self.padding == "caffe" else self.stride // 2
        return cropped(self.get_submodule(self.last)(scores), offset, size)


def cropped(
    scores: Float[Tensor, "batch scores h w"], offset: int, size: tuple[int, ...]
) -> Float[Tensor, "batch scores height width"]:
    """The window of that size (height, width) which begins `offset` pixels from the top and the left."""
    height, width = size
    return scores[:, :, offset : offset + height, offset : offset + width]


def bilinear_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that interpolates; fixed, as in the original (its learning rate is 0)."""
    size = 2 * factor
    rise = 1 - (torch.arange(size) - (size - 1) / 2).abs() / factor
    layer = nn.ConvTranspose2d(channels, channels, size, stride=factor, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = rise[:, None] * rise
    return layer.requires_grad_(False)


class FCN(GuidedNetwork):
    """A segmenter and a classifier on one trunk; the base of `FCN8s`, `FCN16s` and `FCN32s`.

    Args:
        class_names: the foreground classes, in the order of the scores.
        widths: channels of the trunk's five blocks.
        segmenter_width: channels of `fc6` and `fc7`.
        classifier_widths: widths of the classifier's two hidden layers.
        padding: `"caffe"` reproduces the original (padding 100, its crops) with a second trunk pass for everything that
            concerns classes and attention; `"same"` needs one pass.
        preprocessing: what `preprocessing` makes of RGB images in [0, 1] is what `forward` takes.
        dropout: share of hidden activations dropped while training.
        classifier_dropout: the same for the classifier alone; None for `dropout`.
        seed: of the fresh weights (He initialisation; scores of the segmenter start at zero).

    Raises:
        ConfigError: a width or the dropout out of its range.

    Example:
        >>> network = FCN8s(("cat", "dog"), widths=(2, 2, 2, 2, 2), segmenter_width=4, classifier_widths=(4, 4))
        >>> network(torch.zeros(1, 3, 40, 56)).mask_scores.shape
        torch.Size([1, 3, 40, 56])
    """

    layers: tuple[str, ...] = (LAST,)
    stride: int
    trunk: Trunk
    segmenter: Segmenter
    classifier: PooledClassifier

    def __init__(
        self,
        class_names: tuple[str, ...],
        *,
        widths: tuple[int, int, int, int, int] = VGG16_WIDTHS,
        segmenter_width: int = 4096,
        classifier_widths: tuple[int, int] = (4096, 4096),
        padding: Padding = "same",
        preprocessing: Preprocessing = CAFFE,
        dropout: float = 0.5,
        classifier_dropout: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        classifier_dropout = dropout if classifier_dropout is None else classifier_dropout
        _check(widths, segmenter_width, classifier_widths, dropout, classifier_dropout)
        self.class_names, self.preprocessing, self.padding = tuple(class_names), preprocessing, padding
        self.trunk = Trunk(widths)
        self.segmenter = Segmenter(widths, segmenter_width, len(class_names), self.stride, padding, dropout)
        self.classifier = PooledClassifier(widths[4], classifier_widths, len(class_names), classifier_dropout)
        self.reset_parameters(seed)

    def reset_parameters(self, seed: int, part: str = "") -> None:
        """Start the network, or one part of it (such as `"classifier"`), afresh from the seed.

        The global random state is left alone.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, layer in self.named_modules():
            if name.startswith(part) and isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.zeros_(layer.get_parameter("bias"))
                if name.startswith("segmenter.score"):
                    nn.init.zeros_(layer.weight)
                else:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)

    @property
    def segments(self) -> bool:
        """An FCN always has a segmenter."""
        return True

    def part(self, name: Part) -> list[nn.Module]:
        """Trunk, classifier or segmenter."""
        return [self.get_submodule(name)]

    def read_from(self, *names: str) -> None:
        """Read attention from other layers than conv5_3, or from several, whose maps become one as `fusion` says.

        Raises:
            ConfigError: a name that is none of theirs, or a name twice.
        """
        if not names or len({*names} & LAYERS.keys()) < len(names):
            raise ConfigError(f"expected layers of an FCN, each once, of {', '.join(LAYERS)}, got {' '.join(names)}")
        self.layers = tuple(sorted(names))

    def describe(self) -> dict[str, Any]:
        """Which FCN, and what its arrays do not tell; widths and class count are in their shapes."""
        read = {} if self.layers == (LAST,) else {"layer": list(self.layers), "fusion": self.fusion}
        return {
            "network": f"fcn{self.stride}s",
            "class_names": list(self.class_names),
            "preprocessing": asdict(self.preprocessing),
            "attention": self.attention,
            "padding": self.padding,
            "dropout": self.segmenter.dropout.p,
            "classifier_dropout": self.classifier.dropout.p,
            **read,
        }

    def reset_classifier(self, seed: int) -> None:
        """Start the classifier afresh from the seed."""
        self.reset_parameters(seed, "classifier")

    @property
    def classifies(self) -> bool:
        """Whether the classifier has been trained; until then its biases are zero."""
        return any(bool(layer.bias.any()) for layer in self.classifier.children() if isinstance(layer, nn.Linear))

    def forward(self, images: Float[Tensor, "batch 3 height width"], *, segment: bool = True) -> GuidedOutput:
        """Class scores and features, and the mask scores unless `segment` is False.

        Args:
            images: preprocessed; any size from 32x32 up.
            segment: False saves the segmenter's time and memory (with `padding="caffe"` its trunk pass too).
        """
        return recorded(self, self._read, images, segment=segment)

    def _read(self, images: Tensor, *, segment: bool) -> GuidedOutput:
        size = side_lengths(images)
        if min(size) < SMALLEST_SIDE:
            raise ImageSizeError(
                f"expected images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE}, got {size[1]}x{size[0]}; "
                "give a larger resize or crop"
            )
        if self.layers == (LAST,):
            pools = self.trunk(images)
            output = classify(self.classifier, pools[2])._replace(cells=LAYERS[LAST])
        else:
            output, pools = self._of_layers(images)
        if not segment:
            return output
        if self.padding == "caffe":
            pools = self.trunk(images, border=CAFFE_BORDER)
        return output._replace(mask_scores=self.segmenter(pools, size))

    def _of_layers(self, images: Tensor) -> tuple[GuidedOutput, Pools]:
        """The record of several layers, or of an earlier one: gradients are on from the first of them."""
        grids: dict[str, LayerGrid] = {}
        differentiable = False

        def take(name: str, features: Tensor) -> Tensor:
            nonlocal differentiable
            if name not in self.layers:
                return features
            if not grids:
                differentiable = torch.is_grad_enabled() and features.requires_grad
                if not differentiable:
                    torch.set_grad_enabled(True)  # until the forward ends: `gradients_as_they_are` puts it back
                    features = features.detach().requires_grad_()
            grids[name] = LayerGrid(features, LAYERS[name])
            return features

        with gradients_as_they_are():
            pools = self.trunk(images.clone() if images.is_inference() else images, take=take)
            scores = classify(self.classifier, pools[2]).class_scores
        first, *others = grids.values()
        output = GuidedOutput(scores, first.features, None, differentiable, first.cells, fusion=self.fusion)
        return output._replace(layers=tuple(grids.values()) if others else ()), pools


def _check(
    widths: tuple[int, ...],
    segmenter_width: int,
    classifier_widths: tuple[int, ...],
    dropout: float,
    classifier_dropout: float,
) -> None:
    named = {"widths": widths, "segmenter_width": (segmenter_width,), "classifier_widths": classifier_widths}
    for name, given in named.items():
        if min(given) < 1:
            raise ConfigError(f"expected {name} of at least 1, got {' '.join(map(str, given))}")
    for name, share in {"dropout": dropout, "classifier_dropout": classifier_dropout}.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"expected {name} of 0 to 1, got {share}")


class FCN8s(FCN):
    """Scores of conv5_3, pool4 and pool3, upsampled by 8."""

    stride = 8


class FCN16s(FCN):
    """Scores of conv5_3 and pool4, upsampled by 16."""

    stride = 16


class FCN32s(FCN):
    """Scores of conv5_3, upsampled by 32."""

    stride = 32


ARCHITECTURES: dict[Architecture, type[FCN]] = {"fcn8s": FCN8s, "fcn16s": FCN16s, "fcn32s": FCN32s}
