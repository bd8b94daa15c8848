"""Attention mining: erase where the network looks; what is left of the score says what attention missed."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

MiningScore = Literal["sigmoid", "logit", "softplus"]


def soft_mask(
    maps: Float[Tensor, "pairs height width"], threshold: float = 0.5, slope: float = 10.0
) -> Float[Tensor, "pairs height width"]:
    """A threshold that lets gradients through: T(A) = sigmoid(slope * (A - threshold)).

    Args:
        maps: normalised attention, in [0, 1], at image size.
        threshold: attention at which the mask is one half.
        slope: steepness there.

    Source: arXiv:1802.10171 eq. 4.

    Example:
        >>> soft_mask(torch.tensor([[[0.0, 0.5, 1.0]]]))
        tensor([[[0.0067, 0.5000, 0.9933]]])
    """
    return torch.sigmoid(slope * (maps - threshold))


def masked_images(
    images: Float[Tensor, "pairs 3 height width"], masks: Float[Tensor, "pairs height width"]
) -> Float[Tensor, "pairs 3 height width"]:
    """Erase the attended region: I* = I - T(A) I, in the network's own space, where 0 is the mean colour.

    Source: arXiv:1802.10171 eq. 3.
    """
    return images * (1 - masks[:, None])


def mining_loss(
    class_scores: Float[Tensor, "pairs classes"], classes: Int[Tensor, " pairs"], score: MiningScore = "sigmoid"
) -> Float[Tensor, " pairs"]:
    """How strongly the class is still recognised once its attended region is erased.

    Args:
        class_scores: logits of each pair's masked image.
        classes: each pair's class.
        score: what of the logit is minimised: its `"sigmoid"` (the predecessor), the `"logit"` or its `"softplus"`.

    Returns:
        One value a pair.

    Source: arXiv:1802.10171 eq. 5, which takes the mean over classes and leaves the score open.

    Example:
        >>> mining_loss(torch.tensor([[0.0, 5.0]]), torch.tensor([0]))
        tensor([0.5000])
    """
    logits = class_scores.gather(1, classes[:, None])[:, 0]
    if score == "logit":
        return logits
    return torch.sigmoid(logits) if score == "sigmoid" else F.softplus(logits)


def sum_in_chunks(
    loss: Callable[[Tensor, slice], Float[Tensor, ""]],
    masks: Float[Tensor, "pairs height width"],
    parameters: list[nn.Parameter],
    chunk: int,
) -> Float[Tensor, ""]:
    """The sum of `loss(masks[part], part)` over parts of `chunk` pairs, in the memory of a single part.

    Each part's gradient is taken as soon as its loss is known, so its activations are gone before the next part comes;
    the result joins the caller's graph like any other tensor, to the masks and to every parameter. (Checkpointing
    would run each part forward twice.)

    Args:
        loss: gives a part's share of the sum.
        masks: what the parts are cut from; their gradient goes on to what made them.
        parameters: what else the loss may train; those that do not require a gradient are left out.
        chunk: pairs a part.
    """
    parts = [slice(start, start + chunk) for start in range(0, len(masks), chunk)]
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not torch.is_grad_enabled():
        return sum((loss(masks[part], part) for part in parts), masks.new_zeros(()))
    result: Tensor = _SumInChunks.apply(loss, parts, masks, *trained)
    return result


class _SumInChunks(torch.autograd.Function):
    """Forward takes every part's gradient at once; backward only scales what was found."""

    @staticmethod
    def forward(ctx: Any, loss: Callable[..., Tensor], parts: list[slice], masks: Tensor, *trained: Tensor) -> Tensor:
        total = masks.new_zeros(())
        leaf = masks.detach().requires_grad_()
        sums: list[Tensor | None] = [None] * (1 + len(trained))
        for part in parts:
            with torch.enable_grad():
                value = loss(leaf[part], part)
            total += value.detach()
            gradients = torch.autograd.grad(value, [leaf, *trained], allow_unused=True)
            for index, gradient in enumerate(gradients):
                earlier = sums[index]
                # not in place: autograd may hand out one tensor for two parameters
                sums[index] = gradient if earlier is None else earlier if gradient is None else earlier + gradient
        ctx.gradients = sums
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if gradient is None else gradient * outer for gradient in ctx.gradients)
        return (None, None, *gradients)
