"""Write a guided network as one graph that other programs run, once it gives what torch gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from wheretolook.errors import ConfigError
from wheretolook.export.checks import MOST, Differences, differences, sizes_to_try, taken_by
from wheretolook.export.formats import WRITERS, Writer
from wheretolook.export.gradient import NotWrittenOutError
from wheretolook.export.graph import ScoresAndMaps, exported, pads_by_size, quiet, takes_any_size, traced
from wheretolook.networks.fcn.network import FCN
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.modes import untouched
from wheretolook.networks.plain import PlainNetwork
from wheretolook.predict.description import OUTPUTS, Description, Place, Size
from wheretolook.records import GuidedNetwork

Format = Literal["onnx", "torch"]


@dataclass(frozen=True)
class Exported:
    """What was written, and what was checked before.

    Attributes:
        path: the file.
        outputs: what the graph gives.
        fixed_size: height and width that its images must have; None for any that the network takes.
        differences: the largest difference from torch of each output, relative to its largest value.
        tried: batch, height and width that they were seen in.
        slower: how many times as long the graph takes with attention maps as without; None where that was not measured.
    """

    path: Path
    outputs: tuple[str, ...]
    fixed_size: Size | None
    differences: dict[str, float]
    tried: list[tuple[int, int, int]] = field(default_factory=list)
    slower: float | None = None


def export_network(
    network: GuidedNetwork,
    path: str | Path,
    *,
    format: Format = "onnx",
    attention: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Write class scores, mask scores and attention maps of all classes as one graph without autograd.

    The graph takes RGB images in [0, 1], (batch, 3, height, width), with the preprocessing inside. Its maps are those
    of `attention_maps`: at feature resolution, after the ReLU, not normalised. Nothing is written unless what the file
    gives is what torch gives, for another batch and other sizes than it was traced with, to 1e-4 of the largest value.

    Args:
        network: an FCN, or what `guide` makes; left as it is.
        path: the file to write.
        format: `"onnx"`, or `"torch"` for a program of `torch.export` (.pt2).
        attention: False leaves the maps out.
        progress: called with each step's name.

    Raises:
        ConfigError: the maps cannot be written out without autograd, the network cannot be traced, what it gives is not
            what torch gives, or a package is missing.
        DataError: the file cannot be written.
    """
    path = Path(path).expanduser()
    writer = WRITERS[format]
    if path.suffix != writer.suffix:
        raise ConfigError(f"expected a name ending in {writer.suffix} for the format {format}, got {path.name}")
    writer.require()
    if attention and len(_layers(network)) > 1:
        raise _no_maps(f"they are made of several layers, {' and '.join(_layers(network))}")
    with untouched(network), quiet():
        sizes = taken_by(network, sizes_to_try(network))
        progress("tracing the network")
        graph, sizes = _traced(network, sizes)
        progress("attention maps as products of weights and features")
        whole = _with_maps(graph, network, sizes) if attention else ScoresAndMaps(graph, maps=False)
        program = exported(whole, torch.rand(2, 3, *sizes[0]), any_size=len(sizes) > 1)
        sizes = sizes if takes_any_size(program) else sizes[:1]
        return _written(network, whole, program, path, sizes, writer, progress)


def _traced(network: GuidedNetwork, sizes: list[Size]) -> tuple[GraphModule, list[Size]]:
    """The graph for any size if it gives at all of these what the network gives; else for the first alone."""
    plain, images = PlainNetwork(network), torch.rand(2, 3, *sizes[0])
    if len(sizes) > 1 and not pads_by_size(plain, images):
        graph = traced(plain, images, any_size=True)
        try:
            if differences(network, ScoresAndMaps(graph, maps=False), sizes).largest <= MOST:
                return graph, sizes
        except (RuntimeError, AssertionError, ValueError):  # what was traced holds for some sizes only
            pass
    return traced(plain, images, any_size=False), sizes[:1]


def _with_maps(graph: GraphModule, network: GuidedNetwork, sizes: list[Size]) -> ScoresAndMaps:
    """The graph with maps; whether they can be written out is decided by their values, before the ReLU hides half.

    Raises:
        ConfigError: they cannot.
    """
    cam = network.attention == "cam"
    try:
        signed = ScoresAndMaps(graph, maps=True, positions=cam, signed=True)
        found = differences(network, signed, sizes, signed=True)
    except NotWrittenOutError as error:
        (layer,) = _layers(network)
        raise _no_maps(f"the gradient of {error}, which lies behind layer '{layer}', is not written out") from error
    if found.largest > MOST:
        raise _no_maps(f"those of {network.attention} differ by {found.largest:.1g} of the largest value")
    return ScoresAndMaps(graph, maps=True, positions=cam)


def _no_maps(reason: str) -> ConfigError:
    return ConfigError(f"attention maps cannot be exported: {reason}; --without_attention exports the scores alone")


def _layers(network: GuidedNetwork) -> tuple[str, ...]:
    return network.layers if isinstance(network, FCN | GuidedModule) else ()


def _written(
    network: GuidedNetwork,
    whole: ScoresAndMaps,
    program: ExportedProgram,
    path: Path,
    sizes: list[Size],
    writer: Writer,
    progress: Callable[[str], None],
) -> Exported:
    outputs = tuple(name for name, there in zip(OUTPUTS, (True, network.segments, whole.maps), strict=True) if there)
    tried: list[Differences] = []

    def check(run: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]) -> None:
        progress("the file against torch")
        tried.append(differences(network, run, sizes, names=outputs))
        if tried[-1].largest > MOST:
            worst = max(tried[-1].of, key=lambda name: tried[-1].of[name])
            raise ConfigError(
                f"expected {worst} of the exported graph as torch gives them, got a difference of "
                f"{tried[-1].of[worst]:.1g} of the largest value; nothing was written"
            )

    fixed = None if len(sizes) > 1 else sizes[0]
    description = _described(network, outputs, fixed, sizes, maps=whole.maps)
    progress(f"writing {path.suffix}")
    slower = writer.write(program, path, description, check)
    return Exported(path, outputs, fixed, tried[-1].of, tried[-1].tried, slower)


def _described(
    network: GuidedNetwork, outputs: tuple[str, ...], fixed: Size | None, sizes: list[Size], *, maps: bool
) -> Description:
    guided = network if isinstance(network, GuidedModule) else None
    places = [_place(network, size) for size in sizes] if maps else []
    return Description(
        class_names=network.class_names,
        outputs=outputs,
        fixed_size=fixed,
        usual_size=None if guided is None else guided.input_size,
        places=tuple(place for place in places if place is not None),
        attention=network.attention,
        layer=" ".join(_layers(network)),
    )


def _place(network: GuidedNetwork, size: Size) -> Place | None:
    cells = network(torch.zeros(1, 3, *size), segment=False).cells
    return None if cells is None else Place(size, cells.stride, cells.offset)
