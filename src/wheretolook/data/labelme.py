"""LabelMe's json: a file beside each image, with polygons, rectangles, circles, masks, points and lines."""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wheretolook.data.classes import class_index, read_class_names
from wheretolook.data.drawings import BACKGROUND, Shape
from wheretolook.data.exports import ImagesBelow, corners, entry, finite, items, open_export, read_json, text, whole
from wheretolook.data.layout import Layout
from wheretolook.data.names import say_once
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions

IGNORED, NOTHING = ("__ignore__", "_ignore_"), ("_background_", "__background__", "background")
MARKS = ("point", "points", "line", "linestrip")
CIRCLE = 64  # corners that draw one


def open_labelme(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open one split of LabelMe's files.

    Args:
        config: its root holds NAME.json and, as these say, the images; in the root itself (cut 4 : 1, or as lists in
            `splits/` have it), or in a folder for each split. `classes.txt` gives the classes an order; without it
            they are all labels, sorted.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests.

    Raises:
        DataError: a file that is broken or contradicts its image.
    """
    root = Path(str(config.root))
    images = ImagesBelow(root)
    records = {path: _read(path) for path in sorted((*root.glob("*.json"), *root.glob("*/*.json")))}
    if not records:
        raise DataError(f"{root} has no file of LabelMe's; expected NAME.json beside an image, with its shapes")
    labels = {
        label
        for path, record in records.items()
        for shape in items(record, "shapes", str(path))
        if (label := text(shape, "label", f"{path}: shapes")) not in (*IGNORED, *NOTHING)
    }
    class_names = read_class_names(root) or tuple(sorted(labels))
    entries: dict[str, Entry] = {}
    splits: dict[str, list[str]] = {}
    for path, record in records.items():
        found = _entry(path, record, images, class_names, config.mark_radius)
        if found.name in entries:
            raise DataError(f"{path} is of the image '{found.name}', as another file is; leave one of them")
        entries[found.name] = found
        if path.parent != root:
            splits.setdefault(path.parent.name, []).append(found.name)
    return open_export(config, split, training, images, splits, class_names, entries)


def _read(path: Path) -> dict[str, Any]:
    """A file without the image that it may hold as well: all files are held at once."""
    record: dict[str, Any] = read_json(path)
    items(record, "shapes", str(path))
    record.pop("imageData", None)
    return record


def _entry(
    path: Path, record: dict[str, Any], images: ImagesBelow, class_names: tuple[str, ...], radius: float
) -> Entry:
    name = images.find(text(record, "imagePath", str(path)), path.parent, str(path))
    size = (whole(record, "imageHeight", str(path)), whole(record, "imageWidth", str(path)))
    shapes = []
    for number, drawn in enumerate(items(record, "shapes", str(path)), 1):
        where = f"{path}, shape {number}"
        label = text(drawn, "label", where)
        index = BACKGROUND if label in NOTHING else None if label in IGNORED else class_index(label, class_names, where)
        if drawn.get("shape_type") in MARKS:
            shapes += [] if index is None else _marks(index, drawn, where, radius * max(size))
        elif index != BACKGROUND:
            shapes.append(_shape(index, drawn, where))
    return entry(name, images.paths[name], shapes, str(path), size)


def _points(drawn: dict[str, Any], where: str) -> list[float]:
    """The x and y of all points in a row."""
    points = drawn.get("points")
    if not isinstance(points, list):
        raise DataError(f"{where}: expected a list of points, got {str(points)[:60]}")
    return [number for point in points for number in finite(point, where, 2)]


def _marks(index: int, drawn: dict[str, Any], where: str, radius: float) -> list[Shape]:
    """A line, or each of some points."""
    points = np.array(_points(drawn, where)).reshape(-1, 2)
    if not len(points):
        raise DataError(f"{where}: expected a point, got none; delete or mend it")
    lines = [points] if drawn["shape_type"] in ("line", "linestrip") else [point[None] for point in points]
    return [Shape(index, line=line, radius=radius) for line in lines]


def _shape(index: int | None, drawn: dict[str, Any], where: str) -> Shape:
    kind, flat = drawn.get("shape_type", "polygon"), _points(drawn, where)
    if kind == "polygon":
        return Shape(index, polygons=(corners(flat, where),))
    if kind in ("rectangle", "circle", "mask") and len(flat) != 4:
        raise DataError(f"{where}: expected 2 points of a {kind}, got {len(flat) // 2}")
    if kind == "rectangle":
        across, down = sorted(flat[::2]), sorted(flat[1::2])
        if across[0] == across[1] or down[0] == down[1]:
            raise DataError(f"{where}: the rectangle is empty; delete or mend it")
        return Shape(index, box=(across[0], down[0], across[1], down[1]))
    if kind == "circle":
        centre, edge = np.array(flat[:2]), np.array(flat[2:])
        turns = np.linspace(0, 2 * np.pi, CIRCLE, endpoint=False)
        around = np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.linalg.norm(edge - centre)
        return Shape(index, polygons=(centre + around,))
    if kind == "mask":
        return Shape(index, patch=(_patch(drawn.get("mask"), where), round(min(flat[::2])), round(min(flat[1::2]))))
    what = "which marks nothing; they only say that their class is there"
    say_once(f"{where} and perhaps others are of the kind {str(kind)[:20]}, {what}", "kind")
    return Shape(index)


def _patch(written: object, where: str) -> np.ndarray:
    """A part of a mask, which stands in the file as a PNG in letters."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(written), validate=True)), formats=["PNG"]) as image:
            return np.array(image.convert("L")) > 0
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: expected a mask as a PNG in base 64; draw it anew") from error


LABELME = Layout("*.json", open_labelme, ("*.json", "*/*.json"))
