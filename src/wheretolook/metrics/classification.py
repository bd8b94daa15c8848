"""Is the class in the image? Figures of multi-label classification."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat


class ClassificationFigures(NamedTuple):
    """Means over the classes that occur in the labels; NaN where none does."""

    map: float  # mean average precision
    f1: float  # macro F1 of the decision `score > 0`, which is a probability over one half
    ap_per_class: list[float]  # NaN for a class that never occurs


def average_precisions(
    class_scores: Float[Tensor, "images classes"], labels: Bool[Tensor, "images classes"]
) -> Float[Tensor, " classes"]:
    """Average precision of each class: the sum over thresholds of the gain in recall times the precision there.

    Args:
        class_scores: logits; only their order within a class matters.
        labels: which classes each image shows.

    Returns:
        In [0, 1]; NaN for a class that never occurs.

    Example:
        >>> average_precisions(torch.tensor([[2.0], [1.0], [0.0]]), torch.tensor([[True], [False], [True]]))
        tensor([0.8333])
    """
    return torch.stack([_average_precision(*column) for column in zip(class_scores.T, labels.T, strict=True)])


def _average_precision(scores: Float[Tensor, " images"], labels: Bool[Tensor, " images"]) -> Float[Tensor, ""]:
    """Average precision of one class, NaN if it never occurs."""
    if not labels.any():
        return scores.new_tensor(math.nan)
    # torchmetrics would take the sigmoid of logits, where large ones become equal: ranks keep their order.
    ranks = scores.unique(return_inverse=True)[1] / len(scores)
    return binary_average_precision(ranks, labels.long()).to(scores.dtype)


def f1_scores(
    class_scores: Float[Tensor, "images classes"], labels: Bool[Tensor, "images classes"]
) -> Float[Tensor, " classes"]:
    """F1 of each class, 2 hits / (predicted + present), where `class_scores > 0` means predicted.

    Args:
        class_scores: logits.
        labels: which classes each image shows.

    Returns:
        In [0, 1]; NaN for a class that never occurs, even if it was predicted.
    """
    predicted, present = class_scores > 0, labels.sum(dim=0)
    f1 = 2 * (predicted & labels).sum(dim=0) / (predicted.sum(dim=0) + present)
    return torch.where(present > 0, f1, math.nan)


class ClassificationMetric(Metric):
    """Collects scores and labels; `compute` gives `ClassificationFigures`.

    Args:
        classes: how many classes.

    Example:
        >>> metric = ClassificationMetric(classes=2)
        >>> metric.update(torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]]))
        >>> metric.compute()
        ClassificationFigures(map=1.0, f1=1.0, ap_per_class=[1.0, nan])
    """

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, class_scores: Float[Tensor, "batch classes"], labels: Bool[Tensor, "batch classes"]) -> None:
        """Take in a batch's logits and labels."""
        # Flat single-precision lists: torchmetrics stands in one for a process that saw no image.
        self.scores.append(class_scores.detach().float().flatten())
        self.labels.append(labels.float().flatten())

    def compute(self) -> ClassificationFigures:
        """The figures of all batches and processes."""
        scores, labels = (
            dim_zero_cat(state).view(-1, self.classes) if len(state) else torch.zeros(0, self.classes)
            for state in (self.scores, self.labels)
        )
        precisions = average_precisions(scores, labels > 0)
        return ClassificationFigures(
            map=float(precisions.nanmean()),
            f1=float(f1_scores(scores, labels > 0).nanmean()),
            ap_per_class=precisions.tolist(),
        )
