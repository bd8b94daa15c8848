"""L1: the absolute difference of attention and annotation."""

from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import L1Options


def l1_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
) -> Float[Tensor, " pairs"]:
    """Absolute difference between where the network looks and where it should: mean |A - M| over valid pixels.

    Args:
        attention: normalised attention maps, in [0, 1].
        target: 1 on the object, 0 elsewhere.
        valid: False where the annotation says nothing; those pixels do not count.

    Returns:
        One value a pair, in [0, 1]; 0, with a gradient of 0, where no pixel is valid.

    Source: Rao et al., ICCV 2023, arXiv:2303.11932 section 3.2, after GRADIA (Gao et al., CSCW 2022). Maps are divided
    by their maximum.

    Example:
        >>> import torch
        >>> target = torch.tensor([[[1.0, 0.0]]])
        >>> l1_loss(torch.tensor([[[0.5, 0.2]]]), target, target >= 0)
        tensor([0.3500])
    """
    return ((attention - target).abs() * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)


def l1(step: Step, options: L1Options) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images."""
    return average_over_annotated(
        step, l1_loss, options.resolution, options.normalising, options.upsampling, extremes=options.extremes
    )
