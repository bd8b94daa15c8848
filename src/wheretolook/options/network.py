"""Which network to build."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NetworkOptions:
    """The network to build where no trained one is given.

    Args:
        architecture: how many strides the segmenter joins: 8s uses pool3 and pool4, 16s pool4, 32s neither.
        widths: channels of the five blocks of the trunk; VGG16 has 64 128 256 512 512.
        segmenter_width: channels of fc6 and fc7; the original has 4096.
        classifier_widths: widths of the classifier's two fully connected layers; the predecessor has 4096 4096.
        padding: caffe pads the image by 100 and crops as the original does; same pads each layer (one trunk pass); none
            for what the weights are made for, and same where nothing is known.
        dropout: share of activations dropped in fc6, fc7 and the classifier while they train.
        classifier_dropout: the same for the classifier alone; none for dropout.
    """

    architecture: Literal["fcn8s", "fcn16s", "fcn32s"] = "fcn8s"
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    segmenter_width: int = 4096
    classifier_widths: tuple[int, int] = (4096, 4096)
    padding: Literal["same", "caffe"] | None = None
    dropout: float = 0.5
    classifier_dropout: float | None = None
