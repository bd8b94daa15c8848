import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from wheretolook.metrics import ClassificationMetric, average_precisions, classification, f1_scores


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
    assert figures.average_precision_per_class == pytest.approx(precisions, rel=1e-5)
    assert figures.mean_average_precision == pytest.approx(sum(precisions) / 4, rel=1e-5)
    assert figures.f1 == pytest.approx(sum(f1s) / 4, rel=1e-5)
    torch.testing.assert_close(f1_scores(scores, labels), torch.tensor(f1s))


@pytest.mark.parametrize("most", [1, 100, 2**22])
def test_many_classes_at_once_are_each_alone(most: int, monkeypatch: pytest.MonkeyPatch):
    """Against torchmetrics, which does one at a time; with ties, with a class in no image and one in all of them."""
    monkeypatch.setattr(classification, "MOST", most)
    scores, labels = batch(40, 13)
    labels[:, 3], labels[:, 7] = False, True
    found = average_precisions(scores, labels)
    for column, precision in enumerate(found):
        ranks = scores[:, column].unique(return_inverse=True)[1] / 40  # logits of any size would be squashed
        expected = binary_average_precision(ranks, labels[:, column].long())
        torch.testing.assert_close(precision, torch.tensor(math.nan) if column == 3 else expected, equal_nan=True)
    assert average_precisions(scores[:0], labels[:0]).isnan().tolist() == [True] * 13


def test_a_thousand_classes_are_no_thousand_loops(monkeypatch: pytest.MonkeyPatch):
    calls = []
    whole = classification._average_precisions
    monkeypatch.setattr(classification, "_average_precisions", lambda *part: (calls.append(part), whole(*part))[1])
    average_precisions(*batch(20, 1000))
    assert len(calls) == 1


def test_a_ranking_worked_out_by_hand():
    """Hits at ranks 1 and 3 of 4: (1/1 + 2/3) / 2. One of two images called positive is: F1 is 2 * 1 / (2 + 2)."""
    scores, labels = torch.tensor([[3.0], [2.0], [-1.0], [-2.0]]), torch.tensor([[True], [False], [True], [False]])
    figures = figures_of(scores, labels)
    assert figures[:2] == (pytest.approx(5 / 6), 0.5)
    assert figures.average_precision_per_class == [pytest.approx(5 / 6)]


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
    assert math.isnan(figures.average_precision_per_class[1])
    assert figures[:2] == without[:2]


def test_batch_equals_singles_and_merged_halves_equal_the_whole():
    scores, labels = batch(images=9)
    first, rest = ClassificationMetric(4), ClassificationMetric(4)
    first.update(scores[:6], labels[:6])
    for image in range(6, 9):
        rest.update(scores[image, None], labels[image, None])
    first.merge_state(rest)
    assert str(first.compute()) == str(figures_of(scores, labels))  # as text, for NaN is not equal to itself


def one_class(images: int = 40, classes: int = 3) -> tuple[Tensor, Tensor, list[str]]:
    """Scores, labels of one class an image, and a group for most images."""
    scores, truth = torch.randn(images, classes), torch.randint(0, classes, (images,))
    names = [("sea", "land", "", "\N{SNOWFLAKE} ice")[draw] for draw in torch.randint(0, 4, (images,)).tolist()]
    return scores, torch.nn.functional.one_hot(truth, classes).bool(), names


def test_accuracies_of_one_class_an_image_equal_counting():
    scores, labels, groups = one_class()
    metric = ClassificationMetric(3)
    for start in range(0, 40, 7):
        part = slice(start, start + 7)
        metric.update(scores[part], labels[part], groups[part])
    found = metric.compute()
    right = [
        row.index(max(row)) == label.index(True) for row, label in zip(scores.tolist(), labels.tolist(), strict=True)
    ]

    def share(chosen: list[bool]) -> float:
        return sum(hit for hit, here in zip(right, chosen, strict=True) if here) / sum(chosen)

    per_class = [share(labels[:, index].tolist()) for index in range(3)]
    per_group = {name: share([group == name for group in groups]) for name in ("land", "sea", "\N{SNOWFLAKE} ice")}
    assert found.image_accuracy == pytest.approx(sum(right) / 40)
    assert found.accuracy_per_class == pytest.approx(per_class)
    assert found.worst_class_accuracy == pytest.approx(min(per_class)) != max(per_class)
    assert found.accuracy_per_group == pytest.approx(per_group)
    assert list(found.accuracy_per_group) == sorted(per_group)
    assert found.worst_group_accuracy == pytest.approx(min(per_group.values())) != max(per_group.values())


@pytest.mark.parametrize("absent", [0, 1])
def test_a_class_that_never_occurs_is_no_worst_class(absent: int):
    labels = torch.tensor([[absent == 1, absent == 0]] * 2)
    found = figures_of(torch.tensor([[1.0, 0], [0, 1]]), labels)
    assert (found.image_accuracy, found.worst_class_accuracy, found.accuracy_per_class[1 - absent]) == (0.5, 0.5, 0.5)
    assert math.isnan(found.accuracy_per_class[absent]) and math.isnan(found.worst_group_accuracy)


@pytest.mark.parametrize("labels", [[[True, True], [True, False]], [[False, False], [True, False]]])
def test_one_image_of_none_or_several_classes_and_there_is_no_accuracy(labels: list[list[bool]]):
    found = figures_of(torch.tensor([[1.0, 0], [0, 1]]), torch.tensor(labels))
    accuracies = (found.image_accuracy, found.worst_class_accuracy, found.worst_group_accuracy)
    assert all(math.isnan(value) for value in (*accuracies, *found.accuracy_per_class))
    assert not math.isnan(found.mean_average_precision) and not math.isnan(found.f1)


def test_f1_of_one_class_an_image_is_of_the_largest_score():
    """All scores are below 0: with several classes an image nothing would be predicted."""
    scores, labels, _ = one_class()
    scores -= 10
    metric = ClassificationMetric(3)
    metric.update(scores[:30], labels[:30], exclusive=True)
    metric.update(scores[30:], labels[30:], exclusive=True)
    confusion = torch.zeros(3, 3)
    for answer, truth in zip(scores.argmax(dim=1), labels.long().argmax(dim=1), strict=True):
        confusion[truth, answer] += 1
    f1s = 2 * confusion.diagonal() / (confusion.sum(dim=0) + confusion.sum(dim=1))
    assert metric.compute().f1 == pytest.approx(f1s.mean().item())
    assert figures_of(scores, labels).f1 == 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_to_rank_gives_nan():
    figures = ClassificationMetric(2).compute()
    assert all(
        math.isnan(value)
        for value in (figures.mean_average_precision, figures.f1, *figures.average_precision_per_class)
    )
