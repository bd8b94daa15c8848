"""A Gaussian blur of anything that is laid out in rows and columns."""

import torch
from jaxtyping import Float
from torch import Tensor


def blurred(values: Float[Tensor, "*batch h w"], deviation: float) -> Float[Tensor, "*batch h w"]:
    """A Gaussian blur whose weights are scaled up at the edges, where part of them lies outside.

    Args:
        values: one a place.
        deviation: standard deviation, in places; 0 for no blur.

    Example:
        >>> blurred(torch.tensor([[[0.0, 1.0, 0.0]]]), 0.0)
        tensor([[[0., 1., 0.]]])
    """
    down, across = (_gaussian(count, deviation).to(values) for count in values.shape[-2:])
    return down @ values @ across.T


def _gaussian(count: int, deviation: float) -> Tensor:
    places = torch.arange(count, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((places[:, None] - places) / max(deviation, 1e-3)) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)
