"""Weights files of any network: read, written and made into the network again.

No file is ever unpickled: `allow_pickle=False`, `weights_only=True`, safetensors for our own.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wheretolook.errors import WeightsError
from wheretolook.files import replacing
from wheretolook.networks.build import build
from wheretolook.networks.fcn.names import predecessor_name
from wheretolook.networks.fcn.network import ARCHITECTURES, FCN, Padding
from wheretolook.networks.formats import (
    NPZ_DESCRIPTION,
    read_npz,
    read_safetensors,
    read_state_dict,
    write_safetensors,
)
from wheretolook.networks.weights import Weights, broken_description, preprocessing_of
from wheretolook.options.network import NetworkOptions
from wheretolook.records import GuidedNetwork, Preprocessing

FORMAT = "wheretolook 2"  # the first kind, read as well, described FCNs only
FORMATS = ("wheretolook 1", FORMAT)
NETWORK_FILE = "network.safetensors"  # what a run folder's network is called
OTHERS_FILES = ("model.safetensors", "pytorch_model.bin")  # and that of a folder of Hugging Face's


def load_network(
    path: str | Path,
    *,
    class_names: tuple[str, ...] | None = None,
    network: NetworkOptions | str | None = None,
    make: Callable[..., nn.Module] | None = None,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> GuidedNetwork:
    """Make the network that a weights file is of: in evaluation mode, float32, on the CPU.

    Reads our own safetensors and run folders; Chainer npz in the predecessor's names; PyTorch state dicts of FCNs, of
    torchvision's VGG16 and, where `network` or `make` says of which, of any network: alone, in safetensors or in a
    checkpoint. Parts that the file does not have start afresh, and a warning of the logger `wheretolook` names them.

    Args:
        path: the file, or the folder of a finished run.
        class_names: the foreground classes; None for those in the file, or VOC's where an FCN has 20.
        network: which network it is, such as `"timm:convnext_atto"`; None for what the file says or shows.
        make: makes the module of a network that no library has; a file that names such a function is not believed.
        padding: of an FCN, `"caffe"` or `"same"`; None for what the file says, `"caffe"` for FCN files, `"same"` for a
            trunk.
        preprocessing: None for the file's own convention.
        seed: of whatever starts afresh.

    Raises:
        WeightsError: the file is missing, broken, of another network, or has no class names and none were given.
    """
    options = NetworkOptions(name=network) if isinstance(network, str) else network or NetworkOptions()
    weights = read_weights(Path(path))
    return build(weights, class_names, options, make=make, padding=padding, preprocessing=preprocessing, seed=seed)


def read_weights(path: Path) -> Weights:
    """Read any weights file, without building a network.

    Raises:
        WeightsError: the file is missing or broken.
    """
    path = path.expanduser()
    if path.is_dir():
        path = _network_of_folder(path)
    if not path.is_file():
        raise WeightsError(f"expected a weights file at {path}, found none; check the path")
    text, arch = None, ""
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path)
        text = _own_text(path, metadata)
    elif path.suffix == ".npz":
        tensors, text = read_npz(path)
    else:
        tensors, arch = read_state_dict(path)
    return Weights(path, tensors, {} if text is None else _description(path, text), arch)


def save_network(network: GuidedNetwork, path: str | Path) -> None:
    """Write a network, in the format that the name's ending tells.

    `.safetensors` has everything needed to make it again. `.npz` has an FCN in the predecessor's names, with class
    names, padding and preprocessing in an array of text beside the weights, which Chainer skips. `.pth` has the state
    dict of the bare module for programs without wheretolook, and nothing else.

    Raises:
        WeightsError: the ending is none of these, or an npz is wanted of a network that is no FCN.
        DataError: the file cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix == ".npz":
        if not isinstance(network, FCN):
            raise WeightsError(f"expected an FCN for {path.name}, got another network; choose .safetensors or .pth")
        arrays: dict[str, Any] = {predecessor_name(name): tensor.numpy() for name, tensor in _tensors(network).items()}
        arrays[NPZ_DESCRIPTION] = np.array(json.dumps(network.describe()))
        with replacing(path) as temporary:
            np.savez(temporary, **arrays)
    elif path.suffix == ".safetensors":
        metadata = {"format": FORMAT, "network": json.dumps(network.describe())}
        with replacing(path) as temporary:
            write_safetensors(temporary, _tensors(network), metadata)
    elif path.suffix == ".pth":
        with replacing(path) as temporary:
            torch.save(_tensors(getattr(network, "module", network)), temporary)
    else:
        raise WeightsError(
            f"expected a name ending in .safetensors, .pth or .npz, got {path.name}; choose one of these"
        )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every array of a module's state: floats in single precision, since a run in another leaves them in that one."""
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }


def _own_text(path: Path, metadata: Mapping[str, str]) -> str | None:
    """The description in a file of ours; None in one of others."""
    written = metadata.get("format", "")
    if not written.startswith("wheretolook"):
        return None
    if written not in FORMATS:
        raise WeightsError(f"{path}: expected a file of {' or '.join(FORMATS)}, got {written}; update wheretolook")
    return metadata.get("network", "")


def _description(path: Path, text: str) -> dict[str, Any]:
    """What `GuidedNetwork.describe` wrote, made sure of as far as it is the same for every network."""
    try:
        description = dict(json.loads(text))
        preprocessing_of(description)
        network = description.get("network", description.get("architecture"))
        names = description["class_names"]
        whole = (
            isinstance(network, str)
            and (network in ARCHITECTURES or ":" in network or not network)
            and isinstance(names, list)
            and all(isinstance(name, str) for name in names)
        )
    except (KeyError, ValueError, TypeError) as error:
        raise broken_description(path) from error
    if not whole:
        raise broken_description(path)
    return description


def _network_of_folder(folder: Path) -> Path:
    found = next((folder / name for name in (NETWORK_FILE, *OTHERS_FILES) if (folder / name).is_file()), None)
    if found is not None:
        return found
    inside = sorted(path.parent.name for path in folder.glob(f"*/{NETWORK_FILE}"))
    hint = f"; it holds the runs {', '.join(inside)}: name one of them" if inside else "; is the run finished?"
    raise WeightsError(f"expected a {NETWORK_FILE} in the run folder {folder}, found none{hint}")
