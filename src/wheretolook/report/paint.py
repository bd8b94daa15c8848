"""Colours of pixels: masks in the colours of their classes, attention over the greyed image. Arrays in, arrays out."""

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb
from torch import Tensor

from wheretolook.report.style import ATTENTION_COLOURS, VOID_COLOUR, class_colour

Picture = Float[np.ndarray, "height width 3"]  # RGB in [0, 1]
Values = Float[np.ndarray, "height width"]

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601: how bright red, green and blue look
MASK_OPACITY = 0.85
BEHIND_MASKS = 0.35  # contrast of the grey image that is left behind masks
BEHIND_ATTENTION = 0.7  # and behind attention, whose dark colours a black ground would swallow


def plain(values: Tensor) -> np.ndarray:
    """A tensor as an array in 64 bits, from whatever device, precision and graph."""
    return values.detach().cpu().double().numpy()


def picture(image: Float[Tensor, "3 height width"]) -> Picture:
    """An image of RGB channels in [0, 1], channels last."""
    return plain(image).clip(0, 1).transpose(1, 2, 0)


def grey(image: Float[Tensor, "3 height width"]) -> Picture:
    """The image without its colours, so that those of attention or masks are the only ones."""
    brightness: Picture = np.repeat((picture(image) @ LUMA)[..., None], 3, axis=2)
    return brightness


def paled(background: Picture, contrast: float) -> Picture:
    """The picture with so much of its contrast left, drawn towards white; contrast 1 leaves it as it is."""
    result: Picture = 1 - contrast * (1 - background)
    return result


def overlay(background: Picture, attention: Values) -> Picture:
    """Attention over a grey image: `(1 - a) * background + a * colour(a)`.

    Args:
        background: what is seen where there is no attention.
        attention: in [0, 1]; half the attention is half as opaque and of the colour map's middle colour.

    Returns:
        The background itself where attention is 0, the top of the colour map where it is 1.
    """
    colours = matplotlib.colormaps[ATTENTION_COLOURS](attention)[..., :3]
    opacity = attention[..., None]
    blended: Picture = (1 - opacity) * background + opacity * colours
    return blended


def shared_scale(before: Tensor, after: Tensor) -> tuple[Values, Values]:
    """Both maps divided by the larger of their two maxima, so that equal attention has equal colour.

    Returns:
        The two maps in [0, 1]; two all-zero maps stay so.
    """
    maps = plain(before), plain(after)
    largest = max(values.max() for values in maps) or 1.0
    return maps[0] / largest, maps[1] / largest


def painted(background: Picture, values: Tensor, void: Tensor) -> Picture:
    """A mask in the colours of its classes over a paled image.

    Args:
        background: the grey image.
        values: 0 background, 1 + class index; of the image's size.
        void: True where the mask says nothing, whatever its value.

    Returns:
        The paled image on background, its class's colour on an object, almost white stripes on void.
    """
    result = paled(background, BEHIND_MASKS)
    unknown = void.cpu().numpy()
    mask = np.where(unknown, 0, values.cpu().numpy())
    result[unknown & _stripes(mask.shape)] = to_rgb(VOID_COLOUR)
    for value in np.unique(mask[mask > 0]).tolist():
        here, colour = mask == value, np.array(to_rgb(class_colour(value - 1)))
        result[here] = (1 - MASK_OPACITY) * background[here] + MASK_OPACITY * colour
    return result


def _stripes(shape: tuple[int, ...]) -> np.ndarray:
    """True on diagonal stripes, as wide as the gaps between them, about fifty across the image."""
    rows, columns = np.indices(shape)
    width = max(1, max(shape) // 100)
    stripes: np.ndarray = (rows + columns) // width % 2 == 0
    return stripes
