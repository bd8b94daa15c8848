"""Attention distillation: the network should go on looking where it looked before it was trained further."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import at_resolution, average_over_counted
from wheretolook.losses.energy import energy_loss
from wheretolook.losses.step import Step
from wheretolook.options.objective import AttentionDistillationOptions
from wheretolook.records import VOID, shows_object, side_lengths


def attention_distillation_loss(
    attention: Float[Tensor, "pairs h w"], earlier: Float[Tensor, "pairs h w"]
) -> Float[Tensor, " pairs"]:
    """The L1 distance of two maps, each divided by its Euclidean norm: sum |A / ||A|| - E / ||E|||.

    Args:
        attention: maps of the network as it is, at least 0.
        earlier: maps of the same classes and images by the network as it was, at least 0.

    Returns:
        One value a pair, at least 0 and at most twice the root of the number of cells.

    Source: Learning without Memorizing, Dhar et al., CVPR 2019, arXiv:1811.08051 eq. 6; there for the class that the
    earlier network is surest of, here for those that the images show.

    Example:
        >>> attention = torch.tensor([[[3.0, 4.0]]])
        >>> attention_distillation_loss(attention, torch.tensor([[[0.0, 7.0]]]))
        tensor([0.8000])
    """
    return (_unit(attention) - _unit(earlier)).abs().sum(dim=(1, 2))


def _unit(maps: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(maps, dim=(1, 2), keepdim=True)
    return maps / torch.where(norms > 0, norms, 1.0)


def was_right(step: Step, earlier: Float[Tensor, "pairs h w"], least_inside: float) -> Bool[Tensor, " pairs"]:
    """Whose earlier map has at least that share of its energy on the annotated object; all at a share of 0.

    Args:
        step: with the targets of the pairs.
        earlier: their earlier maps, at least 0.
        least_inside: in [0, 1]; above 0, pairs whose object is not annotated are left out.
    """
    if not least_inside:
        return torch.ones(len(earlier), dtype=torch.bool, device=earlier.device)
    shown = shows_object(step.targets)
    cover, valid = (step.targets == 1).to(earlier.dtype), step.targets != VOID
    cover, valid = at_resolution(cover, valid, side_lengths(earlier), step.output.cells)
    return shown & (1 - energy_loss(earlier, cover, valid) >= least_inside)


def attention_distillation(step: Step, options: AttentionDistillationOptions) -> Float[Tensor, ""]:
    """The loss of a step, over the images with a class whose earlier map was right, or with any class."""
    assert step.earlier_maps is not None  # the stage makes them for a loss that needs them
    kept = was_right(step, step.earlier_maps, options.least_inside)
    values = attention_distillation_loss(step.maps[kept], step.earlier_maps[kept])
    return average_over_counted(values, step.pairs[kept], len(step.images), step.batch.weights)
