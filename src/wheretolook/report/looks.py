"""One image and where a network looks in it, a tile a class."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from wheretolook.report.overlay import overlay
from wheretolook.report.sheet import end_of
from wheretolook.report.style import BODY, DPI, HEADING, INK, MUTED, SMALL, TITLE, axes_at, new_figure, save, write_at

SIDE = 2.6  # inches of a tile's longer side
GAP, MARGIN = 0.12, 0.3
TOP, CAPTION = 0.78, 0.5
A_ROW = 4
LETTERS = 32


class Tile(NamedTuple):
    """One class: what it is called, how sure the network is, and its map, of any size in the image's proportions."""

    name: str
    probability: float
    attention: np.ndarray


def looks_sheet(
    photograph: Image.Image, tiles: Sequence[Tile], path: Path, *, title: str, about: str, opacity: float = 0.7
) -> None:
    """Draw an image, and over it the attention of each class on that map's own scale.

    Args:
        photograph: the image.
        tiles: its classes.
        path: the PNG.
        title: what the image is called.
        about: of what the maps are, in words.
        opacity: of the colour where attention is highest.

    Raises:
        DataError: `path` cannot be written.
    """
    small = _at_tile(photograph)
    high, wide = small.height / DPI, small.width / DPI
    pictures = [small, *(overlay(small, tile.attention, opacity=opacity) for tile in tiles)]
    captions = [("image", ""), *((tile.name, caption(tile)) for tile in tiles)]
    columns = min(A_ROW, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    across = max(columns * (wide + GAP) - GAP, 4.6)
    figure = new_figure(2 * MARGIN + across, TOP + rows * (high + CAPTION) + 0.12)
    write_at(figure, MARGIN, 0.36, end_of(title, 2 * LETTERS), size=TITLE, weight="bold")
    write_at(figure, MARGIN, 0.56, about, size=SMALL, colour=MUTED)
    for place, (picture, (name, share)) in enumerate(zip(pictures, captions, strict=True)):
        left, top = MARGIN + place % columns * (wide + GAP), TOP + place // columns * (high + CAPTION)
        axes = axes_at(figure, left, top, wide, high)
        axes.imshow(np.asarray(picture), aspect="auto")
        axes.set_axis_off()
        colour, weight = (INK, "bold") if place else (MUTED, "normal")
        write_at(figure, left, top + high + 0.17, _start(name), size=HEADING, colour=colour, weight=weight)
        write_at(figure, left, top + high + 0.32, share, size=BODY, colour=MUTED)
    save(figure, path)


def caption(tile: Tile) -> str:
    """How sure the network is, and whether it looks anywhere.

    Example:
        >>> caption(Tile("cat", 0.714, np.ones((1, 1)))), caption(Tile("dog", 0.002, np.zeros((1, 1))))
        ('71 %', '0.2 %, empty map')
    """
    return percent(tile.probability) + ("" if tile.attention.any() else ", empty map")


def percent(share: float) -> str:
    """A share in percent, with a decimal below one.

    Example:
        >>> percent(0.125), percent(0.0094), percent(1e-9)
        ('12 %', '0.9 %', '< 0.1 %')
    """
    if share >= 0.00995:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def _at_tile(photograph: Image.Image) -> Image.Image:
    factor = SIDE * DPI / max(photograph.size)
    width, height = (max(1, round(side * factor)) for side in photograph.size)
    return photograph.resize((width, height), Image.Resampling.LANCZOS)


def _start(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
