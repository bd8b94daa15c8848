"""Where not to look: zones of a folder and of the annotation, alone and with masks, boxes and fractions of both."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID

from .folders_on_disk import opened, write_image, write_lines, write_mask

OBJECT, RULER = np.s_[2:8, 2:9], np.s_[0:4, 5:16]  # they overlap: the ruler lies on the object


@pytest.fixture
def rulers(tmp_path: Path) -> Path:
    """Two masked images with a ruler across the object, one that is only labelled, one to validate."""
    for number, value in enumerate((1, 3)):
        mask = np.zeros((12, 16), np.uint8)
        mask[OBJECT] = value
        mask[RULER] = 2
        mask[11] = VOID
        write_mask(tmp_path / "masks" / f"a{number}.png", mask)
    zone = np.zeros((12, 16), np.uint8)
    zone[RULER] = 255
    for number in range(4):
        write_image(tmp_path / "images" / f"a{number}.png")
        write_mask(tmp_path / "zones" / f"a{number}.png", zone)
    write_lines(tmp_path / "classes.txt", "cat", "ruler", "dog")
    write_lines(tmp_path / "labels.csv", "image,classes", "a2,dog cat", "a3,cat")
    write_lines(tmp_path / "splits/train.txt", "a0", "a1", "a2")
    write_lines(tmp_path / "splits/val.txt", "a3")
    return tmp_path


def expected(annotated: bool, void_row: bool = True) -> torch.Tensor:
    """Pixel by pixel: not on the ruler; on the object where it is known, anywhere else where it is not."""
    plane = torch.zeros(12, 16, dtype=torch.uint8)
    for row in range(12):
        for column in range(16):
            if row < 4 and column >= 5:
                continue
            on_object = 2 <= row < 8 and 2 <= column < 9
            plane[row, column] = VOID if annotated and void_row and row == 11 else int(on_object or not annotated)
    return plane


def test_an_avoided_class_is_a_class_no_more_and_forbids_its_pixels(rulers: Path):
    data = opened(rulers, "train", training=True, avoid=["ruler"])
    assert data.class_names == ("cat", "dog") and data.classes_of_images == ({0}, {1}, {0, 1})
    first, second, third = (data[index] for index in range(3))
    assert first.labels.tolist() == [True, False] and second.labels.tolist() == [False, True]
    assert torch.equal(first.targets, expected(True)[None]) and torch.equal(second.targets, expected(True)[None])
    assert second.mask[5, 5] == 2 and second.mask[0, 10] == 0 and (second.mask[11] == VOID).all()
    assert (third.targets == VOID).all() and len(third.targets) == 2


def test_zones_of_a_folder_forbid_and_elsewhere_allow(rulers: Path):
    data = opened(rulers, "train", training=True, avoid_zones="zones")
    plain = opened(rulers, "train", training=True)
    cat, ruler = data[0].targets
    assert torch.equal(cat, expected(True)) and not ((ruler == 1).any() or (ruler[:4, 5:] != 0).any())
    assert torch.equal(data[2].targets, expected(False).expand(2, -1, -1)) and not data[2].segmented
    assert all(torch.equal(data[index].mask, plain[index].mask) for index in range(3))
    assert not data.is_annotated(2) and data.is_annotated(0)  # a zone does not say where the object is
    assert torch.equal(opened(rulers, "val", avoid_zones=str(rulers / "zones"))[0].targets[0], expected(False))
    half = opened(rulers, "train", training=True, avoid_zones="zones", resize=8)[2].targets
    assert torch.equal(half[0], expected(False)[1::2, 1::2])


def test_a_folder_of_zones_changes_nothing_unless_it_is_named(rulers: Path):
    (rulers / "zones").rename(rulers / "avoid")
    assert (opened(rulers, "train", training=True)[2].targets == VOID).all()


def test_zones_alone_guide_where_annotations_are_none_and_grow_by_no_dilation(rulers: Path):
    for options in ({"annotations": "none"}, {"annotations": "none", "dilate": 2}):
        data = opened(rulers, "train", training=True, avoid_zones="zones", **options)
        assert all(torch.equal(plane, expected(False)) for index in range(3) for plane in data[index].targets)
    bare = opened(rulers, "train", training=True, annotations="none")
    assert not bare.has_annotations and bare.has_masks and (bare[0].targets == VOID).all()
    boxes = opened(rulers, "train", training=True, avoid=["ruler"], annotations="boxes")[0].targets[0]
    assert torch.equal(boxes, expected(True, void_row=False))  # the hidden part of the object's box stays forbidden


@pytest.mark.parametrize("options", [{"avoid_zones": "zones"}, {"avoid": ["ruler"]}])
def test_zones_hold_in_images_of_which_no_annotation_counts(rulers: Path, options: dict):
    data = opened(rulers, "train", training=True, annotated_fraction=0.0, **options)
    assert data.has_annotations and not any(map(data.is_annotated, range(3)))
    everywhere_else = expected(annotated=False)
    assert all(torch.equal(plane, everywhere_else) for index in range(2) for plane in data[index].targets)
    assert data[0].mask.max() > 0  # what segments keeps its mask
    write_lines(rulers / "mine.txt", "a1")
    listed = opened(rulers, "train", training=True, annotated=str(rulers / "mine.txt"), **options)
    whole = opened(rulers, "train", training=True, **options)
    assert torch.equal(listed[0].targets[0], everywhere_else) and torch.equal(listed[1].targets, whole[1].targets)
    assert [listed.is_annotated(index) for index in range(3)] == [False, True, False]


def propagated_mask(rulers: Path, value: int) -> Path:
    """What a network takes for the object of the image a0, of classes as they are where the ruler is avoided."""
    mask = np.zeros((12, 16), np.uint8)
    mask[3:6, 3:7], mask[11] = value, VOID
    mask[9, 1] = value
    write_mask(rulers / "propagated" / "a0.png", mask)
    return rulers / "propagated"


@pytest.mark.parametrize("options", [{"avoid_zones": "zones"}, {"avoid": ["ruler"]}, {}])
@pytest.mark.parametrize(("form", "dilate"), [("masks", 0), ("masks", 2), ("boxes", 0), ("boxes", 1)])
def test_propagated_masks_have_the_form_and_the_zones_that_annotations_have(
    rulers: Path, options: dict, form: str, dilate: int
):
    folder = propagated_mask(rulers, 1)
    more = {"annotated_fraction": 0.0, "propagated": str(folder), "annotations": form, "dilate": dilate}
    data = opened(rulers, "train", training=True, **options, **more)
    assert data.has_annotations and data.class_names[0] == "cat"
    on = [(row, column) for row in range(3, 6) for column in range(3, 7)] + [(9, 1)]
    if form == "boxes":
        on = [(row, column) for row in range(3, 10) for column in range(1, 7)]
    plane = torch.zeros(12, 16, dtype=torch.uint8)
    if form == "masks":
        plane[11] = VOID
    for row, column in on:
        plane[max(0, row - dilate) : row + dilate + 1, max(0, column - dilate) : column + dilate + 1] = 1
    if options:
        plane[RULER] = 0
    assert torch.equal(data[0].targets[0], plane)
    # of the image without such a mask: nothing, or anything but the zone
    rest = data[1].targets[-1]
    assert torch.equal(rest, expected(annotated=False)) if options else (rest == VOID).all()


def test_propagated_masks_beside_annotations_of_none_are_refused(rulers: Path):
    folder = propagated_mask(rulers, 1)
    with pytest.raises(ConfigError, match="propagated masks guide nothing where annotations is none"):
        opened(rulers, "train", training=True, annotations="none", propagated=str(folder))


def test_no_image_of_an_avoided_class_alone_is_taught_as_another(tmp_path: Path):
    """Of one class each, softmax would have to name one for it: the first."""
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        write_image(tmp_path / "images" / f"{name}.png")
        mask = np.zeros((12, 16), np.uint8)
        mask[OBJECT] = value
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    write_lines(tmp_path / "classes.txt", "cat", "ruler", "dog")
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat", "b,ruler", "c,dog", "d,cat")
    write_lines(tmp_path / "splits/train.txt", "a", "b", "c")
    write_lines(tmp_path / "splits/clean.txt", "a", "c")
    write_image(tmp_path / "images/d.png")
    write_lines(tmp_path / "splits/val.txt", "d")
    assert opened(tmp_path, "train").one_class
    for training in (False, True):
        with pytest.raises(DataError, match=r"each image of train has one class, and 1 have none but ruler, first 'b'"):
            opened(tmp_path, "train", training=training, avoid=["ruler"])
    clean = opened(tmp_path, "clean", training=True, avoid=["ruler"])
    assert clean.one_class and [clean[index].labels.tolist() for index in range(2)] == [[True, False], [False, True]]
    (tmp_path / "masks/a.png").rename(tmp_path / "masks/d.png")
    write_lines(tmp_path / "splits/train.txt", "b", "c")
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "splits/clean.txt").unlink()
    (tmp_path / "labels.csv").unlink()  # images may show any number of classes, then, or none
    several = opened(tmp_path, "train", training=True, avoid=["ruler"])
    assert not several[0].exclusive and not several[0].labels.any()


def test_training_and_validation_agree_on_classes(rulers: Path):
    data = ImageData(DataOptions(root=str(rulers), avoid=["ruler"], batch_size=3), steps=1)
    batch = next(iter(data.train_dataloader()))
    assert batch.labels.shape == (3, 2) and len(batch.targets) == len(batch.pairs) == 4
    assert data.val_set.class_names == ("cat", "dog")


def test_what_does_not_fit_is_said(rulers: Path):
    for options, match in (
        ({"avoid": ["rule"]}, "no class 'rule'; did you mean 'ruler'"),
        ({"avoid": ["cat", "ruler", "dog"]}, "not to be avoided, got none"),
        ({"dilate": -1}, "at least 0 pixels, got -1"),
    ):
        with pytest.raises(ConfigError, match=match):
            opened(rulers, "train", training=True, **options)
    with pytest.raises(ConfigError, match="there is no root"):
        ImageData(DataOptions(avoid_zones="zones"), steps=1)
    with pytest.raises(DataError, match=r"no folder .*elsewhere; expected masks of the zones"):
        opened(rulers, "train", avoid_zones="elsewhere")
    with pytest.raises(DataError, match="splits holds no mask of a zone"):
        opened(rulers, "train", avoid_zones="splits")
    write_mask(rulers / "zones/a2.png", np.zeros((5, 5)))
    with pytest.raises(DataError, match=r"a2\.png is 5x5, but its image is 16x12; make them equal"):
        opened(rulers, "train", avoid_zones="zones")[2]


def test_class_folders_find_zones_by_split_and_class(tmp_path: Path):
    for split in ("train", "val"):
        write_image(tmp_path / split / "cat" / "1.png")
    zone = np.zeros((12, 16), np.uint8)
    zone[:, 0] = 1
    write_mask(tmp_path / "avoid/train/cat/1.png", zone)
    assert opened(tmp_path, "train").class_names == ("cat",)
    assert (opened(tmp_path, "train", avoid_zones="avoid")[0].targets[0] == 1).sum() == 12 * 15
    assert (opened(tmp_path, "val", avoid_zones="avoid")[0].targets == VOID).all()
