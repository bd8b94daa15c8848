"""What a network's parts are doing, train or evaluate, changed for a while and put back whatever happens."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Batch norm and dropout as in evaluation, and exactly as before afterwards.

    Example:
        >>> dropout = nn.Dropout()
        >>> with evaluation_mode(dropout):
        ...     print(dropout.training)
        False
        >>> dropout.training
        True
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training  # not .train(): a frozen submodule keeps its own mode


@contextmanager
def steady_norms(network: nn.Module) -> Iterator[None]:
    """Norms with running statistics go by these and leave them as they are; dropout and all else is as it was.

    Around a pass of images that are no fair sample of the batch, or too few for statistics of their own.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with steady_norms(norm):
        ...     norm(torch.ones(1, 2)).shape, norm.training
        (torch.Size([1, 2]), False)
        >>> int(norm.num_batches_tracked), norm.training
        (0, True)
    """
    norms = {module: module.training for module in network.modules() if "running_mean" in module._buffers}
    try:
        for module in norms:
            module.training = False
        yield
    finally:
        for module, training in norms.items():
            module.training = training


@contextmanager
def training_only(network: nn.Module, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Only these modules train; everything else is frozen and in evaluation mode. Afterwards all is as before.

    Frozen alone is not enough: batch norm would go on moving, and a frozen classifier's dropout would shake the maps.
    Parameters of the modules that were fixed before (upsampling, say) stay fixed.
    """
    wanted = {parameter: parameter.requires_grad for parameter in network.parameters()}
    with evaluation_mode(network):
        try:
            network.requires_grad_(False)
            for module in modules:
                module.train()
                for parameter in module.parameters():
                    parameter.requires_grad_(wanted[parameter])
            yield
        finally:
            for parameter, want in wanted.items():
                parameter.requires_grad_(want)


@contextmanager
def second_order_attention() -> Iterator[None]:
    """Scaled dot-product attention by plain matrix products, whose gradient has a gradient; fused kernels' has none.

    Around the forward of a network whose maps or input gradients are differentiated again; the hard sigmoid of
    MobileNetV3, the one activation of torch's without a second derivative, is composed of others there.

    Example:
        >>> x = torch.tensor(0.5, requires_grad=True)
        >>> with second_order_attention():
        ...     y = nn.Hardsigmoid()(x) ** 2
        >>> (slope,) = torch.autograd.grad(y, x, create_graph=True)
        >>> torch.autograd.grad(slope, x)[0] * 18
        tensor(1.)
    """
    with sdpa_kernel(SDPBackend.MATH), _ComposedHardSigmoid():
        yield


class _ComposedHardSigmoid(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        return func(*args, **(kwargs or {}))


class _Thread(threading.local):
    dry_runs = 0


_THREAD = _Thread()


def dry_run() -> bool:
    """Whether the network is being run, in this thread, only to find its layer or where its cells lie.

    Guided networks do so when they are made, and once for each new size of image, on images that show nothing. Hooks
    are part of a network, so they are called then, too; one that records what it sees asks this first.

    Example:
        >>> layer, seen = nn.Identity(), []
        >>> handle = layer.register_forward_hook(lambda *_: None if dry_run() else seen.append(1))
        >>> with untouched(layer):
        ...     _ = layer(torch.rand(2))
        >>> _ = layer(torch.rand(2))
        >>> seen
        [1]
    """
    return _THREAD.dry_runs > 0


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """The network runs as in evaluation, and neither it nor the random state remembers afterwards; see `dry_run`.

    Example:
        >>> layer, state = nn.BatchNorm2d(3), torch.get_rng_state()
        >>> with untouched(layer):
        ...     _ = layer(torch.rand(2, 3, 4, 4))
        >>> int(layer.num_batches_tracked), torch.equal(state, torch.get_rng_state())
        (0, True)
    """
    kept = [
        (module, name, buffer, buffer._version, buffer.clone())
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    devices = {tensor.device for tensor in network.parameters() if tensor.device.type == "cuda"}
    with evaluation_mode(network), torch.random.fork_rng(devices=list(devices)):
        _THREAD.dry_runs += 1
        try:
            yield
        finally:
            _THREAD.dry_runs -= 1
            with torch.no_grad():
                for module, name, buffer, version, value in kept:
                    if buffer._version != version:
                        buffer.copy_(value)
                    module._buffers[name] = buffer
