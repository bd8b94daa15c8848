"""Reading index masks: what they hold is checked when they are read, and what is wrong is said in one line."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, Integer
from PIL import Image
from torch import Tensor

from wheretolook.errors import DataError
from wheretolook.images import opened, oriented_size, resized
from wheretolook.records import VOID

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
LOSSLESS = ("PNG", "BMP", "TIFF")
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
INDEX_MODES = ("P", "L", "1", "I", "I;16")
Palette = tuple[tuple[int, int, int], ...]  # the colour of each value
Values = Integer[np.ndarray, "_ _"]  # at the full size


def read_values(path: Path, colours: Palette | None = None) -> tuple[Values, Palette | None]:
    """The values of a mask as they are stored, and the colours that its file shows them in, where it has any.

    Args:
        path: a palette or grayscale PNG, BMP or TIFF, or one in colours where these are known.
        colours: of background and each class; then VOC's colour of void means void.

    Raises:
        DataError: the file is missing, broken or compressed with loss, or has colours that are not known.
    """
    with opened(path, "mask") as image:
        if image.format not in LOSSLESS or image.info.get("compression") in LOSSY_TIFF:
            compressed = "compressed with loss" if image.format in LOSSLESS else f"a {image.format} file"
            raise DataError(
                f"mask {path} is {compressed}; expected a PNG, BMP or TIFF, which keeps every value as it is"
            )
        if colours is not None and image.mode in ("RGB", "RGBA"):
            return _values_of_colours(np.array(image.convert("RGB"), dtype=np.uint32), colours, path), None
        if image.mode not in INDEX_MODES:
            raise DataError(
                f"mask {path} has colours (mode {image.mode}); expected a palette or grayscale PNG whose values are"
                " class indices: convert its colours to indices"
            )
        values = np.array(image, dtype=np.uint8 if image.mode == "1" else None)
        levels = image.getpalette() if image.mode == "P" else None
    return values, None if levels is None else tuple(zip(*[iter(levels)] * 3, strict=True))


def _values_of_colours(pixels: Integer[np.ndarray, "_ _ 3"], colours: Palette, path: Path) -> Values:
    """The values whose colours the pixels have."""
    known = {voc_palette()[VOID]: VOID} | {colour: value for value, colour in reversed([*enumerate(colours)])}
    found, places = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
    levels = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in found]
    if unknown := [colour for colour in levels if colour not in known]:
        raise DataError(
            f"mask {path} has the colour {unknown[0]}, which is neither background's nor a class's; save it without"
            " smoothing, or add the class"
        )
    values: Values = np.array([known[colour] for colour in levels], np.uint8)[places].reshape(pixels.shape[:2])
    return values


def upright_values(values: Values, path: Path, of: Path) -> Values:
    """Turn a mask as its image is turned, where its size says that it was drawn on the pixels as they are stored.

    Args:
        values: the mask.
        path: where it comes from, for messages.
        of: the image that it belongs to.

    Raises:
        DataError: it has neither the size of the upright image nor that of the stored one.
    """
    size, orientation = oriented_size(of)
    if values.shape == size:
        return values
    if orientation in _TURNS and values.shape == size[::-1]:
        turned: Values = _TURNS[orientation](values)
        return turned
    height, width = values.shape
    raise DataError(f"mask {path} is {width}x{height} but its image {of} is {size[1]}x{size[0]}; make them equal")


# What stands each of these stored orientations upright. The others keep the size, so that no mask says what it fits.
_TURNS = {
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: lambda stored: np.rot90(stored),
}


def require_values(found: Sequence[int], path: Path, classes: int) -> None:
    """Make sure that a mask has no value that belongs to no class.

    Args:
        found: the values that it has.
        path: where it comes from, for messages.
        classes: how many foreground classes there are.

    Raises:
        DataError: it has.
    """
    outside = [value for value in found if not (0 <= value <= classes or value == VOID)]
    if outside:
        raise DataError(
            f"mask {path} has the value {outside[0]}, but there are {classes} classes:"
            f" expected 0 to {classes}, or {VOID} for void; mend the mask or add the class"
        )


def values_in(values: Values) -> list[int]:
    """Which values a mask has, in order.

    Args:
        values: the mask.
    """
    if values.dtype == np.uint8:  # counting is ten times faster than sorting
        return [value for value, count in enumerate(Image.fromarray(values).histogram()) if count]
    return [int(value) for value in np.unique(values)]


def require_palette(found: Sequence[int], palette: Palette, usual: Palette, path: Path, names: Sequence[str]) -> None:
    """Make sure that an editor has not given the values of a mask other numbers.

    Args:
        found: the values that the mask has.
        palette: its colours.
        usual: the colours that its data set's masks have.
        path: where it comes from, for messages.
        names: the foreground classes.

    Raises:
        DataError: a value has the colour that another one of background, classes and void usually has.
    """
    meant = {usual[value]: value for value in (VOID, *range(len(names), -1, -1)) if value < len(usual)}
    for value in found:
        if value >= len(palette) or value >= len(usual) or palette[value] == usual[value]:
            continue
        if (other := meant.get(palette[value], value)) != value:
            what = {0: "background", VOID: "void"}.get(other) or names[other - 1]
            raise DataError(
                f"mask {path} has the value {value} in the colour {palette[value]}, which is the colour of {other}"
                f" ({what}) in other masks; an editor has renumbered its palette: save it with the palette kept"
            )


def usual_palette(palettes: Iterable[Palette]) -> Palette | None:
    """The palette that most masks have; None where none has any.

    Args:
        palettes: of some masks.
    """
    most = Counter(palettes).most_common(1)
    return most[0][0] if most else None


def voc_palette() -> Palette:
    """The colours that PASCAL VOC's masks have: the bits of a value, spread over red, green and blue.

    Source: `VOClabelcolormap.m` of the VOC development kit.

    Example:
        >>> voc_palette()[1], voc_palette()[15], voc_palette()[255]
        ((128, 0, 0), (192, 128, 128), (224, 224, 192))
    """
    return tuple(
        (_spread(value), _spread(value >> 1), _spread(value >> 2))  # every third bit from there
        for value in range(VOID + 1)
    )


def _spread(value: int) -> int:
    return sum((value >> 3 * place & 1) << 7 - place for place in range(3))


def index_mask(values: Values, resize: int | None) -> Int[Tensor, "height width"]:
    """A mask as it is served.

    Args:
        values: 0 background, 1 and more for classes, VOID.
        resize: length of the longer side in pixels (nearest neighbour); None keeps the size.
    """
    image = Image.fromarray(values.astype(np.uint8))
    height, width = resized((image.height, image.width), resize)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image, dtype=np.int64))


def mask_labels(mask: Int[Tensor, "height width"], classes: int) -> Bool[Tensor, " classes"]:
    """Which classes have a pixel in a mask.

    Args:
        mask: 0 background, 1 to `classes`, VOID.
        classes: how many foreground classes there are.

    Example:
        >>> mask_labels(torch.tensor([[0, 2, VOID]]), 3)
        tensor([False,  True, False])
    """
    return torch.bincount(mask.flatten(), minlength=VOID + 1)[1 : classes + 1] > 0
