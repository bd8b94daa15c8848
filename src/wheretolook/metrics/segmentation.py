"""The four segmentation figures of the FCN authors, from a confusion matrix that adds up over images and processes."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics import Metric

from wheretolook.records import VOID


class SegmentationFigures(NamedTuple):
    """Shares of 1; NaN where there is nothing to divide by (no pixel that counts)."""

    accuracy: float  # correct pixels / pixels
    accuracy_class: float  # correct pixels of a class / its pixels; mean over the classes in the truth
    mean_iu: float  # intersection / union; mean over the classes in truth or prediction
    fwavacc: float  # intersection / union, weighted by the class's share of the truth
    iu_per_class: list[float]  # background first; NaN for a class in neither truth nor prediction


def confusion_matrix(
    prediction: Int[Tensor, "batch h w"], truth: Int[Tensor, "batch h w"], classes: int
) -> Int[Tensor, "1+{classes} 1+{classes}"]:
    """How many pixels of each true class (row) were given each class (column).

    Args:
        prediction: mask values, 0 background and 1 + class index.
        truth: the same, or `VOID`, which is not counted.
        classes: how many foreground classes.

    Returns:
        Counts, on the device of the masks. Matrices of different images add up.

    Raises:
        ValueError: if a value is neither background nor one of the classes.

    Example:
        >>> confusion_matrix(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]), classes=1)
        tensor([[1, 1],
                [0, 0]])
    """
    values = 1 + classes
    void, foreign = values**2, values**2 + 1  # two bins behind the matrix; masked selection would be 5 times slower
    known = (truth >= 0) & (truth < values) & (prediction >= 0) & (prediction < values)
    bins = torch.where(known, truth * values + prediction, foreign)
    counts = torch.bincount(torch.where(truth == VOID, void, bins).flatten(), minlength=foreign + 1)
    if counts[foreign]:
        raise ValueError(
            f"expected mask values from 0 to {classes}, and {VOID} (void) in the truth only; "
            f"got another value in {int(counts[foreign])} pixels: check the number of classes"
        )
    return counts[:void].view(values, values)


def segmentation_figures(confusion: Int[Tensor, "values values"]) -> SegmentationFigures:
    """Pixel accuracy, mean class accuracy, mean IU and frequency-weighted IU of a confusion matrix (truth in rows).

    Absent classes follow the FCN authors' evaluation: a class that is not in the truth has no class accuracy and no
    weight in `fwavacc`; in `mean_iu` it counts as 0 where it was predicted, and is left out where it was not.

    Args:
        confusion: pixel counts, as `confusion_matrix` gives them.

    Source: arXiv:1411.4038 section 5; the rule for absent classes is that of the authors' published evaluation code.

    Example:
        >>> segmentation_figures(torch.tensor([[3, 1], [0, 4]])).accuracy
        0.875
    """
    counts = confusion.cpu().double()
    correct, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    iu = correct / (truth + predicted - correct)
    return SegmentationFigures(
        accuracy=float(correct.sum() / counts.sum()),
        accuracy_class=float((correct / truth).nanmean()),
        mean_iu=float(iu.nanmean()),
        fwavacc=float((truth * iu).nansum() / truth.sum()),
        iu_per_class=iu.tolist(),
    )


class SegmentationMetric(Metric):
    """Adds up confusion matrices; `compute` gives `SegmentationFigures`.

    Args:
        classes: how many foreground classes.

    Example:
        >>> metric = SegmentationMetric(classes=1)
        >>> metric.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]))
        >>> metric.compute().accuracy
        0.5
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        empty = torch.zeros(1 + classes, 1 + classes, dtype=torch.long)
        self.add_state("confusion", empty, dist_reduce_fx="sum")

    def update(self, prediction: Int[Tensor, "batch h w"], truth: Int[Tensor, "batch h w"]) -> None:
        """Take in a batch of predicted and true masks."""
        self.confusion += confusion_matrix(prediction, truth, self.classes)

    def compute(self) -> SegmentationFigures:
        """The figures of all batches and processes."""
        return segmentation_figures(self.confusion)
