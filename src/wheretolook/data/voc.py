"""Folders in the layout of PASCAL VOC, and the Semantic Boundaries masks (SBD) that are often added to its training."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from wheretolook.data.classes import hint_of_lists, read_class_names
from wheretolook.data.layout import Folder, Layout, measured_splits, open_split
from wheretolook.data.masks import MASK_SUFFIXES, Palette, read_values, voc_palette
from wheretolook.data.names import files_by_name, require
from wheretolook.data.sbd import sbd_images
from wheretolook.data.splits import Splits
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.data.voc_objects import boxed_entry, class_names_of, has_colours, read_labelmap
from wheretolook.errors import DataError
from wheretolook.images import IMAGE_SUFFIXES
from wheretolook.options.data import DataOptions
from wheretolook.public import VOC_CLASSES
from wheretolook.records import VOID

IMAGES, MASKS, SPLITS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
OBJECTS, SPLITS_OF_OBJECTS = "Annotations", "ImageSets/Main"
LABELMAP = "labelmap.txt"
NAME_OF_VOC = re.compile(r"\d{4}_\d{6}")


def open_voc(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open a folder in VOC layout.

    Args:
        config: its root holds `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation` and, where the classes are
            not VOC's 20, `classes.txt` or CVAT's `labelmap.txt`, in whose colours masks may be. Images without a mask
            have the boxes of `Annotations`; where no list is of masks, those of `ImageSets/Main` are the splits.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests, and add the images of SBD where the configuration names it.

    Raises:
        DataError: no such split, files missing, or SBD added to classes that are not VOC's.
    """
    root = Path(str(config.root))
    images, masks = files_by_name(root / IMAGES, IMAGE_SUFFIXES), files_by_name(root / MASKS, MASK_SUFFIXES)
    objects = files_by_name(root / OBJECTS, (".xml",))
    class_names, palette = _classes(root, masks, objects)
    lists = files_by_name(root / SPLITS, (".txt",))
    place = SPLITS if lists or not objects else SPLITS_OF_OBJECTS
    lists = lists or files_by_name(root / place, (".txt",))
    splits = Splits(root / place, lists, images, place == SPLITS_OF_OBJECTS, config.held_out)

    def entry(name: str) -> Entry:
        if name in masks or name not in objects:
            return Entry(name, images[name], masks[name])
        return boxed_entry(name, images[name], objects[name], class_names)

    def more(listed: set[str]) -> list[Entry]:
        return [] if config.sbd is None else _from_sbd(Path(config.sbd), listed, splits, measured_splits(config))

    if config.sbd is not None and class_names != VOC_CLASSES:
        raise DataError(f"the masks of SBD ({config.sbd}) have VOC's 20 classes, but {root} has others; leave sbd out")
    listed = splits.names(split)
    require(listed, images, "images", split, root / IMAGES)
    require(listed, {*masks, *objects}, "masks", split, root / MASKS)
    folder = Folder(splits, class_names, entry, palette, several=True)
    return open_split(folder, config, split, training, more)


def _classes(
    root: Path, masks: Mapping[str, Path], objects: Mapping[str, Path]
) -> tuple[tuple[str, ...], Palette | None]:
    """The foreground classes, and the colours of their masks where they are known."""
    class_names = read_class_names(root)
    if class_names is None and has_colours(root / LABELMAP):
        return read_labelmap(root / LABELMAP)
    if class_names is None and objects and not masks:
        found = class_names_of(objects)
        class_names = VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))
    class_names = class_names or _voc_classes(root, masks)
    return class_names, voc_palette() if class_names == VOC_CLASSES else None


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
        try:
            values = read_values(path)[0]
        except DataError:  # which is said when it is served
            continue
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
