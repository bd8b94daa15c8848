"""Every pair before and after, in one pass over the images, and which of them are worth a picture."""

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wheretolook.evaluation.explain import explanations
from wheretolook.evaluation.pairs import PairFigures, batch_pairs, seen_batches
from wheretolook.records import Batch, Explanation, GuidedNetwork
from wheretolook.report.panels import Comparison

GAINS, LOSSES, AT_RANDOM = 16, 16, 8  # pictures of a gallery
LARGEST = 480  # pixels of the longer side of what is kept for pictures


class Change(NamedTuple):
    """One class in one image, before and after: pictures and figures."""

    comparison: Comparison
    before: PairFigures
    after: PairFigures

    @property
    def gain(self) -> float:
        """See `gain_of`."""
        return gain_of(self.before, self.after)


def gain_of(before: PairFigures, after: PairFigures) -> float:
    """By how much attention on the object grew, in [-1, 1]; where nobody said where that is, the class's probability.

    Args:
        before: the pair's figures of the first network.
        after: those of the second one.
    """
    if before.annotated:
        return after.energy - before.energy
    return after.probability - before.probability


def answers(before: PairFigures, after: PairFigures) -> str:
    """Whether the class was recognised: one word where that did not change.

    Args:
        before: the pair's figures of the first network.
        after: those of the second one.
    """
    words = ["right" if pair.right else "wrong" for pair in (before, after)]
    return words[0] if words[0] == words[1] else " \N{RIGHTWARDS ARROW} ".join(words)


def changes(
    before: GuidedNetwork,
    after: GuidedNetwork,
    batches: tuple[Iterable[Batch], Iterable[Batch]],
    *,
    only_annotated: bool = True,
    flip: bool = False,
    scales: Sequence[float] = (),
) -> Iterator[Change]:
    """The change of each class present in each image.

    Args:
        before: the first network; left as it was.
        after: the second one.
        batches: the same images twice, for either network.
        only_annotated: leave out classes that no mask or box shows.
        flip: maps are means of the image's and of the mirrored image's, mirrored back.
        scales: and of those of the image in these sizes, of its sides.
    """
    both = (
        seen_batches(network, each, flip=flip, scales=scales)
        for network, each in zip((before, after), batches, strict=True)
    )
    for first, second in zip(*both, strict=True):
        pairs = zip(batch_pairs(before, first), batch_pairs(after, second), strict=True)
        shown = zip(*(explanations(seen, only_annotated=False) for seen in (first, second)), strict=True)
        for figures, pictures in zip(pairs, shown, strict=True):
            if figures[0].annotated or not only_annotated:
                yield Change(Comparison(*pictures), *figures)


class Telling:
    """What to keep of all changes that pass by: their figures, and the most telling pictures.

    Args:
        seed: of those that are chosen at random.
    """

    def __init__(self, seed: int = 0) -> None:
        self.before: list[PairFigures] = []
        self.after: list[PairFigures] = []
        self._lottery = random.Random(seed)
        self._heaps: dict[str, list[tuple[float, int, Change]]] = {"gain": [], "loss": [], "random": []}

    def passing(self, found: Iterable[Change]) -> Iterator[Change]:
        """The same changes, looked at.

        Args:
            found: in any fixed order.
        """
        for number, change in enumerate(found):
            self.before.append(change.before)
            self.after.append(change.after)
            gain = change.gain
            if gain > 0:
                self._offer("gain", GAINS, gain, number, change)
            elif gain < 0:
                self._offer("loss", LOSSES, -gain, number, change)
            self._offer("random", AT_RANDOM, self._lottery.random(), number, change)
            yield change

    def chosen(self) -> list[Change]:
        """Gains and losses in turn, the largest first, then those at random that are not among them."""
        gains, losses, others = (
            [(number, change) for _, number, change in sorted(heap, key=lambda one: (-one[0], -one[1]))]
            for heap in self._heaps.values()
        )
        tails = [one for pair in zip(gains, losses, strict=False) for one in pair]
        tails += gains[len(losses) :] + losses[len(gains) :]
        return list(dict([*tails, *others]).values())

    def _offer(self, kind: str, most: int, worth: float, number: int, change: Change) -> None:
        heap = self._heaps[kind]
        if math.isnan(worth) or (len(heap) == most and worth <= heap[0][0]):
            return
        small = change._replace(comparison=_kept(change.comparison))
        (heapq.heappush if len(heap) < most else heapq.heapreplace)(heap, (worth, -number, small))


def _kept(comparison: Comparison) -> Comparison:
    """The comparison without the batch that it came from, no larger than pictures are."""
    before = _shrunk(comparison.before)
    after = _shrunk(comparison.after)
    return Comparison(before, after._replace(image=before.image, truth=before.truth, target=before.target))


def _shrunk(shown: Explanation) -> Explanation:
    size = _within(shown.image.shape[1], shown.image.shape[2])
    prediction = shown.prediction
    return shown._replace(
        image=_smooth(shown.image, size),
        truth=_nearest(shown.truth, size),
        target=_nearest(shown.target, size).to(torch.uint8),
        prediction=None if prediction is None else _nearest(prediction, size),
        attention=_smooth(shown.attention[None], size)[0],
    )


def _within(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, LARGEST / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def _smooth(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[1:] == size:
        return image.clone()
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask in 16 bits, which hold more classes than anybody draws."""
    if mask.shape == size:
        return mask.to(torch.int16, copy=True)
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].to(torch.int16)
