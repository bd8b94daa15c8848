"""YOLO's boxes and segments: `data.yaml` of Ultralytics and Roboflow, and the exports of CVAT and Label Studio."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wheretolook.data.boxes import SIDES
from wheretolook.data.classes import read_class_names
from wheretolook.data.drawings import Shape
from wheretolook.data.exports import ImagesBelow, box_of, entry, open_export
from wheretolook.data.layout import Layout
from wheretolook.data.names import normal, read_lines
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError, reason
from wheretolook.images import image_size
from wheretolook.options.data import DataOptions

SHEETS = ("data.yaml", "data.yml", "dataset.yaml")
DARKNET = "obj.names"  # the classes in CVAT's older export
BOX = len(SIDES) + 1
ROUNDED = 2  # digits of a pixel: shares are written with six, and must not touch the next pixel for that
SLACK = 0.01  # share of the image that rounding may put a number outside


def open_yolo(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open one split of YOLO's boxes or segments; an image without a file of labels shows no object.

    Args:
        config: its root holds `data.yaml`, or `obj.names`, or `classes.txt` and `labels/`; the labels of an image lie
            beside it, or where its path has `labels` for `images`.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests.

    Raises:
        DataError: a sheet or label that is broken, or an image that is not there.
    """
    root = Path(str(config.root))
    images = ImagesBelow(root)
    sheet = next((root / name for name in SHEETS if (root / name).is_file()), None)
    record = {} if sheet is None else _read_sheet(sheet)
    class_names = _classes(root, sheet, record)
    splits = {
        name: _images_of(record[name], images, root) for name in ("train", "val", "valid", "test") if record.get(name)
    }
    if sheet is None:
        lists = [root / f"{name}.txt" for name in ("train", "valid", "test") if (root / f"{name}.txt").is_file()]
        splits = {path.stem: _images_of(path.name, images, root) for path in lists}
    listed = dict.fromkeys(name for names in splits.values() for name in names) or images.paths
    entries = {name: _entry(name, images.paths[name], class_names, root) for name in listed}
    return open_export(config, split, training, images, splits, class_names, entries)


def _read_sheet(path: Path) -> dict[str, Any]:
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is no YAML, or a broken one: export it anew") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}: expected names, train and val, got {str(record)[:60]}")
    if "kpt_shape" in record:
        raise DataError(f"{path} is of keypoints, which enclose nothing; expected boxes or segments")
    return record


def _classes(root: Path, sheet: Path | None, record: dict[str, Any]) -> tuple[str, ...]:
    if sheet is None:
        darknet = root / DARKNET
        listed = tuple(read_lines(darknet, "list of classes")) if darknet.is_file() else read_class_names(root)
        if listed is None:
            raise DataError(f"{root} names no class; expected data.yaml, {DARKNET} or classes.txt")
        return listed
    names = record.get("names")
    if isinstance(names, dict) and sorted(names, key=str) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int)) for name in names):
        raise DataError(f"{sheet}: expected names, a class for each number from 0, got {str(names)[:60]}")
    return tuple(normal(str(name)) for name in names)


def _images_of(places: object, images: ImagesBelow, root: Path) -> list[str]:
    """The images of a split: those below folders, or of lists, that may be written from anywhere."""
    found: dict[str, None] = {}
    for place in places if isinstance(places, list) else [places]:
        if not isinstance(place, str):
            raise DataError(f"{root}: expected a folder or a list of images, got {str(place)[:60]}")
        parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        endings = (root.joinpath(*parts[start:]) for start in range(len(parts)))
        path = next((path for path in endings if path.exists()), None)
        if path is None:
            raise DataError(f"{root}: there is no '{place}' in it; expected a folder or a list of images")
        if path.is_file():
            found |= {images.find(line, root, str(path)): None for line in read_lines(path, "split")}
        else:
            found |= {name: None for name, file in images.paths.items() if path in file.parents}
    if not found:
        raise DataError(f"{root}: there is no image in '{places}'")
    return list(found)


def _entry(name: str, image: Path, class_names: tuple[str, ...], root: Path) -> Entry:
    path = _labels(image, root)
    if path is None:
        return entry(name, image, (), str(image))
    return entry(name, image, list(_shapes(path, image, class_names)), str(path))


def _labels(image: Path, root: Path) -> Path | None:
    """The file of an image's labels, where there is one."""
    inner = image.relative_to(root).with_suffix(".txt")
    parts = list(inner.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"  # the last of them
    found = (root.joinpath(*parts), root / inner)
    return next((path for path in found if path.is_file()), None)


def _shapes(path: Path, image: Path, class_names: tuple[str, ...]) -> Iterator[Shape]:
    size: tuple[int, int] | None = None
    for number, line in enumerate(read_lines(path, "file of labels"), 1):
        where = f"{path}, line {number}"
        index, numbers = _line(line, len(class_names), where)
        size = size or image_size(image)
        height, width = size
        if len(numbers) == BOX - 1:
            across, down, wide, high = numbers
            sides = (across - wide / 2, down - high / 2, across + wide / 2, down + high / 2)
            box = box_of(
                (round(side * full, ROUNDED) for side, full in zip(sides, (width, height) * 2, strict=True)), where
            )
            yield Shape(index, box=box)
        else:
            yield Shape(index, polygons=(np.array(numbers).reshape(-1, 2) * (width, height),))


def _line(line: str, classes: int, where: str) -> tuple[int, list[float]]:
    """The class and the numbers of a line, which are shares of the image's sides."""
    words = line.split()
    try:
        index, numbers = int(words[0]), [float(word) for word in words[1:]]
    except (ValueError, OverflowError):
        index, numbers = -1, []
    if len(numbers) != BOX - 1 and (len(numbers) < 6 or len(numbers) % 2):
        raise DataError(f"{where}: expected a class and 4 numbers of a box, or 2 of each corner, got '{line[:60]}'")
    if not 0 <= index < classes:
        raise DataError(f"{where}: the class is {index}, but there are {classes}, counted from 0; mend one of them")
    if not all(-SLACK <= share <= 1 + SLACK for share in numbers):
        raise DataError(f"{where}: expected shares of the image from 0 to 1, got '{line[:60]}'")
    return index, numbers


YOLO = Layout("data.yaml", open_yolo, (*SHEETS, "obj_*_data/*.txt", "labels/*.txt", "labels/*/*.txt"))
