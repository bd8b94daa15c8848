"""The boxes of VOC's xml files, and the colours of `labelmap.txt`, which CVAT writes beside masks in VOC layout."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from wheretolook.data.classes import NO_CLASSES, class_index
from wheretolook.data.drawings import Shape
from wheretolook.data.exports import box_of, entry, finite
from wheretolook.data.masks import Palette
from wheretolook.data.names import normal, read_lines
from wheretolook.data.stored import Entry
from wheretolook.errors import DataError, reason

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def has_colours(path: Path) -> bool:
    """Whether a file is a map of labels to colours: some tools give this name to a list of classes."""
    return path.is_file() and any(":" in line for line in read_lines(path, "map of labels"))


def read_labelmap(path: Path) -> tuple[tuple[str, ...], Palette]:
    """The classes of `labelmap.txt`, and the colours of background and of each class.

    Args:
        path: lines such as `cat:128,0,0::`, below one that starts with `#`.

    Raises:
        DataError: a line that is none, no class, or a colour twice.
    """
    background, names, colours = (0, 0, 0), [], []
    for line in read_lines(path, "map of labels"):
        if line.startswith("#"):
            continue
        name, *rest = line.split(":")
        try:
            red, green, blue = (int(level) for level in rest[0].split(","))
        except (ValueError, IndexError):
            red = green = blue = -1
        if not all(0 <= level < 256 for level in (red, green, blue)):
            raise DataError(f"{path}: expected lines like cat:128,0,0::, got '{line[:60]}'")
        if name.strip().lower() in NO_CLASSES:
            background = (red, green, blue)
            continue
        names.append(name.strip())
        colours.append((red, green, blue))
    if len({background, *colours}) <= len(colours) or not names:
        raise DataError(f"{path}: expected a colour of its own for background and each class, got {len(names)} classes")
    return tuple(names), (background, *colours)


def class_names_of(files: Mapping[str, Path]) -> set[str]:
    """The classes of all objects in xml files."""
    return {name for path in files.values() for name, _ in _objects(path)}


def boxed_entry(name: str, image: Path, path: Path, class_names: tuple[str, ...]) -> Entry:
    """An image with the boxes of its xml file, whose corners are taken as they are written.

    Args:
        name: the image's name.
        image: its file.
        path: the xml file.
        class_names: the foreground classes.

    Raises:
        DataError: a file that is broken, or an object of no class.
    """
    shapes = []
    for label, corners in _objects(path):
        shapes.append(Shape(class_index(label, class_names, str(path)), box=box_of(corners, str(path))))
    found = entry(name, image, shapes, str(path), _size(path))
    return found if shapes else found._replace(drawing=None)


def _objects(path: Path) -> list[tuple[str, list[float]]]:
    """Class and left, top, right and bottom of each object."""
    found = []
    for drawn in _root(path).iter("object"):
        label, box = normal((drawn.findtext("name") or "").strip()), drawn.find("bndbox")
        if box is None:
            raise DataError(f"{path}: expected a bndbox of each object, got none of '{label}'")
        found.append((label, finite([box.findtext(corner) for corner in CORNERS], f"{path}: '{label}'", 4)))
    return found


def _size(path: Path) -> tuple[int, int] | None:
    """Height and width as the file has them; None where it does not, or has 0, as some tools write."""
    written = (_root(path).findtext(f"size/{side}") or "0" for side in ("height", "width"))
    try:
        height, width = (int(float(side)) for side in written)
    except (ValueError, OverflowError):
        return None
    return (height, width) if min(height, width) > 0 else None


def _root(path: Path) -> ElementTree.Element:
    try:
        written = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in written or "<!ENTITY" in written:  # which can blow up, and which no tool writes
            raise DataError(f"{path} declares entities; export it anew, without them")
        return ElementTree.fromstring(written)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no XML, or a broken one: export it anew") from error
