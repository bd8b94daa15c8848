"""Drawings kept as annotations, in the layout of plain folders: images, masks, zones to avoid, labels, classes."""

import csv
import hashlib
import io
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wheretolook.app.views import Picture, Zone
from wheretolook.data.classes import read_class_names
from wheretolook.data.masks import Palette, read_values, voc_palette
from wheretolook.data.names import files_by_name, normal
from wheretolook.data.tables import rows
from wheretolook.errors import DataError
from wheretolook.files import replacing, write_text
from wheretolook.images import IMAGE_SUFFIXES, opened
from wheretolook.records import VOID

IMAGES, MASKS, AVOID, LABELS, CLASSES = "images", "masks", "avoid", "labels.csv", "classes.txt"
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}
UNSAFE = re.compile(r"[^\w.-]+")  # in a file's name
LONGEST_NAME = 80

_writing = threading.Lock()  # two people may draw at once, and tables are read, then written


def save_drawing(
    folder: Path, picture: Picture, class_names: Sequence[str], class_index: int, look_here: Zone, avoid: Zone
) -> list[Path]:
    """Keep what somebody has drawn on an image. Drawn again, a class takes the place of what was drawn of it before.

    Args:
        folder: a plain folder, or one to make; it may be the data set's own.
        picture: the image; it is copied into `images` unless it lies there.
        class_names: of the network, without background.
        class_index: whose drawing it is.
        look_here: where the network should look for the class; of any size.
        avoid: where it must not look, whatever the class; of any size.

    Returns:
        The files that were written.

    Raises:
        DataError: nothing is drawn, the folder's classes are others, or it cannot be written.
    """
    if not (look_here.any() or avoid.any()):
        raise DataError("nothing is drawn yet: choose a brush and paint where to look, or where not")
    with _writing:
        _require_classes(folder, class_names)
        image = _kept_image(folder / IMAGES, picture)
        written = [] if image == picture.file else [image]
        mask, zone = folder / MASKS / f"{image.stem}.png", folder / AVOID / f"{image.stem}.png"
        if look_here.any():
            _write_mask(mask, _merged(mask, _full(look_here, picture.size), class_index), folder / MASKS)
            written.append(mask)
        if avoid.any():
            _write_png(zone, Image.fromarray(_full(avoid, picture.size).astype(np.uint8) * 255))
            written.append(zone)
        if not mask.is_file() and _label(folder / LABELS, image.stem, class_names[class_index]):
            written.append(folder / LABELS)
    return written


def drawn_names(folder: Path) -> set[str]:
    """The images of a folder that have a drawing.

    Args:
        folder: where `save_drawing` puts them.
    """
    return {path.stem for part in (MASKS, AVOID) for path in (folder / part).glob("*.png") if path.name[0] != "."}


def flat_name(name: str) -> str:
    """A name that a file of a plain folder can have.

    Example:
        >>> flat_name("cat/1 (2)"), flat_name("../x")
        ('cat_1_2_', 'x')
    """
    return UNSAFE.sub("_", normal(name))[-LONGEST_NAME:].lstrip("._") or "image"


def _require_classes(folder: Path, class_names: Sequence[str]) -> None:
    """The folder's classes are the network's; where none are written down, they are now."""
    if len(class_names) >= VOID:
        raise DataError(
            f"a mask tells at most {VOID - 1} classes apart, and this network has {len(class_names)}: nothing is kept; "
            "the figures above hold all the same"
        )
    listed = read_class_names(folder)
    if listed is None:
        write_text(folder / CLASSES, "".join(f"{name}\n" for name in class_names))
    elif listed != tuple(class_names):
        raise DataError(
            f"{folder / CLASSES}: expected the {len(class_names)} classes of the network, {', '.join(class_names[:5])} "
            f"..., got {', '.join(listed[:5])} ...; choose another folder"
        )


def _kept_image(folder: Path, picture: Picture) -> Path:
    """The image among the folder's own: there already, or copied as it is."""
    source = picture.file
    if source is not None and source.parent.resolve() == folder.resolve():
        return source
    there = files_by_name(folder, IMAGE_SUFFIXES)
    name = flat_name(picture.name)
    if source is None:
        path = there.get(name, folder / f"{name}.png")
        if name not in there:
            _write_png(path, Image.fromarray(picture.pixels))
        return path
    if not source.is_file():
        raise DataError(f"the upload {picture.name} is gone, since it was long ago; drop the image again")
    digest = _digest(source)
    for candidate in (name, f"{name}_{digest[:8]}"):  # another image may have the name
        if candidate in there and _digest(there[candidate]) == digest:
            return there[candidate]
        if candidate not in there:
            with opened(source, "image") as image:
                path = folder / f"{candidate}{SUFFIXES.get(str(image.format), '.png')}"
            with replacing(path) as temporary:
                shutil.copyfile(source, temporary)
            return path
    raise DataError(f"{folder} has another image {name}; rename yours")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _full(zone: Zone, size: tuple[int, int]) -> Zone:
    """A zone at the size of the image's file."""
    if zone.shape == size:
        return zone
    return np.array(Image.fromarray(zone).resize(size[::-1], Image.Resampling.NEAREST))


def _merged(path: Path, look_here: Zone, class_index: int) -> np.ndarray:
    """The values of the mask with the class where it is drawn and nowhere else; other classes keep theirs."""
    values = np.zeros(look_here.shape, np.uint8)
    if path.is_file():
        before = read_values(path)[0]
        if before.shape == values.shape:  # else it is of an image that was there before
            values = before.astype(np.uint8)
    values[values == 1 + class_index] = 0
    values[look_here] = 1 + class_index
    return values


def _write_mask(path: Path, values: np.ndarray, folder: Path) -> None:
    """A mask in the colours that the folder's others have."""
    image = Image.fromarray(values)
    others = (file for file in sorted(folder.glob("*.png")) if file.name[0] != ".")
    palette: Palette | None = next((read_values(file)[1] for file in others), voc_palette())
    if palette is not None:
        image.putpalette([level for colour in palette for level in colour])
    _write_png(path, image)


def _write_png(path: Path, image: Image.Image) -> None:
    with replacing(path) as temporary:
        image.save(temporary)


def _label(path: Path, name: str, class_name: str) -> bool:
    """Make sure that a table of labels says that an image shows a class; whether it had to be written."""
    found = list(rows(path, ("image", "classes"))) if path.is_file() else []
    if any(row["image"] == name and row["classes"] == class_name for _, row in found):
        return False
    text = path.read_text(encoding="utf-8-sig") if found else "image,classes\n"
    header = next(csv.reader([text.splitlines()[0]], skipinitialspace=True))
    line = io.StringIO()
    cells = {"image": name, "classes": class_name}
    csv.writer(line, lineterminator="\n").writerow([cells.get(column, "") for column in header])
    write_text(path, text + ("" if text.endswith("\n") else "\n") + line.getvalue())
    return True
