"""A folder for each class in a folder for each split, as image classifiers are often trained on."""

from pathlib import Path

from wheretolook.data.classes import read_class_names
from wheretolook.data.groups import groups_of
from wheretolook.data.layout import Layout, measured_splits
from wheretolook.data.masks import MASK_SUFFIXES
from wheretolook.data.names import files_by_name, normal
from wheretolook.data.splits import nothing_left, spelled_there
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.errors import DataError, nearest
from wheretolook.images import IMAGE_SUFFIXES
from wheretolook.options.data import DataOptions

MASKS, AVOID = "masks", "avoid"


def open_class_folders(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open one split of class folders; an image is called CLASS/NAME.

    Args:
        config: its root holds `SPLIT/CLASS/NAME.jpg`, where there are masks `masks/SPLIT/CLASS/NAME.png`, and, where
            the classes are not all folders in the order of their names, `classes.txt`.
        split: the name of its folder.
        training: it is to be trained on.

    Raises:
        DataError: no such split, a folder that is no class, or the very split validates or tests.
    """
    root = Path(str(config.root))
    others = (MASKS, AVOID, config.avoid_zones)
    folders = {normal(path.name): path for path in _folders(root) if path.name not in others}
    split = spelled_there(split, folders)
    if split not in folders:
        raise DataError(
            f"there is no split '{split}'{nearest(split, folders)}; available: {', '.join(folders) or 'none'}"
        )
    if training and split in (spelled_there(measured, folders) for measured in measured_splits(config)):
        raise nothing_left(split, split)
    found = sorted({normal(path.name) for folder in folders.values() for path in _folders(folder)})
    class_names = read_class_names(root) or tuple(found)
    if unknown := [name for name in found if name not in class_names]:
        raise DataError(
            f"{root}: the folder '{unknown[0]}' is no class of classes.txt{nearest(unknown[0], class_names)}"
        )
    entries = [entry for folder in _folders(folders[split]) for entry in _entries(root, folder, class_names)]
    if not entries:
        raise DataError(f"{folders[split]} holds no image; expected a folder for each class, with images in it")
    groups = groups_of(config, [entry.name for entry in entries], [entry.name for entry in entries])
    return StoredImages(
        [entry._replace(group=groups.get(entry.name, "")) for entry in entries], class_names, config.resize
    )


def _entries(root: Path, folder: Path, class_names: tuple[str, ...]) -> list[Entry]:
    """The images of one class in one split."""
    name = normal(folder.name)
    masks = files_by_name(root / MASKS / folder.relative_to(root), MASK_SUFFIXES)
    index = frozenset({class_names.index(name)})
    return [
        Entry(f"{name}/{image}", path, masks.get(image), index)
        for image, path in files_by_name(folder, IMAGE_SUFFIXES).items()
    ]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


CLASS_FOLDERS = Layout("train", open_class_folders, ("[Tt]rain/*/*", "[Tt]raining/*/*"))
