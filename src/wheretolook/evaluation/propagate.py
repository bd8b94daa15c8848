"""From a few annotated images to all: where objects probably are, told by the network's own features.

A logistic regression learns from the annotated images which columns of features are an object's, and says it of the
others. Few masks do: the features are the network's, and only one weight a channel is learned.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wheretolook.data.dataset import ImageDataset
from wheretolook.errors import DataError
from wheretolook.records import VOID, Sample, side_lengths

PENALTIES = (1e-3, 1e-2, 1e-1)  # on the squared weights, of columns of unit spread
FOLDS = 5
ITERATIONS = 60
PLACES = 1024  # of one image that the regression learns from at most
ALL_PLACES = 2**17  # of all images: half a gigabyte of a thousand channels
MARKED = 0.5  # of an image: with less that anything is known of, points or strokes are its annotation
Columns = Callable[[Float[Tensor, "1 3 height width"]], Float[Tensor, "1 channels h w"]]


class Seen(NamedTuple):
    """The columns of one annotated image that something is known about."""

    columns: Float[Tensor, "places channels"]
    shares: Float[Tensor, " places"]  # of the place that is an object's
    classes: Int[Tensor, " places"]  # of the object there; -1 for none or several


class Probe(NamedTuple):
    """A logistic regression on columns of features, and the mean column of each class's objects."""

    mean: Float[Tensor, " channels"]
    spread: Float[Tensor, " channels"]
    weight: Float[Tensor, " channels"]
    bias: Float[Tensor, ""]
    of_class: Float[Tensor, "classes channels"]

    def scaled(self, columns: Float[Tensor, "places channels"]) -> Float[Tensor, "places channels"]:
        """Columns of mean 0 and spread 1."""
        return (columns - self.mean) / self.spread

    def logits(self, columns: Float[Tensor, "places channels"]) -> Float[Tensor, " places"]:
        """How sure it is that each place is an object's, as the logarithm of the odds."""
        return self.scaled(columns) @ self.weight + self.bias


def seen_in(sample: Sample, columns: Columns, places: int = PLACES, seed: int = 0) -> Seen:
    """What an annotated image teaches.

    Args:
        sample: with planes of its classes.
        columns: the network's features.
        places: how many are kept at most, drawn at random: the neighbours of a place tell little more.
        seed: of that draw.
    """
    found = columns(sample.image[None])[0]
    grid = side_lengths(found)
    told = (sample.targets != VOID).flatten(1).any(dim=1)
    planes, present = sample.targets[told], sample.labels.nonzero().flatten()[told]
    if not len(planes):  # an image without any object: all of it is background, as far as its mask tells
        planes, present = (sample.mask == VOID).to(torch.uint8)[None] * VOID, torch.tensor([-1])
    told_of = (planes != VOID).all(dim=0)
    part = F.adaptive_avg_pool2d(told_of[None].float(), grid)[0]
    marked = bool(told_of.float().mean() < MARKED)  # then a place is what the marks in it are
    known = part > (0.0 if marked else 0.5)
    cover = F.adaptive_avg_pool2d(((planes == 1) & (told_of | (not marked))).float(), grid)
    cover = cover / torch.where(known, part, 1.0) if marked else cover
    shares = cover.amax(dim=0)
    sole = (cover > 0.5).sum(dim=0) == 1
    classes = torch.where(sole, present[cover.argmax(dim=0)], -1)
    kept = known.flatten().nonzero().flatten()
    if len(kept) > places:
        generator = torch.Generator().manual_seed(seed)
        kept = kept[torch.randperm(len(kept), generator=generator)[:places].sort().values]
    at_places = found.flatten(1)[:, kept.to(found.device)].T
    return Seen(at_places.cpu(), shares.flatten()[kept].cpu(), classes.flatten()[kept].cpu())


class Gathered(NamedTuple):
    """The places of all annotated images, one image after the other, with columns of mean 0 and spread 1."""

    mean: Float[Tensor, " channels"]  # of the columns as they were
    spread: Float[Tensor, " channels"]
    columns: Float[Tensor, "places channels"]
    shares: Float[Tensor, " places"]
    classes: Int[Tensor, " places"]
    images: Int[Tensor, " places"]  # the number of each place's image, from 0


def gathered(seen: Sequence[Seen]) -> Gathered:
    """The places of images, scaled once for all regressions.

    Args:
        seen: of the annotated images.
    """
    columns, shares, classes = (torch.cat([getattr(one, name) for one in seen]) for name in Seen._fields)
    images = torch.arange(len(seen)).repeat_interleave(torch.tensor([len(one.shares) for one in seen]))
    mean, spread = columns.mean(dim=0), columns.std(dim=0).clamp(min=1e-5)
    return Gathered(mean, spread, columns.sub_(mean).div_(spread), shares, classes, images)


def fitted(known: Gathered, classes: int, penalty: float, learned: Bool[Tensor, " places"] | None = None) -> Probe:
    """The regression of least cross-entropy, with a penalty on the squared weights.

    Args:
        known: of the annotated images.
        classes: how many foreground classes there are.
        penalty: what the sum of the squared weights is multiplied by.
        learned: which places it learns from; None for all.
    """
    columns, shares, of = known.columns, known.shares, known.classes
    if learned is None:
        learned = torch.ones_like(shares, dtype=torch.bool)
    counts = learned.float() / learned.sum()  # a copy of the columns would be as large as these
    weight = torch.zeros(columns.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        losses = F.binary_cross_entropy_with_logits(columns @ weight + bias, shares, reduction="none")
        loss = losses @ counts + penalty * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    shown = [learned & (of == index) for index in range(classes)]
    means = [columns[places].mean(dim=0) if places.any() else columns.new_zeros(()) for places in shown]
    of_class = torch.stack([one.expand_as(weight) for one in means])
    return Probe(known.mean, known.spread, weight.detach(), bias.detach(), of_class)


def overlap(logits: Float[Tensor, " places"], shares: Float[Tensor, " places"]) -> float:
    """Intersection over union of what a probe says and what is annotated, of all these places together.

    Args:
        logits: what it says; for an honest figure, of other images than it learned from.
        shares: of each place that is an object's.

    Example:
        >>> overlap(torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1.0, 0.0, 0.2]))
        0.5
    """
    said, true = logits > 0, shares > 0.5
    both, either = int((said & true).sum()), int((said | true).sum())
    return both / either if either else 0.0


def cross_validated(known: Gathered, classes: int) -> tuple[float, float]:
    """The penalty of the largest overlap with annotations that the probe has not seen, and that overlap.

    Args:
        known: of the annotated images, in at most five folds.
        classes: how many foreground classes there are.
    """
    folds = min(FOLDS, len(known.images.unique()))
    if folds < 2:
        return PENALTIES[1], float("nan")

    def score(penalty: float) -> float:
        total = 0.0
        for fold in range(folds):
            held_out = known.images % folds == fold
            probe = fitted(known, classes, penalty, ~held_out)
            total += overlap((known.columns @ probe.weight + probe.bias)[held_out], known.shares[held_out])
        return total / folds

    scores = {penalty: score(penalty) for penalty in PENALTIES}
    best = max(scores, key=lambda penalty: scores[penalty])
    return best, scores[best]


def probable_mask(
    probe: Probe,
    columns: Float[Tensor, "channels h w"],
    labels: Bool[Tensor, " classes"],
    size: tuple[int, int],
    margin: float,
) -> Int[Tensor, "height width"]:
    """An index mask of where the classes of an image probably are.

    Where it shows several, an object's place is of that one whose mean column is nearest.

    Args:
        probe: the regression.
        columns: of the image.
        labels: which classes it shows, at least one.
        size: height and width of the mask.
        margin: pixels nearer than that to even odds, in their logarithm, are void.

    Returns:
        0 background, 1 + class index, VOID; at least one pixel of an object.
    """
    grid = side_lengths(columns)
    places = columns.cpu().flatten(1).T
    sure = F.interpolate(probe.logits(places).view(1, 1, *grid), size=size, mode="bilinear", align_corners=False)[0, 0]
    present = labels.nonzero().flatten()
    nearest = torch.cdist(probe.scaled(places), probe.of_class[present]).argmin(dim=1).view(grid)
    near = F.interpolate(nearest[None, None].float(), size=size, mode="nearest-exact")[0, 0].long()
    sure = sure - (sure.max() - margin).clamp(max=0)  # the surest pixel is an object's, whatever its odds
    mask = torch.where(sure >= margin, 1 + present[near], 0)
    return mask.masked_fill(sure.abs() < margin, VOID)


def propagated(
    dataset: ImageDataset, columns: Columns, margin: float = 0.5
) -> tuple[float, Iterator[tuple[int, Int[Tensor, "height width"]]]]:
    """The overlap with annotations that were held out, and the probable mask of each image that is not annotated.

    Args:
        dataset: images of which some are annotated.
        columns: the network's features, on the network's device.
        margin: see `probable_mask`.

    Raises:
        DataError: no image is annotated, or all are; or nothing but objects is, or nothing but background.
    """
    annotated = [index for index in range(len(dataset)) if dataset.is_annotated(index)]
    if not annotated or len(annotated) == len(dataset):
        raise DataError(
            f"expected some images with annotations and some without, got {len(annotated)} of {len(dataset)} with; "
            "data.annotated_fraction or data.annotated says whose are used"
        )
    classes = len(dataset.class_names)
    places = max(1, min(PLACES, ALL_PLACES // len(annotated)))
    known = gathered([seen_in(dataset[index], columns, places, seed=index) for index in annotated])
    if not (known.shares > 0).any() or not (known.shares < 1).any():
        what = "places of objects" if (known.shares > 0).any() else "places that show none"
        raise DataError(
            f"expected annotations of objects and of what is none, got {what} alone; mark or outline the others too"
        )
    penalty, score = cross_validated(known, classes)
    probe = fitted(known, classes, penalty)

    def masks() -> Iterator[tuple[int, Tensor]]:
        for index in sorted(set(range(len(dataset))) - set(annotated)):
            sample = dataset[index]
            if sample.labels.any():
                size = side_lengths(sample.mask)
                yield index, probable_mask(probe, columns(sample.image[None])[0], sample.labels, size, margin)

    return score, masks()
