"""A contact sheet of images with what their annotation says drawn in."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from wheretolook.records import VOID, Sample
from wheretolook.report.paint import Picture, grey, paled, picture
from wheretolook.report.style import (
    BODY,
    INK,
    MUTED,
    SMALL,
    TITLE,
    axes_at,
    class_colour,
    new_figure,
    save,
    write_at,
)

COLUMNS = 6
SIDE = 1.5  # inches of a panel's longer side
GAP, MARGIN = 0.1, 0.3
TOP = 0.75
NAMES_A_LINE = 6
CLASSES_NAMED = 24
OPACITY = 0.6
CONTRAST = 0.6  # of the grey image under the annotation
MOST = 0.6  # of an image: a plane that is 1 on more of it, and of no object, says where not to look
LETTERS = 30


def annotation_sheet(
    shown: Sequence[tuple[str, Sample]], class_names: Sequence[str], path: Path, *, about: str
) -> None:
    """Draw images with their annotation: objects in the colours of their classes, zones not to look at in black.

    Args:
        shown: each image with the name of its split.
        class_names: of all classes, without background.
        path: the PNG.
        about: how they were chosen, in words.

    Raises:
        DataError: `path` cannot be written.
    """
    rows = math.ceil(len(shown) / COLUMNS)
    present = sorted({index for _, sample in shown for index in sample.labels.nonzero().flatten().tolist()})
    legend = [(class_names[index], class_colour(index)) for index in present[:CLASSES_NAMED]]
    lines = math.ceil(len(legend) / NAMES_A_LINE)
    width = 2 * MARGIN + COLUMNS * (SIDE + GAP) - GAP
    row = SIDE + 0.42
    figure = new_figure(width, TOP + rows * row + 0.2 * lines + MARGIN)
    write_at(figure, MARGIN, 0.36, "Images and their annotation", size=TITLE, weight="bold")
    write_at(figure, MARGIN, 0.54, about, size=BODY, colour=MUTED)
    for place, (split, sample) in enumerate(shown):
        left, top = MARGIN + place % COLUMNS * (SIDE + GAP), TOP + place // COLUMNS * row
        pixels = annotated_picture(sample)
        tall, wide = (SIDE * side / max(pixels.shape[:2]) for side in pixels.shape[:2])
        axes = axes_at(figure, left + (SIDE - wide) / 2, top + (SIDE - tall) / 2, wide, tall)
        axes.imshow(pixels, aspect="auto")
        axes.set_axis_off()
        names = ", ".join(class_names[index] for index in sample.labels.nonzero().flatten().tolist()) or "no class"
        for line, text in enumerate((sample.name, f"{split}: {names}")):
            below = top + SIDE + 0.12 + 0.12 * line
            write_at(figure, left + SIDE / 2, below, _end(text), size=SMALL - 1, colour=MUTED, ha="center")
    for place, (name, colour) in enumerate(legend):
        left = MARGIN + place % NAMES_A_LINE * (SIDE + GAP)
        top = TOP + rows * row + 0.1 + 0.2 * (place // NAMES_A_LINE)
        write_at(figure, left, top, "\N{BLACK SQUARE}", size=BODY, colour=colour)
        write_at(figure, left + 0.14, top, _end(name), size=SMALL, colour=INK)
    save(figure, path)


def annotated_picture(sample: Sample) -> Picture:
    """The image with its planes drawn in: grey, so that a lemon is seen to be annotated, unless nothing is drawn.

    Args:
        sample: the image; an object is tinted in its class's colour, and black is where not to look.
    """
    if not (sample.targets == 1).any():
        return picture(sample.image)
    result = paled(grey(sample.image), CONTRAST)
    for index, plane in zip(sample.labels.nonzero().flatten().tolist(), sample.targets.numpy(), strict=True):
        inside, outside = plane == 1, plane == 0
        if inside.mean() > MOST and not (sample.mask == 1 + index).any():
            result[outside] = 0.0
        else:
            colour = np.array(to_rgb(class_colour(index)))
            result[inside] = (1 - OPACITY) * result[inside] + OPACITY * colour
    if sample.segmented:
        result[sample.mask.numpy() == VOID] = 1.0
    return result


def _end(text: str) -> str:
    """The end of a long text, which tells most."""
    return text if len(text) <= LETTERS else "\N{HORIZONTAL ELLIPSIS}" + text[1 - LETTERS :]
