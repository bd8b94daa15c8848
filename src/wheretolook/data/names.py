"""Names of images, files and classes: found and compared in one form, whoever wrote them."""

import logging
import unicodedata
from collections.abc import Collection
from pathlib import Path

from wheretolook.errors import DataError, reason
from wheretolook.files import visible_below
from wheretolook.images import IMAGE_SUFFIXES

log = logging.getLogger("wheretolook")
LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")  # and all that start with a dot: ._a.png, .DS_Store
_said: set[str] = set()


def say_once(message: str, about: str | None = None) -> None:
    """Warn, unless this process has said so before: splits of one folder are opened several times.

    Args:
        message: what to say.
        about: what makes two messages the same; None for their words.
    """
    if (about or message) not in _said:
        _said.add(about or message)
        log.warning("%s", message)


def normal(text: str) -> str:
    r"""Text in one Unicode form: macOS takes letters and accents apart, most editors put them together.

    Example:
        >>> normal("cafe\u0301") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", text)


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file in one Unicode form, without blank ones and outer blanks.

    Args:
        path: a text file in UTF-8.
        what: what the file is, for messages.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = normal(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read the {what} {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the {what} {path} is no text in UTF-8; save it as such") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def files_by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files of a folder by their name without suffix, in one Unicode form; says which files it does not read.

    Args:
        folder: where they lie; a folder that is not there has no files.
        suffixes: which files count, in lower case, with the dot.

    Raises:
        DataError: two files have the same name.
    """
    found: dict[str, Path] = {}
    others: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = normal(path.stem)
        if path.name.startswith(".") or path.name.lower() in LEFT_BY_SYSTEMS:
            continue
        if path.suffix.lower() not in suffixes:
            others += [path.name] if path.is_file() else []
        elif name in found:
            raise DataError(f"{found[name]} and {path.name} have the same name; rename one of them")
        else:
            found[name] = path
    if others:
        count = "1 file is" if len(others) == 1 else f"{len(others)} files are"
        say_once(f"{folder}: {count} not read, first {others[0]}; expected {', '.join(suffixes)}")
    return found


def files_below(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files in a folder and all folders in it, by their path from it without suffix, in one Unicode form.

    Args:
        folder: where they lie; a folder that is not there has no files.
        suffixes: which files count, in lower case, with the dot.
    """
    return {
        normal(path.relative_to(folder).with_suffix("").as_posix()): path for path in visible_below(folder, suffixes)
    }


def image_name(written: str, images: Collection[str]) -> str:
    """The name of an image that a list or table may write with its suffix and folder.

    Args:
        written: what the list has.
        images: the names of the images that there are.

    Example:
        >>> image_name("images/a.b.JPG", ["a.b"]), image_name("c.jpg", ["c.jpg"]), image_name("train/d/1", ["d/1"])
        ('a.b', 'c.jpg', 'd/1')
    """
    if written in images:
        return written
    path = Path(written)
    parts = (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).parts
    endings = ["/".join(parts[start:]) for start in range(len(parts))]
    return next((name for name in endings if name in images), endings[-1] if endings else written)


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
