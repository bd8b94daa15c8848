"""The formats that weights are written in, read without unpickling anything."""

import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.serialization import safe_globals

from wheretolook.errors import WeightsError

NPZ_DESCRIPTION = "wheretolook/network"  # the array of text in which an npz of ours says what network it is of

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module")  # what checkpoints keep theirs under
# what Lightning, DataParallel, torch.compile and our own stages put before every name
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.")

MOST_KINDS = 100  # of objects beside the weights of one checkpoint


class Inert:
    """Stands for every object that a checkpoint keeps beside its weights: arguments, paths, scores as numpy has them.

    Nothing that the file names is imported or called in the making of one.
    """

    def __new__(cls, *_: object, **__: object) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Whatever the object was made of is not looked at."""

    def __setstate__(self, _: object) -> None:
        """Nor is what it held."""


def read_npz(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """The arrays of an npz in Chainer's names, and what the file says about itself if it is one of ours.

    Chainer's `conv1_1/W` and `/b` become `conv1_1.weight` and `.bias`; half precision is cast up.

    Raises:
        WeightsError: the file is broken, or holds a pickled object.
    """
    try:
        # opened as what it must be: numpy takes whatever is neither npz nor npy, such as a page of HTML, for a pickle
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile and numpy raise a dozen kinds for a broken file
        if "allow_pickle" in str(error):
            raise WeightsError(f"{path}: expected plain arrays, got a pickled object, which is never loaded") from error
        raise WeightsError(f"{path}: expected an npz file, got a broken one; fetch it again") from error
    text = members.pop(NPZ_DESCRIPTION, None)
    arrays = {name: value for name, value in members.items() if isinstance(value, np.ndarray)}
    ends = {"W": "weight", "b": "bias"}
    parts = {name: name.rpartition("/") for name in arrays}
    tensors = {
        f"{layer}.{ends[end]}": torch.from_numpy(np.asarray(arrays[name], np.float32))
        for name, (layer, _, end) in parts.items()
        if end in ends and arrays[name].dtype.kind == "f"
    }
    return tensors, None if text is None else str(text)


class Checkpoint(NamedTuple):
    """What a PyTorch file holds that a network can use."""

    tensors: dict[str, Tensor]
    arch: str = ""  # what some training programs call the network


def read_state_dict(path: Path) -> Checkpoint:
    """The tensors of a PyTorch file by name: a state dict, alone or in a checkpoint; half precision is cast up.

    Raises:
        WeightsError: the file is broken, holds anything but plain tensors and numbers, or no state dict.
    """
    try:
        loaded = _load(path)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise WeightsError(
            f"{path}: expected a PyTorch state dict of plain tensors, got something else or a broken file; "
            "save it with torch.save(model.state_dict(), ...)"
        ) from error
    arch = loaded.get("arch") if isinstance(loaded, Mapping) else None
    while inner := _inside(loaded):
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: expected a state dict, got a {type(loaded).__name__}; save model.state_dict()")
    tensors = {str(name): _single(value) for name, value in loaded.items() if isinstance(value, Tensor)}
    return Checkpoint(without_prefixes(tensors), arch if isinstance(arch, str) else "")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The arrays of a safetensors file, half precision cast up, and its metadata.

    Raises:
        WeightsError: the file is broken.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: _single(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: expected a safetensors file, got a broken one ({error}); fetch it again"
        ) from error
    return tensors if "wheretolook" in metadata.get("format", "") else without_prefixes(tensors), metadata


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write arrays and metadata; the same ones always make the same file, with the permissions of any new file.

    Raises:
        OSError: the file cannot be written.
    """
    path.touch()
    permissions = path.stat().st_mode  # safetensors would let only the owner read
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise _as_system_error(error) from error
    _sort_metadata(path)
    path.chmod(permissions)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


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


def _load(path: Path) -> object:
    """Load plain values and tensors; whatever else there is becomes `Inert`, kind by kind, as torch complains of it."""
    inert: list[tuple[Callable[..., object], str]] = []
    while True:
        try:
            with safe_globals([*inert]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            complaint = re.search(r"Unsupported global: GLOBAL (\S+) ", str(error))
            if complaint is None or (Inert, complaint[1]) in inert or len(inert) > MOST_KINDS:
                raise
            # torch leaves `builtins` out of what it says
            inert += [(Inert, complaint[1]), (Inert, f"builtins.{complaint[1]}")]


def without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what wrappers put before the name of every one of them.

    Example:
        >>> list(without_prefixes({"module.model.conv.bias": torch.zeros(1), "module.model.norm.bias": torch.zeros(1)}))
        ['conv.bias', 'norm.bias']
        >>> list(without_prefixes({"model.conv.bias": torch.zeros(1), "head.bias": torch.zeros(1)}))
        ['model.conv.bias', 'head.bias']
    """
    shorter = dict(tensors)
    while shorter and (prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in shorter)), "")):
        shorter = {name.removeprefix(prefix): tensor for name, tensor in shorter.items()}
    return shorter


def _inside(loaded: object) -> Mapping[str, object] | None:
    """The state dict that a checkpoint wraps; None for what is no wrapper."""
    if not isinstance(loaded, Mapping):
        return None
    return next((loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), Mapping) and loaded[name]), None)
