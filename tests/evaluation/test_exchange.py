"""Images with something erased or exchanged, pixel by pixel, and networks whose answers to them are known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from wheretolook.data.dataset import ImageDataset
from wheretolook.evaluation.exchange import CHANGES, Lenders, Wanted, erased, in_front_of, lending, mean_colour, tried
from wheretolook.records import CAFFE, TORCHVISION, VOID, Preprocessing, Sample, collate

from ..training.made import ConstantNetwork, planes

ROWS = {"A": 1, "B": 2, "C": 3, ".": 0, "?": VOID}


def scene(name: str, rows: list[str], red: float = 0.0) -> Sample:
    """Green says the class of each pixel in tenths; red is the background's."""
    mask = torch.tensor([[ROWS[letter] for letter in line] for line in rows])
    classes = tuple(sorted({int(value) - 1 for value in mask.unique() if 0 < value < VOID}))
    labels = torch.tensor([index in classes for index in range(3)])
    image = torch.zeros(3, *mask.shape)
    image[1] = torch.where(mask == VOID, 0, mask) / 10
    image[0] = torch.where(mask == 0, red, 0.0)
    return Sample(image, mask, labels, planes(mask, classes), True, name, exclusive=len(classes) == 1)


class Scenes(ImageDataset):
    """These samples."""

    class_names = ("disc", "bar", "ring")

    def __init__(self, *samples: Sample) -> None:
        self.samples, self.names = samples, tuple(sample.name for sample in samples)

    def size(self, index: int) -> tuple[int, int]:
        return tuple(self.samples[index].mask.shape)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class Background(ConstantNetwork):
    """Says the class by the background alone: by what red is on the pixels that green leaves free."""

    def forward(self, images: Tensor, *, segment: bool = True) -> object:
        output = super().forward(images, segment=False)
        free = images[:, 1] < 0.05
        seen = (10 * (images[:, 0] * free).sum(dim=(1, 2)) / free.sum(dim=(1, 2))).round()
        scores = torch.stack([-(seen - 1 - index).abs() + 0.1 for index in range(3)], dim=1)
        with torch.inference_mode(False), torch.enable_grad():
            scores = scores.clone() + output.class_scores / 1000  # so that it has maps
        return output._replace(class_scores=scores)


A, B = ["....", ".AA.", ".A?.", "...."], ["B...", "B...", "....", "...."]
SCENES = Scenes(
    scene("a1", A, 0.1), scene("b1", B, 0.2), scene("a2", [row[::-1] for row in A], 0.1), scene("b2", B, 0.2)
)
LENDERS = Lenders({0: frozenset({0}), 1: frozenset({1}), 2: frozenset({0}), 3: frozenset({1})})
WANTED = [Wanted(index, index % 2) for index in range(4)]


def test_what_is_erased_leaves_no_shape_behind():
    sample, grey = SCENES[0], torch.tensor([0.5, 0.6, 0.7])
    found = erased(sample.image, sample.targets[0], grey)
    box = torch.zeros(4, 4, dtype=torch.bool)
    box[1:3, 1:3] = True
    torch.testing.assert_close(found["object_erased"][:, box], torch.tensor([0.1, 0.0, 0.0])[:, None].expand(3, 4))
    assert torch.equal(found["object_erased"][:, ~box], sample.image[:, ~box])
    assert torch.equal(found["background_erased"][:, box], sample.image[:, box])
    assert torch.equal(found["background_erased"][:, ~box], grey[:, None].expand(3, 12))


def test_a_lent_background_has_no_object_and_takes_the_size_of_the_other():
    sample, lender = SCENES[0], SCENES[1]
    lender.image[2] = torch.linspace(0, 1, 16).view(4, 4)  # where its object is must not shine through
    try:
        found = in_front_of(sample.image, sample.targets[0] != 0, lender)
    finally:
        lender.image[2] = 0
    objects, kept = lender.mask == 2, sample.targets[0] != 0
    assert torch.equal(found[:, kept], sample.image[:, kept])
    mean = torch.linspace(0, 1, 16).view(4, 4)[~objects].mean()
    assert torch.allclose(found[2, objects & ~kept], mean) and not found[1, ~kept].any()
    wide = in_front_of(torch.ones(3, 6, 9), torch.zeros(6, 9, dtype=torch.bool), lender)
    assert wide.shape == (3, 6, 9) and wide[0] == pytest.approx(0.2 * torch.ones(6, 9), abs=1e-6)


@pytest.mark.parametrize("preprocessing", [CAFFE, TORCHVISION, Preprocessing("BGR", 2.0, (0.9, 1.0, 1.1))])
def test_the_mean_colour_is_nothing_to_the_network(preprocessing: Preprocessing):
    image = mean_colour(preprocessing)[None, :, None, None].expand(1, 3, 2, 2)
    assert preprocessing(image).abs().max() < 1e-4 * preprocessing.scale


def test_a_network_that_knows_the_background_falls_and_follows():
    trials = list(tried(Background(), SCENES, WANTED, LENDERS, batch_size=3))
    assert [trial.name for trial in trials] == list(SCENES.names)
    for trial in trials:
        assert tuple(trial.right) == CHANGES and trial.probability.keys() == trial.right.keys()
        assert trial.right["as_it_is"] and trial.right["object_erased"] and trial.right["own_background"]
        assert not trial.right["other_background"]
        assert trial.right["background_erased"] == (trial.class_index == 0)  # which black is nearest to
        assert trial.lent == (1 - trial.class_index,) and trial.predicted in trial.lent


def test_a_network_that_knows_the_object_needs_the_object_alone():
    for trial in tried(ConstantNetwork(), SCENES, WANTED, LENDERS):
        wrong = {change for change, right in trial.right.items() if not right}
        assert wrong <= {"object_erased", "marked"} and trial.predicted == trial.class_index


def test_batches_and_single_images_say_the_same():
    many, single = (list(tried(Background(), SCENES, WANTED, LENDERS, batch_size=size)) for size in (8, 1))
    assert many == single


def test_who_lends_is_drawn_from_the_fitting_ones_alone():
    random = np.random.default_rng(0)
    assert {LENDERS.draw(Wanted(0, 0), True, random) for _ in range(20)} == {2}
    assert {LENDERS.draw(Wanted(0, 0), False, random) for _ in range(20)} == {1, 3}
    assert Lenders({0: frozenset({0})}).draw(Wanted(0, 0), True, random) is None
    assert Lenders({1: frozenset()}).draw(Wanted(0, 0), False, random) is None  # nobody says what it shows


def test_images_that_are_not_annotated_or_all_object_lend_nothing():
    full = scene("full", ["AAAA"] * 4)
    half = scene("half", ["AB..", "AB..", "....", "...."])
    unsaid = half._replace(targets=torch.cat([half.targets[:1], torch.full_like(half.targets[:1], VOID)]))
    nothing = scene("nothing", ["...."] * 4)
    batch = collate([sample._replace(exclusive=False) for sample in (SCENES[0], full, half, unsaid, nothing)])
    assert lending(batch).tolist() == [True, False, True, False, True]


def test_without_lenders_the_other_changes_are_tried_all_the_same():
    (trial,) = tried(ConstantNetwork(), SCENES, WANTED[:1], Lenders({}))
    assert set(trial.right) == set(CHANGES) - {"own_background", "other_background"} and trial.predicted is None
