"""External supervision: attention should cover the annotated object, given by a mask or a box."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


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

    Source: arXiv:1802.10171 eq. 7, which sums over pixels; the mean keeps `external_weight` independent of image size.

    Example:
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


def at_resolution(
    target: Float[Tensor, "pairs height width"], valid: Bool[Tensor, "pairs height width"], size: tuple[int, int]
) -> tuple[Float[Tensor, "pairs h w"], Bool[Tensor, "pairs h w"]]:
    """Average a target onto a coarser grid; a cell's target is the object's share of its valid pixels.

    Example:
        >>> target = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
        >>> at_resolution(target, target >= 0, (1, 1))[0]
        tensor([[[0.7500]]])
    """
    weight = F.adaptive_avg_pool2d(valid.to(target.dtype), size)
    covered = F.adaptive_avg_pool2d(target * valid, size)
    return covered / torch.where(weight > 0, weight, 1.0), weight > 0
