"""What a weights file holds, of whatever network and in whatever format."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from wheretolook.errors import WeightsError
from wheretolook.networks.fcn.names import own_names
from wheretolook.records import Preprocessing


@dataclass(frozen=True)
class Weights:
    """A file that has been read; which network it makes is for `networks.build` to find out.

    Args:
        path: where it was.
        tensors: its arrays by the file's own names, without what wrappers put before them; floats in single precision.
        description: of our own files, how to build the network again (`GuidedNetwork.describe`); of others' nothing.
        arch: what the program that wrote a checkpoint calls the network; mostly nothing.
    """

    path: Path
    tensors: dict[str, Tensor]
    description: dict[str, Any] = field(default_factory=dict)
    arch: str = ""

    @property
    def network(self) -> str:
        """Which network the file says that it is of, such as `"timm:convnext_atto"`; empty where it does not say."""
        return str(self.description.get("network", self.description.get("architecture", "")))

    def digest(self) -> str:
        """A checksum of the arrays, the same in any format."""
        checksum = hashlib.sha256()
        tensors = own_names(self.tensors)
        for name in sorted(tensors):
            checksum.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
        return checksum.hexdigest()


def preprocessing_of(description: dict[str, Any]) -> Preprocessing:
    """The preprocessing that a description tells.

    Raises:
        KeyError, ValueError, TypeError: it tells none that makes sense.
    """
    values = description["preprocessing"]
    mean, std = ((float(one), float(two), float(three)) for one, two, three in (values["mean"], values["std"]))
    if values["channels"] not in ("RGB", "BGR"):
        raise ValueError(values)
    return Preprocessing(values["channels"], float(values["scale"]), mean, std)


def broken_description(path: Path) -> WeightsError:
    """What to say of a file of ours whose description makes no sense."""
    return WeightsError(f"{path}: expected its network's description, got a broken one; save it again")
