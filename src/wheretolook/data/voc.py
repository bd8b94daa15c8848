"""Folders in the layout of PASCAL VOC, and the Semantic Boundaries masks (SBD) that are often added to its training."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from wheretolook.data.classes import hint_of_lists, read_class_names
from wheretolook.data.layout import Folder, Layout, measured_splits, open_split
from wheretolook.data.masks import MASK_SUFFIXES, read_values, voc_palette
from wheretolook.data.names import IMAGE_SUFFIXES, files_by_name, require
from wheretolook.data.sbd import sbd_images
from wheretolook.data.splits import Splits
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions
from wheretolook.public import VOC_CLASSES
from wheretolook.records import VOID

IMAGES, MASKS, SPLITS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
NAME_OF_VOC = re.compile(r"\d{4}_\d{6}")


def open_voc(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open a folder in VOC layout.

    Args:
        config: its root holds `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation` and, where the classes are
            not VOC's 20, `classes.txt`.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests, and add the images of SBD where the configuration names it.

    Raises:
        DataError: no such split, files missing, or SBD added to classes that are not VOC's.
    """
    root = Path(str(config.root))
    images, masks = files_by_name(root / IMAGES, IMAGE_SUFFIXES), files_by_name(root / MASKS, MASK_SUFFIXES)
    class_names = read_class_names(root) or _voc_classes(root, masks)
    splits = Splits(root / SPLITS, files_by_name(root / SPLITS, (".txt",)), images)

    def entry(name: str) -> Entry:
        return Entry(name, images[name], masks[name])

    def more(listed: set[str]) -> list[Entry]:
        return [] if config.sbd is None else _from_sbd(Path(config.sbd), listed, splits, measured_splits(config))

    if config.sbd is not None and class_names != VOC_CLASSES:
        raise DataError(f"the masks of SBD ({config.sbd}) have VOC's 20 classes, but {root} has others; leave sbd out")
    listed = splits.names(split)
    require(listed, images, "images", split, root / IMAGES)
    require(listed, masks, "masks", split, root / MASKS)
    palette = voc_palette() if class_names == VOC_CLASSES else None
    return open_split(Folder(splits, class_names, entry, palette), config, split, training, more)


def _from_sbd(root: Path, listed: set[str], splits: Splits, measured: Iterable[str]) -> list[Entry]:
    """The images of SBD that are neither in the split nor in any that measures: all others, but for larger ones."""
    lists = [set(splits.names(other)) for other in splits.lists]
    # one that holds all of this split is a larger list to train on, such as trainval or trainaug
    unwanted = listed.union(*(other for other in lists if not other >= listed), *map(splits.names, measured))
    return [Entry(*found) for found in sbd_images(root) if found.name not in unwanted]


def _voc_classes(root: Path, masks: Mapping[str, Path]) -> tuple[str, ...]:
    """VOC's own 20, where the masks or their names say that the images are VOC's."""
    largest = 0
    if masks and all(NAME_OF_VOC.fullmatch(name) for name in masks):
        return VOC_CLASSES
    for path in masks.values():
        values = read_values(path)[0]
        largest = max(largest, int(values[values < VOID].max(initial=0)))
        if largest >= len(VOC_CLASSES):
            break
    if largest == len(VOC_CLASSES) or not masks:
        return VOC_CLASSES
    raise DataError(
        f"{root} has no classes.txt{hint_of_lists(root)}, and its masks have values up to {largest}, where VOC's have"
        " 20; add classes.txt: a class a line, that of mask value 1 first"
    )


VOC = Layout(IMAGES, open_voc)
