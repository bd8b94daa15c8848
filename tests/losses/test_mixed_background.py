"""Mixed backgrounds: pixel by pixel from two images, and a loss of annotated images only."""

import torch
import torch.nn.functional as F

from wheretolook.losses.mixed_background import mixed_background, mixed_backgrounds, where_objects
from wheretolook.options.objective import MixedBackgroundOptions, ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, collate
from wheretolook.training.stage import Stage

from ..training.made import SIZE, made_network, sample


def test_every_pixel_is_the_objects_or_the_next_images_background():
    images = torch.randn(3, 3, 4, 5)
    objects, known = torch.rand(3, 4, 5) < 0.4, torch.rand(3, 4, 5) < 0.8
    mixed = mixed_backgrounds(images, objects, known)
    for number in range(3):
        other = (number + 1) % 3
        for row in range(4):
            for column in range(5):
                own = objects[number, row, column] or not known[number, row, column]
                free = not objects[other, row, column] and known[other, row, column]
                expected = images[number if own else other, :, row, column] if own or free else torch.zeros(3)
                assert torch.equal(mixed[number, :, row, column], expected)


def test_objects_are_those_of_any_class_and_void_is_not_known():
    targets = torch.tensor([[[1, 0, VOID, 0]], [[0, 1, 0, VOID]], [[1, VOID, 0, 0]]], dtype=torch.uint8)
    objects, known = where_objects(targets, torch.tensor([0, 0, 2]), 3)
    assert objects.int().tolist() == [[[1, 1, 0, 0]], [[0] * 4], [[1, 0, 0, 0]]]
    assert known.int().tolist() == [[[1, 1, 0, 0]], [[1] * 4], [[1, 0, 1, 1]]]


def test_the_loss_is_that_of_the_annotated_images_alone():
    """An image with a class that nothing shows keeps its background, and lends it to no one."""
    samples = [sample("one", (0,)), sample("two", (1,)), sample("three", (0, 2))]
    hidden = samples[1]._replace(targets=torch.full((1, *SIZE), VOID, dtype=torch.uint8))
    network = made_network()
    stage = Stage.guidance(network, TrainingOptions(), ObjectiveOptions())
    step = stage.forward_step(collate([samples[0], hidden, samples[2]]))
    found = mixed_background(step, MixedBackgroundOptions(1.0))
    first, third = step.images[0], step.images[2]
    seen = [(sample.mask != 0) & (sample.mask != VOID) for sample in (samples[0], samples[2])]
    kept = [seen[0] | (samples[0].mask == VOID), seen[1] | (samples[2].mask == VOID)]
    expected = []
    for own, other, keep, taken, one in ((first, third, *kept, samples[0]), (third, first, *kept[::-1], samples[2])):
        image = torch.where(keep, own, torch.where(taken, torch.zeros(()), other))
        scores = network(image[None], segment=False).class_scores[0]
        expected.append(F.binary_cross_entropy_with_logits(scores, one.labels.to(scores.dtype)))
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert not torch.isclose(found, stage.terms(step.batch)[1]["classification"])


def test_a_batch_without_annotation_weighs_nothing_and_trains_on():
    bare = sample("one", (0,))._replace(targets=torch.full((1, *SIZE), VOID, dtype=torch.uint8))
    step = Stage.guidance(made_network(), TrainingOptions(), ObjectiveOptions()).forward_step(collate([bare]))
    loss = mixed_background(step, MixedBackgroundOptions(1.0))
    assert loss == 0 and loss.requires_grad
