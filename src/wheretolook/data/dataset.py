"""What every data set is, and the small text files that say what it holds."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

from torch.utils.data import Dataset

from wheretolook.errors import DataError, nearest, reason
from wheretolook.records import VOID, Sample


class ImageDataset(Dataset[Sample], ABC):
    """Images with what is known about them, by number.

    Attributes:
        class_names: the foreground classes; mask value 1 is the first.
        names: the images' names, in order.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask that is exact to the pixel."""
        return True

    @property
    def has_annotations(self) -> bool:
        """Whether any image says where its objects are, if only by boxes."""
        return True

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image, without reading its pixels."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file, without blank ones and outer blanks.

    Args:
        path: a text file in UTF-8.
        what: what the file is, for messages.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the {what} {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the {what} {path} is no text in UTF-8; save it as such") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_class_names(root: Path) -> tuple[str, ...] | None:
    """The foreground classes that `classes.txt` lists, one a line; a first line "background" is left out.

    Args:
        root: folder of a data set.

    Returns:
        The names, or None where there is no such file.

    Raises:
        DataError: no name, a name twice, or more classes than a mask can tell apart.
    """
    path = root / "classes.txt"
    if not path.exists():
        return None
    names = read_lines(path, "list of classes")
    if names and names[0].lower() == "background":
        names = names[1:]
    if not 0 < len(names) < VOID:
        raise DataError(f"{path} lists {len(names)} classes; expected 1 to {VOID - 1}, one a line")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} lists '{twice[0]}' twice; each class has one line")
    return tuple(names)


def read_split(split: str, known: Mapping[str, Path], images: Collection[str] = ()) -> tuple[str, ...]:
    """The names of the images in a split.

    Args:
        split: the name of a split, or the path of a text file of names.
        known: the files of the splits that the data set has.
        images: the names of the images that there are, which the file may write with their suffixes.

    Raises:
        DataError: there is no such split, or it names no image, or one twice.
    """
    path = known.get(split, Path(split))
    if not path.is_file():
        available = ", ".join(sorted(known)) or "none"
        raise DataError(f"there is no split '{split}'{nearest(split, known)}; available: {available}, or a file's path")
    lines = read_lines(path, "split")
    names = tuple(Path(line).stem if Path(line).stem in images and line not in images else line for line in lines)
    if not names:
        raise DataError(f"split '{split}' ({path}) names no image")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"split '{split}' ({path}) names '{twice}' twice; each image has one line")
    return names


def files_by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files of a folder by their name without suffix.

    Args:
        folder: where they lie; a folder that is not there has no files.
        suffixes: which files count, in lower case, with the dot.

    Raises:
        DataError: two files have the same name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() in suffixes:
            if path.stem in found:
                raise DataError(f"{found[path.stem]} and {path.name} have the same name; rename one of them")
            found[path.stem] = path
    return found


def require(names: Collection[str], found: Collection[str], what: str, split: str, where: Path) -> None:
    """Make sure that all files of a split are there.

    Args:
        names: the names in the split.
        found: the names of the files that are there.
        what: what the files are, for the message.
        split: the split, for the message.
        where: the folder, for the message.

    Raises:
        DataError: files are missing; names the first and says how many.
    """
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"split '{split}' names {len(names)} {what}, but {len(missing)} of them are not in {where},"
            f" first '{missing[0]}'; add them or take them out of the split"
        )
