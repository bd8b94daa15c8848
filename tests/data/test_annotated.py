"""A fraction of annotations, boxes from masks, dilation: only the planes change, and only of what is trained on."""

from pathlib import Path

import pytest
import torch

from wheretolook.data.annotated import boxed, dilated, drawn
from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID

from .folders_on_disk import opened, write_image, write_lines, write_mask

SCENES = ScenesOptions(size=32, classes=3, images=40)


def data(**options: object) -> ImageData:
    return ImageData(DataOptions(scenes=SCENES, **options), steps=1)


def said(dataset, index: int) -> bool:
    return bool((dataset[index].targets != VOID).any())


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_fraction_of_the_training_images_says_where(fraction: float):
    plain, part = data(), data(annotated_fraction=fraction)
    kept = [index for index in range(40) if said(part.train_set, index)]
    assert len(kept) == round(40 * fraction)
    assert all(said(part.val_set, index) for index in range(40))
    shown = {index: sum(index in plain.train_set.classes_of_images[image] for image in kept) for index in range(3)}
    assert min(shown.values()) >= 1
    for index in range(40):
        ours, theirs = part.train_set[index], plain.train_set[index]
        same = [torch.equal(getattr(ours, name), getattr(theirs, name)) for name in ("image", "mask", "labels")]
        assert all(same) and ours.segmented == theirs.segmented
        assert torch.equal(ours.targets, theirs.targets) == (index in kept)


def test_seeds_draw_other_images_and_larger_shares_hold_smaller_ones():
    classes = tuple(frozenset({number % 3}) for number in range(60))
    few, more = (drawn(list(range(60)), classes, share, 5) for share in (0.1, 0.4))
    assert few < more and len(more) == 24
    assert drawn(list(range(60)), classes, 0.1, 6) != few
    assert drawn(list(range(60)), classes, 1.0, 6) == frozenset(range(60))


def test_no_class_goes_without_while_another_has_two():
    classes = (frozenset({0}),) * 90 + (frozenset({1}),) * 8 + (frozenset({2}), frozenset())
    for seed in range(5):
        chosen = drawn(list(range(100)), classes, 0.02, seed)
        assert sorted(min(classes[image]) for image in chosen) == [0, 1, 2]
        assert len(drawn(list(range(100)), classes, 1.0, seed)) == 100


def test_boxes_are_the_smallest_around_each_class():
    random = torch.Generator().manual_seed(0)
    targets = (torch.rand(5, 9, 11, generator=random) < 0.04).to(torch.uint8)
    targets[3], targets[4] = VOID, 0
    targets[4, 2, 3], targets[4, 2, 4] = 1, VOID
    found = boxed(targets)
    for plane, box in zip(targets, found, strict=True):
        places = (plane == 1).nonzero()
        if not len(places):
            assert torch.equal(box, plane)
            continue
        (top, left), (bottom, right) = places.min(dim=0).values.tolist(), places.max(dim=0).values.tolist()
        for row in range(9):
            for column in range(11):
                assert box[row, column] == (top <= row <= bottom and left <= column <= right)


def test_dilation_reaches_so_far_and_no_farther():
    targets = torch.zeros(1, 12, 12, dtype=torch.uint8)
    targets[0, 5, 6], targets[0, 0] = 1, VOID
    found = dilated(targets, 2)
    assert (found == 1).nonzero()[:, 1:].tolist() == [[row, column] for row in range(3, 8) for column in range(4, 9)]
    assert torch.equal(found[0, 0], targets[0, 0])
    assert dilated(targets, 0) is targets


def folder(root: Path) -> Path:
    for number, value in enumerate((1, 2, 1, 2)):
        write_image(root / "images" / f"a{number}.png")
        mask = torch.zeros(12, 16).numpy()
        mask[3:6, 4:9] = value
        mask[2, 4] = value
        write_mask(root / "masks" / f"a{number}.png", mask)
    write_lines(root / "classes.txt", "cat", "dog")
    write_lines(root / "splits/train.txt", "a0", "a1", "a2")
    write_lines(root / "splits/val.txt", "a3")
    return root


def test_a_list_names_the_annotated_images(tmp_path: Path):
    root = folder(tmp_path / "data")
    write_lines(tmp_path / "mine.txt", "a2.png", "a0")
    dataset = opened(root, "train", training=True, annotated=str(tmp_path / "mine.txt"), annotations="boxes", dilate=1)
    assert [said(dataset, index) for index in range(3)] == [True, False, True]
    shown = (dataset[0].targets[0] == 1).nonzero()
    assert (
        shown.min(dim=0).values.tolist() == [1, 3] and shown.max(dim=0).values.tolist() == [6, 9] and len(shown) == 42
    )
    assert dataset.one_class == opened(root, "train", training=True).one_class
    assert dataset.has_masks and dataset.has_annotations


def test_what_does_not_fit_is_said(tmp_path: Path):
    root = folder(tmp_path / "data")
    write_lines(tmp_path / "mine.txt", "a3")
    with pytest.raises(DataError, match="'a3' is no image of the training split"):
        opened(root, "train", training=True, annotated=str(tmp_path / "mine.txt"))
    for options, match in (
        ({"annotated_fraction": 1.5}, "from 0 to 1, got 1.5"),
        ({"dilate": -1}, "at least 0 pixels, got -1"),
        ({"annotated_fraction": 0.5, "annotated": "x"}, "got both"),
    ):
        with pytest.raises(ConfigError, match=match):
            opened(root, "train", training=True, **options)
    assert not opened(root, "train", training=True, annotated_fraction=0.0).has_annotations
