"""Consistency across layers: an earlier layer should look where the last one does."""

import torch
from jaxtyping import Float
from torch import Tensor

from wheretolook.attention.fusion import each_layer
from wheretolook.attention.maps import normalised
from wheretolook.cells import onto_grid
from wheretolook.losses.compare import average_over_counted
from wheretolook.losses.energy import energy_loss
from wheretolook.losses.step import Step
from wheretolook.options.objective import LayerConsistencyOptions
from wheretolook.records import side_lengths


def layer_consistency_loss(
    earlier: Float[Tensor, "pairs h w"],
    last: Float[Tensor, "pairs h w"],
    *,
    threshold: float = 0.55,
    slope: float = 100.0,
) -> Float[Tensor, " pairs"]:
    """The share of an earlier layer's attention where the last layer's is small: 1 - sum(T A) / sum(A).

    T = sigmoid(slope (L / max L - threshold)), `looked_at`.

    Args:
        earlier: attention maps A of the earlier layer, at least 0.
        last: maps L of the last layer for the same pairs, read at the earlier one's cells, at least 0.
        threshold: share of a map's maximum from which on it counts.
        slope: steepness there.

    Returns:
        One value a pair, in [0, 1]; 1, with a gradient of 0, for an all-zero earlier map.

    Source: ICASC, Wang et al., ICCV 2019, arXiv:1811.07484 section 3.3, which has 0.8 in place of 1; public code takes
    the earlier layer's own map for L. The slope is applied to the map divided by its maximum, as in `separability`.

    Example:
        >>> last = torch.tensor([[[1.0, 0.0]]])
        >>> layer_consistency_loss(torch.tensor([[[3.0, 1.0]]]), last)
        tensor([0.2500])
    """
    mask = looked_at(last, threshold, slope)
    return energy_loss(earlier, mask, torch.ones_like(mask, dtype=torch.bool))


def looked_at(last: Float[Tensor, "pairs h w"], threshold: float, slope: float) -> Float[Tensor, "pairs h w"]:
    """Where the last layer looks, a constant in the gradient: it shows the earlier one, and is not drawn to it.

    Args:
        last: its maps, at least 0.
        threshold: share of a map's maximum from which on it counts.
        slope: steepness there.
    """
    return torch.sigmoid(slope * (normalised(last.detach(), "max") - threshold))


def layer_consistency(step: Step, options: LayerConsistencyOptions) -> Float[Tensor, ""]:
    """The loss of a step, the mean over the layers before the last; it needs no annotation.

    Where attention is read from one layer, that layer's own map stands for both: it should have no faint parts.
    """
    maps, layers = step.layer_maps, each_layer(step.output)
    values = []
    for earlier, layer in list(zip(maps, layers, strict=True))[: max(len(maps) - 1, 1)]:
        last = onto_grid(maps[-1], side_lengths(earlier), layers[-1].cells, layer.cells)
        values.append(layer_consistency_loss(earlier, last, threshold=options.threshold, slope=options.slope))
    mean = torch.stack(values).mean(dim=0)
    return average_over_counted(mean, step.pairs, len(step.images), step.batch.weights)
