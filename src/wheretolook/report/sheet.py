"""A contact sheet: small pictures in rows, each with a few lines of text below it."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wheretolook.report.paint import Picture
from wheretolook.report.style import BODY, INK, MUTED, SMALL, TITLE, axes_at, new_figure, save, write_at

GAP, MARGIN = 0.1, 0.3  # inches
TOP = 0.75
LINE = 0.12  # inches of a line below a picture
NAMES_A_LINE = 6
LETTERS = 30
HASH = re.compile(
    r"(?:_[a-z]{3,4}\.rf)?[._-]([0-9a-f]{4})[0-9a-f]{12,}(\.[a-z]{3,4})?$"
)  # that tools put behind a name


class SheetCell(NamedTuple):
    """One picture of a sheet, and the lines below it."""

    pixels: Picture
    lines: Sequence[str]


def picture_sheet(
    cells: Sequence[SheetCell],
    path: Path,
    *,
    title: str,
    about: str,
    legend: Sequence[tuple[str, str]] = (),
    columns: int = 6,
    side: float = 1.5,
) -> None:
    """Draw pictures in rows.

    Args:
        cells: from the top left on.
        path: the PNG.
        title: of the sheet.
        about: how they were chosen, in words.
        legend: names and their colours.
        columns: pictures a row.
        side: inches of a picture's longer side.

    Raises:
        DataError: `path` cannot be written.
    """
    rows = math.ceil(len(cells) / columns)
    row = side + LINE * max(len(cell.lines) for cell in cells) + 0.18
    named = math.ceil(len(legend) / NAMES_A_LINE)
    figure = new_figure(2 * MARGIN + columns * (side + GAP) - GAP, TOP + rows * row + 0.2 * named + MARGIN)
    write_at(figure, MARGIN, 0.36, title, size=TITLE, weight="bold")
    write_at(figure, MARGIN, 0.54, about, size=BODY, colour=MUTED)
    for place, cell in enumerate(cells):
        left, top = MARGIN + place % columns * (side + GAP), TOP + place // columns * row
        tall, wide = (side * length / max(cell.pixels.shape[:2]) for length in cell.pixels.shape[:2])
        axes = axes_at(figure, left + (side - wide) / 2, top + (side - tall) / 2, wide, tall)
        axes.imshow(cell.pixels, aspect="auto")
        axes.set_axis_off()
        for line, text in enumerate(cell.lines):
            below = top + side + LINE * (line + 1)
            write_at(figure, left + side / 2, below, text, size=SMALL - 1, colour=MUTED, ha="center")
    apart = (columns * (side + GAP)) / NAMES_A_LINE
    for place, (name, colour) in enumerate(legend):
        left = MARGIN + place % NAMES_A_LINE * apart
        top = TOP + rows * row + 0.1 + 0.2 * (place // NAMES_A_LINE)
        write_at(figure, left, top, "\N{BLACK SQUARE}", size=BODY, colour=colour)
        write_at(figure, left + 0.14, top, end_of(name), size=SMALL, colour=INK)
    save(figure, path)


def end_of(text: str, letters: int = LETTERS) -> str:
    """The end of a long text, which tells most; of a hash behind a name its first letters are enough.

    Roboflow calls an image cat_jpg.rf.0123456789abcdef0123456789abcdef: by their ends all would look alike.

    Example:
        >>> end_of("holiday/2024/boat.jpg", 9)
        '…boat.jpg'
        >>> end_of("train/cat_0017_jpg.rf.0123456789abcdef0123456789abcdef", 16)
        '…n/cat_0017…0123'
    """
    if len(text) > letters:
        text = HASH.sub("\N{HORIZONTAL ELLIPSIS}\\1\\2", text)
    return text if len(text) <= letters else "\N{HORIZONTAL ELLIPSIS}" + text[1 - letters :]
