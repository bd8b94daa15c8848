"""Forwards that record more than a layer's features, for methods that need it: pixels, or who attends to whom."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from wheretolook.errors import ConfigError
from wheretolook.networks.reading import as_written
from wheretolook.options.objective import OF_PIXELS, OF_TOKENS
from wheretolook.records import Cells, GuidedNetwork, GuidedOutput

PIXELS = Cells((1.0, 1.0), (0.0, 0.0))

Forward = Callable[..., GuidedOutput]


def recorded(
    network: GuidedNetwork, forward: Forward, images: Float[Tensor, "batch channels height width"], *, segment: bool
) -> GuidedOutput:
    """A network's forward, with a record of what its attention method needs.

    For a method on pixels the record's features are the images themselves; for one on tokens it has the attention
    matrices of every block. Then gradients are on from the images on, whatever the mode of the caller.

    Args:
        network: whose `attention` says what is needed.
        forward: its forward, of images and `segment`, for methods on the features of a layer.
        images: the network's input.
        segment: whether mask scores are wanted.

    Raises:
        ConfigError: a method on tokens, and the network has no attention of torch's among the cells of its layer.
    """
    if network.attention in OF_PIXELS:
        with _from_images_on(network, images) as (images, differentiable):
            output = forward(images, segment=segment)
        again = partial(recorded, network, forward, segment=False)
        output = output._replace(features=images, cells=PIXELS, layers=(), again=again)
    elif network.attention in OF_TOKENS:
        with _from_images_on(network, images) as (images, differentiable), _Recorder() as recorder:
            output = forward(images, segment=segment)
        output = output._replace(matrices=_of_cells(recorder.matrices, output, network.attention))
    else:
        return forward(images, segment=segment)
    if output.mask_scores is not None and not differentiable:
        output = output._replace(mask_scores=output.mask_scores.detach())
    return output._replace(differentiable=differentiable)


@contextmanager
def _from_images_on(network: GuidedNetwork, images: Tensor) -> Iterator[tuple[Tensor, bool]]:
    """Gradients on from the images on, and whether they reach weights that train."""
    trained = any(weight.requires_grad for module in network.part("trunk") for weight in module.parameters())
    differentiable = torch.is_grad_enabled() and trained
    with torch.inference_mode(False), torch.enable_grad(), as_written(network):
        images = images.clone() if images.is_inference() else images
        yield images if images.requires_grad else images.detach().requires_grad_(), differentiable


def _of_cells(matrices: list[Tensor], output: GuidedOutput, method: str) -> tuple[Tensor, ...]:
    """The matrices among the tokens of the features' grid, and tokens before them."""
    batch, _, height, width = output.features.shape
    cells = height * width
    found = tuple(
        matrix
        for matrix in matrices
        if matrix.ndim == 4 and len(matrix) == batch and matrix.shape[2] == matrix.shape[3] >= cells
    )
    if not found:
        shapes = ", ".join(sorted({str(tuple(matrix.shape)) for matrix in matrices})) or "none"
        raise ConfigError(
            f"expected attention among all {cells} cells of the layer, by torch's scaled_dot_product_attention, for "
            f"{method}, got {shapes}; choose grad_cam, or a transformer that has it"
        )
    return found


class _Recorder(TorchFunctionMode):
    """Attention by plain matrix products, whose matrix lies on the way to the scores and is kept.

    Attributes:
        matrices: (batch, heads, queries, keys), in the order in which they were used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            return _with_attention(self.attend)(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """`scaled_dot_product_attention` as torch's documentation writes it."""
        if enable_gqa:
            key, value = (each.repeat_interleave(query.shape[-3] // each.shape[-3], -3) for each in (key, value))
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones_like(scores, dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        matrix = scores.softmax(dim=-1)
        self.matrices.append(matrix)
        return F.dropout(matrix, dropout_p) @ value


def _with_attention(attend: Callable[..., Tensor]) -> Callable[..., Any]:
    """Torch's own multi-head attention with another function in place of `scaled_dot_product_attention`.

    It is a copy, so that torch and other threads keep theirs; within it no mode is asked, or it would ask for itself.
    """
    original = F.multi_head_attention_forward
    names = {
        **original.__globals__,
        "scaled_dot_product_attention": attend,
        "has_torch_function": lambda _: False,
    }
    return FunctionType(original.__code__, names, original.__name__, original.__defaults__)
