"""Softmax energy: the most attended positions should lie on the annotated object, also where the map is not above 0."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import SoftmaxEnergyOptions


def softmax_energy_loss(
    signed: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    temperature: float = 1.0,
    eps: float = 1e-8,
) -> Float[Tensor, " pairs"]:
    """The share of a softmax over positions that falls outside the object: 1 - sum(p in target).

    p = softmax(A / (temperature * std(A))) over valid positions, where A is the map before its ReLU and its standard
    deviation counts as a constant in the gradient. Blind to the map's scale and to a constant added to it. Unlike that
    of the energy loss, the gradient does not vanish where the map is nowhere above 0.

    Args:
        signed: attention maps before their ReLU, not normalised.
        target: 1 on the object, 0 elsewhere; shares in between where a coarse cell is partly covered.
        valid: False where the annotation says nothing; those positions get no share.
        temperature: in standard deviations of the map; above 0.
        eps: a map whose standard deviation is not above it is divided by nothing, and so p is uniform.

    Returns:
        One value a pair, in [0, 1]; 0 where no position is valid.

    Source: this project; after the energy loss of arXiv:2303.11932 section 3.2.

    Example:
        >>> signed, target = torch.tensor([[[-1.0, -3.0]]]), torch.tensor([[[1.0, 0.0]]])
        >>> softmax_energy_loss(signed, target, target >= 0)  # 2 standard deviations apart: sigmoid(-2)
        tensor([0.1192])
    """
    known = valid.any(dim=2).any(dim=1)
    counted = valid | ~known[:, None, None]  # a softmax over nothing would be NaN
    std = deviation(signed, counted)
    scores = signed / torch.where(std > eps, temperature * std, 1.0)
    share = scores.masked_fill(~counted, -torch.inf).flatten(1).softmax(dim=1).view_as(signed)
    return (1 - (share * target).sum(dim=(1, 2))) * known


def deviation(signed: Float[Tensor, "pairs h w"], valid: Bool[Tensor, "pairs h w"]) -> Float[Tensor, "pairs 1 1"]:
    """The standard deviation of each map over its valid positions, a constant in the gradient.

    Args:
        signed: maps.
        valid: at least one position of each map.

    Example:
        >>> deviation(torch.tensor([[[1.0, 3.0, 70.0]]]), torch.tensor([[[True, True, False]]]))
        tensor([[[1.]]])
    """
    maps, count = signed.detach(), valid.sum(dim=(1, 2), keepdim=True)
    mean = (maps * valid).sum(dim=(1, 2), keepdim=True) / count
    return (((maps - mean).square() * valid).sum(dim=(1, 2), keepdim=True) / count).sqrt()


def softmax_energy(step: Step, options: SoftmaxEnergyOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images, at feature resolution: a position is a cell."""

    def loss(signed: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return softmax_energy_loss(signed, target, valid, options.temperature)

    return average_over_annotated(step, loss, "features", signed=True)
