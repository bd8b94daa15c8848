"""COCO's json, in the layouts of COCO itself and of the exports of CVAT, Roboflow and Label Studio."""

from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from wheretolook.data.classes import NO_CLASSES
from wheretolook.data.drawings import Shape, coco_masks
from wheretolook.data.exports import (
    ImagesBelow,
    box_of,
    corners,
    entry,
    finite,
    items,
    open_export,
    read_json,
    text,
    whole,
)
from wheretolook.data.layout import Layout
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions

OBJECTS = "instances_"
ROBOFLOW = "_annotations.coco.json"
PLACES = ("annotations/*.json", f"*/{ROBOFLOW}", ROBOFLOW, "result.json", "coco.json", "annotations.json")


def open_coco(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open one split of COCO's json; each file of objects is a split.

    `annotations/instances_train2017.json` is train2017 and train, `train/_annotations.coco.json` train. Where there is
    one file for all, as of Label Studio and CVAT, its images are cut 4 : 1 into train and val. Crowds are void.

    Args:
        config: its root holds the files, and the images anywhere below.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests.

    Raises:
        DataError: a file that is broken or contradicts itself, or an image that is not there.
    """
    root = Path(str(config.root))
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in _files(root))
    images, splits, class_names, entries = _read(root, stamps)
    return open_export(config, split, training, images, splits, class_names, entries)


class _Export(NamedTuple):
    """What all files of a root say."""

    images: ImagesBelow
    splits: dict[str, list[str]]
    class_names: tuple[str, ...]
    entries: dict[str, Entry]


@lru_cache(maxsize=2)
def _read(root: Path, stamps: tuple[tuple[Path, int, int], ...]) -> _Export:
    """Read all files, once for all splits and stages of a run: COCO's own take a minute.

    Args:
        root: the folder.
        stamps: the files, with what tells that one has changed.
    """
    images = ImagesBelow(root)
    records = {path: read_json(path) for path, *_ in stamps}
    categories = _categories(records, root)
    names = list(categories.values())
    indices = {number: names.index(name) for number, name in categories.items()}
    entries: dict[str, Entry] = {}
    splits: dict[str, list[str]] = {}
    for path, record in records.items():
        found = _entries(path, record, images, indices)
        entries |= found
        splits |= {name: list(found) for name in _names_of_split(path, len(records))}
    return _Export(images, splits, tuple(names), entries)


def _files(root: Path) -> list[Path]:
    found = sorted({path for place in PLACES for path in root.glob(place)})
    objects = [path for path in found if path.name.startswith(OBJECTS)]
    if not (objects or found):
        raise DataError(f"{root} has no file of COCO's; expected one of {', '.join(PLACES)}")
    return objects or found  # captions and keypoints lie beside them


def _names_of_split(path: Path, files: int) -> list[str]:
    """What the split of a file is called."""
    name = path.parent.name if path.name == ROBOFLOW else path.stem.removeprefix(OBJECTS)
    if files == 1 and name not in ("train", "val"):
        return [] if name in ("default", "result", "coco", "annotations") else [name]
    return list(dict.fromkeys((name, name.rstrip("0123456789_") or name)))


def _categories(records: dict[Path, Any], root: Path) -> dict[int, str]:
    """The classes of all files by their numbers, in the order of these."""
    found: dict[int, str] = {}
    used: set[object] = set()
    supers: set[object] = set()
    for path, record in records.items():
        for category in items(record, "categories", str(path)):
            number, name = whole(category, "id", f"{path}: categories"), text(category, "name", f"{path}: categories")
            if found.setdefault(number, name) != name:
                raise DataError(
                    f"{path}: category {number} is '{name}', but '{found[number]}' in another file of {root}"
                )
            supers.add(category.get("supercategory"))
        used |= {annotation.get("category_id") for annotation in items(record, "annotations", str(path))}
    # Roboflow writes the project itself as category 0, above all others and of no object
    if len(found) > 1 and 0 in found and found[0] in supers and 0 not in used:
        del found[0]
    found = {number: name for number, name in found.items() if number in used or name.lower() not in NO_CLASSES}
    return dict(sorted(found.items()))


def _entries(path: Path, record: Any, images: ImagesBelow, indices: dict[int, int]) -> dict[str, Entry]:
    listed = {}
    for image in items(record, "images", str(path)):
        number = whole(image, "id", f"{path}: images")
        if number in listed:
            raise DataError(f"{path}: two images have the id {number}; export it anew")
        listed[number] = image
    shapes: dict[int, list[Shape]] = defaultdict(list)
    crowds: dict[int, set[int]] = defaultdict(set)
    for annotation in items(record, "annotations", str(path)):
        where = f"{path}: annotation {annotation.get('id')}"
        number, category = whole(annotation, "image_id", where), whole(annotation, "category_id", where)
        if number not in listed:
            raise DataError(f"{where} is of image {number}, which is not listed; export it anew")
        if category not in indices:
            raise DataError(f"{where} is of category {category}, which is not listed; export it anew")
        shapes[number].append(_shape(annotation, indices[category], where))
        if annotation.get("iscrowd"):
            crowds[number].add(indices[category])  # it is there, if not to be counted
    found = {}
    for number, image in listed.items():
        where = f"{path}: image {number}"
        name = images.find(text(image, "file_name", where), path.parent, where)
        size = (whole(image, "height", where), whole(image, "width", where))
        if name in found:
            raise DataError(f"{where} is '{name}', as another one is; export it anew")
        known = entry(name, images.paths[name], shapes[number], where, size)
        found[name] = known._replace(class_indices=known.class_indices | crowds[number])
    return found


def _shape(annotation: dict[str, Any], index: int, where: str) -> Shape:
    drawn = annotation.get("segmentation")
    class_index = None if annotation.get("iscrowd") else index
    if isinstance(drawn, dict):
        coco_masks()  # which is missed now rather than in a worker, hours later
        return Shape(class_index, rle=drawn)
    if drawn:
        if not isinstance(drawn, list):
            raise DataError(f"{where}: expected polygons or run lengths, got {str(drawn)[:60]}")
        coco_masks()
        return Shape(class_index, polygons=tuple(corners(part, where) for part in drawn), without_edges=True)
    left, top, width, height = finite(annotation.get("bbox"), f"{where}, bbox", 4)
    return Shape(class_index, box=box_of((left, top, left + width, top + height), where))


COCO = Layout("annotations/*.json", open_coco, PLACES)
