"""The names of the classes: the list of them, and the cells of tables that write some of them."""

import re
from collections.abc import Sequence
from pathlib import Path

from wheretolook.data.names import normal, read_lines, say_once
from wheretolook.errors import DataError, nearest
from wheretolook.records import VOID

LISTS = ("classes.txt", "class_names.txt")  # ours, and the one that LabelMe writes
# what other tools call theirs; some hold more than names, so none is read without its user's word
LISTS_OF_OTHERS = ("labels.txt", "labelmap.txt", "label_map.txt", "classes.names", "obj.names", "names.txt")
NO_CLASSES = ("background", "_background_", "__background__", "bg", "_bg_", "__ignore__", "_ignore_")
NUMBERED = re.compile(r"(\d+)[\s:,;.)]+(\S.*)")
BETWEEN = re.compile(r"[;|,]")
BRACKETS = re.compile(r"[\[({](.*)[\])}]")


def read_class_names(root: Path) -> tuple[str, ...] | None:
    """The foreground classes that `classes.txt`, or LabelMe's `class_names.txt`, lists, one a line.

    Numbers before the names are left out where every line has one, and so are first lines that mean background or
    what LabelMe ignores: `background`, `_background_`, `bg`, `0 background`, `__ignore__`.

    Args:
        root: folder of a data set.

    Returns:
        The names, or None where there is no such file.

    Raises:
        DataError: no name, a name twice, or more classes than a mask can tell apart.
    """
    paths = [root / name for name in LISTS if (root / name).exists()]
    if not paths:
        return None
    path, *others = paths
    names = _named(path)
    for other in others:
        if _named(other) != names:
            say_once(f"{other} is not read: {path.name} beside it lists other classes")
    if not 0 < len(names) < VOID:
        raise DataError(f"{path} lists {len(names)} classes; expected 1 to {VOID - 1}, one a line")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} lists '{twice[0]}' twice; each class has one line")
    return tuple(names)


def hint_of_lists(root: Path) -> str:
    """What to add to a message that misses a list of classes: the file that looks like one, where there is one."""
    found = next((name for name in LISTS_OF_OTHERS if (root / name).is_file()), None)
    return f" ({found} is not read: if it has a class a line, rename it to {LISTS[0]})" if found else ""


def _named(path: Path) -> list[str]:
    """The classes in a list, without numbers and what comes before the first class."""
    names = _without_numbers(read_lines(path, "list of classes"))
    while names and is_no_class(names[0]):
        del names[0]
    return names


def _without_numbers(lines: list[str]) -> list[str]:
    """The names behind numbers that count up from line to line; lines as they are where they do not."""
    matches = [match for line in lines if (match := NUMBERED.fullmatch(line))]
    numbers = [int(match[1]) for match in matches]
    if len(matches) < len(lines) or numbers[:1] not in ([0], [1]):
        return lines
    if numbers != list(range(numbers[0], numbers[0] + len(lines))):
        return lines
    return [match[2] for match in matches]


def is_no_class(line: str) -> bool:
    """Whether a first line of a list of classes means what is of no class: background, or what LabelMe ignores.

    Example:
        >>> is_no_class("0 background"), is_no_class("cat")
        (True, False)
    """
    return re.sub(r"^0[\s:,;.)]+", "", line).lower() in NO_CLASSES


def written_classes(cell: str, known: Sequence[str] = ()) -> list[str]:
    """The classes that a cell of a table names, however it separates them.

    Args:
        cell: `cat; dog`, `cat, dog`, `cat|dog`, `['cat', 'dog']` or `cat dog`.
        known: names that may themselves have blanks or separators in them; they are taken whole.

    Example:
        >>> written_classes("['cat', 'hot dog']"), written_classes("cat dog"), written_classes("hot dog", ["hot dog"])
        (['cat', 'hot dog'], ['cat', 'dog'], ['hot dog'])
    """
    text = normal(cell).strip()
    if text in known:
        return [text]
    if bracketed := BRACKETS.fullmatch(text):
        return [name for part in BETWEEN.split(bracketed[1]) if (name := part.strip(" \t'\""))]
    whole = sorted((name for name in known if BETWEEN.search(name)), key=len, reverse=True)
    pattern = "".join(rf"{re.escape(name)}(?=\s*(?:[;|,]|$))|" for name in whole) + r"[^;|,]+"
    parts = [part.strip() for part in re.findall(rf"\s*({pattern})", text)]
    if BETWEEN.search(text):
        return [part for part in parts if part]
    return text.split()


def separates(cell: str) -> bool:
    """Whether a cell has brackets or separators, so that the blanks in it are part of names.

    Args:
        cell: what `written_classes` reads.
    """
    return bool(BETWEEN.search(cell) or BRACKETS.fullmatch(cell.strip()))


def class_index(name: str, class_names: tuple[str, ...], where: str) -> int:
    """The number of a class, counted from 0.

    Args:
        name: the class.
        class_names: all of them.
        where: what names it, for the message.

    Raises:
        DataError: there is no such class.
    """
    if name not in class_names:
        raise DataError(f"{where}: unknown class '{name}'{nearest(name, class_names)}; known: {', '.join(class_names)}")
    return class_names.index(name)
