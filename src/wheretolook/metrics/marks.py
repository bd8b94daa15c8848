"""How much attention lies in zones where nobody should look: on a mark that gives a class away, say."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from .attention import energy_chance, energy_inside


class MarkFigures(NamedTuple):
    """Means over the pairs whose image has a zone where nobody should look; NaN where there are none."""

    energy_on_mark: float  # share of the map's energy in the zone
    energy_on_mark_over_chance: float  # that, divided by the zone's mean share of the image; 1 is a uniform map
    energy_on_mark_per_class: list[float]


class MarkMetric(Metric):
    """Adds up how much attention lies in zones where it should not; `compute` gives `MarkFigures`.

    Args:
        classes: how many foreground classes.

    Example:
        >>> metric = MarkMetric(2)
        >>> metric.update(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]), torch.tensor([1]))
        >>> tuple(metric.compute())
        (0.75, 1.5, [nan, 0.75])
    """

    full_state_update = False
    energy: Tensor
    chance: Tensor
    pairs: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        for total in ("energy", "chance", "pairs"):
            self.add_state(total, torch.zeros(classes), dist_reduce_fx="sum")

    def update(
        self, maps: Float[Tensor, "pairs h w"], zones: Bool[Tensor, "pairs h w"], classes: Int[Tensor, " pairs"]
    ) -> None:
        """Take in pairs: upsampled maps after their ReLU, the zones of their images, and their classes."""
        there, everywhere = zones.flatten(1).any(dim=1), torch.ones_like(zones)
        values = (
            energy_inside(maps.detach().float(), zones, everywhere),
            energy_chance(zones, everywhere),
            there.float(),
        )
        for total, value in zip((self.energy, self.chance, self.pairs), values, strict=True):
            total.index_add_(0, classes, value * there)

    def compute(self) -> MarkFigures:
        """The figures of all pairs of all processes."""
        energy, chance, pairs = (float(total.sum()) for total in (self.energy, self.chance, self.pairs))
        if not pairs:
            return MarkFigures(math.nan, math.nan, [math.nan] * len(self.pairs))
        return MarkFigures(energy / pairs, energy / chance, (self.energy / self.pairs).tolist())
