"""Whether an exported graph gives what torch gives, at batches and sizes that it was not traced with."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wheretolook.attention.methods import attention_maps
from wheretolook.errors import WhereToLookError
from wheretolook.networks.guide import GuidedModule
from wheretolook.predict.description import OUTPUTS, Size
from wheretolook.records import GuidedNetwork

MOST = 1e-4  # of the largest value: how far an exported network may be from torch
USUAL = (96, 128)  # of an FCN, which has no size of its own
BATCHES = (3, 1, 2)
CLASSES = 16  # whose maps are compared for each batch, others each time: autograd takes seconds for a thousand


@dataclass
class Differences:
    """The largest difference of each output, relative to its largest value, and where it was looked for."""

    of: dict[str, float] = field(default_factory=dict)
    tried: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def largest(self) -> float:
        """Of all outputs."""
        return max(self.of.values())


def sizes_to_try(network: GuidedNetwork) -> list[Size]:
    """The size to trace with, and others: no multiple of anything, then multiples of the usual strides."""
    height, width = network.input_size if isinstance(network, GuidedModule) else USUAL
    return [(height, width), (height + 19, width + 37), (height + 64, width + 32), (height + 28, width + 56)]


def taken_by(network: GuidedNetwork, sizes: Sequence[Size]) -> list[Size]:
    """The first of these sizes, and at most two of the others: those that the network takes."""
    taken = [sizes[0]]
    for size in sizes[1:]:
        try:
            network(torch.zeros(1, 3, *size))
        except (WhereToLookError, RuntimeError, ValueError, AssertionError):
            continue
        taken.append(size)
    return taken[:3]


def differences(
    network: GuidedNetwork,
    run: Callable[[Tensor], tuple[Tensor, ...]],
    sizes: Sequence[Size],
    *,
    names: Sequence[str] | None = None,
    signed: bool = False,
) -> Differences:
    """How far what `run` gives is from what the network gives, on noise.

    Args:
        network: in torch.
        run: from RGB images in [0, 1] to the outputs, in order.
        sizes: height and width of the images.
        names: of the outputs; None for those that the network has, as many as `run` gives.
        signed: whether the maps have no ReLU.
    """
    found = Differences()
    tried = sizes if len(sizes) > 1 else [*sizes, *sizes]  # two batches at least
    for batch, size in zip(BATCHES, tried, strict=False):
        images = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            given = dict(zip(names or _names(network), run(images), strict=False))
        found.tried.append((batch, *size))
        for name, far in _distances(network, images, given, signed=signed).items():
            found.of[name] = max(found.of.get(name, 0.0), far if math.isfinite(far) else math.inf)
    return found


def _names(network: GuidedNetwork) -> list[str]:
    return [name for name in OUTPUTS if name != "mask_scores" or network.segments]


def _distances(
    network: GuidedNetwork, images: Tensor, given: Mapping[str, Tensor], *, signed: bool
) -> dict[str, float]:
    """Of each output that was given, how far it is from torch's, relative to the largest value."""
    output = network(network.preprocessing(images))
    found = {"class_scores": _distance(given["class_scores"], output.class_scores)}
    if output.mask_scores is not None and "mask_scores" in given:
        found["mask_scores"] = _distance(given["mask_scores"], output.mask_scores)
    if "attention_maps" in given:
        count = len(network.class_names)
        classes = sorted({(len(images) + index * count // CLASSES) % count for index in range(CLASSES)})
        # with its sign, since a ReLU may leave little of maps of large values, whose rounding it keeps
        maps = attention_maps(output, classes, method=network.attention, signed=True).detach()
        expected = maps if signed else maps.relu()
        found["attention_maps"] = _distance(given["attention_maps"][:, classes], expected, float(maps.abs().max()))
    return found


def _distance(given: Tensor, expected: Tensor, largest: float | None = None) -> float:
    if given.shape != expected.shape:
        return math.inf
    scale = float(expected.detach().abs().max()) if largest is None else largest
    return float((given - expected.detach()).abs().max()) / max(scale, 1e-30)
