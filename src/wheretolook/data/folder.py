"""Plain folders: images, a table of their classes, and masks or boxes where there are any."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from wheretolook.data.dataset import ImageDataset, files_by_name, read_class_names, read_split, require
from wheretolook.data.images import all_void, image_size, index_mask, mask_labels, read_image, read_mask
from wheretolook.data.targets import mask_planes
from wheretolook.errors import DataError, nearest, reason
from wheretolook.records import VOID, Sample

VALIDATION_SHARE = 5  # one image in five validates where the folder has no split files


class Box(NamedTuple):
    """Where one object is, in pixels of the image's full size; right and bottom lie just outside of it."""

    class_index: int
    left: float
    top: float
    right: float
    bottom: float


class Entry(NamedTuple):
    """One image and what the folder says about it."""

    name: str
    image: Path
    mask: Path | None
    class_indices: frozenset[int]
    boxes: tuple[Box, ...]


class LabelledImages(ImageDataset):
    """Images with classes, of which some have masks and some have boxes.

    The classes of an image are those of its mask; without one they are those of the tables.

    Args:
        entries: what is known.
        class_names: the foreground classes.
        resize: length of the longer side in pixels; None keeps each image's size.
    """

    def __init__(self, entries: tuple[Entry, ...], class_names: tuple[str, ...], resize: int | None) -> None:
        self.entries = entries
        self.names = tuple(entry.name for entry in entries)
        self.class_names = class_names
        self.resize = resize

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask."""
        return any(entry.mask is not None for entry in self.entries)

    @property
    def has_annotations(self) -> bool:
        """Whether any image has a mask or a box."""
        return self.has_masks or any(entry.boxes for entry in self.entries)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width as served."""
        return image_size(self.entries[index].image, self.resize)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        image, mask = read_image(entry.image, self.resize), self._mask(entry)
        segmented = entry.mask is not None and bool((mask != VOID).any())  # an all-void mask says nothing
        if entry.mask is not None and not (segmented or entry.class_indices):
            raise all_void(entry.mask)
        labels = mask_labels(mask, len(self.class_names)) if segmented else self._labels(entry)
        return Sample(image, mask, labels, mask_planes(mask, labels), segmented, entry.name)

    def _mask(self, entry: Entry) -> Int[Tensor, "height width"]:
        classes, full_size = len(self.class_names), image_size(entry.image)
        if entry.mask is not None:
            return read_mask(entry.mask, classes, self.resize, of=entry.image)
        painted = paint_boxes(entry.boxes, full_size) if entry.boxes else np.full(full_size, VOID, np.uint8)
        return index_mask(painted, entry.image, classes, self.resize, of=entry.image)

    def _labels(self, entry: Entry) -> Bool[Tensor, " classes"]:
        return torch.tensor([index in entry.class_indices for index in range(len(self.class_names))])


def paint_boxes(boxes: tuple[Box, ...], size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """A mask of boxes: background, and the boxes from the largest to the smallest, so that the small lie on top.

    Args:
        boxes: where the objects are; every pixel that a box touches is its object's.
        size: height and width of the image.

    Example:
        >>> paint_boxes((Box(0, 1, 0, 2, 1), Box(1, 0, 0, 3, 1)), (1, 4))
        array([[2, 1, 2, 0]], dtype=uint8)
    """
    mask = np.zeros(size, np.uint8)
    for box in sorted(boxes, key=lambda box: (box.left - box.right) * (box.bottom - box.top)):
        rows = slice(int(np.floor(box.top)), int(np.ceil(box.bottom)))
        mask[rows, int(np.floor(box.left)) : int(np.ceil(box.right))] = box.class_index + 1
    return mask


def open_folder(root: Path, split: str, resize: int | None = None, *, held_out: Sequence[str] = ()) -> LabelledImages:
    """Open a plain folder.

    Args:
        root: holds `images/`; `labels.csv` (image, classes), `masks/` (PNG) and `boxes.csv` (image, class, left, top,
            right, bottom), each where there is one; `classes.txt`, which masks need; and its splits as
            `splits/NAME.txt`. Where neither "train" nor "val" is written down, they are four in five and the fifth,
            drawn by their names, of the images that no split names.
        split: a name, or the path of a file of names.
        resize: length of the longer side in pixels; None keeps each image's size.
        held_out: further splits, names or paths of files, that an automatic "train" or "val" leaves out.

    Raises:
        DataError: no such split, files missing, a table that is wrong, or an image that nothing is known about.
    """
    images = files_by_name(root / "images", (".jpg", ".jpeg", ".png"))
    masks = files_by_name(root / "masks", (".png",))
    if stray := [path for name, path in masks.items() if name not in images]:
        raise DataError(f"mask {stray[0]} belongs to no image of {root / 'images'}; give it its image's name")
    table = list(_rows(root / "labels.csv", ("image", "classes")))
    class_names = _class_names(root, table, bool(masks))
    labels = _labels(table, images, class_names)
    boxes = _boxes(root / "boxes.csv", images, class_names)
    entries = []
    for name in _split_names(root, split, images, held_out):
        if not (name in masks or name in labels or name in boxes):
            raise DataError(
                f"nothing is known about image '{name}' of {root}: expected a mask, a box or a row of labels"
            )
        known, found = labels.get(name, frozenset()), tuple(boxes.get(name, ()))
        indices = known | {box.class_index for box in found}
        entries.append(Entry(name, images[name], masks.get(name), indices, found))
    return LabelledImages(tuple(entries), class_names, resize)


def _rows(path: Path, header: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a table with the words that say where it is; none where there is no table."""
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            if missing := [name for name in header if name not in (table.fieldnames or ())]:
                raise DataError(f"{path} has no column '{missing[0]}'; expected the header {','.join(header)}")
            for row in table:
                if None in row:  # where DictReader puts what the header has no column for
                    raise DataError(
                        f"{path}, line {table.line_num}: expected {len(table.fieldnames or ())} columns, got more; "
                        "separate the classes of an image by spaces or semicolons"
                    )
                yield f"{path}, line {table.line_num}", {name: (row[name] or "").strip() for name in header}
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of comma-separated values in UTF-8; save it as such") from error


def _class_names(root: Path, table: list[tuple[str, dict[str, str]]], masks: bool) -> tuple[str, ...]:
    listed = read_class_names(root)
    if listed is not None:
        return listed
    if masks:
        raise DataError(f"{root} has masks but no classes.txt; add one: a class a line, that of mask value 1 first")
    cells = [row["classes"] for _, row in table]
    separated = [name for cell in cells if ";" in cell for name in _written_classes(cell)]
    names = {name for cell in cells for name in _written_classes(cell, separated)}
    if not names:
        raise DataError(f"{root} names no class: expected classes.txt, or labels.csv with the header image,classes")
    return tuple(sorted(names))


def _written_classes(cell: str, known: Sequence[str] = ()) -> list[str]:
    """The classes in a cell: separated by semicolons, or by blanks where it has none and is no name as it stands."""
    if ";" in cell:
        return [name.strip() for name in cell.split(";") if name.strip()]
    return [cell] if cell in known else cell.split()


def _labels(
    table: list[tuple[str, dict[str, str]]], images: Mapping[str, Path], class_names: tuple[str, ...]
) -> dict[str, frozenset[int]]:
    labels: dict[str, frozenset[int]] = {}
    for where, row in table:
        image = _image_name(row["image"], images, where)
        indices = frozenset(
            _class_index(name, class_names, where) for name in _written_classes(row["classes"], class_names)
        )
        labels[image] = labels.get(image, frozenset()) | indices
    return labels


def _boxes(path: Path, images: Mapping[str, Path], class_names: tuple[str, ...]) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for where, row in _rows(path, ("image", "class", "left", "top", "right", "bottom")):
        name = _image_name(row["image"], images, where)
        if name not in sizes:
            sizes[name] = image_size(images[name])
        boxes.setdefault(name, []).append(_box(row, class_names, sizes[name], where))
    return boxes


def _box(row: Mapping[str, str], class_names: tuple[str, ...], size: tuple[int, int], where: str) -> Box:
    try:
        left, top, right, bottom = (float(row[side]) for side in ("left", "top", "right", "bottom"))
    except ValueError as error:
        raise DataError(f"{where}: expected numbers for left, top, right and bottom: {error}") from error
    height, width = size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(
            f"{where}: box {left:g} {top:g} {right:g} {bottom:g} is empty or reaches out of its {width}x{height} image;"
            " expected left < right and top < bottom in pixels of the full image"
        )
    return Box(_class_index(row["class"], class_names, where), left, top, right, bottom)


def _class_index(name: str, class_names: tuple[str, ...], where: str) -> int:
    if name not in class_names:
        raise DataError(f"{where}: unknown class '{name}'{nearest(name, class_names)}; known: {', '.join(class_names)}")
    return class_names.index(name)


def _image_name(written: str, images: Mapping[str, Path], where: str) -> str:
    """An image may be written with its suffix or without."""
    for name in (written, Path(written).stem):
        if name in images and written in (name, images[name].name):
            return name
    raise DataError(f"{where}: there is no image '{written}' in the folder images{nearest(written, images)}")


def _split_names(root: Path, split: str, images: Mapping[str, Path], held_out: Sequence[str] = ()) -> tuple[str, ...]:
    known = files_by_name(root / "splits", (".txt",))
    if split in ("train", "val") and not {"train", "val"} & set(known):
        _require_no_loose_splits(root)
        others = {*known, *held_out} - {"train", "val"}
        named = {name for other in others for name in read_split(other, known, images)}
        names = tuple(name for name in images if name not in named and _validates(name) == (split == "val"))
        if not names:
            raise DataError(
                f"split '{split}' of {root} is empty ({len(images)} images in all); write splits/{split}.txt"
            )
        return names
    names = read_split(split, known, images)
    require(names, images, "images", split, root / "images")
    return names


def _require_no_loose_splits(root: Path) -> None:
    for name in ("train", "val"):
        if (root / f"{name}.txt").is_file():
            raise DataError(f"{root / name}.txt is not read there; move it into {root / 'splits'}")


def _validates(name: str) -> bool:
    return int.from_bytes(sha256(name.encode()).digest()[:4]) % VALIDATION_SHARE == 0
