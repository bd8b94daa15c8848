"""Does the network look at the object? Figures of attention over pairs (image, class that is present in it).

All maps here have the size of the image, come after their ReLU and are not normalised. Only valid pixels count: what
a map says on void pixels changes nothing, its maximum included.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from wheretolook.cells import averaged, stretched
from wheretolook.records import Cells, side_lengths

THRESHOLDS = 100  # of the IoU curve: 1 % to 100 % of a map's maximum
PairFigure = Callable[[Tensor, Tensor, Tensor], Tensor]  # of maps, target and valid pixels: one value a pair


class AttentionFigures(NamedTuple):
    """Means over the pairs whose class has a valid pixel; every figure but `pairs` is NaN where there are none."""

    energy_pointing: float  # share of the map's energy that lies on the object
    energy_pointing_over_chance: float  # that, divided by the object's mean share of the image; 1 is a uniform map
    attention_iou: float  # IoU of map and object at `best_threshold`
    attention_iou_20: float  # IoU at 20 % of each map's maximum
    pointing_game: float  # share of pairs whose maximum lies on the object
    empty_maps: float  # share of pairs whose map is zero everywhere; they count as 0 in all figures above
    pairs: int
    best_threshold: float  # share of the maximum at which the mean IoU is best: one for the whole data set


def _share(part: Float[Tensor, "*shape"], whole: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Part / whole, and 0 of nothing."""
    return part / torch.where(whole == 0, 1, whole)


def _peak(maps: Float[Tensor, "pairs h w"], valid: Bool[Tensor, "pairs h w"]) -> Float[Tensor, "pairs 1 1"]:
    """Each map's maximum over its valid pixels."""
    return torch.where(valid, maps, 0).amax(dim=(1, 2), keepdim=True)


def _attended(
    maps: Float[Tensor, "pairs h w"], valid: Bool[Tensor, "pairs h w"], share: float
) -> Bool[Tensor, "pairs h w"]:
    """The valid pixels where a map is at least that share of its maximum; none of an all-zero map."""
    peak = _peak(maps, valid)
    return (maps >= share * peak) & valid & (peak > 0)


def energy_inside(
    maps: Float[Tensor, "pairs h w"], target: Bool[Tensor, "pairs h w"], valid: Bool[Tensor, "pairs h w"]
) -> Float[Tensor, " pairs"]:
    """Share of each map's energy that lies on the object: sum(map on the object) / sum(map).

    Args:
        maps: attention of image size, after its ReLU, not normalised.
        target: the object's pixels.
        valid: False on void pixels.

    Returns:
        In [0, 1]; 0 for an all-zero map.

    Source: arXiv:1910.01279 (the energy-based pointing game of Score-CAM), on masks where that has boxes.

    Example:
        >>> energy_inside(torch.ones(1, 1, 4), torch.tensor([[[True, False, False, False]]]), torch.ones(1, 1, 4) > 0)
        tensor([0.2500])
    """
    return _share((maps * (target & valid)).sum(dim=(1, 2)), (maps * valid).sum(dim=(1, 2)))


def energy_chance(target: Bool[Tensor, "pairs h w"], valid: Bool[Tensor, "pairs h w"]) -> Float[Tensor, " pairs"]:
    """The object's share of the valid pixels, which is the `energy_inside` of a uniform map.

    Args:
        target: the object's pixels.
        valid: False on void pixels.

    Returns:
        In [0, 1]; 0 where no pixel is valid.
    """
    return _share((target & valid).sum(dim=(1, 2)).float(), valid.sum(dim=(1, 2)).float())


def iou_at(
    maps: Float[Tensor, "pairs h w"],
    target: Bool[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    share: float,
) -> Float[Tensor, " pairs"]:
    """Intersection over union of the object and where the map is at least `share` of its maximum.

    Args:
        maps: attention of image size, after its ReLU, not normalised.
        target: the object's pixels.
        valid: False on void pixels.
        share: of each map's maximum over its valid pixels, in (0, 1].

    Returns:
        In [0, 1]; 0 for an all-zero map.
    """
    above = _attended(maps, valid, share)
    both, either = above & target, (above | target) & valid
    return _share(both.sum(dim=(1, 2)).to(maps.dtype), either.sum(dim=(1, 2)).to(maps.dtype))


def recall_at(
    maps: Float[Tensor, "pairs h w"],
    target: Bool[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    share: float = 0.2,
) -> Float[Tensor, " pairs"]:
    """Share of the object's pixels where the map is at least `share` of its maximum.

    The arguments are those of `iou_at`.

    Returns:
        In [0, 1]; 0 for an all-zero map.
    """
    found = _attended(maps, valid, share) & target
    return _share(found.sum(dim=(1, 2)).to(maps.dtype), (target & valid).sum(dim=(1, 2)).to(maps.dtype))


def precision_at(
    maps: Float[Tensor, "pairs h w"],
    target: Bool[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    share: float = 0.2,
) -> Float[Tensor, " pairs"]:
    """Share of the pixels where the map is at least `share` of its maximum that lie on the object.

    The arguments are those of `iou_at`.

    Returns:
        In [0, 1]; 0 for an all-zero map.
    """
    above = _attended(maps, valid, share)
    return _share((above & target).sum(dim=(1, 2)).to(maps.dtype), above.sum(dim=(1, 2)).to(maps.dtype))


def iou_curve(
    maps: Float[Tensor, "pairs h w"],
    target: Bool[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    bins: int = THRESHOLDS,
) -> Float[Tensor, "pairs {bins}"]:
    """`iou_at` for the shares 1/bins, 2/bins, ... 1, in one pass over the pixels.

    A histogram of how many thresholds each pixel reaches, one for the object and one for the rest, is summed from the
    top: that counts the pixels above each threshold.

    Args:
        maps: attention of image size, after its ReLU, not normalised.
        target: the object's pixels.
        valid: False on void pixels.
        bins: how many thresholds.

    Returns:
        In [0, 1]; 0 for an all-zero map.
    """
    pairs, peak, target = len(maps), _peak(maps, valid), target & valid
    thresholds = torch.arange(1, bins + 1, dtype=maps.dtype, device=maps.device) / bins * peak[:, 0]
    reached = torch.searchsorted(thresholds, maps.flatten(1), right=True) * valid.flatten(1)
    histogram = 2 * torch.arange(pairs, device=maps.device)[:, None] + target.flatten(1)
    counts = torch.bincount((histogram * (bins + 1) + reached).flatten(), minlength=2 * pairs * (bins + 1))
    above = counts.view(pairs, 2, bins + 1).flip(2).cumsum(2).flip(2)[:, :, 1:].to(maps.dtype)
    size = target.sum(dim=(1, 2))[:, None]
    return _share(above[:, 1], above[:, 0] + size) * (peak[:, 0] > 0)


def pointing_hit(
    maps: Float[Tensor, "pairs h w"], target: Bool[Tensor, "pairs h w"], valid: Bool[Tensor, "pairs h w"]
) -> Float[Tensor, " pairs"]:
    """Whether the map's maximum lies on the object, with no margin around it.

    Where several pixels share the maximum, the result is the share of them that lies on the object: the chance of a hit
    if one is drawn. It does not depend on which pixel a device happens to find first, and a uniform map scores chance.

    Args:
        maps: attention of image size, after its ReLU, not normalised.
        target: the object's pixels.
        valid: False on void pixels.

    Returns:
        1 for a hit, 0 for a miss, between them for a tie; an all-zero map is a miss.

    Source: arXiv:1608.00507 section 4.2, whose margin of 15 pixels and ties are not ours.
    """
    peak = _peak(maps, valid)
    top = (maps == peak) & valid & (peak > 0)
    return _share((top & target).sum(dim=(1, 2)).to(maps.dtype), top.sum(dim=(1, 2)).to(maps.dtype))


def grid_ceiling(
    target: Bool[Tensor, "pairs h w"], grid: tuple[int, int], cells: Cells | None = None
) -> Float[Tensor, "pairs h w"]:
    """What is left of a perfect map on a grid of features: the object's share of each cell, upsampled to the image.

    Fed to an `AttentionMetric`, it says what figures a network with so coarse features can hope for. It is a yardstick,
    no strict bound: a map that keeps to one cell inside a large object has more of its energy inside.

    Args:
        target: the object's pixels.
        grid: height and width of the features.
        cells: where the features lie (`GuidedOutput.cells`); None for an even division of the image.

    Returns:
        In [0, 1].

    Example:
        >>> grid_ceiling(torch.tensor([[[True, False, False, False]]]), grid=(1, 2))
        tensor([[[0.5000, 0.3750, 0.1250, 0.0000]]])
    """
    return stretched(averaged(target.float(), grid, cells), side_lengths(target), cells)


class AttentionMetric(Metric):
    """Adds up the figures of pairs; `compute` gives `AttentionFigures`.

    A pair whose class has no valid pixel is not counted: there is nothing to look at.

    Example:
        >>> object_left = torch.tensor([[[True, False]]])
        >>> metric = AttentionMetric()
        >>> metric.update(torch.tensor([[[3.0, 1.0]]]), object_left, torch.ones_like(object_left))
        >>> metric.compute().energy_pointing_over_chance
        1.5
    """

    full_state_update = False
    pairs: Tensor
    empty: Tensor
    energy: Tensor
    chance: Tensor
    hits: Tensor
    iou: Tensor

    def __init__(self) -> None:
        super().__init__()
        for count in ("pairs", "empty"):
            self.add_state(count, torch.tensor(0), dist_reduce_fx="sum")
        for total in ("energy", "chance", "hits"):
            self.add_state(total, torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("iou", torch.zeros(THRESHOLDS), dist_reduce_fx="sum")

    def update(
        self,
        maps: Float[Tensor, "pairs h w"],
        target: Bool[Tensor, "pairs h w"],
        valid: Bool[Tensor, "pairs h w"],
    ) -> None:
        """Take in pairs: upsampled maps after their ReLU, the objects, and the pixels that count."""
        maps = maps.detach().float()  # half precision cannot add up an image
        counted = (target & valid).any(dim=2).any(dim=1)
        self.pairs += counted.sum()
        self.empty += (counted & (_peak(maps, valid)[:, 0, 0] == 0)).sum()
        # Pairs that are not counted have no object pixels, so they add 0 to each of these.
        self.energy += energy_inside(maps, target, valid).sum()
        self.chance += energy_chance(target, valid).sum()
        self.hits += pointing_hit(maps, target, valid).sum()
        self.iou += iou_curve(maps, target, valid).sum(dim=0)

    def compute(self) -> AttentionFigures:
        """The figures of all pairs of all processes; NaN where there are none."""
        pairs, nan = int(self.pairs), math.nan
        if pairs == 0:
            return AttentionFigures(nan, nan, nan, nan, nan, nan, 0, nan)
        iou = (self.iou / pairs).tolist()
        best = max(range(THRESHOLDS), key=iou.__getitem__)  # the lowest of equally good thresholds
        return AttentionFigures(
            energy_pointing=float(self.energy / pairs),
            energy_pointing_over_chance=float(self.energy / self.chance),
            attention_iou=iou[best],
            attention_iou_20=iou[THRESHOLDS // 5 - 1],
            pointing_game=float(self.hits / pairs),
            empty_maps=float(self.empty / pairs),
            pairs=pairs,
            best_threshold=(best + 1) / THRESHOLDS,
        )


class PairMeans(Metric):
    """The means of any figures of pairs, over the pairs whose class has a valid pixel; NaN where there are none.

    Args:
        figures: by name; functions of maps, target and valid pixels that give one value a pair.

    Example:
        >>> metric = PairMeans({"inside": energy_inside})
        >>> metric.update(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]), torch.ones(1, 1, 2) > 0)
        >>> metric.compute()
        {'inside': 0.75}
    """

    full_state_update = False
    pairs: Tensor
    totals: Tensor

    def __init__(self, figures: Mapping[str, PairFigure]) -> None:
        super().__init__()
        self.figures = figures
        self.add_state("pairs", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("totals", torch.zeros(len(figures)), dist_reduce_fx="sum")

    def update(
        self,
        maps: Float[Tensor, "pairs h w"],
        target: Bool[Tensor, "pairs h w"],
        valid: Bool[Tensor, "pairs h w"],
    ) -> None:
        """Take in pairs: upsampled maps after their ReLU, the objects, and the pixels that count."""
        counted = (target & valid).any(dim=2).any(dim=1)
        self.pairs += counted.sum()
        pairs = maps.detach().float()[counted], target[counted], valid[counted]
        for position, figure in enumerate(self.figures.values()):
            self.totals[position] += figure(*pairs).sum()

    def compute(self) -> dict[str, float]:
        """The mean of each figure over the pairs of all processes."""
        return dict(zip(self.figures, (self.totals / self.pairs).tolist(), strict=True))
