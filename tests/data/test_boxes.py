"""Boxes: read as they are meant, and a plane for each class that no other class cuts into."""

import numpy as np
import pytest
import torch

from wheretolook.data.boxes import Box, scaled
from wheretolook.data.targets import box_planes, mask_planes
from wheretolook.errors import DataError

from .folders_on_disk import opened, write_image, write_lines

HEADER = "image,class,left,top,right,bottom"


def boxed(root, *rows, size=(12, 16), labels=(), **options):
    """The sample of one image with these boxes."""
    write_image(root / "images/a.png", *size)
    write_lines(root / "classes.txt", "cat", "dog", "owl")
    write_lines(root / "splits/all.txt", "a")
    write_lines(root / "boxes.csv", HEADER, *(f"a,{row}" for row in rows))
    if labels:
        write_lines(root / "labels.csv", "image,classes", *(f"a,{name}" for name in labels))
    return opened(root, "all", **options)[0]


def covered(size, *corners):
    """Pixel by pixel: 1 where the pixel's square and one of the boxes share some area."""
    height, width = size
    plane = np.zeros(size, np.uint8)
    for row in range(height):
        for column in range(width):
            for left, top, right, bottom in corners:
                wide = min(right, column + 1) - max(left, column)
                high = min(bottom, row + 1) - max(top, row)
                plane[row, column] |= wide > 0 and high > 0
    return plane


@pytest.mark.parametrize(
    "second",
    [(2, 3, 9, 8), (0, 0, 16, 12), (5.5, 4.2, 14, 11.7), (15, 11, 16, 12)],
    ids=["equal", "around", "across", "apart"],
)
def test_boxes_of_one_class_never_cut_those_of_another(tmp_path, second):
    first = (2, 3, 9, 8)
    sample = boxed(tmp_path, *("dog,{},{},{},{}".format(*first), "cat,{},{},{},{}".format(*second)))
    assert sample.labels.tolist() == [True, True, False] and not sample.segmented
    np.testing.assert_array_equal(sample.targets[0].numpy(), covered((12, 16), second))
    np.testing.assert_array_equal(sample.targets[1].numpy(), covered((12, 16), first))


def test_planes_are_those_of_the_classes_present(tmp_path):
    """The second and third of three classes have the first and second plane."""
    sample = boxed(tmp_path, "owl,0,0,3,3", "dog,4,4,9,9")
    assert sample.labels.tolist() == [False, True, True]
    np.testing.assert_array_equal(sample.targets[0].numpy(), covered((12, 16), (4, 4, 9, 9)))
    np.testing.assert_array_equal(sample.targets[1].numpy(), covered((12, 16), (0, 0, 3, 3)))


def test_names_in_another_unicode_form_are_the_same(tmp_path):
    write_image(tmp_path / "images/caf\u00e9.png")
    write_lines(tmp_path / "classes.txt", "na\u00efve")
    write_lines(tmp_path / "splits/all.txt", "caf\u00e9")
    write_lines(tmp_path / "boxes.csv", HEADER, "cafe\u0301.png,nai\u0308ve,0,0,3,3")
    assert (opened(tmp_path, "all")[0].targets == 1).sum() == 9


def test_boxes_of_one_class_share_a_plane_and_labels_alone_say_nothing(tmp_path):
    sample = boxed(tmp_path, "owl,0,0,3,3", "owl,2,2,5.5,6", labels=("cat",))
    assert sample.labels.tolist() == [True, False, True]
    assert (sample.targets[0] == 255).all()
    np.testing.assert_array_equal(sample.targets[1].numpy(), covered((12, 16), (0, 0, 3, 3), (2, 2, 5.5, 6)))


@pytest.mark.parametrize("resize", [8, 5, 40])
def test_boxes_are_of_the_full_image_and_keep_a_pixel_when_it_shrinks(tmp_path, resize):
    corners = (6, 5, 7, 6)
    sample = boxed(tmp_path, "cat,6,5,7,6", resize=resize)
    height, width = sample.mask.shape
    assert max(height, width) == resize
    shrunk = (corners[0] * width / 16, corners[1] * height / 12, corners[2] * width / 16, corners[3] * height / 12)
    np.testing.assert_array_equal(sample.targets[0].numpy(), covered((height, width), shrunk))
    assert (sample.targets[0] == 1).any()


def test_a_box_is_scaled_side_by_side():
    assert scaled(Box(1, 3, 30, 6, 60), (90, 30), (30, 20)) == Box(1, 2, 10, 4, 20)


def test_shares_of_the_image_are_recognised_and_said(tmp_path, caplog):
    """In pixels they would mark a single one."""
    sample = boxed(tmp_path, "cat,0.25,0,0.5,1.0", "dog,0,0.5,1,0.75")
    np.testing.assert_array_equal(sample.targets[0].numpy(), covered((12, 16), (4, 0, 8, 12)))
    np.testing.assert_array_equal(sample.targets[1].numpy(), covered((12, 16), (0, 6, 16, 9)))
    assert caplog.text.count("no number is above 1, so the boxes are taken for shares of the images") == 1


def test_a_small_box_among_others_is_in_pixels(tmp_path, caplog):
    sample = boxed(tmp_path, "cat,0,0,1,1", "dog,2,2,4,4")
    np.testing.assert_array_equal(sample.targets[0].numpy(), covered((12, 16), (0, 0, 1, 1)))
    assert "shares" not in caplog.text


@pytest.mark.parametrize("corners", ["0,0,16.00001,12.4", "-0.3,-0.0001,16,12", "-0.5,0,16.5,12"])
def test_what_rounding_puts_outside_is_clipped(tmp_path, corners):
    sample = boxed(tmp_path, f"cat,{corners}")
    assert (sample.targets[0] == 1).all()


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ("0,0,16.6,12", r"line 2: the box 0 0 16\.6 12 reaches out of its image, which is 16 pixels wide and 12 high"),
        ("0,0,12,16", "the box 0 0 12 16 reaches out"),  # the sides mixed up
        ("0,-0.6,4,4", r"the box 0 -0\.6 4 4 reaches out"),
        ("16.2,0,16.4,4", r"the box 16\.2 0 16\.4 4 is empty; expected left, top, right, bottom with left < right"),
        ("4,4,3,8", "the box 4 4 3 8 is empty"),
        ("2,2,inf,4", "expected numbers for left, top, right and bottom, got 2 2 inf 4"),
    ],
)
def test_wrong_boxes_are_refused_in_plain_words(tmp_path, corners, words):
    with pytest.raises(DataError, match=words):
        boxed(tmp_path, f"cat,{corners}")


def test_shares_that_leave_the_image_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"the box 0 -0\.2 0\.5 1 reaches out"):
        boxed(tmp_path, "cat,0,-0.2,0.5,1")


def test_the_plane_of_a_mask_is_the_mask_of_one_class():
    mask = torch.tensor([[0, 1, 3], [255, 3, 0]])
    planes = mask_planes(mask, torch.tensor([True, False, True]))
    assert planes.tolist() == [[[0, 1, 0], [255, 0, 0]], [[0, 0, 1], [255, 1, 0]]]
    assert mask_planes(mask, torch.zeros(3, dtype=torch.bool)).shape == (0, 2, 3)


def test_planes_come_in_the_order_of_the_classes():
    boxes = [Box(2, 0, 0, 1, 1), Box(0, 1, 1, 2, 2)]
    planes = box_planes(boxes, torch.tensor([True, False, True]), (2, 2))
    assert planes.tolist() == [[[0, 0], [0, 1]], [[1, 0], [0, 0]]]
    assert box_planes([], torch.tensor([True, False]), (1, 1)).tolist() == [[[255]]]
