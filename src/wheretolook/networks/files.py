"""Weights files: our own safetensors, Chainer's npz, PyTorch state dicts, and run folders; one door for all of them.

No file is ever unpickled: `allow_pickle=False`, `weights_only=True`, safetensors for our own.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wheretolook.errors import WeightsError, reason
from wheretolook.files import replacing
from wheretolook.networks.fcn.names import TRUNK_LAYERS, from_torchvision, module_name, predecessor_name
from wheretolook.networks.fcn.network import ARCHITECTURES, FCN, Architecture, Padding
from wheretolook.networks.formats import NPZ_DESCRIPTION, read_npz, read_state_dict
from wheretolook.public import AT_ONCE, AT_ONCE_ARCH, PUBLIC_FILES, VOC_CLASSES
from wheretolook.records import CAFFE, FCN_AUTHORS, TORCHVISION, Preprocessing

log = logging.getLogger("wheretolook")
FORMAT = "wheretolook 1"
NETWORK_FILE = "network.safetensors"  # what a run folder's network is called


@dataclass(frozen=True)
class Weights:
    """What a file holds, in our names, with what it says about itself."""

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
        told: Architecture = self.description.get("architecture", "")
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

    def fitting(self, network: nn.Module, part: str) -> "Weights":
        """Without the arrays of one part, such as `"segmenter."`, that are of other shapes than the network's."""
        own = network.state_dict()
        left_out = {
            name
            for name, tensor in self.tensors.items()
            if name.startswith(part) and name in own and own[name].shape != tensor.shape
        }
        kept = {name: tensor for name, tensor in self.tensors.items() if name not in left_out}
        return replace(self, tensors=kept, others=self.others | {name.rpartition(".")[0] for name in left_out})

    def digest(self) -> str:
        """A checksum of the arrays, the same in any format."""
        checksum = hashlib.sha256()
        for name in sorted(self.tensors):
            checksum.update(name.encode() + self.tensors[name].contiguous().numpy().tobytes())
        return checksum.hexdigest()

    @property
    def classes(self) -> int | None:
        """How many foreground classes the file's scores are for; None where it has no scores."""
        for name, background in (("classifier.score_cl.weight", 0), ("segmenter.score_fr.weight", 1)):
            if name in self.tensors:
                return len(self.tensors[name]) - background
        return None


def load_network(
    path: str | Path,
    *,
    class_names: tuple[str, ...] | None = None,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> FCN:
    """Make the network that a weights file is of: in evaluation mode, float32, on the CPU.

    Reads our own safetensors; Chainer npz in the predecessor's names; PyTorch state dicts of the same networks, and of
    ours, alone or in a checkpoint of Lightning's; torchvision's VGG16; a run folder. Widths and class count come from
    the shapes. Parts that the file does not have start afresh, and a warning of the logger `wheretolook` names them.

    Args:
        path: the file, or the folder of a finished run.
        class_names: the foreground classes; None for those in the file, or VOC's where it has 20.
        padding: `"caffe"` or `"same"`; None for what the file says, `"caffe"` for FCN files, `"same"` for a trunk.
        preprocessing: None for the file's own convention.
        seed: of whatever starts afresh.

    Raises:
        WeightsError: the file is missing, broken, of another network, or has no class names and none were given.
    """
    return build(read_weights(Path(path)), class_names, padding=padding, preprocessing=preprocessing, seed=seed)


def build(
    weights: Weights,
    class_names: tuple[str, ...] | None = None,
    *,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> FCN:
    """`load_network` for a file that has been read.

    Raises:
        WeightsError: the file is of another network, or has no class names and none were given.
    """
    if preprocessing is not None:
        weights = replace(weights, preprocessing=preprocessing)
    names = _class_names(weights, class_names)
    network = ARCHITECTURES[weights.architecture](
        names,
        **_widths(weights),
        padding=padding or weights.padding,
        preprocessing=weights.preprocessing,
        dropout=weights.description.get("dropout", 0.5),
        classifier_dropout=weights.description.get("classifier_dropout"),
        seed=seed,
    )
    fill(network, weights)
    return network.eval()


def fill(network: FCN, weights: Weights) -> None:
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


def read_weights(path: Path) -> Weights:
    """Read any weights file that we know, without building a network.

    Raises:
        WeightsError: the file is missing, broken, or not of an FCN or VGG16.
    """
    path = path.expanduser()
    if path.is_dir():
        path = _network_of_run(path)
    if not path.is_file():
        raise WeightsError(f"expected a weights file at {path}, found none; check the path")
    if path.suffix == ".safetensors":
        return _read_own(path)
    text, arch = None, ""
    if path.suffix == ".npz":
        arrays, text = read_npz(path)
    else:
        arrays, arch = read_state_dict(path)
    torchvision = "features.0.weight" in arrays
    arrays = from_torchvision(arrays) if torchvision else arrays
    tensors = {module_name(name): tensor for name, tensor in arrays.items() if module_name(name)}
    _require_trunk(path, tensors, arrays)
    known = PUBLIC_FILES.get(_public_name(path))
    scales = known.scales if known is not None else AT_ONCE if arch == AT_ONCE_ARCH else {}
    for layer, scale in scales.items():
        for name in (f"segmenter.{layer}.weight", f"segmenter.{layer}.bias"):
            if name in tensors:
                tensors[name] = tensors[name] * scale
    _check(path, tensors)
    others = frozenset(name.rpartition(".")[0] for name in arrays if not module_name(name))
    preprocessing = TORCHVISION if torchvision and known is None else CAFFE
    weights = Weights(path, _convolutional(tensors), preprocessing, others=others)
    if text is not None:
        description, preprocessing = _described(path, text)
        return replace(weights, description=description, preprocessing=preprocessing)
    if f"trunk.{TRUNK_LAYERS[0]}.weight" in arrays:
        log.warning("%s: says neither padding nor preprocessing; taken for same and Caffe's, as fresh networks", path)
        return replace(weights, description={"padding": "same"})
    return replace(weights, preprocessing=FCN_AUTHORS) if weights.segments else weights


def save_network(network: FCN, path: str | Path) -> None:
    """Write a network: `.safetensors` with everything needed to make it again, or `.npz` in the predecessor's names.

    An npz carries class names, padding and preprocessing in an array of text beside the weights, which Chainer skips.

    Raises:
        WeightsError: the ending is neither.
        DataError: the file cannot be written.
    """
    path = Path(path).expanduser()
    # every array of an FCN is of floats; a run in another precision leaves them in that one
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in network.state_dict().items()}
    if path.suffix == ".npz":
        arrays = {predecessor_name(name): tensor.numpy() for name, tensor in tensors.items()}
        arrays[NPZ_DESCRIPTION] = np.array(json.dumps(describe(network)))
        with replacing(path) as temporary:
            np.savez(temporary, **arrays)
    elif path.suffix == ".safetensors":
        with replacing(path) as temporary:
            temporary.touch()
            permissions = temporary.stat().st_mode  # safetensors would let only the owner read
            try:
                save_file(tensors, temporary, {"format": FORMAT, "network": json.dumps(describe(network))})
            except SafetensorError as error:
                raise _as_system_error(error) from error
            _sort_metadata(temporary)
            temporary.chmod(permissions)
    else:
        raise WeightsError(f"expected a name ending in .safetensors or .npz, got {path.name}; choose one of the two")


def _as_system_error(error: SafetensorError) -> OSError:
    """What the system said, which safetensors wraps in its own words: "... (os error 28) at path ..."."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is None:
        return OSError(0, " ".join(str(error).split()))
    code = int(number[1])
    return OSError(code, os.strerror(code))


def _sort_metadata(path: Path) -> None:
    """Safetensors writes its metadata in random order; sorted, the same network is the same file."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(text.ljust(length))


def describe(network: FCN) -> dict[str, Any]:
    """Everything but the arrays: what `load_network` needs to make the network again."""
    return {
        "architecture": f"fcn{network.stride}s",
        "class_names": list(network.class_names),
        "padding": network.padding,
        "dropout": network.segmenter.dropout.p,
        "classifier_dropout": network.classifier.dropout.p,
        "preprocessing": asdict(network.preprocessing),
    }


def _read_own(path: Path) -> Weights:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: expected a safetensors file, got a broken one ({error}); fetch it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: expected a file written by wheretolook, got other safetensors; convert a .pth or .npz"
        )
    description, preprocessing = _described(path, metadata.get("network", ""))
    _require_trunk(path, tensors, tensors)
    _check(path, tensors)
    return Weights(path, tensors, preprocessing, description)


def _described(path: Path, text: str) -> tuple[dict[str, Any], Preprocessing]:
    try:
        return _description(text)
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: expected its network's description, got a broken one; save it again") from error


def _description(text: str) -> tuple[dict[str, Any], Preprocessing]:
    """What `describe` wrote; any other text raises one of KeyError, ValueError and TypeError."""
    description = dict(json.loads(text))
    values = description.pop("preprocessing")
    mean, std = ((float(one), float(two), float(three)) for one, two, three in (values["mean"], values["std"]))
    whole = (
        description["architecture"] in ARCHITECTURES
        and description["padding"] in get_args(Padding)
        and 0 <= description["dropout"] <= 1
        and 0 <= description.get("classifier_dropout", 0) <= 1
        and all(isinstance(name, str) for name in description["class_names"])
        and values["channels"] in ("RGB", "BGR")
    )
    if not whole:
        raise ValueError(text)
    return description, Preprocessing(values["channels"], float(values["scale"]), mean, std)


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
            f"{len(arrays)} arrays ({', '.join(list(arrays)[:3])}); choose another file"
        )


def _check(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.ndim or not tensor.numel():
            raise WeightsError(f"{path}: expected weights, got nothing in {name}; fetch the file again")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: expected finite weights, got NaN or infinity in {name}; fetch the file again")


def _network_of_run(folder: Path) -> Path:
    if (folder / NETWORK_FILE).is_file():
        return folder / NETWORK_FILE
    inside = sorted(path.parent.name for path in folder.glob(f"*/{NETWORK_FILE}"))
    hint = f"; it holds the runs {', '.join(inside)}: name one of them" if inside else "; is the run finished?"
    raise WeightsError(f"expected a {NETWORK_FILE} in the run folder {folder}, found none{hint}")


def _public_name(path: Path) -> str:
    """Which known public file this is, by its checksum."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {reason(error)}") from error
    return next((name for name, known in PUBLIC_FILES.items() if known.md5 == digest), "")


def _class_names(weights: Weights, given: tuple[str, ...] | None) -> tuple[str, ...]:
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


def _widths(weights: Weights) -> dict[str, Any]:
    """The widths that the shapes tell; the original's where a part is missing."""

    def rows(name: str, default: int) -> int:
        return len(weights.tensors[name]) if name in weights.tensors else default

    last = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
    return {
        "widths": tuple(rows(f"trunk.{name}.weight", 0) for name in last),
        "segmenter_width": rows("segmenter.fc6.weight", 4096),
        "classifier_widths": tuple(rows(f"classifier.{name}.weight", 4096) for name in ("fc6_cl", "fc7_cl")),
    }
