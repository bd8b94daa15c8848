import math
from pathlib import Path

import numpy as np
import pytest
import torch

from wheretolook.metrics import SegmentationMetric, confusion_matrix, segmentation_figures
from wheretolook.records import VOID


def masks(images: int = 4, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and truths, a tenth of these void."""
    prediction = torch.randint(0, 1 + classes, (images, 9, 7))
    truth = torch.randint(0, 1 + classes, (images, 9, 7))
    return prediction, truth.masked_fill(torch.rand(truth.shape) < 0.1, VOID)


def figures_by_sets(prediction: np.ndarray, truth: np.ndarray, values: int) -> list[float]:
    """The definitions as sets of pixels, class by class, with no confusion matrix."""
    counted = truth != VOID
    pixels = counted.sum()
    accuracies, ious, weighted = [], [], 0.0
    for value in range(values):
        true, predicted = (truth == value) & counted, (prediction == value) & counted
        both, either = (true & predicted).sum(), (true | predicted).sum()
        if true.any():
            accuracies.append(both / true.sum())
            weighted += true.sum() / pixels * both / either
        if either:
            ious.append(both / either)
    return [((prediction == truth) & counted).sum() / pixels, np.mean(accuracies), np.mean(ious), weighted]


def test_figures_equal_the_predecessors(golden: Path):
    """Its 18 true classes, a 19th that is only predicted, and two that are in neither."""
    values = np.load(golden / "fcn8s_gain_narrow_expected.npz")
    truth, prediction = (torch.from_numpy(values[name]) for name in ("metric_true", "metric_pred"))
    metric = SegmentationMetric(classes=20)
    metric.update(prediction, truth.masked_fill(truth == -1, VOID))
    np.testing.assert_allclose(metric.compute()[:4], values["metric_expected"], rtol=1e-12)
    absent = [math.isnan(iu) for iu in metric.compute().iu_per_class]
    assert absent == 19 * [False] + 2 * [True]
    assert metric.compute().iu_per_class[18] == 0


def test_confusion_matrix_equals_a_loop_over_pixels():
    prediction, truth = masks()
    expected = torch.zeros(4, 4, dtype=torch.long)
    for given, true in zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if true != VOID:
            expected[true, given] += 1
    assert torch.equal(confusion_matrix(prediction, truth, classes=3), expected)
    assert not torch.equal(expected, expected.T)


def test_figures_equal_the_definitions_on_sets():
    prediction, truth = masks(classes=3)
    prediction[prediction == 2], truth[truth == 3] = 0, 1  # class 2 is never predicted, class 3 only predicted
    figures = segmentation_figures(confusion_matrix(prediction, truth, classes=5))
    np.testing.assert_allclose(figures[:4], figures_by_sets(prediction.numpy(), truth.numpy(), 6), rtol=1e-12)


def test_a_class_of_an_image_without_void_is_counted():
    """Dropping the last value of an image, as if it were void, loses the class 2 here."""
    truth = torch.tensor([[[0, 1], [2, 2]], [[0, 1], [2, VOID]]])
    confusion = confusion_matrix(truth.masked_fill(truth == VOID, 0), truth, classes=2)
    assert torch.equal(confusion, torch.diag(torch.tensor([2, 2, 3])))


def test_predictions_on_void_change_nothing():
    prediction, truth = masks()
    other = torch.where(truth == VOID, VOID, prediction)
    assert torch.equal(confusion_matrix(prediction, truth, 3), confusion_matrix(other, truth, 3))


def test_batch_equals_singles_and_merged_halves_equal_the_whole():
    prediction, truth = masks(images=5)
    whole, first, rest = SegmentationMetric(3), SegmentationMetric(3), SegmentationMetric(3)
    whole.update(prediction, truth)
    first.update(prediction[:1], truth[:1])
    for image in range(1, 5):
        rest.update(prediction[image : image + 1], truth[image : image + 1])
    first.merge_state(rest)
    assert first.compute() == whole.compute()


@pytest.mark.parametrize(("given", "true"), [(2, 0), (0, 2), (-1, 0), (0, -1), (VOID, 1)])
def test_foreign_values_are_refused_and_never_counted_as_another_class(given: int, true: int):
    with pytest.raises(ValueError, match=r"expected mask values from 0 to 1, .* in 1 pixels"):
        confusion_matrix(torch.tensor([[[given, 1]]]), torch.tensor([[[true, 1]]]), classes=1)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_to_count_gives_nan():
    figures = SegmentationMetric(2).compute()
    assert all(math.isnan(figure) for figure in (*figures[:4], *figures.iu_per_class))
