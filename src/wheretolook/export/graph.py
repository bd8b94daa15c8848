"""A guided network as one traced graph, with attention maps of all classes and without autograd."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._python_dispatch import TorchDispatchMode

from wheretolook.errors import ConfigError, WhereToLookError
from wheretolook.export.gradient import NotWrittenOutError, channel_weights
from wheretolook.networks.plain import PlainNetwork

NO_RULE = ("_assert_tensor_metadata", "_guards_fn", "_assert_scalar")
aten = torch.ops.aten
PADS = (aten.constant_pad_nd.default, aten.reflection_pad2d.default, aten.replication_pad2d.default)


class ScoresAndMaps(nn.Module):
    """Class scores, mask scores where there are any, and attention maps, from one traced graph.

    Args:
        traced: of a `PlainNetwork`.
        maps: False leaves the attention maps out.
        positions: multiply maps by how many positions there are, which makes CAM of Grad-CAM.
        signed: leave out the maps' ReLU.
    """

    def __init__(self, traced: GraphModule, *, maps: bool, positions: bool = False, signed: bool = False) -> None:
        super().__init__()
        self.traced = traced
        self.maps, self.positions, self.signed = maps, positions, signed
        (output,) = (node for node in traced.graph.nodes if node.op == "output")
        self.nodes: tuple[Node, ...] = tuple(output.args[0])

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> tuple[Tensor, ...]:
        """Class scores, mask scores where there are any, and maps."""
        values = _Keeping(self.traced, garbage_collect_values=False)
        features, *scores = values.run(images)
        if not self.maps:
            return tuple(scores)
        weights = channel_weights(values.env, self.nodes[0], self.nodes[1])
        height, width = features.shape[2:]
        maps = (weights @ features.flatten(2)).unflatten(2, (height, width))
        maps = maps * (height * width) if self.positions else maps
        return *scores, maps if self.signed else maps.relu()


class _Keeping(Interpreter):
    """Runs a graph and keeps what each node gave."""


def traced(network: PlainNetwork, images: Tensor, *, any_size: bool) -> GraphModule:
    """The network's graph, for any batch.

    Args:
        network: features and scores.
        images: to trace it with.
        any_size: for images of any size, as far as the network can be traced like that; else of this one.

    Raises:
        ConfigError: the network cannot be traced.
    """
    program = _exported(network, images, any_size=any_size)
    graph: GraphModule = program.run_decompositions({}).module(check_guards=False)
    for node in reversed(list(graph.graph.nodes)):
        if any(name in str(node.target) for name in NO_RULE) and not node.users:
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def exported(network: ScoresAndMaps, images: Tensor, *, any_size: bool) -> ExportedProgram:
    """The whole graph as a program of `torch.export`; the arguments are those of `traced`.

    Raises:
        ConfigError: the network cannot be traced.
    """
    return _exported(network, images, any_size=any_size)


def pads_by_size(network: PlainNetwork, images: Tensor) -> bool:
    """Whether a network pads an image of one more row and column by other amounts, as TensorFlow's "same" does.

    The amounts are then quotients of quotients of the size, a layer inside the other; of five such layers no trace for
    all sizes comes to an end in reasonable time.

    Args:
        network: features and scores.
        images: of the size to begin with.
    """
    height, width = images.shape[2:]
    larger = torch.zeros(*images.shape[:2], height + 1, width + 1)
    try:
        one, other = (_paddings(network, each) for each in (images, larger))
    except (WhereToLookError, RuntimeError, ValueError, AssertionError):  # it takes no such size
        return False
    return one != other


class _Paddings(TorchDispatchMode):
    """Keeps the amounts of every padding that is a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.amounts: list[list[int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PADS:
            self.amounts.append(list(args[1]))
        return func(*args, **(kwargs or {}))


def _paddings(network: PlainNetwork, images: Tensor) -> list[list[int]]:
    found = _Paddings()
    with found, torch.no_grad():
        network(images)
    return found.amounts


def takes_any_size(program: ExportedProgram) -> bool:
    """Whether a program takes images of any height and width."""
    images = next(node for node in reversed(list(program.graph.nodes)) if node.op == "placeholder")
    return not any(isinstance(side, int) for side in images.meta["val"].shape[2:])


def _exported(network: nn.Module, images: Tensor, *, any_size: bool) -> ExportedProgram:
    failed: Exception | None = None
    for axes in ((0, 2, 3), (0,)) if any_size else ((0,),):
        shapes: Any = (dict.fromkeys(axes, Dim.AUTO),)
        try:
            with _unchecked(), torch.no_grad():
                return torch.export.export(network, (images,), dynamic_shapes=shapes, strict=False)
        except NotWrittenOutError:
            raise
        except Exception as error:  # of the user's own code, or of torch.export, in whatever words
            failed = error
    why = " ".join(str(failed).split())[:200]
    raise ConfigError(f"the network cannot be traced by torch.export ({why})") from failed


@contextmanager
def _unchecked() -> Iterator[None]:
    """Sizes of any length have no numbers yet; comparing them, as checks of shapes do, would tie them to each other."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters say much that is of use to their authors alone; torch's shortcut for attention has no graph."""
    loggers = [logging.getLogger(name) for name in ("", "torch", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    shortcut = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(shortcut)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
