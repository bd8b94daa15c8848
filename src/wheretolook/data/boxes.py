"""Boxes: a table of them, checked line by line, and what they cover."""

from collections.abc import Collection, Mapping
from math import ceil, floor, isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from wheretolook.data.classes import class_index
from wheretolook.data.images import on_upright, say_of_turns
from wheretolook.data.names import say_once
from wheretolook.data.tables import Row, known_image, rows
from wheretolook.errors import DataError
from wheretolook.images import image_size

SIDES = ("left", "top", "right", "bottom")
SLACK = 0.5  # pixels that a box may reach out of its image by rounding


class Box(NamedTuple):
    """Where one object is, in pixels of the image's full size; right and bottom lie just outside of it."""

    class_index: int
    left: float
    top: float
    right: float
    bottom: float


def read_boxes(path: Path, images: Mapping[str, Path], class_names: tuple[str, ...]) -> dict[str, list[Box]]:
    """The boxes of each image, from a table with the columns image, class, left, top, right and bottom.

    Numbers are pixels of the upright image at full size, or shares of its sides where none in the table is above 1.

    Args:
        path: the table.
        images: the images that there are.
        class_names: the foreground classes.

    Raises:
        DataError: an unknown image or class, or a box that is none.
    """
    lines = [(where, row, _numbers(row, where)) for where, row in rows(path, ("image", "class", *SIDES))]
    shares = bool(lines) and all(max(numbers) <= 1 for _, _, numbers in lines)
    if shares:
        say_once(f"{path}: no number is above 1, so the boxes are taken for shares of the images' width and height")
    boxes: dict[str, list[Box]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for where, row, numbers in lines:
        name = known_image(row["image"], images, where)
        if name not in sizes:
            sizes[name] = image_size(images[name])
            say_of_turns(images[name])
        height, width = sizes[name]
        if shares:
            numbers = [share * side for share, side in zip(numbers, (width, height, width, height), strict=True)]
        corners = _clipped(numbers, (height, width), where, row)
        boxes.setdefault(name, []).append(Box(class_index(row["class"], class_names, where), *corners))
    return boxes


def _numbers(row: Row, where: str) -> list[float]:
    try:
        numbers = [float(row[side]) for side in SIDES]
    except ValueError:
        numbers = []
    if not numbers or not all(map(isfinite, numbers)):
        raise DataError(f"{where}: expected numbers for left, top, right and bottom, got {_written(row)}")
    return numbers


def _written(row: Row) -> str:
    return " ".join(row[side] for side in SIDES)


def _clipped(numbers: list[float], size: tuple[int, int], where: str, row: Row) -> list[float]:
    """The box without what reaches out of its image by rounding."""
    height, width = size
    limits = (width, height, width, height)
    left, top, right, bottom = (min(max(n, 0.0), float(limit)) for n, limit in zip(numbers, limits, strict=True))
    if not all(-SLACK <= number <= limit + SLACK for number, limit in zip(numbers, limits, strict=True)):
        raise DataError(
            f"{where}: the box {_written(row)} reaches out of its image, which is {width} pixels wide and {height}"
            " high; expected left, top, right, bottom in pixels of the full image"
        )
    if not (left < right and top < bottom):
        raise DataError(
            f"{where}: the box {_written(row)} is empty; expected left, top, right, bottom with left < right and"
            " top < bottom"
        )
    return [left, top, right, bottom]


def scaled(box: Box, full_size: tuple[int, int], size: tuple[int, int]) -> Box:
    """The box in an image that has been resized.

    Args:
        box: where the object is in the image at full size.
        full_size: height and width of that.
        size: height and width after resizing.
    """
    down, across = ((old, new) for old, new in zip(full_size, size, strict=True))
    left, right = (side * across[1] / across[0] for side in (box.left, box.right))
    top, bottom = (side * down[1] / down[0] for side in (box.top, box.bottom))
    return Box(box.class_index, left, top, right, bottom)


def upright_box(box: Box, drawn_on: tuple[int, int], image: Path, what: str) -> Box:
    """The box in pixels of the upright image.

    Args:
        box: in pixels of the image as a tool saw it.
        drawn_on: height and width of that.
        image: the image's file.
        what: what to call the drawing in messages.

    Raises:
        DataError: the image has other proportions.
    """
    corners = on_upright(np.array(box[1:], float).reshape(2, 2), drawn_on, image, what)
    return Box(box.class_index, *corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())


def pixels_of(box: Box) -> tuple[slice, slice]:
    """The rows and columns of every pixel that a box touches; at least one of each.

    Args:
        box: where the object is.
    """
    return slice(floor(box.top), ceil(box.bottom)), slice(floor(box.left), ceil(box.right))


def paint_boxes(boxes: Collection[Box], size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """A mask of boxes: background, and the boxes from the largest to the smallest, so that the small lie on top.

    Args:
        boxes: where the objects are, in pixels of the size; every pixel that a box touches is its object's.
        size: height and width of the mask.

    Example:
        >>> paint_boxes((Box(0, 1, 0, 2, 1), Box(1, 0, 0, 3, 1)), (1, 4))
        array([[2, 1, 2, 0]], dtype=uint8)
    """
    mask = np.zeros(size, np.uint8)
    for box in sorted(boxes, key=lambda box: (box.left - box.right) * (box.bottom - box.top)):
        mask[pixels_of(box)] = box.class_index + 1
    return mask
