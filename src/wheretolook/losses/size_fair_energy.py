"""Size-fair energy: attention should be denser on the object than beside it, however large the object is."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import SizeFairEnergyOptions


def size_fair_energy_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
) -> Float[Tensor, " pairs"]:
    """Mean attention outside over the sum of mean attention inside and outside: o / (i + o).

    The energy loss with means in place of sums. With e the share of attention inside and c that of the object's area,
    i / o = (e / c) / ((1 - e) / (1 - c)): both shares are taken over chance. An even map has a loss of one half
    whatever the object's size, where the energy loss has 1 - c and so is nearly content with any map on a large box.

    Args:
        attention: attention maps, at least 0, not normalised.
        target: 1 on the object, 0 elsewhere; shares in between where a coarse cell is partly covered.
        valid: False where the annotation says nothing; those pixels do not count.

    Returns:
        One value a pair, in [0, 1]; 1, with a gradient of 0, for an all-zero map; 0 where there is no inside or no
        outside.

    Source: this project, for what a reproducibility study of Rao et al. found ("favouring larger bounding boxes",
    TMLR 2024, openreview.net/forum?id=9ZzASCVhDF); the study divides the share inside by a power of the area, which has
    no lower bound.

    Example:
        >>> target = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
        >>> size_fair_energy_loss(torch.ones(1, 1, 4), target, target >= 0)
        tensor([0.5000])
    """
    inside, has_inside = _mean(attention, target * valid)
    outside, has_outside = _mean(attention, (1 - target) * valid)
    total = inside + outside
    loss = 1 - inside / torch.where(total > 0, total, 1.0)
    return loss * (has_inside & has_outside)


def _mean(attention: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = weight.sum(dim=(1, 2))
    return (attention * weight).sum(dim=(1, 2)) / torch.where(total > 0, total, 1.0), total > 0


def size_fair_energy(step: Step, options: SizeFairEnergyOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images; the maps are compared as they are, not normalised."""
    return average_over_annotated(step, size_fair_energy_loss, options.resolution, "none", options.upsampling)
