"""The formats that others write weights in, read without unpickling anything."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wheretolook.errors import WeightsError

NPZ_DESCRIPTION = "wheretolook/network"  # the array of text in which an npz of ours says what network it is of


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


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file by name: a state dict, alone or in a checkpoint; half precision is cast up.

    Raises:
        WeightsError: the file is broken, holds anything but plain tensors, or no state dict.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise WeightsError(
            f"{path}: expected a PyTorch state dict of plain tensors, got something else or a broken file; "
            "save it with torch.save(model.state_dict(), ...)"
        ) from error
    for wrapper in ("state_dict", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: expected a state dict, got a {type(loaded).__name__}; save model.state_dict()")
    return {
        str(name).removeprefix("module.").removeprefix("network."): value.float()
        for name, value in loaded.items()
        if isinstance(value, Tensor)
    }
