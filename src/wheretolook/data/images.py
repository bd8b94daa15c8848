"""Reading images and masks: each file is checked when it is read, and what is wrong is said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from wheretolook.errors import DataError, reason
from wheretolook.records import VOID

EXIF_ORIENTATION = 0x0112
TURNED = 5  # orientations from here on swap height and width


def resized(size: tuple[int, int], resize: int | None) -> tuple[int, int]:
    """The size of an image once its longer side is `resize` pixels long.

    Args:
        size: height and width.
        resize: length of the longer side in pixels; None keeps the size.

    Example:
        >>> resized((240, 320), 64)
        (48, 64)
    """
    if resize is None:
        return size
    height, width = (max(1, round(side * resize / max(size))) for side in size)
    return height, width


def image_size(path: Path, resize: int | None = None) -> tuple[int, int]:
    """Height and width that `read_image` gives, from the file's header alone.

    Args:
        path: an image file.
        resize: length of the longer side in pixels; None keeps the size.

    Raises:
        DataError: the file is missing or no image.
    """
    with _opened(path, "image") as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) >= TURNED
        width, height = reversed(image.size) if turned else image.size
    return resized((height, width), resize)


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
    with _opened(path, "image") as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"image {path} has mode {image.mode}; expected 8 bits a channel: convert it")
        upright = ImageOps.exif_transpose(image).convert("RGB")
        height, width = resized((upright.height, upright.width), resize)
        if (width, height) != upright.size:
            upright = upright.resize((width, height), Image.Resampling.BILINEAR)
        values = np.array(upright)
    return torch.from_numpy(values).permute(2, 0, 1).contiguous().float() / 255


def read_mask(path: Path, classes: int, resize: int | None, *, of: Path) -> Int[Tensor, "height width"]:
    """Read an index mask: palette or grayscale PNG, 0 background, 1 to `classes`, 255 void.

    Args:
        path: the mask.
        classes: how many foreground classes there are.
        resize: length of the longer side in pixels (nearest neighbour); None keeps the size.
        of: the image that the mask belongs to.

    Returns:
        The mask, int64.

    Raises:
        DataError: the file is missing, broken, coloured, of another size than the image, or has a value of no class.
    """
    with _opened(path, "mask") as image:
        if image.format != "PNG":
            raise DataError(f"mask {path} is a {image.format} file; expected a PNG, which keeps every value as it is")
        if image.mode not in ("P", "L", "1", "I", "I;16"):
            raise DataError(
                f"mask {path} has colours (mode {image.mode}); expected a palette or grayscale PNG whose values are"
                " class indices: convert its colours to indices"
            )
        values = np.array(image, dtype=np.int64)
    return index_mask(values, path, classes, resize, of=of)


def index_mask(
    values: Integer[np.ndarray, "full_height full_width"], path: Path, classes: int, resize: int | None, *, of: Path
) -> Int[Tensor, "height width"]:
    """Check the values of a mask and resize it.

    Args:
        values: 0 background, 1 to `classes`, 255 void, at the image's own size.
        path: where they come from, for messages.
        classes: how many foreground classes there are.
        resize: length of the longer side in pixels (nearest neighbour); None keeps the size.
        of: the image that the mask belongs to.

    Returns:
        The mask, int64.

    Raises:
        DataError: another size than the image, or a value of no class.
    """
    height, width = values.shape
    if (size := image_size(of)) != (height, width):
        raise DataError(f"mask {path} is {width}x{height} but its image {of} is {size[1]}x{size[0]}; make them equal")
    outside = values[((values < 0) | (values > classes)) & (values != VOID)]
    if outside.size:
        raise DataError(
            f"mask {path} has the value {outside[0]}, but there are {classes} classes:"
            f" expected 0 to {classes}, or {VOID} for void; mend the mask or add the class"
        )
    image = Image.fromarray(values.astype(np.uint8))
    height, width = resized((height, width), resize)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image, dtype=np.int64))


def all_void(path: Path) -> DataError:
    """What to say of a mask without a pixel that counts, where nothing else tells of its image."""
    return DataError(f"mask {path} says nothing: expected a pixel that is not void ({VOID}); mend it or leave it out")


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


@contextmanager
def _opened(path: Path, what: str) -> Iterator[Image.Image]:
    """An open image file; whatever goes wrong while it is read becomes a `DataError`."""
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as error:
        raise DataError(f"{what} {path} is no image file, or a broken one; replace it") from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{what} {path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for a broken file come as any of these
        words = reason(error) if isinstance(error, OSError) and error.errno else " ".join(str(error).split())
        raise DataError(f"cannot read {what} {path}: {words}; replace it") from error
