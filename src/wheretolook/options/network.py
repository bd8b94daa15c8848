"""Which network to build."""

from dataclasses import dataclass, field
from typing import Any, Literal

from wheretolook.options.objective import Fusion, Method


@dataclass(frozen=True)
class NetworkOptions:
    """The network to build, where the weights do not say it all.

    Args:
        name: fcn8s, fcn16s or fcn32s; torchvision:resnet50, timm:vit_small_patch16_224, smp:Unet or another of these
            libraries; transformers:FOLDER with a config.json; package.module:function of your own; none for what the
            weights are of, and fcn8s where there are none.
        arguments: what the library or the function takes besides, such as {encoder_name: resnet18}.
        layer: name of the module whose output attention is read from; several names for the maps of several layers;
            none to find it.
        attention: how attention maps are made, in training, figures and pictures alike, and kept with the weights; cam
            only for one linear layer behind global average pooling, rollout and gradient_rollout for vision
            transformers, integrated_gradients for figures and pictures; none for what the weights say, and grad_cam.
        fusion: of the maps of several layers, each brought to the finest grid and divided by its maximum: their mean,
            or the maximum cell by cell; none for what the weights say, and mean.
        scores: where class scores come from: logits of the network's own, its mask scores pooled over the image, or an
            added classifier that wants training; none for the first of the network's own that there are.
        segments: true for mask scores in an output that has the shape of the images; none takes that for an image (an
            autoencoder's, say), unless the library says otherwise; false takes no output for mask scores.
        input_size: height and width of the images to try the network with; none for what its library says.
        mean: what is taken from red, green and blue, each from 0 to 1, before the network sees them; 0 0 0 with std
            1 1 1 for a network that does it itself; none for what its weights or its library say, and torchvision's
            0.485 0.456 0.406 where nothing is known.
        std: what they are divided by afterwards, given with mean; torchvision's is 0.229 0.224 0.225.
        widths: of an FCN, channels of the five blocks of the trunk; VGG16 has 64 128 256 512 512.
        segmenter_width: of an FCN, channels of fc6 and fc7; the original has 4096.
        classifier_widths: widths of the added classifier's two fully connected layers; none for 4096 4096 in an FCN, as
            the Chainer implementation of GAIN has, and 1024 1024 elsewhere.
        padding: of an FCN; caffe pads the image by 100 and crops as the original does; same pads each layer (one trunk
            pass); none for what the weights are made for, and same where nothing is known.
        dropout: of an FCN, share of activations dropped in fc6, fc7 and the classifier while they train.
        classifier_dropout: the same for the classifier alone; none for dropout.
    """

    name: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    layer: list[str] | str | None = None
    attention: Method | None = None
    fusion: Fusion | None = None
    scores: Literal["logits", "pooled", "classifier"] | None = None
    segments: bool | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    segmenter_width: int = 4096
    classifier_widths: tuple[int, int] | None = None
    padding: Literal["same", "caffe"] | None = None
    dropout: float = 0.5
    classifier_dropout: float | None = None

    def __post_init__(self) -> None:
        """One layer is its name, however it is given: runs have recorded it so, and resume by it."""
        if isinstance(self.layer, list) and len(self.layer) == 1:
            object.__setattr__(self, "layer", self.layer[0])
