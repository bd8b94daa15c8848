"""Is the class in the image? Figures of classification, of several classes an image or of one."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wheretolook.records import widest

MOST = 2**22  # scores that are ranked at once, for the memory of data sets with many images and classes


class ClassificationFigures(NamedTuple):
    """Shares of 1; NaN where there is nothing to measure.

    Means are over the classes that occur in the labels. Accuracies are of the class with the largest score, and only
    there where every image shows exactly one class.
    """

    mean_average_precision: float
    f1: float  # macro; see `f1_scores` for what counts as predicted
    image_accuracy: float  # share of the images whose class has the largest score
    worst_class_accuracy: float  # that share among the images of a class, of the class that fares worst
    worst_group_accuracy: float  # the same of the groups that images name
    average_precision_per_class: list[float]  # NaN for a class that never occurs
    accuracy_per_class: list[float]
    accuracy_per_group: dict[str, float]  # in alphabetical order; images without a group are in none


def average_precisions(
    class_scores: Float[Tensor, "images classes"], labels: Bool[Tensor, "images classes"]
) -> Float[Tensor, " classes"]:
    """Average precision of each class: the sum over thresholds of the rise in recall times the precision there.

    Args:
        class_scores: logits; only their order within a class matters.
        labels: which classes each image shows.

    Returns:
        In [0, 1]; NaN for a class that never occurs.

    Example:
        >>> average_precisions(torch.tensor([[2.0], [1.0], [0.0]]), torch.tensor([[True], [False], [True]]))
        tensor([0.8333])
    """
    if not class_scores.numel():
        return class_scores.new_full(class_scores.shape[1:], math.nan)
    at_once = max(1, MOST // len(class_scores))
    parts = zip(class_scores.split(at_once, dim=1), labels.split(at_once, dim=1), strict=True)
    return torch.cat([_average_precisions(*part) for part in parts])


def _average_precisions(
    scores: Float[Tensor, "images classes"], labels: Bool[Tensor, "images classes"]
) -> Float[Tensor, " classes"]:
    """The mean, over the images that show a class, of the precision at the threshold of the image's own score."""
    ordered, order = scores.sort(dim=0, descending=True)
    shown = labels.gather(0, order).to(widest(scores.device))
    hits = shown.cumsum(dim=0)
    places = torch.arange(len(scores), device=scores.device)[:, None].expand_as(order)
    # a threshold takes in all images of an equal score: up to the last place of that score
    last = torch.ones_like(labels)
    last[:-1] = ordered[:-1] != ordered[1:]
    ends = torch.where(last, places, len(scores)).flip(0).cummin(dim=0).values.flip(0)
    precisions = hits.gather(0, ends) / (ends + 1)
    return ((precisions * shown).sum(dim=0) / hits[-1]).to(scores.dtype)


def f1_scores(
    class_scores: Float[Tensor, "images classes"], labels: Bool[Tensor, "images classes"], *, exclusive: bool = False
) -> Float[Tensor, " classes"]:
    """F1 of each class, 2 hits / (predicted + present).

    Args:
        class_scores: logits.
        labels: which classes each image shows.
        exclusive: each image shows one class, so the class of its largest score is predicted; otherwise every class
            of a score above 0, which is a probability over one half.

    Returns:
        In [0, 1]; NaN for a class that never occurs, even if it was predicted.
    """
    predicted = _largest(class_scores) if exclusive else class_scores > 0
    present = labels.sum(dim=0)
    f1 = 2 * (predicted & labels).sum(dim=0) / (predicted.sum(dim=0) + present)
    return torch.where(present > 0, f1, math.nan)


def correct_images(
    class_scores: Float[Tensor, "images classes"], labels: Bool[Tensor, "images classes"]
) -> Bool[Tensor, " images"]:
    """Whether an image shows the class of its largest score (the first of them, where several are equal).

    Example:
        >>> correct_images(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[True, False], [False, True]]))
        tensor([ True, False])
    """
    return (_largest(class_scores) & labels).any(dim=1)


def _largest(class_scores: Float[Tensor, "images classes"]) -> Bool[Tensor, "images classes"]:
    """True for the class of each image's largest score, False for all others."""
    return torch.zeros_like(class_scores, dtype=torch.bool).scatter(1, class_scores.argmax(dim=1, keepdim=True), True)


def classification_figures(
    class_scores: Float[Tensor, "images classes"],
    labels: Bool[Tensor, "images classes"],
    groups: Sequence[str] = (),
    *,
    exclusive: bool = False,
) -> ClassificationFigures:
    """All figures of classification of a set of images.

    Args:
        class_scores: logits.
        labels: which classes each image shows.
        groups: of each image, empty for none; or nothing at all.
        exclusive: see `f1_scores`.
    """
    precisions = average_precisions(class_scores, labels)
    f1 = f1_scores(class_scores, labels, exclusive=exclusive).nanmean()
    if not len(labels) or not (labels.sum(dim=1) == 1).all():
        nans = [math.nan] * len(precisions)
        return ClassificationFigures(
            float(precisions.nanmean()), float(f1), math.nan, math.nan, math.nan, precisions.tolist(), nans, {}
        )
    correct = correct_images(class_scores, labels)
    per_class = [_mean(correct[column]) for column in labels.T]
    members: dict[str, list[int]] = {name: [] for name in sorted({*groups} - {""})}
    for image, name in enumerate(groups):
        if name:
            members[name].append(image)
    per_group = {name: _mean(correct[images]) for name, images in members.items()}
    return ClassificationFigures(
        mean_average_precision=float(precisions.nanmean()),
        f1=float(f1),
        image_accuracy=_mean(correct),
        worst_class_accuracy=_worst(per_class),
        worst_group_accuracy=_worst(per_group.values()),
        average_precision_per_class=precisions.tolist(),
        accuracy_per_class=per_class,
        accuracy_per_group=per_group,
    )


def _mean(correct: Bool[Tensor, " images"]) -> float:
    """The share that is correct; NaN of none."""
    return int(correct.sum()) / len(correct) if len(correct) else math.nan


def _worst(shares: Iterable[float]) -> float:
    """The least of the shares that are there; NaN where none is."""
    return min((share for share in shares if not math.isnan(share)), default=math.nan)


class ClassificationMetric(Metric):
    """Collects scores, labels and groups; `compute` gives `ClassificationFigures`.

    Args:
        classes: how many classes.

    Example:
        >>> metric = ClassificationMetric(classes=2)
        >>> metric.update(torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]]))
        >>> metric.compute().average_precision_per_class
        [1.0, nan]
    """

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]
    groups: list[Tensor]
    exclusive: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        for name in ("scores", "labels", "groups"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self.add_state("exclusive", torch.tensor(0), dist_reduce_fx="max")

    def update(
        self,
        class_scores: Float[Tensor, "batch classes"],
        labels: Bool[Tensor, "batch classes"],
        groups: Sequence[str] = (),
        *,
        exclusive: bool = False,
    ) -> None:
        """Take in a batch's logits and labels, and its images' groups where they have any.

        Args:
            class_scores: logits.
            labels: which classes each image shows.
            groups: one an image, empty for none.
            exclusive: the images of this data set show one class each; see `f1_scores`.
        """
        # Flat single-precision lists: torchmetrics stands in one for a process that saw no image.
        self.scores.append(class_scores.detach().float().flatten())
        self.labels.append(labels.float().flatten())
        # names travel as numbers too: the bytes of each, closed by a zero
        text = b"".join(name.encode() + b"\0" for name in groups or [""] * len(labels))
        self.groups.append(torch.tensor(list(text), dtype=torch.float32, device=labels.device))
        self.exclusive |= exclusive

    def compute(self) -> ClassificationFigures:
        """The figures of all batches and processes."""
        scores, labels = (
            dim_zero_cat(state).view(-1, self.classes) if len(state) else torch.zeros(0, self.classes)
            for state in (self.scores, self.labels)
        )
        text = bytes(dim_zero_cat(self.groups).int().tolist()) if len(self.groups) else b""
        groups = text.decode().split("\0")[:-1]
        return classification_figures(scores, labels > 0, groups, exclusive=bool(self.exclusive))
