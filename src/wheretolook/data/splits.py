"""Which images a split holds, and one rule for all layouts: what validates or tests is never trained on."""

import logging
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from wheretolook.data.names import image_name, read_lines
from wheretolook.errors import DataError, nearest

log = logging.getLogger("wheretolook")
VALIDATION_SHARE = 5  # one image in five validates where nobody has written splits
SPELLINGS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}  # of other tools, in any case


class Splits(NamedTuple):
    """The lists of names that a folder has.

    Args:
        folder: where the lists lie.
        lists: their files by name.
        images: the names of all images that there are.
        cut: whether "train" and "val" are drawn by the images' names where neither of them is written.
        held_out: further splits that an automatic cut leaves out.
        given: splits that the data themselves write down, unless a list has their name.
    """

    folder: Path
    lists: Mapping[str, Path]
    images: Collection[str]
    cut: bool = False
    held_out: Sequence[str] = ()
    given: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def names(self, split: str) -> tuple[str, ...]:
        """The names of the images in a split, in order.

        Args:
            split: the name of a split, or the path of a text file of names.

        Raises:
            DataError: there is no such split, or it names no image, or one twice.
        """
        split = spelled_there(split, {**self.lists, **self.given})
        if split in self.given and split not in self.lists:
            return self.given[split]
        if self.cut and split in ("train", "val") and not {"train", "val"} & set(map(_plain, self._written())):
            return self._cut(split)
        if self.given and split not in self.lists and not Path(split).is_file():
            available = sorted(self._written())
            raise DataError(
                f"there is no split '{split}'{nearest(split, available)}; available: {', '.join(available)}, or a"
                " file's path"
            )
        if not self.lists and not Path(split).is_file():
            raise DataError(
                f"{self.folder} holds no split; expected lists of names there ({split}.txt), or a list's path"
            )
        return read_split(split, self.lists, self.images)

    def _written(self) -> set[str]:
        return {*self.lists, *self.given}

    def _cut(self, split: str) -> tuple[str, ...]:
        """Four in five images or the fifth, drawn by name, of those that no written split names."""
        others = {*self._written(), *self.held_out} - {"train", "val"}
        named = {name for other in others for name in self.names(other)}
        names = tuple(name for name in self.images if name not in named and _validates(name) == (split == "val"))
        if not names:
            raise DataError(
                f"split '{split}' of {self.folder.parent} is empty ({len(self.images)} images in all);"
                f" write {self.folder / split}.txt"
            )
        return names


def spelled_there(split: str, available: Collection[str]) -> str:
    """A split's name as the data have it, where they write it in capitals or in another word.

    Args:
        split: a name, or the path of a file, which stays as it is.
        available: the names that there are.

    Example:
        >>> spelled_there("val", ["Train", "Validation"]), spelled_there("val", ["Val", "val"])
        ('Validation', 'val')
        >>> spelled_there("val", ["valid", "Valid"])  # either may be meant
        'val'
    """
    fitting = [name for name in available if _plain(name) == _plain(split)]
    return fitting[0] if split not in available and len(fitting) == 1 else split


def _plain(split: str) -> str:
    return SPELLINGS.get(split.casefold(), split.casefold())


def read_split(split: str, lists: Mapping[str, Path], images: Collection[str] = ()) -> tuple[str, ...]:
    """The names that a list holds.

    Args:
        split: the name of a split, or the path of a text file of names.
        lists: the files of the splits that the data set has.
        images: the names of the images that there are, which the file may write with their suffixes.

    Raises:
        DataError: there is no such split, or it names no image, or one twice.
    """
    path = lists.get(spelled_there(split, lists), Path(split))
    if not path.is_file():
        available = ", ".join(sorted(lists)) or "none"
        raise DataError(f"there is no split '{split}'{nearest(split, lists)}; available: {available}, or a file's path")
    names = tuple(image_name(line, images) for line in read_lines(path, "split"))
    if not names:
        raise DataError(f"split '{split}' ({path}) names no image")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"split '{split}' ({path}) names '{twice}' twice; each image has one line")
    return names


def trained_on(names: tuple[str, ...], split: str, splits: Splits, measured: Sequence[str]) -> tuple[str, ...]:
    """The images of a training split without those that validate or test; says how many are taken out.

    Args:
        names: the images of the training split.
        split: what it is called.
        splits: where the others are found.
        measured: the splits that validate or test, names or paths of files.

    Raises:
        DataError: no image is left.
    """
    kept = names
    for other in measured:
        taken = set(splits.names(other))
        left = tuple(name for name in kept if name not in taken)
        if not left:
            raise nothing_left(split, other)
        if len(left) < len(kept):
            first = next(name for name in kept if name in taken)
            log.warning(
                "%d of the %d images to train on are left out (first %s): '%s' validates or tests on them",
                *(len(kept) - len(left), len(names), first, other),
            )
        kept = left
    return kept


def nothing_left(split: str, other: str) -> DataError:
    """What to say where everything that is to be trained on validates or tests."""
    return DataError(
        f"nothing of the training split '{split}' is left: all its images are in '{other}', which validates or tests;"
        " what is measured must not be trained on, so give other images to one of them (data.split, data.val_split)"
    )


def _validates(name: str) -> bool:
    return int.from_bytes(sha256(name.encode()).digest()[:4]) % VALIDATION_SHARE == 0
