"""What a layout is, and how images of a folder with lists of names are opened: alike in every layout."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wheretolook.data.dataset import ImageDataset
from wheretolook.data.groups import groups_of
from wheretolook.data.masks import Palette
from wheretolook.data.splits import Splits, trained_on
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.options.data import DataOptions


class Layout(NamedTuple):
    """One way in which data lie on disk.

    Args:
        marker: the folder, or file, in a root that tells this layout from others; None for data that come from no root.
        open: one split of it; the last argument says whether it is to be trained on.
        patterns: of all files that tell it, where it is not told by a folder, as `Path.glob` has them.
    """

    marker: str | None
    open: Callable[[DataOptions, str, bool], ImageDataset]
    patterns: tuple[str, ...] = ()

    def tells(self, root: Path) -> bool:
        """Whether a folder has this layout."""
        if self.patterns:
            return any(path.is_file() for pattern in self.patterns for path in root.glob(pattern))
        return self.marker is not None and (root / self.marker).is_dir()


class Folder(NamedTuple):
    """A folder of images before a split is taken.

    Args:
        splits: its lists of names.
        class_names: the foreground classes.
        entry: what is known about an image, by name.
        palette: the colours that its masks should have, where they are known.
        several: images may show several classes, though each of these may show one.
    """

    splits: Splits
    class_names: tuple[str, ...]
    entry: Callable[[str], Entry]
    palette: Palette | None = None
    several: bool = False


def measured_splits(config: DataOptions) -> tuple[str, ...]:
    """The splits that validate or test, so that nothing is trained on their images."""
    return (config.val_split, *config.held_out)


def open_split(
    folder: Folder,
    config: DataOptions,
    split: str,
    training: bool,
    more: Callable[[set[str]], list[Entry]] | None = None,
) -> StoredImages:
    """Serve one split of a folder.

    Args:
        folder: what there is.
        config: how it is served.
        split: a name, or the path of a file of names.
        training: leave out what validates or tests.
        more: further entries to train on, given the names in the split.

    Raises:
        DataError: no such split, an image without a group, or nothing left to train on.
    """
    listed = folder.splits.names(split)
    names = trained_on(listed, split, folder.splits, measured_splits(config)) if training else listed
    groups = groups_of(config, names, folder.splits.images)
    entries = [entry._replace(group=groups.get(entry.name, entry.group)) for entry in map(folder.entry, names)]
    if training and more is not None:
        entries += more(set(listed))
    return StoredImages(entries, folder.class_names, config.resize, folder.palette, folder.several)
