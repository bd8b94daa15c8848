"""Separability: a class should not be looked for where the network looks for the class it confuses it with."""

import torch
from jaxtyping import Float
from torch import Tensor

from wheretolook.attention.maps import normalised
from wheretolook.losses.compare import average_over_counted
from wheretolook.losses.step import Step
from wheretolook.options.objective import SeparabilityOptions


def separability_loss(
    attention: Float[Tensor, "pairs h w"],
    rival: Float[Tensor, "pairs h w"],
    *,
    threshold: float = 0.55,
    slope: float = 100.0,
) -> Float[Tensor, " pairs"]:
    """The overlap of two maps where the first is large: 2 sum(T min(A, R)) / sum(A + R).

    T = sigmoid(slope (A / max A - threshold)).

    Args:
        attention: attention maps A of classes that the images show, at least 0.
        rival: maps R of the most confusing class that they do not show, at least 0.
        threshold: share of a map's maximum from which on it counts.
        slope: steepness there.

    Returns:
        One value a pair, in [0, 1]; 0, with a gradient of 0, where both maps are all zero.

    Source: ICASC, Wang et al., ICCV 2019, arXiv:1811.07484 section 3.2, whose 0.55 is a share of the maximum too; the
    slope is applied to the map divided by its maximum, so that it means the same for every network. The maximum counts
    as a constant in the gradient. Public code takes sums, minimum and maximum of a whole batch, and a quarter for 0.55.

    Example:
        >>> attention = torch.tensor([[[1.0, 0.0]]])
        >>> separability_loss(attention, attention), separability_loss(attention, 1 - attention)
        (tensor([1.]), tensor([0.]))
    """
    mask = torch.sigmoid(slope * (normalised(attention, "max") - threshold))
    total = (attention + rival).sum(dim=(1, 2))
    return 2 * (mask * torch.minimum(attention, rival)).sum(dim=(1, 2)) / torch.where(total > 0, total, 1.0)


def separability(step: Step, options: SeparabilityOptions) -> Float[Tensor, ""]:
    """The loss of a step, over the images that do not show every class; it needs no annotation.

    Of several layers it is the sum of theirs, each on its own maps, as the paper has it for two.
    """
    rivals = step.rivals
    assert rivals is not None  # the stage makes them for a loss that needs them
    there = rivals.there
    values = step.signed_maps.new_zeros(int(there.sum()))
    for maps, rival in zip(step.layer_maps, rivals.layer_maps, strict=True):
        own, other = maps[there], rival[there]
        values = values + separability_loss(own, other, threshold=options.threshold, slope=options.slope)
    return average_over_counted(values, step.pairs[there], len(step.images), step.batch.weights)
