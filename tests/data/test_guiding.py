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
    assert data.is_annotated(2) and not plain.is_annotated(2)
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


def test_a_fraction_is_of_all_that_says_where_to_look(rulers: Path):
    data = opened(rulers, "train", training=True, avoid_zones="zones", annotated_fraction=0.0)
    assert not data.has_annotations and all((data[index].targets == VOID).all() for index in range(3))


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
