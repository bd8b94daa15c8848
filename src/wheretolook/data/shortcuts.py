"""Shortcuts for a network to fall for: marks tied to the classes, with the truth of where they are.

Made after the decoys of Ross et al., arXiv:1703.03717 section 4.1 (a square of a grey that names the digit) and the
spurious backgrounds of Waterbirds, arXiv:1911.08731.
"""

import colorsys
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Int
from PIL import Image, ImageDraw, ImageFont

from wheretolook.data.textures import BACKGROUNDS, SIZE_OF_DESIGN, blend, texture
from wheretolook.options.commands import Shortcut

Picture = Float32[np.ndarray, "height width 3"]  # RGB in [0, 1]
Mask = Int[np.ndarray, "height width"]
Where = Bool[np.ndarray, "height width"]
Marked = tuple[Picture, Where]  # a picture, and which of its pixels are of the mark

SIDE = 1 / 7  # of the shorter side of an image: the decoys' 4 of 28 pixels
BORDER = 1 / 14


def drawn_class(own: int, classes: int, strength: float, random: np.random.Generator) -> int:
    """The class whose mark an image gets: its own with that probability, else one of the others, evenly.

    Args:
        own: the image's class.
        classes: how many there are, at least 2.
        strength: from 0, never its own, to 1, always.
        random: what is drawn from.
    """
    if random.random() < strength:
        return own
    return int((own + random.integers(1, classes)) % classes)


def injected(
    image: Picture,
    mask: Mask,
    shortcut: Shortcut,
    mark: int,
    classes: int,
    random: np.random.Generator,
) -> Marked:
    """An image with the mark of a class, and where that mark is.

    Args:
        image: left as it is.
        mask: 0 where there is no object; a background covers these pixels only, and a square the corner that hides
            least of the objects.
        shortcut: which kind of mark.
        mark: the class that it stands for.
        classes: how many classes there are.
        random: of the corner, and of the background's pattern.
    """
    pixels, where = MARKS[shortcut](image, mask, mark, classes, random)
    return np.where(where[:, :, None], pixels, image).astype(np.float32), where


def _patch(image: Picture, mask: Mask, mark: int, classes: int, random: np.random.Generator) -> Marked:
    """A square in a corner, from white to black by class."""
    grey = 1 - mark / max(classes - 1, 1)
    return np.full_like(image, grey), _corner(mask, SIDE, SIDE, random)


def _tag(image: Picture, mask: Mask, mark: int, classes: int, random: np.random.Generator) -> Marked:
    """A label with a letter, as hospitals and shops stick on: the letter and its colour are the class's."""
    where = _corner(mask, 2 * SIDE, 2 * SIDE, random)
    rows, columns = np.nonzero(where)
    top, left, side = rows.min(), columns.min(), int(np.ptp(rows)) + 1
    label = Image.new("RGB", (int(np.ptp(columns)) + 1, side), (255, 255, 255))
    colour = tuple(int(255 * value) for value in _hue(mark, classes, 0.6))
    font = ImageFont.load_default(max(side * 0.8, 6))
    centre = (label.width / 2, label.height / 2)
    ImageDraw.Draw(label).text(centre, chr(ord("A") + mark % 26), fill=colour, font=font, anchor="mm")
    pixels = image.copy()
    pixels[top : top + label.height, left : left + label.width] = np.asarray(label, np.float32) / 255
    return pixels, where


def _frame(image: Picture, mask: Mask, mark: int, classes: int, _: np.random.Generator) -> Marked:
    """A border in the class's colour."""
    width = max(round(BORDER * min(mask.shape)), 1)
    where = np.ones(mask.shape, dtype=bool)
    where[width:-width, width:-width] = False
    return np.broadcast_to(np.array(_hue(mark, classes, 0.9), np.float32), image.shape), where


def _background(image: Picture, mask: Mask, mark: int, classes: int, random: np.random.Generator) -> Marked:
    """A texture of the class's wherever there is no object, void pixels left alone; beyond 8 classes tinted anew."""
    surface = BACKGROUNDS[mark % len(BACKGROUNDS)]
    y, x = np.indices(mask.shape).astype(np.float32) * np.float32(SIZE_OF_DESIGN / min(mask.shape))
    first, second = (np.broadcast_to(np.array(colour, np.float32), image.shape) for colour in surface.colours)
    pixels = blend(first, second, texture(surface.texture, x, y, random))
    return np.roll(pixels, mark // len(BACKGROUNDS), axis=2), mask == 0


MARKS: dict[Shortcut, Callable[..., Marked]] = {
    "tag": _tag,
    "patch": _patch,
    "background": _background,
    "frame": _frame,
}


def _hue(mark: int, classes: int, brightness: float) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(mark / classes, 0.9, brightness)


def _corner(mask: Mask, down: float, across: float, random: np.random.Generator) -> Where:
    """The corner that hides least of the objects, drawn where several do."""
    shorter = min(mask.shape)
    height, width = max(round(down * shorter), 1), max(round(across * shorter), 1)
    corners = [
        np.s_[rows, columns]
        for rows in (np.s_[:height], np.s_[-height:])
        for columns in (np.s_[:width], np.s_[-width:])
    ]
    hidden = np.array([np.count_nonzero(mask[corner]) for corner in corners])
    where = np.zeros(mask.shape, dtype=bool)
    where[corners[random.choice(np.flatnonzero(hidden == hidden.min()))]] = True
    return where
