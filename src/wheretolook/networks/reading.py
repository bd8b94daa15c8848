"""Read a layer's grid during one forward, with hooks that live only as long and mind only their own thread."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wheretolook.errors import ConfigError
from wheretolook.networks.forms import GridForm
from wheretolook.networks.layers import runs_twice
from wheretolook.networks.outputs import replaced, tensors_in
from wheretolook.records import side_lengths


class Reading:
    """What the hook takes out of one layer in one forward.

    Attributes:
        features: the grid; part of the graph of everything after it.
        differentiable: whether a gradient reaches what is before the grid.
    """

    def __init__(
        self, name: str, layer: nn.Module, form: GridForm, size: tuple[int, int], *, leaf: bool, ends: bool
    ) -> None:
        self.name, self.layer, self.form, self.size = name, layer, form, size
        self.leaf, self.ends = leaf, ends
        self.differentiable = False
        self._features: Tensor | None = None
        self._handed_on: Any = None

    @property
    def features(self) -> Tensor:
        """The grid.

        Raises:
            ConfigError: the layer has not run.
        """
        if self._features is None:
            raise ConfigError(f"layer '{self.name}' did not run in this forward; name a layer that always does")
        return self._features

    def take(self, result: Any) -> Any:
        """Take the grid out of the layer's output and hand the very same values on.

        What the network goes on with is made from the grid, so that the grid lies on the way to the scores and
        `autograd.grad` with respect to it works, for tokens too; and it is a copy, so that layers in place do not spoil
        the grid. Where the output wants no gradient the grid becomes a leaf, and gradients are on from there.
        """
        if self._handed_on is not None and result is self._handed_on:
            return result  # another thread has put the same hook there
        if self._features is not None:
            raise ConfigError(runs_twice(self.name))
        output = next(tensors_in(result))
        self.differentiable = torch.is_grad_enabled() and output.requires_grad
        features = self.form.grid(output, self.size)
        if self.leaf and not self.differentiable:
            torch.set_grad_enabled(True)  # until the forward ends: `gradients_as_they_are` puts it back
            features = features.detach().requires_grad_()
        self._features = features
        if self.ends:
            raise Enough
        self._handed_on = replaced(result, output, self.form.rebuilt(features, output))
        return self._handed_on


class Enough(BaseException):
    """The layer has run, and nothing after it is wanted; not an `Exception`, which the module may catch."""


class _Current(threading.local):
    readings: Sequence[Reading] = ()


_current = _Current()


def _hook(layer: nn.Module, _inputs: Any, result: Any) -> Any:
    """One for all networks: what `torch.compile` has once seen here stays valid in later calls."""
    return next((reading.take(result) for reading in _current.readings if reading.layer is layer), None)


@cache
def _hook_between_graphs() -> Callable[..., Any]:
    hook: Callable[..., Any] = torch.compiler.disable(_hook)
    return hook


@contextmanager
def gradients_as_they_are() -> Iterator[bool]:
    """Leave inference mode, whose tensors can never join a graph, and keep gradients on or off as they are."""
    wanted = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(wanted):
        yield wanted


def read_layers(
    module: nn.Module, forms: Mapping[str, GridForm], images: Tensor, *, leaf: bool, whole: bool
) -> tuple[list[Reading], Any]:
    """Run the module and read the grids of some of its layers.

    Args:
        module: the network, compiled or not.
        forms: of the layers by name, in the order in which they run: how their outputs hold a grid.
        images: a batch.
        leaf: whether a grid becomes a leaf where its gradient would be cut off.
        whole: False lets the forward end at the last layer; compiled modules run to their end.

    Returns:
        The readings, and what the module gave; None where it did not run to its end.

    Raises:
        ConfigError: a layer runs more than once.
    """
    own, compiled, size = uncompiled(module), is_compiled(module), side_lengths(images)
    last = [*forms][-1] if not (whole or compiled) else None
    readings = [
        Reading(name, own.get_submodule(name), form, size, leaf=leaf, ends=name == last) for name, form in forms.items()
    ]
    outer, hook = _current.readings, _hook_between_graphs() if compiled else _hook
    handles = [reading.layer.register_forward_hook(hook) for reading in readings]
    _current.readings = readings
    try:
        with _same_operations(module, " ".join(forms), compiled):
            return readings, module(images)
    except Enough:
        return readings, None
    finally:
        _current.readings = outer
        for handle in handles:
            handle.remove()


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, whose names are the user's."""
    original: nn.Module = getattr(module, "_orig_mod", module)
    return original


def as_written(module: nn.Module) -> AbstractContextManager[object]:
    """Run a module, for once, without compiling what is to be compiled."""
    return torch.compiler.set_stance("force_eager") if is_compiled(module) else nullcontext()


def is_compiled(module: nn.Module) -> bool:
    """Whether the module or a part of it is compiled."""
    return any(
        "_orig_mod" in part._modules or getattr(part, "_compiled_call_impl", None) is not None
        for part in module.modules()
    )


def _same_operations(module: nn.Module, layers: str, compiled: bool) -> AbstractContextManager[object]:
    """Have a module do the same operations with gradients on and off, and in a graph of its own where compiled.

    torch's own attention layer takes a shorter way, of other rounding, where no gradient is wanted, and compiled code
    does not look whether hooks have come or gone. Both mind a mode for torch's functions, which belongs to the thread.
    """
    attends = any(isinstance(part, nn.MultiheadAttention | nn.TransformerEncoderLayer) for part in module.modules())
    with ExitStack() as stack:
        if compiled:
            stack.enter_context(torch._dynamo.config.patch(skip_nnmodule_hook_guards=False))
        if compiled or attends:
            stack.enter_context(_plain_functions(layers)())
        return stack.pop_all()


@cache
def _plain_functions(layers: str) -> type[TorchFunctionMode]:
    class PlainFunctions(TorchFunctionMode):
        """A class for each choice of layers, since compiled code tells the modes apart by their class."""

        read = layers

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is F.multi_head_attention_forward and not torch.compiler.is_compiling():
                return _attention_as_trained(args, kwargs or {})
            return func(*args, **(kwargs or {}))

    return PlainFunctions


def _attention_as_trained(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Torch's own attention with weights that want a gradient: matrix products round otherwise where they do not."""
    given = (*args, *kwargs.values())
    wanted = torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in given)

    def wanting(value: Any) -> Any:
        frozen = isinstance(value, nn.Parameter) and not value.requires_grad
        return value.detach().requires_grad_() if frozen else value

    with torch.set_grad_enabled(wanted):
        return F.multi_head_attention_forward(
            *map(wanting, args), **{name: wanting(value) for name, value in kwargs.items()}
        )
