"""What a split holds and what is wrong with it, on data whose faults are planted one by one."""

import numpy as np
import pytest

from wheretolook.data.survey import overlaps, spread, survey

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask


def passing(numbers, what):
    return numbers


@pytest.fixture
def pets(tmp_path):
    """Eight images with masks of cat and dog in turn, six of them to train on."""
    for index in range(8):
        write_image(tmp_path / f"images/{index}.png", seed=index, width=16 + index)
        write_mask(tmp_path / f"masks/{index}.png", corner_mask(1 + index % 2, width=16 + index))
    write_lines(tmp_path / "classes.txt", "cat", "dog")
    write_lines(tmp_path / "splits/train.txt", *map(str, range(6)))
    write_lines(tmp_path / "splits/val.txt", "6", "7")
    return tmp_path


def surveyed(root, split="train", limit=100, pictures=4, **options):
    return survey(opened(root, split, **options), split, limit, pictures, passing)


def test_what_a_split_holds_is_counted(pets):
    found = surveyed(pets)
    assert found.classes == {"cat": 3, "dog": 3} and found.without == 0 and found.kinds == {"masks": 6}
    assert found.sizes == ((12, 16), (12, 21)) and found.read == 6 and not found.problems
    assert len(found.shown) == 4 and len(found.prints) == 6
    assert surveyed(pets, limit=2).read == 2


def test_every_broken_image_is_a_line_and_none_stops_the_others(pets):
    data = opened(pets, "train")
    (pets / "images/1.png").write_bytes(b"no image")
    whole = (pets / "images/2.png").read_bytes()
    (pets / "images/2.png").write_bytes(whole[: len(whole) // 2])  # its header is whole
    write_mask(pets / "masks/3.png", corner_mask(7))
    found = survey(data, "train", 100, 4, passing)
    assert found.kinds == {"masks": 3}
    assert [line.split(": ")[0] for line in found.problems] == ["train"] * 3
    assert sorted(name for line in found.problems for name in ("1.png", "2.png", "3.png") if name in line) == [
        "1.png",
        "2.png",
        "3.png",
    ]


def test_odd_masks_are_pointed_out(pets):
    write_mask(pets / "masks/0.png", np.ones((12, 16)))
    speck = np.zeros((12, 17))
    speck[3, 4] = 2
    write_mask(pets / "masks/1.png", speck)
    found = surveyed(pets)
    assert [line for line in found.problems if "covers more than 95%" in line and line.endswith("First: 0")]
    assert [line for line in found.problems if "fewer than 12 pixels" in line and line.endswith("First: 1")]
    assert len(found.problems) == 2


def test_a_class_that_no_image_shows_is_pointed_out(pets):
    write_lines(pets / "classes.txt", "cat", "dog", "owl")
    assert surveyed(pets).problems == ("train: no image shows owl",)


def test_twins_are_found_within_a_split_and_across(pets):
    for copy, of in ((4, 2), (6, 3)):
        write_image(pets / f"images/{copy}.png", seed=of, width=16 + of)
        write_mask(pets / f"masks/{copy}.png", corner_mask(1, width=16 + of))
    train, val = surveyed(pets), surveyed(pets, "val")
    assert train.problems == ("train: 1 image twice under another name; first: 2 and 4",)
    assert list(overlaps([train, val])) == ["train and val have 1 image with the same pixels; first: 3 and 6"]


def test_boxes_labels_and_groups_are_told_apart(tmp_path):
    for index in range(4):
        write_image(tmp_path / f"images/{index}.png", seed=index)
    write_lines(tmp_path / "labels.csv", "image,classes", "0,cat", "1,dog", "2,cat", "3,dog")
    write_lines(tmp_path / "boxes.csv", "image,class,left,top,right,bottom", "0,cat,2,2,9,9")
    write_lines(tmp_path / "splits/train.txt", *"0123")
    write_lines(tmp_path / "groups.csv", "image,place", "0,sea", "1,sea", "2,land", "3,land")
    found = surveyed(tmp_path, group_by=["place"])
    assert found.kinds == {"boxes, marks or zones": 1, "labels only": 3}
    assert found.groups == {"cat, sea": 1, "dog, sea": 1, "cat, land": 1, "dog, land": 1}
    assert "train: the group 'cat, sea' has 1 image: its figures will say little" in found.problems


@pytest.mark.parametrize(("count", "wanted"), [(100, 7), (7, 7), (3, 7), (0, 5), (1000, 999), (9, 1)])
def test_numbers_are_spread_over_all(count, wanted):
    found = list(spread(count, wanted))
    assert len(found) == min(count, wanted) == len(set(found)) and all(0 <= number < count for number in found)
    steps = np.diff(found)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_the_images_for_pictures_are_few_and_of_the_whole_split(tmp_path):
    for index in range(60):
        write_image(tmp_path / f"images/{index:02}.png", seed=index)
        write_mask(tmp_path / f"masks/{index:02}.png", corner_mask(1))
    write_lines(tmp_path / "classes.txt", "cat")
    write_lines(tmp_path / "splits/train.txt", *(f"{index:02}" for index in range(60)))
    shown = [int(sample.name) for sample in surveyed(tmp_path, pictures=3).shown]
    assert len(shown) == 3 and shown[0] < 20 <= shown[1] < 40 <= shown[2] + 10 and shown == sorted(shown)


def test_labels_that_the_annotation_does_not_show_and_rare_classes_are_pointed_out(tmp_path):
    for index in range(24):
        write_image(tmp_path / f"images/{index:02}.png", seed=index)
    rows = (f"{index:02},{'dog' if index == 3 else 'cat'}" for index in range(24))
    write_lines(tmp_path / "labels.csv", "image,classes", *rows, "05,cat")
    write_lines(tmp_path / "boxes.csv", "image,class,left,top,right,bottom", "05,cat,2,2,9,9", "03,cat,2,2,9,9")
    write_lines(tmp_path / "splits/train.txt", *(f"{index:02}" for index in range(24)))
    assert surveyed(tmp_path).problems == (
        "train: 1 image of dog for 24 of cat: it may never be learned",
        "train: in 1 image a class is labelled that the annotation beside it does not show. First: 03",
    )
    write_lines(tmp_path / "splits/train.txt", *(f"{index:02}" for index in range(20)))
    assert len(surveyed(tmp_path).problems) == 1  # 20 of the one for 1 of the other
