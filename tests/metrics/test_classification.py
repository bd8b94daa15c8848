import math

import pytest
import torch
from torch import Tensor

from wheretolook.metrics import ClassificationMetric, average_precisions, f1_scores


def batch(images: int = 30, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Scores of one decimal, so that some are equal, and labels that they say something about."""
    labels = torch.rand(images, classes) < 0.3
    return (torch.randn(images, classes) + labels - 0.5).mul(5).round().div(5), labels


def precision_by_ranking(scores: list[float], labels: list[bool]) -> float:
    """Walk down the distinct scores: the gain in recall times the precision of all that score as much or more."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        reached = sum(chosen) / sum(labels)
        total, recall = total + (reached - recall) * sum(chosen) / len(chosen), reached
    return total


def f1_by_counting(scores: list[float], labels: list[bool]) -> float:
    """The harmonic mean of precision and recall."""
    hits = sum(score > 0 and label for score, label in zip(scores, labels, strict=True))
    precision, recall = hits / max(sum(score > 0 for score in scores), 1), hits / sum(labels)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def figures_of(scores: Tensor, labels: Tensor):
    metric = ClassificationMetric(classes=labels.shape[1])
    metric.update(scores, labels)
    return metric.compute()


def test_figures_equal_second_implementations():
    scores, labels = batch()
    columns = list(zip(scores.T.tolist(), labels.T.tolist(), strict=True))
    precisions = [precision_by_ranking(*column) for column in columns]
    f1s = [f1_by_counting(*column) for column in columns]
    figures = figures_of(scores, labels)
    assert figures.ap_per_class == pytest.approx(precisions, rel=1e-5)
    assert figures.map == pytest.approx(sum(precisions) / 4, rel=1e-5)
    assert figures.f1 == pytest.approx(sum(f1s) / 4, rel=1e-5)
    torch.testing.assert_close(f1_scores(scores, labels), torch.tensor(f1s))


def test_a_ranking_worked_out_by_hand():
    """Hits at ranks 1 and 3 of 4: (1/1 + 2/3) / 2. One of two images called positive is: F1 is 2 * 1 / (2 + 2)."""
    scores, labels = torch.tensor([[3.0], [2.0], [-1.0], [-2.0]]), torch.tensor([[True], [False], [True], [False]])
    figures = figures_of(scores, labels)
    assert figures == (pytest.approx(5 / 6), 0.5, [pytest.approx(5 / 6)])


def test_equal_scores_do_not_depend_on_the_order_of_images():
    labels = torch.tensor([[True], [False], [False], [False]])
    for order in (labels, labels.flip(0)):
        torch.testing.assert_close(average_precisions(torch.zeros(4, 1), order), torch.tensor([0.25]))


def test_large_scores_keep_their_order():
    """In single precision sigmoid(20) == sigmoid(30) == 1, which would make this ranking a tie."""
    scores, labels = torch.tensor([[20.0], [30.0], [-5.0]]), torch.tensor([[False], [True], [False]])
    assert average_precisions(scores, labels).tolist() == [1.0]


def test_a_class_that_never_occurs_is_left_out_even_where_it_is_predicted():
    scores, labels = batch(classes=3)
    labels[:, 1] = False
    figures, without = figures_of(scores, labels), figures_of(scores[:, ::2], labels[:, ::2])
    assert math.isnan(figures.ap_per_class[1])
    assert figures[:2] == without[:2]


def test_batch_equals_singles_and_merged_halves_equal_the_whole():
    scores, labels = batch(images=9)
    first, rest = ClassificationMetric(4), ClassificationMetric(4)
    first.update(scores[:6], labels[:6])
    for image in range(6, 9):
        rest.update(scores[image, None], labels[image, None])
    first.merge_state(rest)
    assert first.compute() == figures_of(scores, labels)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_to_rank_gives_nan():
    figures = ClassificationMetric(2).compute()
    assert all(math.isnan(value) for value in (figures.map, figures.f1, *figures.ap_per_class))
