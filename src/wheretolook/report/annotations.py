"""A contact sheet of images with what their annotation says drawn in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from wheretolook.records import VOID, Sample, shows_object
from wheretolook.report.paint import Picture, grey, paled, picture
from wheretolook.report.sheet import SheetCell, end_of, picture_sheet
from wheretolook.report.style import class_colour

CLASSES_NAMED = 24
OPACITY = 0.6
CONTRAST = 0.6  # of the grey image under the annotation
MOST = 0.6  # of an image: a plane that is 1 on more of it, and of no object, says where not to look, and one that says
# nothing of more of it has marks in place of outlines


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
    present = sorted({index for _, sample in shown for index in sample.labels.nonzero().flatten().tolist()})
    legend = [(class_names[index], class_colour(index)) for index in present[:CLASSES_NAMED]]
    cells = []
    for split, sample in shown:
        names = ", ".join(class_names[index] for index in sample.labels.nonzero().flatten().tolist()) or "no class"
        cells.append(SheetCell(annotated_picture(sample), (end_of(sample.name), end_of(f"{split}: {names}"))))
    picture_sheet(cells, path, title="Images and their annotation", about=about, legend=legend)


def annotated_picture(sample: Sample) -> Picture:
    """The image with its planes drawn in: grey, so that a lemon is seen to be annotated, unless nothing is drawn.

    Args:
        sample: the image; an object is tinted in its class's colour, and black is where not to look, or where a mark
            says that no class is.
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
    told = sample.targets[shows_object(sample.targets)].numpy()
    if (told == VOID).mean() > MOST:  # a few marks: what is not marked is no void to be shown
        result[(told == 0).any(axis=0) & ~(told == 1).any(axis=0)] = 0.0
    elif sample.segmented:
        result[sample.mask.numpy() == VOID] = 1.0
    return result
