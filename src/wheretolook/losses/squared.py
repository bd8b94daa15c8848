"""External supervision as GAIN has it: the squared difference of attention and annotation."""

from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import SquaredOptions


def external_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
) -> Float[Tensor, " pairs"]:
    """Squared difference between where the network looks and where it should.

    Args:
        attention: normalised attention maps, in [0, 1].
        target: 1 on the object, 0 elsewhere.
        valid: False where the annotation says nothing (void borders); those pixels do not count.

    Returns:
        One value a pair, the mean over its valid pixels; 0, with a gradient of 0, where there are none.

    Source: arXiv:1802.10171 eq. 7, which sums over pixels; the mean keeps
    `objective.squared.weight` independent of image size.

    Example:
        >>> import torch
        >>> external_loss(torch.ones(1, 2, 2), torch.zeros(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
        tensor([1.])
    """
    return squared_sum(attention, target, valid) / valid.sum(dim=(1, 2)).clamp(min=1)


def squared_sum(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
) -> Float[Tensor, " pairs"]:
    """`external_loss` with the paper's own reduction: the sum over valid pixels.

    Source: arXiv:1802.10171 eq. 7.
    """
    return ((attention - target).square() * valid).sum(dim=(1, 2))


def squared(step: Step, options: SquaredOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images."""
    loss = squared_sum if options.reduction == "sum" else external_loss
    return average_over_annotated(
        step, loss, options.resolution, options.normalising, options.upsampling, extremes=options.extremes
    )
