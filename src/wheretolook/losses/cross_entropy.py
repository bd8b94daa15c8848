"""Cross-entropy per pixel: attention taken as the chance that a pixel is the object's."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import CrossEntropyOptions


def cross_entropy_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    *,
    outside: bool = False,
    eps: float = 1e-3,
) -> Float[Tensor, " pairs"]:
    """Surprise at the annotation where attention is read as a probability: - sum(M log A) / sum(M).

    Of the object alone: attention outside of it costs nothing. With `outside` it is the binary cross-entropy of all
    valid pixels, - mean(M log A + (1 - M) log(1 - A)).

    Args:
        attention: normalised attention maps, in [0, 1].
        target: 1 on the object, 0 elsewhere; shares in between where a coarse cell is partly covered.
        valid: False where the annotation says nothing; those pixels do not count.
        outside: ask for no attention outside of the object, too.
        eps: a probability is taken as eps + (1 - eps) times itself, so that gradients stay finite.

    Returns:
        One value a pair, at least 0; 0, with a gradient of 0, where no pixel counts.

    Source: Rao et al., ICCV 2023, arXiv:2303.11932 section 3.2 ("per-pixel cross-entropy"), whose code, too, takes the
    object alone; after HAICS (Shen et al., 2021), which takes all that is annotated. Their eps is that of torch.

    Example:
        >>> target = torch.tensor([[[1.0, 0.0]]])
        >>> cross_entropy_loss(torch.tensor([[[0.5, 1.0]]]), target, target >= 0, eps=0.0)
        tensor([0.6931])
    """
    surprise = -target * _log(attention, eps)
    counted = target * valid
    if outside:
        surprise = surprise - (1 - target) * _log(1 - attention, eps)
        counted = valid.to(target.dtype)
    total = counted.sum(dim=(1, 2))
    return (surprise * valid).sum(dim=(1, 2)) / torch.where(total > 0, total, 1.0)


def _log(chance: Tensor, eps: float) -> Tensor:
    return (eps + (1 - eps) * chance).log()


def cross_entropy(step: Step, options: CrossEntropyOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images."""

    def loss(attention: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return cross_entropy_loss(attention, target, valid, outside=options.outside)

    return average_over_annotated(
        step, loss, options.resolution, options.normalising, options.upsampling, extremes=options.extremes
    )
