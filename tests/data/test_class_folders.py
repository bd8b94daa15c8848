"""A folder for each class in a folder for each split."""

import pytest
import torch

from wheretolook.data import describe_classes
from wheretolook.data.images import read_image
from wheretolook.data.loading import ImageData
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask


@pytest.fixture
def pets(tmp_path):
    """Names start anew in every folder, as they often do."""
    for seed, path in enumerate(("train/dog/1", "train/dog/2", "train/cat/1", "val/cat/1", "val/dog/1", "val/owl/7")):
        write_image(tmp_path / f"{path}.jpg", seed=seed)
    return tmp_path


def test_an_image_has_the_class_of_its_folder(pets):
    data = opened(pets, "train", training=True)
    assert data.class_names == ("cat", "dog", "owl")  # those of all splits, so that all splits have the same
    assert data.names == ("cat/1", "dog/1", "dog/2") and data.one_class
    assert [data[index].labels.tolist().index(True) for index in range(3)] == [0, 1, 1]
    assert torch.equal(data[2].image, read_image(pets / "train/dog/2.jpg"))
    assert data[0].exclusive and (data[0].targets == 255).all() and not data.has_annotations
    assert describe_classes(data) == "3 images: cat 1, dog 2, owl 0 (no image shows owl)"


def test_splits_have_images_of_their_own_though_names_are_alike(pets):
    data = ImageData(DataOptions(root=str(pets)), steps=1)
    assert set(data.train_set.names) & set(data.val_set.names) == {"cat/1", "dog/1"}
    assert not torch.equal(data.train_set[0].image, data.val_set[0].image)
    with pytest.raises(DataError, match="nothing of the training split 'train' is left"):
        ImageData(DataOptions(root=str(pets), val_split="train"), steps=1)


def test_masks_may_lie_beside_them(pets):
    write_mask(pets / "masks/train/dog/2.png", corner_mask(2))
    data = opened(pets, "train")
    assert [data[index].segmented for index in range(3)] == [False, False, True]
    assert data.has_masks and (data[2].targets == 1).any()
    write_mask(pets / "masks/train/dog/2.png", corner_mask(255))
    with pytest.raises(DataError, match=r"2\.png has no class, only 0 and 255, but its image is labelled 'dog'"):
        opened(pets, "train")


def test_classes_may_have_an_order_of_their_own(pets):
    write_lines(pets / "classes.txt", "owl", "dog", "cat")
    assert opened(pets, "train")[0].labels.tolist() == [False, False, True]
    write_lines(pets / "classes.txt", "owl", "dogs", "cat")
    with pytest.raises(DataError, match=r"the folder 'dog' is no class of classes\.txt; did you mean 'dogs'\?"):
        opened(pets, "train")


def test_groups_are_found_by_class_and_name(pets):
    rows = ("train/cat/1.jpg,sofa", "dog/1.jpg,lawn", "dog/2,sofa")
    write_lines(pets / "groups.csv", "image,place", *rows)
    data = opened(pets, "train", group_by=["place"])
    assert [data[index].group for index in range(3)] == ["cat, sofa", "dog, lawn", "dog, sofa"]


def test_a_missing_or_empty_split_is_named(pets):
    with pytest.raises(DataError, match=r"no split 'trian'; did you mean 'train'\?; available: train, val"):
        opened(pets, "trian")
    (pets / "test/cat").mkdir(parents=True)
    (pets / ".cache").mkdir()
    with pytest.raises(DataError, match="test holds no image; expected a folder for each class"):
        opened(pets, "test")


@pytest.mark.parametrize("written", [("train", "valid"), ("Train", "Validation"), ("training", "validation")])
def test_splits_may_have_other_names(tmp_path, written):
    for number, split in enumerate(written):
        write_image(tmp_path / split / "cat" / f"{number}.jpg", seed=number)
    assert opened(tmp_path, "train", training=True).names == ("cat/0",) and opened(tmp_path, "val").names == ("cat/1",)
    with pytest.raises(DataError, match="nothing of the training split"):
        opened(tmp_path, "train", training=True, val_split=written[0])
