"""What the readers of other tools' exports share: where images lie, which split is which, and fields that are checked.

Exports name images by paths of the machine that made them. Here they are looked for below the root, and nowhere else.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from wheretolook.data.boxes import Box
from wheretolook.data.drawings import BACKGROUND, Drawing, Shape
from wheretolook.data.layout import Folder, measured_splits, open_split
from wheretolook.data.names import files_by_name, normal
from wheretolook.data.splits import Splits, read_split
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError, nearest, reason
from wheretolook.files import visible_below
from wheretolook.images import IMAGE_SUFFIXES, image_size
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID

LISTS = "splits"
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the names of files that are given to it


class ImagesBelow:
    """The images below a folder, found by whatever path an export gives them.

    Args:
        root: the folder.

    Attributes:
        paths: the files by name: the path from the root without suffix.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: dict[str, Path] = {}
        self._by_file: dict[str, list[str]] = {}
        for path in visible_below(root, IMAGE_SUFFIXES):
            name = normal(path.relative_to(root).with_suffix("").as_posix())
            self.paths.setdefault(name, path)
            self._by_file.setdefault(normal(path.name), []).append(name)

    def find(self, written: str, near: Path, where: str) -> str:
        """The name of an image.

        Args:
            written: its path in the export, of any system.
            near: the folder of the export; of images of one name, one that lies there is taken.
            where: what names it, for the message.

        Raises:
            DataError: no such image, or several as good.
        """
        parts = [part for part in normal(written).replace("\\", "/").split("/") if part not in ("", ".", "..")]
        file = parts[-1] if parts else ""
        found = self._by_file.get(file) or self._by_file.get(UPLOADED.sub("", file), [])
        best = max((self._shared(name, parts, near) for name in found), default=(0, 0))
        names = [name for name in found if self._shared(name, parts, near) == best]
        if not names:
            hint = nearest(file, self._by_file)
            raise DataError(f"{where}: there is no image '{written}' below {self.root}{hint}")
        if len(names) > 1:
            raise DataError(f"{where}: '{written}' may be {names[0]} or {names[1]} of {self.root}; rename one of them")
        return names[0]

    def _shared(self, name: str, parts: Sequence[str], near: Path) -> tuple[int, int]:
        """How many folders a file has in common with a path, from the end, and with the export, from the root."""
        folders, given, export = self.paths[name].parts[:-1], parts[:-1], near.parts
        behind = next(
            (n for n, (a, b) in enumerate(zip(folders[::-1], given[::-1], strict=False)) if a != b), len(given)
        )
        ahead = next((n for n, (a, b) in enumerate(zip(folders, export, strict=False)) if a != b), len(export))
        return behind, ahead


def open_export(
    config: DataOptions,
    split: str,
    training: bool,
    images: ImagesBelow,
    splits: Mapping[str, Sequence[str]],
    class_names: tuple[str, ...],
    entries: Mapping[str, Entry],
    several: bool = True,
) -> StoredImages:
    """Serve one split of an export.

    Args:
        config: how it is served.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests.
        images: those below the root.
        splits: the names of the images in each split; where neither train nor val is among them, nor a list in
            `splits/`, all images are cut 4 : 1.
        class_names: the foreground classes.
        entries: what is known, by name.
        several: images may show several classes.

    Raises:
        DataError: no such split, no class or too many, or nothing left to train on.
    """
    if not 0 < len(class_names) < VOID:
        raise DataError(f"{images.root} has {len(class_names)} classes; expected 1 to {VOID - 1}")
    if twice := sorted({name for name in class_names if class_names.count(name) > 1}):
        raise DataError(f"{images.root} has the class '{twice[0]}' twice; rename one of them")
    given = {name: tuple(names) for name, names in splits.items()}
    folder = images.root / LISTS
    lists = {**{name: Path(name) for name in (split, *measured_splits(config))}, **files_by_name(folder, (".txt",))}
    given |= {name: listed(path, entries) for name, path in lists.items() if path.is_file()}
    if not any(entry.drawing and entry.drawing.shapes for entry in entries.values()):
        # where only boxes are drawn, images without any are not segmented either
        entries = {name: entry._replace(drawing=None) for name, entry in entries.items()}
    found = Splits(folder, {}, entries, True, config.held_out, given)
    return open_split(Folder(found, class_names, entries.__getitem__, several=several), config, split, training)


def listed(path: Path, names: Collection[str]) -> tuple[str, ...]:
    """The images that a list names, each by as much of its path as tells it from the others.

    Args:
        path: a text file of names.
        names: the images that there are.

    Raises:
        DataError: a line names no image, or several.
    """
    ends: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")
        for start in range(len(parts)):
            ends.setdefault("/".join(parts[start:]), []).append(name)
    found = []
    for written in read_split(str(path), {}, ends):
        fitting = [written] if written in names else ends.get(written, [])
        if len(fitting) != 1:
            what = f"may be {' or '.join(fitting[:3])}" if fitting else "is no image of the annotation"
            raise DataError(f"{path}: '{written}' {what}; expected paths in the data's folder")
        found += fitting
    return tuple(found)


def entry(name: str, image: Path, shapes: Sequence[Shape], where: str, size: tuple[int, int] | None = None) -> Entry:
    """What is known about an image: boxes where nothing else was drawn, else a drawing.

    Args:
        name: the image's name.
        image: its file.
        shapes: what was drawn.
        where: what to call it in messages.
        size: height and width that the tool saw; None for those of the upright image.

    Raises:
        DataError: an image of no size.
    """
    known = [shape for shape in shapes if shape.class_index is not None]
    indices = frozenset(
        shape.class_index for shape in known if shape.class_index is not None and shape.class_index != BACKGROUND
    )
    if not shapes or not all(shape.box for shape in known) or len(known) < len(shapes):
        return Entry(name, image, class_indices=indices, drawing=Drawing(tuple(shapes), where, size))
    height, width = size or image_size(image)
    if min(height, width) < 1:
        raise DataError(f"{where}: expected the size of its image, got {width}x{height}; export it anew")
    boxes = []
    for shape in known:
        assert shape.box is not None and shape.class_index is not None
        left, top, right, bottom = np.clip(shape.box, 0, [width, height, width, height]).tolist()
        if left < right and top < bottom:
            boxes.append(Box(shape.class_index, left, top, right, bottom))
    return Entry(name, image, class_indices=indices, boxes=tuple(boxes), drawn_on=size)


def corners(values: object, where: str) -> np.ndarray:
    """The corners (x, y) of a polygon, from a flat list of numbers.

    Raises:
        DataError: no numbers, not two for each corner, or fewer than three corners.
    """
    numbers = finite(values, where)
    if len(numbers) < 6 or len(numbers) % 2:
        raise DataError(
            f"{where}: expected a polygon of at least 3 corners, x and y of each, got {len(numbers)} numbers"
        )
    return np.array(numbers).reshape(-1, 2)


def finite(values: object, where: str, count: int | None = None) -> list[float]:
    """A list of finite numbers.

    Args:
        values: what the export has.
        where: what to call it in messages.
        count: how many there must be.

    Raises:
        DataError: it is no such list.
    """
    try:
        numbers = [float(value) for value in values] if isinstance(values, (list, tuple)) else []
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if not numbers or not all(map(isfinite, numbers)) or count not in (None, len(numbers)):
        raise DataError(f"{where}: expected {count or 'a list of'} numbers, got {str(values)[:60]}")
    return numbers


def box_of(numbers: Iterable[float], where: str) -> tuple[float, float, float, float]:
    """A box as left, top, right and bottom.

    Raises:
        DataError: it is empty.
    """
    left, top, right, bottom = numbers
    if not (left < right and top < bottom):
        raise DataError(f"{where}: the box from {left:g} {top:g} to {right:g} {bottom:g} is empty; delete or mend it")
    return left, top, right, bottom


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:  # of letters and of JSON
        raise DataError(f"{path} is no JSON, or a broken one: export it anew") from error


def is_of_tasks(record: object) -> bool:
    """Whether a file is a list of records, one for each image, as Label Studio writes them."""
    return isinstance(record, list) and bool(record) and all(isinstance(task, dict) for task in record)


def items(record: object, key: str, where: str) -> list[dict[str, Any]]:
    """A list of records in a record.

    Raises:
        DataError: there is none.
    """
    if is_of_tasks(record):
        raise DataError(
            f"{where} is a list of tasks, as Label Studio writes them; call it as the tool does, project-1-at-DATE.json"
        )
    found = record.get(key) if isinstance(record, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise DataError(f"{where}: expected a list of records '{key}', got {str(found)[:60]}")
    return found


def text(record: Mapping[str, Any], key: str, where: str) -> str:
    """A text in a record.

    Raises:
        DataError: there is none.
    """
    found = record.get(key)
    if not isinstance(found, str) or not found.strip():
        raise DataError(f"{where}: expected a text '{key}', got {str(found)[:60]}")
    return normal(found.strip())


def whole(record: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number in a record.

    Raises:
        DataError: there is none.
    """
    found = record.get(key)
    if not isinstance(found, int) or isinstance(found, bool):
        raise DataError(f"{where}: expected a whole number '{key}', got {str(found)[:60]}")
    return found
