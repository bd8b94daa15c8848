"""Mixed backgrounds: pixel by pixel from two images, and a loss of annotated images only."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wheretolook.losses.mixed_background import mixed_background, mixed_backgrounds, next_of, where_objects
from wheretolook.networks.guide import guide
from wheretolook.networks.modes import steady_norms
from wheretolook.options.objective import MixedBackgroundOptions, ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, collate
from wheretolook.training.stage import Stage

from ..training.made import SIZE, made_network, sample


def test_every_pixel_is_the_images_own_or_its_donors_background():
    images, donors = torch.randn(4, 3, 4, 5), torch.tensor([2, 0, 2, 1])
    kept, erased = torch.rand(4, 4, 5) < 0.4, torch.rand(4, 4, 5) < 0.3
    mixed = mixed_backgrounds(images, kept, donors, erased)
    for number, donor in enumerate(donors.tolist()):
        for row in range(4):
            for column in range(5):
                lent = donor != number and not erased[donor, row, column]
                other = images[donor, :, row, column] if lent else torch.zeros(3)
                expected = images[number, :, row, column] if kept[number, row, column] else other
                assert torch.equal(mixed[number, :, row, column], expected)


def test_what_may_be_an_object_is_no_background_and_what_nobody_says_is():
    targets = torch.tensor([[[1, 0, VOID, 0]], [[0, 1, 0, VOID]], [[VOID] * 4]], dtype=torch.uint8)
    assert where_objects(targets, torch.tensor([0, 0, 2]), 3).int().tolist() == [[[1, 1, 1, 1]], [[0] * 4], [[0] * 4]]
    assert where_objects(targets[:1], torch.tensor([1]), 2).int().tolist() == [[[0] * 4], [[1, 0, 1, 0]]]


def test_donors_go_round():
    for which, expected in (([1, 1, 1], [1, 2, 0]), ([0, 1, 0], [1, 1, 1]), ([0, 0], [0, 1]), ([1, 0, 1], [2, 2, 0])):
        assert next_of(torch.tensor(which).bool()).tolist() == expected


@pytest.mark.parametrize("donors", ["annotated", "any"])
def test_the_loss_is_that_of_the_annotated_images_alone(donors: str):
    """An image with a class that nothing shows keeps its background, lends it where any may, and counts as nothing."""
    one, two, three = sample("one", (0,)), sample("two", (1,)), sample("three", (0, 2))
    hidden = two._replace(targets=torch.full((1, *SIZE), VOID, dtype=torch.uint8))
    network = made_network()
    stage = Stage.guidance(network, TrainingOptions(), ObjectiveOptions())
    step = stage.forward_step(collate([one, hidden, three]))
    found = mixed_background(step, MixedBackgroundOptions(1.0, donors))
    nothing = torch.zeros(SIZE, dtype=torch.bool)
    expected = []
    for own, known, lender in ((0, one, 2 if donors == "annotated" else 1), (2, three, 0)):
        taken = nothing if lender == 1 else (one, hidden, three)[lender].mask != 0
        background = torch.where(taken, torch.zeros(()), step.images[lender])
        image = torch.where(known.mask != 0, step.images[own], background)
        scores = network(image[None], segment=False).class_scores[0]
        expected.append(F.binary_cross_entropy_with_logits(scores, known.labels.to(scores.dtype)))
    torch.testing.assert_close(found, torch.stack(expected).sum() / 3)
    assert not torch.isclose(found, stage.terms(step.batch)[1]["classification"])


def test_an_annotated_image_alone_has_no_background():
    only = sample("one", (0,))
    network = made_network()
    step = Stage.guidance(network, TrainingOptions(), ObjectiveOptions()).forward_step(collate([only]))
    scores = network(step.images * (only.mask != 0), segment=False).class_scores
    expected = F.binary_cross_entropy_with_logits(scores[0], only.labels.to(scores.dtype))
    for donors in ("annotated", "any"):
        torch.testing.assert_close(mixed_background(step, MixedBackgroundOptions(1.0, donors)), expected)


def test_a_batch_without_annotation_weighs_nothing_and_trains_on():
    bare = sample("one", (0,))._replace(targets=torch.full((1, *SIZE), VOID, dtype=torch.uint8))
    step = Stage.guidance(made_network(), TrainingOptions(), ObjectiveOptions()).forward_step(collate([bare]))
    loss = mixed_background(step, MixedBackgroundOptions(1.0))
    assert loss == 0 and loss.requires_grad


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_norms_of_a_few_images_go_by_running_statistics_that_stay_as_they_are(hidden: int):
    """One annotated image has no statistics of its own, and those of a few are not the batch's."""
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3)),
    )
    network = guide(module, "1", class_names=("a", "b", "c"), input_size=SIZE).train()
    images = [sample("one", (0,))]
    images += [sample("two", (1,))._replace(targets=torch.full((1, *SIZE), VOID, dtype=torch.uint8))] * hidden
    images += [] if hidden == 2 else [sample("three", (0, 2))]
    stage = Stage.guidance(network, TrainingOptions(), ObjectiveOptions())
    step = stage.forward_step(collate([one._replace(image=one.image.float()) for one in images]))
    modes = [part.training for part in network.modules()]
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = mixed_background(step, MixedBackgroundOptions(1.0))
    moved = {name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])}
    assert bool(moved) == (hidden < 2)  # two of two images, or of three, have statistics of their own
    assert modes == [part.training for part in network.modules()] and module[1].training
    network.eval()
    assert torch.isclose(found, mixed_background(step, MixedBackgroundOptions(1.0))) == (hidden == 2)
    found.backward()
    assert module[0].weight.grad.any() and module[3][2].weight.grad.any()


def test_dropout_goes_on_dropping():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3))
    with steady_norms(network):
        assert network[0].training and not network[1].training
    assert network[1].training
    network[1].eval()  # as where the trunk is frozen
    with pytest.raises(ZeroDivisionError), steady_norms(network):
        raise ZeroDivisionError
    assert not network[1].training and network.training
