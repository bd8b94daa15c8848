"""Plain folders: images, a table of their classes, and masks or boxes where there are any."""

import re
from collections.abc import Mapping
from pathlib import Path

from wheretolook.data.boxes import read_boxes
from wheretolook.data.classes import class_index, hint_of_lists, read_class_names, separates, written_classes
from wheretolook.data.layout import Folder, Layout, open_split
from wheretolook.data.masks import MASK_SUFFIXES
from wheretolook.data.names import files_by_name, require
from wheretolook.data.splits import Splits
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.data.tables import Row, known_image, rows
from wheretolook.errors import DataError
from wheretolook.images import IMAGE_SUFFIXES
from wheretolook.options.data import DataOptions

IMAGES, MASKS, SPLITS = "images", "masks", "splits"
BRUSH_OF_TASK = re.compile(r"task-\d+-annotation-\d+-by-")


def open_folder(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open a plain folder.

    Args:
        config: its root holds `images/`; `labels.csv` (image, classes), `masks/` and `boxes.csv` (image, class, left,
            top, right, bottom), each where there is one; `classes.txt`, which masks need; and its splits as
            `splits/NAME.txt`. Where neither "train" nor "val" is written down, they are four in five and the fifth,
            drawn by their names, of the images that no split names.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests.

    Raises:
        DataError: no such split, files missing, a table that is wrong, or an image that nothing is known about.
    """
    root = Path(str(config.root))
    images, masks = files_by_name(root / IMAGES, IMAGE_SUFFIXES), files_by_name(root / MASKS, MASK_SUFFIXES)
    if stray := [path for name, path in masks.items() if name not in images]:
        raise DataError(f"mask {stray[0]} belongs to no image of {root / IMAGES}; {_renamed(stray[0], root)}")
    table = list(rows(root / "labels.csv", ("image", "classes"))) if (root / "labels.csv").exists() else []
    class_names = _class_names(root, table, bool(masks))
    labels = _labels(table, images, class_names)
    boxes = read_boxes(root / "boxes.csv", images, class_names) if (root / "boxes.csv").exists() else {}

    def entry(name: str) -> Entry:
        if not (name in masks or name in labels or name in boxes):
            raise DataError(
                f"nothing is known about image '{name}' of {root}: expected a mask, a box or a row of labels"
            )
        found = tuple(boxes.get(name, ()))
        indices = labels.get(name, frozenset()) | {box.class_index for box in found}
        return Entry(name, images[name], masks.get(name), indices, found)

    lists = files_by_name(root / SPLITS, (".txt",))
    if not {"train", "val"} & lists.keys():
        _require_no_loose_splits(root)
    splits = Splits(root / SPLITS, lists, images, True, config.held_out)
    require(splits.names(split), images, "images", split, root / IMAGES)
    return open_split(Folder(splits, class_names, entry), config, split, training)


def _renamed(mask: Path, root: Path) -> str:
    """What to do with a mask whose name is no image's."""
    if BRUSH_OF_TASK.match(mask.name):
        return (
            "Label Studio names brush strokes by tasks, and its JSON alone says of which images they are: "
            f"export JSON, and put it into {root}"
        )
    return "give it its image's name"


def _class_names(root: Path, table: list[tuple[str, Row]], masks: bool) -> tuple[str, ...]:
    listed = read_class_names(root)
    if listed is not None:
        return listed
    if masks:
        raise DataError(
            f"{root} has masks but no classes.txt{hint_of_lists(root)}; add one: a class a line, that of mask value 1"
            " first"
        )
    cells = [row["classes"] for _, row in table]
    # a name that stands between separators somewhere may have blanks in it everywhere
    separated = [name for cell in cells if separates(cell) for name in written_classes(cell)]
    names = {name for cell in cells for name in written_classes(cell, separated)}
    if not names:
        raise DataError(
            f"{root} names no class{hint_of_lists(root)}: expected classes.txt, or labels.csv with the header"
            " image,classes"
        )
    return tuple(sorted(names))


def _labels(
    table: list[tuple[str, Row]], images: Mapping[str, Path], class_names: tuple[str, ...]
) -> dict[str, frozenset[int]]:
    labels: dict[str, frozenset[int]] = {}
    for where, row in table:
        image = known_image(row["image"], images, where)
        indices = {class_index(name, class_names, where) for name in written_classes(row["classes"], class_names)}
        labels[image] = labels.get(image, frozenset()) | indices
    return labels


def _require_no_loose_splits(root: Path) -> None:
    for name in ("train", "val"):
        if (root / f"{name}.txt").is_file():
            raise DataError(f"{root / name}.txt is not read there; move it into {root / SPLITS}")


# what only this layout has: exports of annotation tools have a folder of images, too
OWN = ("labels.csv", "boxes.csv", *(f"{MASKS}/*{suffix}" for suffix in MASK_SUFFIXES))
PLAIN_FOLDER = Layout(IMAGES, open_folder, OWN)
