"""Points and strokes: drawn in LabelMe, painted into index masks, or made from masks; they say nothing of the rest."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from wheretolook.data.augment import augment
from wheretolook.data.loading import ImageData
from wheretolook.data.marks import pointed, random_stroke, scribbled, stroke_pixels
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID

from .folders_on_disk import opened, write_image, write_lines, write_mask
from .test_exports import labelme, shape

SCENES = ScenesOptions(size=40, classes=3, images=12)


def distance(x: float, y: float, start: np.ndarray, end: np.ndarray) -> float:
    """From a point to a segment, by trying many places on it."""
    along = np.linspace(0, 1, 2001)[:, None] * (end - start) + start
    return float(np.hypot(along[:, 0] - x, along[:, 1] - y).min())


def test_a_stroke_is_all_that_is_near_its_line():
    points = np.array([[2.3, 1.0], [9.0, 6.5], [9.0, 40.0], [-7.0, 3.0]])
    pixels = stroke_pixels(points, 1.7, (14, 12))
    for row in range(14):
        for column in range(12):
            near = min(distance(column, row, *both) for both in pairwise(points))
            if abs(near - 1.7) > 0.01:
                assert pixels[row, column] == (near < 1.7)


def test_one_point_is_a_disc_and_its_pixel_at_least():
    rows, columns = np.indices((20, 30))
    disc = stroke_pixels(np.array([[11.0, 8.0]]), 4.0, (20, 30))
    assert np.array_equal(disc, np.hypot(columns - 11, rows - 8) <= 4)
    assert np.argwhere(stroke_pixels(np.array([[3.4, 7.6]]), 0.0, (20, 30))).tolist() == [[8, 3]]
    for far in ([1e300, 0.0], [-50.0, 2.0], [math.nextafter(29.5, 30), 3.0]):
        assert not stroke_pixels(np.array([far]), 0.0, (20, 30)).any()
    assert stroke_pixels(np.array([[3.0, 5.0], [1e300, 5.0]]), 0.0, (20, 30))[5, 3:].all()


def planes() -> torch.Tensor:
    """Two classes, one over the other in a corner, and a void border below; the third class is only labelled."""
    targets = torch.zeros(3, 24, 32, dtype=torch.uint8)
    targets[0, 2:12, 3:14] = 1
    targets[1, 8:20, 10:30] = 1
    targets[:2, 22:] = VOID
    targets[2] = VOID
    return targets


@pytest.mark.parametrize("draw", [pointed, scribbled])
@pytest.mark.parametrize("seed", range(5))
def test_marks_say_what_the_mask_says_and_no_more(draw, seed: int):
    targets = planes()
    marked = draw(targets, 0.05, np.random.default_rng(seed))
    told = marked != VOID
    assert torch.equal(marked[told], targets[told]) and (marked[2] == VOID).all()
    assert (marked[:2] == 1).any(dim=2).any(dim=1).all()
    assert told.float().mean() < 0.3
    # the class that is only labelled may be anywhere, so nothing is known to be background
    ours = (targets[:2] == 1).any(dim=0)
    assert not told[:, ~ours].any()
    known = draw(targets[:2], 0.05, np.random.default_rng(seed))
    assert (known[:, ~ours] == 0).any() and not (known[:, ~ours] == 1).any()
    assert torch.equal(draw(targets, 0.05, np.random.default_rng(seed)), marked)
    nothing = torch.zeros(0, 24, 32, dtype=torch.uint8)
    assert draw(nothing, 0.05, np.random.default_rng(seed)).shape == nothing.shape


def test_points_lie_anywhere_on_an_object():
    targets = planes()[:1]
    found = torch.zeros(24, 32)
    for seed in range(600):
        found += pointed(targets, 0.0, np.random.default_rng(seed))[0] == 1
    assert found.sum() == 600 and (found > 0).sum() > 100  # of 110 pixels
    assert found[targets[0] != 1].sum() == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_is_smooth_long_and_stays_inside(seed: int):
    rows, columns = np.indices((90, 120))
    where = ((rows - 45) / 40) ** 2 + ((columns - 60) / 30) ** 2 < 1
    line = random_stroke(where, 3.0, np.random.default_rng(seed))
    steps = np.diff(line, axis=0)
    assert np.allclose(np.hypot(*steps.T), 3.0) and len(steps) == int(1.5 * math.sqrt(where.sum()) / 3)
    assert all(where[int(y + 0.5), int(x + 0.5)] for x, y in line)
    angles = np.arctan2(steps[:, 1], steps[:, 0])
    turns = np.abs((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi)
    assert np.median(turns) < 0.6
    assert len(random_stroke(np.zeros((4, 4), bool), 1.0, np.random.default_rng(0))) == 0


@pytest.mark.parametrize("form", ["points", "scribbles"])
def test_only_what_is_trained_on_is_marked_and_each_image_has_its_own(form: str):
    data, plain = (ImageData(DataOptions(scenes=SCENES, annotations=how), steps=1) for how in (form, "masks"))
    for index in range(12):
        ours, theirs = data.train_set[index], plain.train_set[index]
        assert torch.equal(ours.mask, theirs.mask) and torch.equal(ours.labels, theirs.labels) and ours.segmented
        told = ours.targets != VOID
        assert torch.equal(ours.targets[told], theirs.targets[told]) and told.float().mean() < 0.5
        assert torch.equal(ours.targets, data.train_set[index].targets)
        assert torch.equal(data.val_set[index].targets, plain.val_set[index].targets)
    other = ImageData(DataOptions(scenes=SCENES, annotations=form, annotated_seed=1), steps=1)
    assert sum(torch.equal(data.train_set[at].targets, other.train_set[at].targets) for at in range(12)) < 3
    wide = ImageData(DataOptions(scenes=SCENES, annotations=form, mark_radius=0.1), steps=1)
    assert (wide.train_set[0].targets == 1).sum() > (data.train_set[0].targets == 1).sum()


def test_a_class_stays_though_its_point_is_cut_off():
    data = ImageData(DataOptions(scenes=SCENES, annotations="points"), steps=1).train_set
    config = DataOptions(crop=(12, 12), scale=(1.0, 1.0))
    lost = 0
    for index in range(12):
        cropped = augment(data[index], config, 0, 0, index)
        assert torch.equal(cropped.labels, data[index].labels) and len(cropped.targets) == len(data[index].targets)
        lost += int(not (cropped.targets == 1).any())
    assert lost


def test_index_masks_may_be_scribbled_on_void(tmp_path: Path):
    for number, value in enumerate((1, 2)):
        mask = np.full((12, 16), VOID, np.uint8)
        mask[3, 2:9], mask[9, 1:15] = value, 0
        write_image(tmp_path / "images" / f"a{number}.png")
        write_mask(tmp_path / "masks" / f"a{number}.png", mask)
    write_image(tmp_path / "images" / "b.png")
    write_lines(tmp_path / "classes.txt", "cat", "dog")
    write_lines(tmp_path / "labels.csv", "image,classes", "b,cat")
    write_lines(tmp_path / "splits/train.txt", "a0", "a1")
    write_lines(tmp_path / "splits/val.txt", "b")
    data = opened(tmp_path, "train", training=True)
    assert data[0].labels.tolist() == [True, False] and data[1].labels.tolist() == [False, True]
    for index in range(2):
        expected = torch.full((1, 12, 16), VOID, dtype=torch.uint8)
        expected[0, 3, 2:9], expected[0, 9, 1:15] = 1, 0
        assert torch.equal(data[index].targets, expected)


def test_labelmes_points_and_lines_are_marks(tmp_path: Path):
    write_image(tmp_path / "a.jpg")
    labelme(
        tmp_path / "a.json",
        shape("cat", "point", (3, 4)),
        shape("dog", "linestrip", (8, 9), (12, 9), (12, 11)),
        shape("background", "line", (0, 0), (15, 0)),
        shape("__ignore__", "point", (7, 7)),
    )
    write_lines(tmp_path / "splits/all.txt", "a")
    sample = opened(tmp_path, "all", layout="labelme", mark_radius=1 / 16)[0]
    rows, columns = np.indices((12, 16))
    cat = np.hypot(columns - 3, rows - 4) <= 1
    dog = (columns >= 7) & (columns <= 13) & (abs(rows - 9) <= 1) & (columns >= 8) & (columns <= 12)
    dog |= (abs(columns - 12) <= 1) & (rows >= 9) | (np.hypot(columns - 8, rows - 9) <= 1)
    dog |= np.hypot(columns - 12, rows - 9) <= 1
    empty = rows <= 1
    for plane, own, other in zip(sample.targets.numpy(), (cat, dog), (dog, cat), strict=True):
        assert np.array_equal(plane == 1, own) and np.array_equal(plane == 0, other | empty)
    assert not sample.segmented and sample.labels.tolist() == [True, True]
    assert set(sample.mask.unique().tolist()) == {0, 1, 2, VOID}


def test_outlined_classes_keep_what_they_say_beside_points(tmp_path: Path):
    write_image(tmp_path / "a.jpg")
    square = shape("cat", "polygon", (2, 3), (8, 3), (8, 9), (2, 9))
    labelme(tmp_path / "a.json", square, shape("dog", "points", (12, 2), (12, 10)), shape("dog", "point", (3, 4)))
    write_lines(tmp_path / "splits/all.txt", "a")
    cat, dog = opened(tmp_path, "all", layout="labelme", mark_radius=0.0)[0].targets
    assert (cat == 1).sum() == 49 and (cat == 0).sum() == 12 * 16 - 49  # the cat is outlined: it is nowhere else
    assert np.argwhere(dog.numpy() == 1).tolist() == [[2, 12], [4, 3], [10, 12]]
    assert torch.equal(dog == 0, (cat == 1) & (dog != 1))


def test_what_cannot_be_marked_is_said(tmp_path: Path):
    for options, words in (
        ({"mark_radius": 1.5}, "mark_radius from 0 to 1, a share of the image's longer side, got 1.5"),
        ({"noise": -0.1}, "expected noise from 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            ImageData(DataOptions(scenes=SCENES, **options), steps=1)
    write_image(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", shape("cat", "point"))
    write_lines(tmp_path / "splits/all.txt", "a")
    with pytest.raises(DataError, match="shape 1: expected a point, got none"):
        opened(tmp_path, "all", layout="labelme")[0]
