"""Does the map matter to the score? What the network says as the most attended pixels are taken away, or given."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wheretolook.records import GuidedNetwork

STEPS = 10  # from none to all of the pixels


class ErasingCurves(NamedTuple):
    """The class's chance with 0, 1/steps, ... 1 of the pixels erased, or inserted, the most attended first."""

    deletion: Float[Tensor, "pairs shares"]
    insertion: Float[Tensor, "pairs shares"]

    def areas(self) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
        """The area under each, in [0, 1]."""
        dx = 1 / (self.deletion.shape[1] - 1)
        return torch.trapezoid(self.deletion, dx=dx, dim=1), torch.trapezoid(self.insertion, dx=dx, dim=1)


def erasing_curves(
    network: GuidedNetwork,
    images: Float[Tensor, "batch 3 height width"],
    pairs: Int[Tensor, "pairs 2"],
    maps: Float[Tensor, "pairs height width"],
    *,
    exclusive: bool = False,
    steps: int = STEPS,
) -> ErasingCurves:
    """Erase each pair's image, the most attended pixels first, and insert them into an image without any.

    An erased pixel is 0 in the network's input, which is the mean colour. Pixels of equal attention, as those of an
    empty map, go in an order that is drawn, and the same for all maps of one size. It takes 2 steps forwards a pair,
    of as many images at a time as the batch has.

    Args:
        network: in evaluation mode.
        images: the network's input.
        pairs: (image, class), at least one.
        maps: their attention, of image size.
        exclusive: each image shows exactly one class, so that a chance is that of a softmax; otherwise of a sigmoid.
        steps: how many shares of the pixels are erased.

    Source: arXiv:1806.07421 section 4.3 (RISE), with fewer steps, and the mean colour for both where that blurs.
    """
    ranks = _ranks(maps)
    found = []
    for erases in (True, False):
        curve = []
        for step in range(steps + 1):
            first = ranks < round(step / steps * ranks[0].numel())
            keep = ~first if erases else first
            curve.append(torch.cat(list(_chances(network, images, pairs, keep, exclusive))))
        found.append(torch.stack(curve, dim=1))
    return ErasingCurves(*found)


def _ranks(maps: Float[Tensor, "pairs height width"]) -> Int[Tensor, "pairs height width"]:
    """How many pixels of its map come before each."""
    flat = maps.flatten(1)
    drawn = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0)).to(maps.device)
    order = drawn[flat[:, drawn].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter(1, order, places).view_as(maps)


def _chances(
    network: GuidedNetwork,
    images: Tensor,
    pairs: Tensor,
    keep: Bool[Tensor, "pairs height width"],
    exclusive: bool,
) -> Iterator[Float[Tensor, " chunk"]]:
    for some, kept in zip(pairs.split(len(images)), keep.split(len(images)), strict=True):
        scores = network(images[some[:, 0]] * kept[:, None], segment=False).class_scores.detach()
        chances = scores.softmax(dim=1) if exclusive else scores.sigmoid()
        yield chances.gather(1, some[:, 1:])[:, 0].to(images.dtype)
