"""A map in colour over its photograph, for notebooks, pages and programs that have no torch."""

from typing import Any, cast

import matplotlib
import numpy as np
from contourpy import contour_generator
from PIL import Image, ImageDraw

from wheretolook.images import resized

COLOURS = "inferno"  # perceptually uniform: equal steps of attention look equal
LEVELS = (0.2, 0.5)  # of a map's own maximum, where it is outlined
WIDTHS = (0.6, 1.0)  # of their lines
WIDTH = 1 / 280  # of the line at a half, as a share of the image's longer side
LARGEST = 3000  # pixels of a side that lines are drawn at, to be made smooth by shrinking
EDGE = 0.4  # opacity of the dark edge of a white line


def overlay(
    image: Any, attention_map: Any, *, opacity: float = 0.7, scale: float | None = None, outline: bool = True
) -> Image.Image:
    """Draw where a network looks over the photograph that it looks at.

    What is attended to is tinted, the more the stronger; what is not stays the photograph. Lines go around the pixels
    where the map is above 20 % (fine) and 50 % (bold) of its own maximum, so that a map that is faint on a common scale
    still shows its shape.

    Args:
        image: a PIL image, or an array or tensor: (height, width, 3) or (height, width), 0 to 255 in whole numbers or 0
            to 1 in floats; (3, height, width) is taken as well.
        attention_map: array or tensor (h, w); one that is not of the image's size is stretched evenly. Stretch a map to
            where its cells lie by `attention_maps(..., size=...)`. What is below 0 is not attended to.
        opacity: of the tint where the map is at its `scale`, 0 to 1.
        scale: value of the map that has the full tint; give the same for maps to compare, such as the larger of their
            maxima. None for the map's own maximum.
        outline: draw the lines.

    Returns:
        An RGB picture of the image's size; the photograph as it is where the map is zero everywhere.

    Raises:
        ValueError: the image or map has another shape, the map is not finite, or opacity or scale are out of range.

    Example:
        >>> photograph = np.full((4, 6, 3), 128, np.uint8)
        >>> overlay(photograph, np.zeros((2, 3))).getpixel((0, 0))
        (128, 128, 128)
        >>> overlay(photograph, np.ones((2, 3)), opacity=1.0, outline=False).getpixel((0, 0))
        (252, 255, 164)
    """
    if not 0 <= opacity <= 1 or not (scale is None or 0 < scale < np.inf):
        raise ValueError(f"expected opacity from 0 to 1 and a scale above 0, got {opacity} and {scale}")
    ground = _photograph(image)
    values = _stretched(_values(attention_map), ground.size)
    largest = float(values.max())
    if largest == 0:
        return ground
    strength = (values / (scale or largest)).clip(0, 1)
    tint = matplotlib.colormaps[COLOURS](strength)[..., :3]
    alpha = opacity * strength[..., None]
    blended = (1 - alpha) * np.asarray(ground) + 255 * alpha * tint
    drawn = Image.fromarray((blended + 0.5).astype(np.uint8))
    if outline:
        _outline(drawn, values / largest)
    return drawn


def sized(image: Any, side: int) -> Image.Image:
    """The photograph with a longer side of so many pixels, so that lines over a small one are as fine as any.

    Args:
        image: as of `overlay`.
        side: length of the longer side.

    Example:
        >>> sized(np.zeros((30, 40, 3)), 100).size
        (100, 75)
    """
    ground = _photograph(image)
    height, width = resized((ground.height, ground.width), side)
    return ground.resize((width, height), Image.Resampling.BICUBIC)


def _array(values: Any) -> np.ndarray:
    """An array of whatever is one, or a tensor of any device, precision and graph; torch is not asked for."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float().numpy() if values.is_floating_point() else values.numpy()
    return np.asarray(values)


def _photograph(image: Any) -> Image.Image:
    """The image as RGB; a copy, so that what is drawn on is not the caller's."""
    if isinstance(image, Image.Image):
        return image.convert("RGB").copy()
    pixels = _array(image)
    if pixels.ndim == 3 and pixels.shape[0] == 3 != pixels.shape[2]:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise ValueError(f"expected an image (height, width, 3) or (3, height, width), got shape {pixels.shape}")
    if pixels.dtype.kind == "f":
        pixels = 255 * np.nan_to_num(pixels).clip(0, 1) + 0.5
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")


def _values(attention_map: Any) -> np.ndarray:
    """The map at least 0."""
    values = _array(attention_map)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"expected a map (height, width), one class of one image, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("expected a map of finite numbers, got some that are not; was the network trained?")
    return values.astype(np.float64).clip(min=0)


def _stretched(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The map at (width, height), each cell an even share of the image."""
    if values.shape[::-1] == size:
        return values
    largest = values.max() or 1.0  # single precision has no room for the tiny
    stretched = Image.fromarray((values / largest).astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return largest * np.asarray(stretched, dtype=np.float64)


def _outline(picture: Image.Image, values: np.ndarray) -> None:
    """White lines with a dark edge, seen on every ground: drawn large, then shrunk, so that they are smooth."""
    larger = int(np.clip(LARGEST // max(picture.size), 1, 4))
    width = larger * max(1.0, WIDTH * max(picture.size))
    lines = contour_generator(z=np.pad(values, 1, mode="edge"))  # so that lines end at the image's edge
    edge, line = (Image.new("L", (picture.width * larger, picture.height * larger)) for _ in range(2))
    for level, share in zip(LEVELS, WIDTHS, strict=True):
        for points in cast(list[np.ndarray], lines.lines(level)):
            way = [tuple(point) for point in ((points - 0.5) * larger).tolist()]
            for mask, thickness in ((edge, (share + 0.9) * width), (line, share * width)):
                ImageDraw.Draw(mask).line(way, fill=255, width=max(1, round(thickness)), joint="curve")
    for mask, colour, opacity in ((edge, "black", EDGE), (line, "white", 1.0)):
        mask = mask.resize(picture.size, Image.Resampling.BOX).point(lambda value, opacity=opacity: opacity * value)
        picture.paste(colour, mask=mask)
