"""FCNs from the arrays of any file that holds one: ours, the predecessor's, PyTorch ports, VGG16 of torchvision."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from wheretolook.errors import WeightsError, reason
from wheretolook.networks.fcn.names import TRUNK_LAYERS, from_torchvision, module_name
from wheretolook.networks.fcn.network import ARCHITECTURES, FCN, Architecture, Padding
from wheretolook.networks.weights import Weights, broken_description, preprocessing_of
from wheretolook.public import AT_ONCE, AT_ONCE_ARCH, PUBLIC_FILES, VOC_CLASSES
from wheretolook.records import CAFFE, FCN_AUTHORS, TORCHVISION, Preprocessing

log = logging.getLogger("wheretolook")
CLASSIFIER_WIDTHS = (4096, 4096)  # the predecessor's


@dataclass(frozen=True)
class FCNWeights:
    """What a file has for an FCN, in our names, with what it says about itself."""

    path: Path
    tensors: dict[str, Tensor]  # e.g. `trunk.conv1_1.weight`, float32
    preprocessing: Preprocessing
    description: dict[str, Any] = field(default_factory=dict)  # of our own files: architecture, class names, ...
    others: frozenset[str] = frozenset()  # layers of the file that no FCN has, such as VGG16's fc8

    @property
    def segments(self) -> bool:
        """Whether this is a whole segmenter, not a trunk alone."""
        return "segmenter.score_fr.weight" in self.tensors

    @property
    def architecture(self) -> Architecture:
        """What the file says, or what its layers tell; for a trunk alone the finest."""
        told: Architecture = self.description.get("network", "")
        if told:
            return told
        if not self.segments or "segmenter.score_pool3.weight" in self.tensors:
            return "fcn8s"
        return "fcn16s" if "segmenter.score_pool4.weight" in self.tensors else "fcn32s"

    @property
    def padding(self) -> Padding:
        """What the network was trained with: what the file says, the original's for FCN files."""
        padding: Padding = self.description.get("padding", "caffe" if self.segments else "same")
        return padding

    @property
    def classes(self) -> int | None:
        """How many foreground classes the file's scores are for; None where it has no scores."""
        for name, background in (("classifier.score_cl.weight", 0), ("segmenter.score_fr.weight", 1)):
            if name in self.tensors:
                return len(self.tensors[name]) - background
        return None

    def fitting(self, network: nn.Module, part: str) -> "FCNWeights":
        """Without the arrays of one part, such as `"segmenter."`, that are of other shapes than the network's."""
        own = network.state_dict()
        left_out = {
            name
            for name, tensor in self.tensors.items()
            if name.startswith(part) and name in own and own[name].shape != tensor.shape
        }
        kept = {name: tensor for name, tensor in self.tensors.items() if name not in left_out}
        return replace(self, tensors=kept, others=self.others | {name.rpartition(".")[0] for name in left_out})


def fcn_weights(weights: Weights) -> FCNWeights:
    """Take a file's arrays for those of an FCN.

    Raises:
        WeightsError: they are not, or its description is broken.
    """
    path, arrays = weights.path, weights.tensors
    torchvision = "features.0.weight" in arrays
    arrays = from_torchvision(arrays) if torchvision else arrays
    tensors = {module_name(name): tensor for name, tensor in arrays.items() if module_name(name)}
    _require_trunk(path, tensors, arrays)
    known = PUBLIC_FILES.get("" if weights.description else _public_name(path))
    _fold(tensors, known.scales if known is not None else AT_ONCE if weights.arch == AT_ONCE_ARCH else {})
    _check(path, tensors)
    others = frozenset(name.rpartition(".")[0] for name in arrays if not module_name(name))
    preprocessing = TORCHVISION if torchvision and known is None else CAFFE
    read = FCNWeights(path, _convolutional(tensors), preprocessing, others=others)
    if weights.description:
        description, preprocessing = _described(path, weights.description)
        return replace(read, description=description, preprocessing=preprocessing)
    if f"trunk.{TRUNK_LAYERS[0]}.weight" in arrays:
        log.warning("%s: says neither padding nor preprocessing; taken for same and Caffe's, as fresh networks", path)
        return replace(read, description={"padding": "same"})
    return replace(read, preprocessing=FCN_AUTHORS) if read.segments else read


def build_fcn(
    weights: FCNWeights,
    class_names: tuple[str, ...] | None = None,
    *,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
    segmenter_width: int = 4096,
    classifier_widths: tuple[int, int] | None = None,
    seed: int = 0,
) -> FCN:
    """The FCN that a file holds, in evaluation mode; what the file lacks starts afresh and is named in a warning.

    Args:
        weights: the file.
        class_names: None for those that the file names.
        padding: None for the file's.
        preprocessing: None for the file's.
        segmenter_width: of a segmenter that the file lacks.
        classifier_widths: of a classifier that the file lacks; None for the predecessor's.
        seed: of whatever starts afresh.

    Raises:
        WeightsError: arrays do not fit together, or the file has no class names and none were given.
    """
    names = _class_names(weights, class_names)
    network = ARCHITECTURES[weights.architecture](
        names,
        **_widths(weights, segmenter_width, classifier_widths or CLASSIFIER_WIDTHS),
        padding=padding or weights.padding,
        preprocessing=preprocessing or weights.preprocessing,
        dropout=weights.description.get("dropout", 0.5),
        classifier_dropout=weights.description.get("classifier_dropout"),
        seed=seed,
    )
    fill(network, weights)
    return network.eval()


def fill(network: FCN, weights: FCNWeights) -> None:
    """Copy into a network whatever the file has for it, and warn of what stays fresh and what finds no place.

    Raises:
        WeightsError: an array has another shape than the network's.
    """
    own = network.state_dict()
    shared = [name for name in own if name in weights.tensors]
    for name in shared:
        if own[name].shape != weights.tensors[name].shape:
            raise WeightsError(
                f"{weights.path}: expected {name} of shape {tuple(own[name].shape)}, got "
                f"{tuple(weights.tensors[name].shape)}; give a network of the file's widths and classes"
            )
    fresh = sorted({name.rsplit(".", 1)[0] for name in own.keys() - weights.tensors.keys()})
    unused = sorted({name.rsplit(".", 1)[0] for name in weights.tensors.keys() - own.keys()} | weights.others)
    fresh = [name for name in fresh if ".upscore" not in name]  # fixed: there is nothing to learn or to miss
    network.load_state_dict({name: weights.tensors[name] for name in shared}, strict=False)
    if fresh or unused:
        log.warning(
            "%s: loaded: %s; started fresh: %s; not used: %s",
            weights.path,
            ", ".join(dict.fromkeys(name.partition(".")[0] for name in shared)) or "none",
            ", ".join(fresh) or "none",
            ", ".join(unused) or "none",
        )


def _described(path: Path, description: dict[str, Any]) -> tuple[dict[str, Any], Preprocessing]:
    """What `FCN.describe` wrote, by its names of today."""
    description = dict(description)
    try:
        preprocessing = preprocessing_of(description)
        description.setdefault("network", description.pop("architecture", None))
        whole = (
            description["network"] in ARCHITECTURES
            and description["padding"] in get_args(Padding)
            and 0 <= description["dropout"] <= 1
            and 0 <= description.get("classifier_dropout", 0) <= 1
        )
    except (KeyError, ValueError, TypeError) as error:
        raise broken_description(path) from error
    if not whole:
        raise broken_description(path)
    return description, preprocessing


def _fold(tensors: dict[str, Tensor], scales: Mapping[str, float]) -> None:
    """Multiply the factors that a network puts on the scores of some layers into their weights."""
    for layer, scale in scales.items():
        for name in (f"segmenter.{layer}.weight", f"segmenter.{layer}.bias"):
            if name in tensors:
                tensors[name] = tensors[name] * scale


def _convolutional(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """VGG16's fully connected fc6 and fc7 as the convolutions that they are."""
    for layer, size in (("fc6", 7), ("fc7", 1)):
        name = f"segmenter.{layer}.weight"
        if name in tensors and tensors[name].ndim == 2 and tensors[name].shape[1] % size**2 == 0:
            tensors[name] = tensors[name].reshape(len(tensors[name]), -1, size, size)
    return tensors


def _require_trunk(path: Path, tensors: Mapping[str, Tensor], arrays: Mapping[str, Tensor]) -> None:
    names = (f"trunk.{layer}.weight" for layer in TRUNK_LAYERS)
    missing = [name for name in names if name not in tensors or tensors[name].ndim != 4]
    if missing:
        raise WeightsError(
            f"{path}: expected the 13 convolutions of an FCN or VGG16, got none for {', '.join(missing[:3])} among "
            f"{len(arrays)} arrays ({', '.join(list(arrays)[:3])}); choose another file, or name its network"
        )


def _check(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.ndim or not tensor.numel():
            raise WeightsError(f"{path}: expected weights, got nothing in {name}; fetch the file again")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: expected finite weights, got NaN or infinity in {name}; fetch the file again")


def _public_name(path: Path) -> str:
    """Which known public file this is, by its checksum."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {reason(error)}") from error
    return next((name for name, known in PUBLIC_FILES.items() if known.md5 == digest), "")


def _class_names(weights: FCNWeights, given: tuple[str, ...] | None) -> tuple[str, ...]:
    classes = weights.classes
    names = given or tuple(weights.description.get("class_names", ()))
    if not names and classes == len(VOC_CLASSES):
        names = VOC_CLASSES
    if not names:
        what = "a trunk alone" if classes is None else f"{classes} classes without names"
        raise WeightsError(
            f"{weights.path}: expected class names, got {what}; give class_names=(...), or, last on the command line, "
            "--class_names A B"
        )
    if classes is not None and len(names) != classes:
        raise WeightsError(f"{weights.path}: expected {classes} class names, got {len(names)}: {', '.join(names)}")
    return names


def _widths(weights: FCNWeights, segmenter_width: int, classifier_widths: tuple[int, int]) -> dict[str, Any]:
    """The widths that the shapes tell; those given where a part is missing."""

    def rows(name: str, default: int) -> int:
        return len(weights.tensors[name]) if name in weights.tensors else default

    hidden = zip(("fc6_cl", "fc7_cl"), classifier_widths, strict=True)
    last = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
    return {
        "widths": tuple(rows(f"trunk.{name}.weight", 0) for name in last),
        "segmenter_width": rows("segmenter.fc6.weight", segmenter_width),
        "classifier_widths": tuple(rows(f"classifier.{name}.weight", width) for name, width in hidden),
    }
