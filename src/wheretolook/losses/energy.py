"""Energy: attention should fall on the annotated object, whatever its scale and spread there."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import EnergyOptions


def energy_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
) -> Float[Tensor, " pairs"]:
    """The share of attention that falls outside the object: 1 - sum(attention in target) / sum(attention).

    Blind to the map's scale and to its spread inside the object, so a box serves as well as a mask.

    Args:
        attention: attention maps, at least 0, not normalised.
        target: 1 on the object, 0 elsewhere; shares in between where a coarse cell is partly covered.
        valid: False where the annotation says nothing; those pixels do not count.

    Returns:
        One value a pair, in [0, 1]; 1, with a gradient of 0, for an all-zero map; 0 where no pixel is valid.

    Source: Rao et al., "Studying How to Efficiently and Effectively Guide Models with Explanations", ICCV 2023,
    arXiv:2303.11932 section 3.2. They take positive attributions; a map after its ReLU has no others.

    Example:
        >>> target = torch.tensor([[[1.0, 0.0]]])
        >>> energy_loss(torch.tensor([[[3.0, 1.0]]]), target, torch.ones(1, 1, 2, dtype=torch.bool))
        tensor([0.2500])
    """
    energy = attention * valid
    total = energy.sum(dim=(1, 2))
    inside = (energy * target).sum(dim=(1, 2)) / torch.where(total > 0, total, 1.0)
    inside = torch.where(total > 0, inside, 0.0)  # an all-zero map has no share to raise
    return (1 - inside) * valid.any(dim=2).any(dim=1)


def energy(step: Step, options: EnergyOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images; the maps are compared as they are, not normalised."""
    return average_over_annotated(step, energy_loss, options.resolution, "none", options.upsampling)
