"""What flows through the house: one forward gives one record, and everything after it is a pure function of records.

Tuples rather than classes with behaviour, so that loaders, devices and processes can carry them without being told how.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from wheretolook.options.objective import Fusion, Method

VOID = 255  # mask value of pixels that the annotation says nothing about


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images: channel order, scale, mean and standard deviation.

    Args:
        channels: order of the colour channels, `"RGB"` or `"BGR"`.
        scale: value of full brightness before the mean is subtracted: 1.0 or 255.0.
        mean: subtracted from each channel, in that order and on that scale.
        std: divides each channel afterwards.

    Example:
        >>> Preprocessing(mean=(0.5, 0.5, 0.5))(torch.ones(1, 3, 1, 1)).flatten()
        tensor([0.5000, 0.5000, 0.5000])
    """

    channels: str = "RGB"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Turn RGB images in [0, 1] into what the network takes."""
        if self.channels == "BGR":
            images = images.flip(1)
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (images * self.scale - mean) / std


TORCHVISION = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68))
FCN_AUTHORS = Preprocessing("BGR", 255.0, (104.00698793, 116.66876762, 122.67891434))


class Sample(NamedTuple):
    """One image with what is known about it."""

    image: Float[Tensor, "3 height width"]  # RGB in [0, 1]
    mask: Int[Tensor, "height width"]  # int64; 0 background, 1 + class index, VOID; all VOID where there is none
    labels: Bool[Tensor, " classes"]
    targets: UInt8[Tensor, "present height width"]  # a plane for each class in `labels`, in order: see `Batch.targets`
    segmented: bool  # the mask is exact to the pixel, so the segmentation loss and figures may use it
    name: str
    group: str = ""  # of images that share an attribute, for the figures of the worst group
    exclusive: bool = False  # images of this data set show exactly one class each: softmax in place of sigmoids
    weight: float | None = None  # how much it counts in training; None for all images of a data set alike
    zone: Bool[Tensor, "height width"] | None = None  # where not to look, for figures; None where nobody asks


class Batch(NamedTuple):
    """Samples of one size, stacked."""

    images: Float[Tensor, "batch 3 height width"]  # RGB in [0, 1]; `network.preprocessing` makes the network's input
    masks: Int[Tensor, "batch height width"]
    labels: Bool[Tensor, "batch classes"]
    pairs: Int[Tensor, "pairs 2"]  # (image, class) of every present class, image by image
    targets: UInt8[
        Tensor, "pairs height width"
    ]  # 1 look here, 0 not here, VOID says nothing; all VOID if not annotated
    segmented: Bool[Tensor, " batch"]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    exclusive: bool = False
    weights: Float[Tensor, " batch"] | None = None  # how much each image counts in losses; None for all alike
    zones: Bool[Tensor, "batch height width"] | None = None  # where not to look, for figures; None where nobody asks


def side_lengths(images: Tensor) -> tuple[int, int]:
    """Height and width of anything that ends in them.

    Example:
        >>> side_lengths(torch.zeros(2, 3, 40, 56))
        (40, 56)
    """
    return images.shape[-2], images.shape[-1]


def shows_object(targets: UInt8[Tensor, "planes height width"]) -> Bool[Tensor, " planes"]:
    """Which planes say where to look, and not only where not to, or nothing.

    Example:
        >>> shows_object(torch.tensor([[[0, 1]], [[0, 255]]], dtype=torch.uint8))
        tensor([ True, False])
    """
    return (targets == 1).any(dim=2).any(dim=1)


def widest(device: torch.device) -> torch.dtype:
    """The type of number of most digits that a device computes with: not all have double precision, as Apple's.

    Example:
        >>> widest(torch.device("cpu")), widest(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def where_objects(
    targets: UInt8[Tensor, "pairs height width"], images: Int[Tensor, " pairs"], batch: int
) -> Bool[Tensor, "batch height width"]:
    """Where an image shows an object or may show one, as far as its planes say anything.

    Args:
        targets: planes of (image, class) pairs.
        images: the image of each pair.
        batch: how many images there are.
    """
    told = (targets != VOID).flatten(1).any(dim=1)[:, None, None]
    counts = torch.zeros(batch, *targets.shape[1:], dtype=torch.int32, device=targets.device)
    return counts.index_add(0, images, ((targets != 0) & told).int()) > 0


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size into a batch."""
    labels = torch.stack([sample.labels for sample in samples])
    weights = [sample.weight for sample in samples if sample.weight is not None]
    zones = [sample.zone for sample in samples if sample.zone is not None]
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        masks=torch.stack([sample.mask for sample in samples]),
        labels=labels,
        pairs=labels.nonzero(),
        targets=torch.cat([sample.targets for sample in samples]),
        segmented=torch.tensor([sample.segmented for sample in samples]),
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        exclusive=samples[0].exclusive,
        weights=torch.tensor(weights, dtype=torch.float32) if weights else None,
        zones=torch.stack(zones) if zones else None,
    )


class Cells(NamedTuple):
    """Where the cells of a feature grid lie in the image: cell i is centred at `offset + i * stride`.

    In pixels, down and across; pixel p is centred at p. Interpolation with "corners not aligned" assumes that h cells
    over H pixels have the stride H / h and the offset (H / h - 1) / 2, which is wrong for many networks.
    """

    stride: tuple[float, float]
    offset: tuple[float, float]


class LayerGrid(NamedTuple):
    """The activations of one of several layers that attention is read from."""

    features: Float[Tensor, "batch channels h w"]  # part of the scores' graph
    cells: Cells | None = None  # where they lie in the image; None for an even division


class GuidedOutput(NamedTuple):
    """What one forward of a guided network gives."""

    class_scores: Float[Tensor, "batch classes"]  # logits of the foreground classes
    features: Float[Tensor, "batch channels h w"]  # activations of the attention layer, part of the scores' graph
    mask_scores: Float[Tensor, "batch 1+classes height width"] | None = None  # logits; channel 0 is background
    differentiable: bool = True  # False where no gradient reaches the trunk, so that maps cannot be trained
    cells: Cells | None = None  # where the features lie in the image; None for as "corners not aligned" has them
    layers: tuple[LayerGrid, ...] = ()  # of several layers, as they run; the features are those of the finest
    fusion: Fusion = "mean"  # how the maps of several layers become one
    matrices: tuple[Float[Tensor, "batch heads tokens tokens"], ...] = ()  # for methods on them: who attends to whom
    again: Callable[[Tensor], "GuidedOutput"] | None = None  # for methods on pixels, which are then the features


Part = Literal["trunk", "classifier", "segmenter"]


class GuidedNetwork(nn.Module):
    """What guidance, metrics and training need of a network.

    Attributes:
        class_names: the foreground classes, in the order of the scores.
        preprocessing: makes the input of `forward` from RGB images in [0, 1].
        layers: names of the layers that attention is read from, as they run, where they have names.
        attention: the method that makes its attention maps in training, figures and pictures; may be set.
        fusion: how maps of several layers become one; may be set.
    """

    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    layers: tuple[str, ...] = ()
    attention: Method = "grad_cam"
    fusion: Fusion = "mean"

    @property
    def segments(self) -> bool:
        """Whether `forward` gives mask scores."""
        raise NotImplementedError

    @property
    def classifies(self) -> bool:
        """Whether the class scores come from something that has been trained, so that maps mean something."""
        return True

    def part(self, name: Part) -> list[nn.Module]:
        """The modules of one part, none of them in another; empty where there is none.

        Args:
            name: `"trunk"`, what comes before and makes the attention layer; `"classifier"`, what turns its features
                into class scores; `"segmenter"`, what turns them into mask scores.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """How to build the network again, but for its weights, as JSON has it."""
        raise NotImplementedError

    def cells_state(self) -> dict[str, Any]:
        """What was found out about where its cells lie, for a checkpoint; nothing where they follow from the layers."""
        return {}

    def load_cells_state(self, state: dict[str, Any]) -> None:
        """Go on with what `cells_state` gave; nothing to do where that is nothing."""

    def reset_classifier(self, seed: int) -> None:
        """Start the classifier afresh from a seed; the global random state is left alone."""
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "batch 3 height width"], *, segment: bool = True) -> GuidedOutput:
        """Run preprocessed images; `segment=False` may leave `mask_scores` out."""
        raise NotImplementedError


class Explanation(NamedTuple):
    """What one network says about one class in one image: the stuff of pictures and of worst-first lists."""

    name: str
    class_index: int
    image: Float[Tensor, "3 height width"]  # RGB in [0, 1]
    truth: Int[Tensor, "height width"]
    target: UInt8[Tensor, "height width"]  # where to look for this class: a plane of `Batch.targets`
    prediction: Int[Tensor, "height width"] | None
    attention: Float[Tensor, "height width"]  # upsampled map, after its ReLU, not normalised
    energy_inside: float  # share of the map's energy on the object, in [0, 1]; 0 for an all-zero map
