"""The options of `export`, and of `predict`, which runs what it has written."""

from dataclasses import dataclass, field
from typing import Literal

from wheretolook.options.commands import PLACED
from wheretolook.options.data import DataOptions
from wheretolook.options.network import NetworkOptions


@dataclass(frozen=True)
class Export:
    """Write a network as one graph without autograd: class scores, masks and attention maps of all classes.

    The graph takes RGB images in [0, 1]; preprocessing, class names and where the cells of the maps lie are inside. It
    is written only if it gives what torch gives, to 1e-4 of the largest value.

    Args:
        weights: a weights file or run folder.
        out: the file to write.
        format: onnx, or torch for a program of torch.export (.pt2).
        without_attention: leave the attention maps out: for networks whose maps cannot be written out.
        quantise: write NAME.int8.onnx with weights and activations of 8 bits too, and what that costs in
            NAME.int8.json; calibrated on images of data.
        calibration: how many images to calibrate on; as many others are measured on.
        class_names: the foreground classes, where the file does not name them.
        data: the images to calibrate on.
        network: which network the weights are of, where they do not say.
    """

    weights: str
    out: str = "network.onnx"
    format: Literal["onnx", "torch"] = "onnx"
    without_attention: bool = False
    quantise: Literal["int8"] | None = None
    calibration: int = 64
    class_names: list[str] | None = None
    data: DataOptions = field(default_factory=DataOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)


@dataclass(frozen=True)
class Predict:
    """Scores, masks and attention of images by an exported network: needs onnxruntime, and no torch.

    Args:
        weights: a file of wheretolook export, in ONNX.
        out: a new folder for scores.csv, predictions.json, masks and overlays.
        resize: length in pixels of the longer side in which the network sees an image; none for a shorter side as long
            as that of the images that it was made for, as in show, and for the image's own size where it was made for
            none. One of a fixed size sees images squeezed to it.
        top: of how many classes an image is shown with attention, those of the largest scores.
    """

    images: list[str] = field(metadata={PLACED: "images, and folders of images"})
    weights: str
    out: str = "runs/predictions"
    resize: int | None = None
    top: int = 1
