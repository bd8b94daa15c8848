"""Whether images show one class or several is what the options say, where they say it; many data do not."""

from pathlib import Path

import pytest
import torch

from wheretolook.data import open_dataset, say_of_several
from wheretolook.data.loading import evaluation_loader
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask, write_voc


def yolo(root: Path, *labels: str) -> Path:
    """An image for each text of labels."""
    write_lines(root / "data.yaml", "train: images", "val: images", "names: [cat, dog, ruler]")
    for number, lines in enumerate(labels):
        write_image(root / f"images/{number}.png", seed=number)
        write_lines(root / f"labels/{number}.txt", lines)
    return root


BOX = "0.5 0.5 0.4 0.4"


@pytest.fixture(params=["yolo", "voc"])
def single(request, tmp_path):
    """Data of one class an image that do not say so: boxes of a tool, and masks without labels."""
    if request.param == "yolo":
        return yolo(tmp_path, f"0 {BOX}", f"1 {BOX}", f"1 {BOX}")
    return write_voc(tmp_path)


def test_the_options_say_that_images_show_one_class(single):
    assert not opened(single, "train").one_class and not opened(single, "train")[0].exclusive
    dataset = opened(single, "train", one_class=True)
    assert dataset.one_class and all(dataset[index].exclusive for index in range(len(dataset)))
    plain = opened(single, "train")
    for index in range(len(dataset)):
        assert torch.equal(dataset[index].targets, plain[index].targets)
        assert torch.equal(dataset[index].labels, plain[index].labels)


def test_classes_to_avoid_do_not_count(tmp_path):
    root = yolo(tmp_path, f"0 {BOX}", f"1 {BOX}\n2 0.1 0.1 0.1 0.1")
    config = DataOptions(root=str(root), one_class=True, avoid=["ruler"])
    with pytest.raises(DataError, match=r"expected one class in each image, got 2 in 'images/1' \(dog, ruler\); leave"):
        open_dataset(DataOptions(root=str(root), one_class=True), "val")
    dataset = open_dataset(config, "val")
    assert dataset.class_names == ("cat", "dog") and all(dataset[index].exclusive for index in (0, 1))


def test_groups_are_of_class_and_attribute(tmp_path):
    """The class is that of the mask, where nothing else says it."""
    root = write_voc(tmp_path)
    write_lines(root / "groups.csv", "image,place", "a,water", "b,land", "c,land")
    assert [opened(root, "train", group_by=["place"])[index].group for index in (0, 1)] == ["water", "land"]
    dataset = opened(root, "train", group_by=["place"], one_class=True)
    assert [dataset[index].group for index in (0, 1)] == ["aeroplane, water", "bicycle, land"]


def test_labels_of_one_class_may_be_of_several(tmp_path):
    for name in ("train/cat/a", "train/dog/b"):
        write_image(tmp_path / f"{name}.png")
    assert opened(tmp_path, "train")[0].exclusive
    dataset = opened(tmp_path, "train", one_class=False)
    assert not dataset.one_class and not dataset[0].exclusive


def test_what_contradicts_is_refused(tmp_path):
    root = yolo(tmp_path, f"0 {BOX}", "")
    with pytest.raises(DataError, match="expected one class in each image, got 0 in 'images/1'; leave the option"):
        opened(root, "train", one_class=True)
    with pytest.raises(ConfigError, match="made scenes show several classes; leave one_class out"):
        open_dataset(DataOptions(one_class=True), "val")


def test_batches_have_it(single):
    dataset = opened(single, "train", one_class=True)
    assert all(batch.exclusive for batch in evaluation_loader(dataset, 2, 0))


def test_what_is_ambiguous_is_said(single, tmp_path):
    assert "--data.one_class true" in say_of_several(opened(single, "train"))
    assert not say_of_several(opened(single, "train", one_class=True))
    write_image(tmp_path / "both/images/a.png")
    write_mask(tmp_path / "both/masks/a.png", corner_mask(1))
    write_lines(tmp_path / "both/classes.txt", "cat")
    write_lines(tmp_path / "both/splits/train.txt", "a")
    assert not say_of_several(opened(tmp_path / "both", "train"))  # there is no other score
