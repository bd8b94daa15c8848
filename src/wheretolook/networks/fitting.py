"""A state dict put into a bare module, whoever wrote it: names matched, what does not fit said."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from wheretolook.errors import WeightsError
from wheretolook.networks.formats import PREFIXES
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.huggingface import renamed
from wheretolook.networks.reading import uncompiled
from wheretolook.networks.weights import Weights

log = logging.getLogger("wheretolook")
MOST_NAMES = 6  # in one message


def fill_module(module: nn.Module, weights: Weights) -> None:
    """Copy a state dict into a bare module, whatever its names are prefixed by, and warn of what does not fit.

    Arrays of another shape, such as the last layer's for another number of classes, are left fresh.

    Raises:
        WeightsError: nothing fits, or there is a NaN.
    """
    own = module.state_dict()
    theirs = best_reading(module, weights)
    shared = fitting(own, theirs)
    if not any(tensor.is_floating_point() and tensor.ndim > 1 for tensor in shared.values()):  # a bias fits by chance
        raise WeightsError(
            f"{weights.path}: expected weights of {type(module).__name__}, with arrays {listed(list(own))}, got "
            f"none that fits: {listed(list(weights.tensors))}; choose another file or network"
        )
    require_numbers(weights, shared)
    module.load_state_dict(shared, strict=False)
    other = [
        f"{name} ({_shape(theirs[name])} in the file, {_shape(own[name])} in the network)"
        for name in own
        if name in theirs and name not in shared
    ]
    fresh = [name for name in own if name not in theirs and not name.endswith("num_batches_tracked")]
    unused = [name for name in theirs if name not in own]
    if other or fresh or unused:
        log.warning(
            "%s: %d of the network's %d arrays loaded; left fresh, since of another shape: %s; left fresh, since not "
            "in the file: %s; not used: %s",
            weights.path,
            len(shared),
            len(own),
            listed(other),
            listed(_layers(fresh)),
            listed(_layers(unused)),
        )


def fresh_heads(network: GuidedModule, weights: Weights) -> list[str]:
    """Parameters behind the layer that attention is read from, for which a bare state dict has nothing that fits."""
    own = uncompiled(network.module)
    shared = fitting(own.state_dict(), best_reading(own, weights))
    behind = {id(one) for part in network.part("classifier") + network.part("segmenter") for one in part.parameters()}
    return [name for name, one in own.named_parameters() if id(one) in behind and name not in shared]


def best_reading(module: nn.Module, weights: Weights) -> Mapping[str, Tensor]:
    """The file's arrays by those names under which most of them fit the module."""
    own = module.state_dict()
    return max(_readings(weights.tensors, module), key=lambda reading: len(fitting(own, reading)))


def _readings(tensors: Mapping[str, Tensor], module: nn.Module) -> Iterator[Mapping[str, Tensor]]:
    """The arrays by the names that they may be meant by: as they are, without a wrapper's prefix, in a part of ours."""
    shorter = tensors
    yield shorter
    while inner := next((found for prefix in PREFIXES if (found := _without(shorter, prefix))), None):
        shorter = inner
        yield shorter
    for part, _ in module.named_children():
        yield {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    # torchvision's published densenets are of a time when a module's name could have a dot
    yield {re.sub(r"\b(norm|conv)\.(?=[12]\.)", r"\1", name): tensor for name, tensor in shorter.items()}
    if type(module).__module__.startswith("transformers."):
        with suppress(RuntimeError, ValueError, KeyError):  # its reader may find nothing of its own
            yield renamed(module, shorter)


def _without(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def fitting(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of their arrays that have a name and shape of ours."""
    return {name: tensor for name, tensor in theirs.items() if name in own and own[name].shape == tensor.shape}


def require_numbers(weights: Weights, tensors: Mapping[str, Tensor]) -> None:
    """Make sure that nothing that is loaded is NaN.

    Raises:
        WeightsError: something is.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            raise WeightsError(f"{weights.path}: expected finite weights, got NaN in {name}; fetch the file again")


def _layers(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return (", ".join(names[:MOST_NAMES]) or "none") + (f" and {more} more" if more > 0 else "")
