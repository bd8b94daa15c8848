"""An exported network in 8 bits, and what that costs it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from wheretolook.data import ImageDataset
from wheretolook.errors import ConfigError, DataError
from wheretolook.export.formats import require_onnx
from wheretolook.export.graph import quiet
from wheretolook.files import replacing
from wheretolook.predict.description import INPUT
from wheretolook.predict.network import ExportedNetwork

IN_EIGHT_BITS = ["Conv", "Gemm", "MatMul"]


@dataclass(frozen=True)
class Cost:
    """What an exported network lost in 8 bits, on images that it was not calibrated on where there are enough.

    Attributes:
        images: how many were measured.
        scores_moved: mean absolute change of a class score, over the spread (standard deviation) of all class scores.
        same_class: share of the images whose largest score is of the same class.
        maps_moved: mean over maps of the largest score's class of |change| summed, over the map summed; None without.
        masks_agree: share of pixels with the same class; None where the network does not segment.
        megabytes: of the file before.
        megabytes_int8: and after.
    """

    images: int
    scores_moved: float
    same_class: float
    maps_moved: float | None
    masks_agree: float | None
    megabytes: float
    megabytes_int8: float


def quantise(path: Path, target: Path, dataset: ImageDataset, count: int, *, resize: int | None = None) -> Cost:
    """Write an exported network with weights and activations of 8 bits, calibrated on images.

    What makes the maps of the features stays as it is; the features themselves are those of the network in 8 bits.

    Args:
        path: a file of `export_network`, in ONNX.
        target: the file to write.
        dataset: images that are like those that the network will see.
        count: how many to calibrate on; as many others are measured on.
        resize: length of the longer side in which the network sees them; None for the size that it was made for.

    Raises:
        ConfigError: a package is missing, or onnxruntime cannot quantise the network.
        DataError: there is no image, or the file cannot be written.
    """
    require_onnx()
    if not len(dataset):
        raise DataError("expected at least 1 image to calibrate on, got none; name another split")
    network = ExportedNetwork(path)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(2 * count, len(dataset))).astype(int)).tolist()
    calibrating, measured = chosen[::2], chosen[1::2] or chosen
    with replacing(target) as temporary:
        _quantised(path, temporary, _Images(network, dataset, calibrating, resize))
        small = ExportedNetwork(temporary)
        return _cost(network, small, [dataset_image(network, dataset, index, resize) for index in measured])


def dataset_image(network: ExportedNetwork, dataset: ImageDataset, index: int, resize: int | None = None) -> np.ndarray:
    """An image of a data set as the exported network sees it: (1, 3, height, width) in [0, 1].

    Args:
        network: the exported network.
        dataset: the images.
        index: which.
        resize: length of the longer side; None for the size that the network was made for.
    """
    pixels = (dataset[index].image * 255).round().byte().permute(1, 2, 0).numpy()
    height, width = network.seen_size((pixels.shape[0], pixels.shape[1]), resize)
    seen = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return seen.transpose(2, 0, 1)[None].astype(np.float32) / 255


class _Images:
    """What onnxruntime asks for images to calibrate on."""

    def __init__(
        self, network: ExportedNetwork, dataset: ImageDataset, indices: Sequence[int], resize: int | None
    ) -> None:
        self._left: Iterator[int] = iter(indices)
        self.network, self.dataset, self.resize = network, dataset, resize

    def get_next(self) -> dict[str, np.ndarray] | None:
        index = next(self._left, None)
        return None if index is None else {INPUT: dataset_image(self.network, self.dataset, index, self.resize)}


def _quantised(path: Path, target: Path, images: _Images) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    CalibrationDataReader.register(_Images)
    model = onnx.load(str(path))
    try:
        with quiet():
            quantize_static(
                str(path),
                str(target),
                images,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=IN_EIGHT_BITS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_nodes_of_maps(model),
            )
    except (OSError, DataError):
        raise
    except Exception as error:  # of onnxruntime, in whatever words
        why = " ".join(str(error).split())[:200]
        raise ConfigError(f"onnxruntime cannot quantise this network ({why}); leave out quantise") from error


def _nodes_of_maps(model: object) -> list[str]:
    """The names of the nodes that only attention maps need."""
    graph = model.graph  # type: ignore[attr-defined]
    needed = {output.name for output in graph.output if output.name != "attention_maps"}
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
    return [node.name for node in graph.node if not needed & set(node.output)]


def _cost(network: ExportedNetwork, small: ExportedNetwork, images: Sequence[np.ndarray]) -> Cost:
    before, after = ([one(image) for image in images] for one in (network, small))
    pairs = list(zip(before, after, strict=True))
    scores, moved = (np.concatenate([given["class_scores"] for given in side]) for side in (before, after))
    best = scores.argmax(axis=1)
    maps = [
        float(np.abs(one["attention_maps"][0, index] - two["attention_maps"][0, index]).sum())
        / max(float(one["attention_maps"][0, index].sum()), 1e-12)
        for index, (one, two) in zip(best, pairs, strict=True)
        if "attention_maps" in one and one["attention_maps"][0, index].any()
    ]
    masks = [
        float((one["mask_scores"].argmax(axis=1) == two["mask_scores"].argmax(axis=1)).mean())
        for one, two in pairs
        if "mask_scores" in one
    ]
    return Cost(
        images=len(images),
        scores_moved=float(np.abs(moved - scores).mean() / max(float(scores.std()), 1e-12)),
        same_class=float((moved.argmax(axis=1) == best).mean()),
        maps_moved=float(np.mean(maps)) if maps else None,
        masks_agree=float(np.mean(masks)) if masks else None,
        megabytes=network.path.stat().st_size / 1e6,
        megabytes_int8=small.path.stat().st_size / 1e6,
    )
