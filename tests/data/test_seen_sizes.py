"""Boxes and polygons of exports whose tool saw the image at another size, or as it is stored and not upright."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.data.images import read_image
from wheretolook.errors import DataError

from .folders_on_disk import opened, write_image, write_lines
from .test_exports import bright, labelme, letters, shape, xml


def boxes_by(tool: str, root: Path, seen: tuple[int, int], box: tuple, more: bool = False) -> torch.Tensor:
    """The planes of one image (32 wide and 24 high upright) of which a tool of another size has drawn a box."""
    height, width = seen
    left, top, right, bottom = box
    if tool == "coco":
        drawn = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}]
        if more:
            drawn.append({**drawn[0], "id": 2, "iscrowd": 1})
        record = {"images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}], "annotations": drawn}
        write_lines(root / "annotations.json", json.dumps({**record, "categories": [{"id": 1, "name": "cat"}]}))
    elif tool == "labelme":
        shapes = [shape("cat", "rectangle", (left, top), (right, bottom))]
        shapes += [shape("cat", "point", (left + 1, top + 1))] if more else []
        labelme(root / "a.json", *shapes, imagePath="a.png", imageHeight=height, imageWidth=width)
    else:
        xml(root / "Annotations/a.xml", ("cat", *box), size=seen)
        write_lines(root / "ImageSets/Main/default.txt", "a")
    write_lines(root / "splits/default.txt", "a")
    return opened(root, "default")[0].targets[0]


def oriented(root: Path, tool: str, orientation: int) -> np.ndarray:
    """An image whose pixels lie as EXIF says, 32 wide and 24 high upright; returns what is stored."""
    stored = np.zeros((32, 24, 3) if orientation > 4 else (24, 32, 3), np.uint8)
    tag = Image.Exif()
    tag[0x0112] = orientation
    path = root / ("JPEGImages" if tool == "voc" else "") / "a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path, exif=tag)
    return stored


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("tool", ["coco", "labelme", "voc"])
def test_boxes_drawn_on_a_copy_of_another_size_lie_where_they_were_seen(tmp_path: Path, tool: str, more: bool):
    """In a quarter to a half of the width and a third to a half of the height, whatever size the tool saw."""
    for height, width in ((24, 32), (12, 16), (72, 96), (36, 47)):
        oriented(tmp_path, tool, 1)
        found = boxes_by(tool, tmp_path, (height, width), (width / 4, height / 3, width / 2, height / 2), more)
        assert bright(found) == [8, 8, 11, 15], (height, width)


@pytest.mark.parametrize("orientation", range(5, 9))
@pytest.mark.parametrize("tool", ["coco", "labelme", "voc"])
def test_boxes_drawn_on_stored_pixels_are_turned_as_their_image_is(tmp_path: Path, tool: str, orientation: int):
    stored = oriented(tmp_path, tool, orientation)
    stored[6:14, 9:12] = 255
    tag = Image.Exif()
    tag[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(stored).save(path, exif=tag)
    upright = read_image(path)[0]
    path.unlink()
    for factor in (1, 2):
        box = (9 * factor, 6 * factor, 12 * factor, 14 * factor)
        found = boxes_by(tool, tmp_path, (32 * factor, 24 * factor), box)
        assert torch.equal(found.float(), upright), factor


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("tool", ["coco", "labelme", "voc"])
def test_boxes_of_an_image_of_another_shape_are_refused(tmp_path: Path, tool: str, more: bool):
    for orientation, seen in ((1, (32, 24)), (3, (32, 24)), (6, (32, 32))):
        oriented(tmp_path, tool, orientation)
        with pytest.raises(
            DataError, match=rf"is of an image of {seen[1]}x{seen[0]}, but .*a\.png is 32x24; make"
        ) as caught:
            boxes_by(tool, tmp_path, seen, (1, 1, 9, 9), more)
        assert "\n" not in str(caught.value)


def test_an_image_of_no_size_is_refused_and_an_unknown_size_is_the_images(tmp_path: Path):
    for tool in ("coco", "labelme"):
        oriented(tmp_path / tool, tool, 1)
        with pytest.raises(DataError, match="expected the size of its image, got 0x0; export it anew"):
            boxes_by(tool, tmp_path / tool, (0, 0), (1, 1, 9, 9))
    oriented(tmp_path / "voc", "voc", 1)
    assert bright(boxes_by("voc", tmp_path / "voc", (0, 0), (8, 8, 16, 12))) == [8, 8, 11, 15]


def test_polygons_drawn_on_a_copy_of_another_size_are_scaled_and_run_lengths_are_not(tmp_path: Path):
    write_image(tmp_path / "a.png", 24, 32)
    write_lines(tmp_path / "splits/default.txt", "a")
    corners = [(8, 8), (16, 8), (16, 16), (8, 16)]
    labelme(tmp_path / "a.json", shape("cat", "polygon", *corners), imagePath="a.png", imageHeight=24, imageWidth=32)
    expected = opened(tmp_path, "default")[0].targets[0]
    half = shape("cat", "polygon", *((x / 2, y / 2) for x, y in corners))
    labelme(tmp_path / "a.json", half, imagePath="a.png")
    assert torch.equal(opened(tmp_path, "default")[0].targets[0], expected)
    part = shape("cat", "mask", (1, 1), (4, 3), mask=letters(np.ones((3, 4), bool)))
    labelme(tmp_path / "a.json", part, imagePath="a.png")
    with pytest.raises(DataError, match=r"is of an image of 16x12, but .*a\.png is 32x24; make them equal"):
        opened(tmp_path, "default")[0]
