"""Pairs, their averages and the terms, each worked out by hand; and the wrong answers that others gave."""

import math

import pytest
import torch

from wheretolook.data.targets import mask_planes
from wheretolook.losses.classification import classification_loss
from wheretolook.losses.objective import for_network, loss_weights, weighted_sum
from wheretolook.losses.reduce import average_images, average_pairs, pair_shares, present_pairs
from wheretolook.losses.segmentation import segmentation_loss
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import VOID

from ..golden.values import golden_values
from ..training.made import changed

LABELS = torch.tensor([[True, False, True, True], [False, False, False, False], [False, True, False, False]])


def test_every_present_class_of_every_image_is_a_pair():
    """The predecessor took one random class a step, and lost one where an image had no void pixels."""
    assert present_pairs(LABELS).tolist() == [[0, 0], [0, 2], [0, 3], [2, 1]]
    assert present_pairs(torch.zeros(2, 3, dtype=torch.bool)).shape == (0, 2)


@pytest.mark.parametrize(("at_most", "expected"), [(1, [1, 0, 1]), (2, [2, 0, 1]), (3, [3, 0, 1]), (9, [3, 0, 1])])
def test_at_most_so_many_of_an_images_present_classes_are_drawn(at_most, expected):
    every = {tuple(pair) for pair in present_pairs(LABELS).tolist()}
    for _ in range(20):
        drawn = [tuple(pair) for pair in present_pairs(LABELS, at_most).tolist()]
        assert len(set(drawn)) == len(drawn) and set(drawn) <= every and drawn == sorted(drawn)
        assert [sum(image == index for image, _ in drawn) for index in range(3)] == expected


def test_the_draw_is_even_and_follows_the_seed():
    labels = LABELS[:1].expand(3000, -1)
    torch.manual_seed(1)
    first = present_pairs(labels, 1)
    counts = first[:, 1].bincount(minlength=4).tolist()
    assert counts[1] == 0
    assert all(abs(counts[index] - 1000) < 5 * math.sqrt(3000 * (1 / 3) * (2 / 3)) for index in (0, 2, 3))
    torch.manual_seed(1)
    assert torch.equal(present_pairs(labels, 1), first)


def test_pairs_are_averaged_within_their_image_first():
    values = torch.tensor([1.0, 2.0, 6.0, 10.0], requires_grad=True)
    pairs = present_pairs(LABELS)
    averages = average_pairs(values, pairs, batch=3)
    assert averages.tolist() == [3, 0, 10]
    mean = average_images(averages)
    assert mean.item() == pytest.approx(13 / 3)
    assert mean.item() != pytest.approx(values.mean().item())  # all pairs alike: depends on how a batch is divided
    (gradient,) = torch.autograd.grad(mean, values)
    torch.testing.assert_close(gradient, pair_shares(pairs, 3))
    torch.testing.assert_close(gradient, torch.tensor([1 / 9, 1 / 9, 1 / 9, 1 / 3]))


def test_two_halves_of_a_batch_average_to_the_whole():
    labels, values = torch.rand(4, 5) < 0.5, torch.rand(20)
    pairs = present_pairs(labels)
    values = values[: len(pairs)]
    whole = average_images(average_pairs(values, pairs, 4))
    halves = []
    for start in (0, 2):
        inside = (pairs[:, 0] >= start) & (pairs[:, 0] < start + 2)
        own = pairs[inside] - torch.tensor([start, 0])
        halves.append(average_images(average_pairs(values[inside], own, 2)))
    torch.testing.assert_close(sum(halves) / 2, whole)


def test_only_counted_images_enter_the_mean():
    values = torch.tensor([1.0, 5.0, 9.0], requires_grad=True)
    counted = torch.tensor([True, False, True])
    mean = average_images(values, counted)
    assert mean.item() == 5 and average_images(values).item() == 5
    assert torch.autograd.grad(mean, values)[0].tolist() == [0.5, 0, 0.5]
    nothing = average_images(values, torch.zeros(3, dtype=torch.bool))
    assert nothing.item() == 0 and torch.autograd.grad(nothing, values)[0].tolist() == [0, 0, 0]


def test_the_classification_loss_takes_the_sigmoid_once():
    scores, labels = torch.randn(3, 4) * 3, LABELS
    for image, value in enumerate(classification_loss(scores, labels).tolist()):
        once, twice = 0.0, 0.0
        for score, present in zip(scores[image].tolist(), labels[image].tolist(), strict=True):
            p = 1 / (1 + math.exp(-score))
            once -= math.log(p if present else 1 - p) / 4
            again = 1 / (1 + math.exp(-p))
            twice -= math.log(again if present else 1 - again) / 4
        assert value == pytest.approx(once, rel=1e-4)
        assert value != pytest.approx(twice, rel=1e-2)  # what the predecessor did


def test_the_segmentation_loss_is_the_mean_over_valid_pixels():
    scores = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    masks = torch.randint(0, 4, (3, 5, 6))
    masks[0, 0, :4], masks[1] = VOID, VOID
    losses = segmentation_loss(scores, masks)
    for image in (0, 2):
        pixels = []
        for y in range(5):
            for x in range(6):
                if masks[image, y, x] != VOID:
                    column = scores[image, :, y, x].exp()
                    pixels.append(-(column[masks[image, y, x]] / column.sum()).log())
        assert len(pixels) == (26 if image == 0 else 30)
        torch.testing.assert_close(losses[image], sum(pixels) / len(pixels))
    assert losses[1].item() == 0
    assert not torch.autograd.grad(losses[1], scores)[0].any()


def test_the_predecessors_segmentation_loss_comes_out():
    golden = golden_values()
    masks = golden["label"].long()
    assert (masks == -1).any()
    masks[masks == -1] = VOID
    loss = segmentation_loss(golden["seg_score"], masks)[0]
    torch.testing.assert_close(loss, golden["seg_loss"], rtol=1e-4, atol=0)


def test_a_pairs_object_is_where_the_mask_names_its_class():
    masks = torch.tensor([[[0, 1], [2, VOID]], [[2, 2], [0, 0]]])
    both = torch.tensor([True, True])
    assert mask_planes(masks[0], both).tolist() == [[[0, 1], [0, VOID]], [[0, 0], [1, VOID]]]
    assert mask_planes(masks[1], both).tolist() == [[[VOID, VOID], [VOID, VOID]], [[1, 1], [0, 0]]]


def test_the_total_weighs_every_term_by_its_own_weight():
    """Primes, so that no weight can be lost or swapped unnoticed (the predecessor ignored one)."""
    weights = {"classification": 2.0, "mining": 3.0, "squared": 5.0, "energy": 7.0, "segmentation": 11.0}
    values = {name: torch.tensor(value) for name, value in zip(weights, (13.0, 17.0, 19.0, 23.0, 29.0), strict=True)}
    assert weighted_sum(values, weights).item() == 2 * 13 + 3 * 17 + 5 * 19 + 7 * 23 + 11 * 29


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("annotated", [True, False])
@pytest.mark.parametrize(
    ("given", "guiding"),
    [
        ({}, None),
        ({"classification.weight": 0.5}, None),
        ({"mining.weight": 0.0}, {}),
        ({"mining.weight": 2.0}, {"mining": 2.0}),
        ({"squared.weight": 3.0}, {"squared": 3.0}),
        ({"mixed_background.weight": 3.0}, {"mixed_background": 3.0}),
        ({"separability.weight": 3.0, "mining.weight": 1.0}, {"separability": 3.0, "mining": 1.0}),
    ],
)
def test_what_guides_is_what_is_given_and_else_what_measured_best(
    segments: bool, annotated: bool, given: dict[str, float], guiding: dict[str, float] | None
):
    measured_best = {(True, True): "energy", (False, True): "mixed_background"}
    expected = {measured_best.get((segments, annotated), "mining"): 1.0} if guiding is None else guiding
    weights = loss_weights(for_network(changed(ObjectiveOptions(), given), segments=segments, annotated=annotated))
    assert weights.pop("classification") == given.get("classification.weight", 1.0)
    assert weights.pop("segmentation", None) == (1.5 if segments else None)
    assert weights == expected
