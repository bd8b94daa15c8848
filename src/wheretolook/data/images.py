"""Images as tensors, and what is said of those whose stored pixels are turned."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wheretolook.data.names import say_once
from wheretolook.errors import DataError
from wheretolook.images import TURNED, UPRIGHT, oriented_size, read_photograph, resized


def on_upright(
    points: Float[np.ndarray, "points 2"], drawn_on: tuple[int, int], path: Path, what: str
) -> Float[np.ndarray, "points 2"]:
    """Points in pixels of the upright image: the tool saw it upright or as it is stored, at this size or another.

    Args:
        points: x and y of each, in pixels of what the tool saw.
        drawn_on: height and width of that.
        path: the image file.
        what: what to call the drawing in messages.

    Raises:
        DataError: the file is missing or no image, or has other proportions.
    """
    size, orientation = oriented_size(path)
    stored = size[::-1] if orientation in TURNED else size
    if drawn_on != size and (drawn_on == stored or not proportional(drawn_on, size)):
        if not proportional(drawn_on, stored):
            raise DataError(
                f"{what} is of an image of {drawn_on[1]}x{drawn_on[0]}, but {path} is {size[1]}x{size[0]};"
                " make them equal"
            )
        x, y = points[:, 0], points[:, 1]
        across = drawn_on[0] - y if orientation in (6, 7) else y
        down = drawn_on[1] - x if orientation in (7, 8) else x
        points, drawn_on = np.stack([across, down], axis=1), drawn_on[::-1]
    return points * (size[1] / drawn_on[1], size[0] / drawn_on[0])


def proportional(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two sizes are of one shape, but for rounding to whole pixels or a hundredth.

    Example:
        >>> proportional((375, 500), (750, 1000)), proportional((333, 500), (107, 160)), proportional((3, 4), (4, 3))
        (True, True, False)
    """
    one, other = first[0] * second[1], first[1] * second[0]
    return min(first) > 0 and abs(one - other) < max(*first, *second, one / 100)


def say_of_turns(path: Path) -> None:
    """Warn, once a folder, of a photograph whose turning no mask can show: one drawn on stored pixels has its size too.

    Args:
        path: an image with a mask or boxes.

    Raises:
        DataError: the file is missing or no image.
    """
    (height, width), orientation = oriented_size(path)
    if orientation == UPRIGHT or (orientation in TURNED and height != width):
        return
    say_once(
        f"{path.parent}: {path.name} and perhaps others are turned by their EXIF tag in a way that keeps their size, so"
        " masks and boxes are taken to be drawn on the upright image; if they were drawn on the stored pixels, take the"
        " tags out of the images",
        about=f"turns in {path.parent}",
    )


def read_image(path: Path, resize: int | None = None) -> Float[Tensor, "3 height width"]:
    """Read an image as RGB, upright as its orientation tag says.

    Args:
        path: an image file of 8 bits a channel.
        resize: length of the longer side in pixels; None keeps the size.

    Returns:
        The image, in [0, 1].

    Raises:
        DataError: the file is missing, truncated, no image or not of 8 bits.
    """
    upright = read_photograph(path)
    height, width = resized((upright.height, upright.width), resize)
    if (width, height) != upright.size:
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
    return image_tensor(upright)


def image_tensor(image: Image.Image) -> Float[Tensor, "3 height width"]:
    """An RGB image as a tensor in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255
