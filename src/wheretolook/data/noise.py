"""Masks made wrong on purpose, to measure what a loss makes of drawings that are not exact."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor

from wheretolook.records import side_lengths


def noisy(
    targets: UInt8[Tensor, "present height width"], share: float, random: np.random.Generator
) -> UInt8[Tensor, "present height width"]:
    """Each object shifted in any direction, grown or shrunk to every side, by a share of its size.

    The size is the root of its area. Which of the three it is, is drawn for each plane. Something of the object is left
    in any case: what would leave nothing moves by half as much, and so on. What was said of other pixels stays.

    Args:
        targets: planes of masks or boxes.
        share: 0 to 1; 0 changes nothing.
        random: what is drawn.
    """
    if not share:
        return targets
    found = targets.clone()
    for plane, target in zip(found, targets, strict=True):
        shown = target == 1
        kind, angle = random.integers(3), random.uniform(0, 2 * np.pi)
        if not shown.any():
            continue
        moved = _left(shown, share * float(shown.sum()) ** 0.5, int(kind), angle)
        plane[shown & ~moved] = 0
        plane[moved] = 1
    return found


def _left(shown: Tensor, pixels: float, kind: int, angle: float) -> Bool[Tensor, "height width"]:
    while True:
        if kind == 0:
            moved = shifted(shown, round(pixels * np.sin(angle)), round(pixels * np.cos(angle)))
        else:
            moved = grown(shown, round(pixels)) if kind == 1 else ~grown(~shown, round(pixels))
        if moved.any():
            return moved
        pixels /= 2


def shifted(shown: Bool[Tensor, "height width"], down: int, across: int) -> Bool[Tensor, "height width"]:
    """The pixels moved; nothing comes in from outside.

    Example:
        >>> shifted(torch.tensor([[True, False], [False, True]]), -1, 0).tolist()
        [[False, True], [False, False]]
    """
    height, width = side_lengths(shown)
    down, across = (max(-side, min(side, by)) for side, by in ((height, down), (width, across)))
    moved = torch.zeros_like(shown)
    moved[max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)] = shown[
        max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)
    ]
    return moved


def grown(shown: Bool[Tensor, "height width"], pixels: int) -> Bool[Tensor, "height width"]:
    """The pixels with all that lie no farther than that from one of them, along rows and along columns.

    Example:
        >>> grown(torch.tensor([[False, False, True, False]]), 1).tolist()
        [[False, True, True, True]]
    """
    window = 2 * pixels + 1
    rows = F.max_pool2d(shown[None].float(), (window, 1), stride=1, padding=(pixels, 0))
    return F.max_pool2d(rows, (1, window), stride=1, padding=(0, pixels))[0] > 0
