"""Reading image files without torch: each is checked when it is read, and what is wrong is said in one line."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from wheretolook.errors import DataError, ImageSizeError, reason

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
EXIF_ORIENTATION = 0x0112
UPRIGHT = 1
TURNED = range(5, 9)  # orientations that swap height and width
LONGEST = 3  # times the shorter side; a longer image is squeezed
T = TypeVar("T")


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


def sizes_to_try(
    size: tuple[int, int], own: tuple[int, int] | None, resize: int | None = None
) -> Iterator[tuple[int, int]]:
    """Sizes that an image may be shown to a network in, the best first.

    Args:
        size: height and width of the image.
        own: those of the images that the network is made for; None where any will do.
        resize: longer side that was asked for; None for a shorter side as long as the network's own.

    Yields:
        Heights and widths: with the image's proportions, then, squeezed, the network's own.

    Example:
        >>> list(sizes_to_try((300, 450), (224, 224))), list(sizes_to_try((300, 450), None, resize=90))
        ([(224, 336), (224, 224)], [(60, 90)])
        >>> list(sizes_to_try((20, 4000), (224, 224)))
        [(224, 224)]
    """
    if resize is not None or own is None:
        factor = 1.0 if resize is None else resize / max(size)
    else:
        factor = min(own) / min(size)
    if own is None or resize is not None or max(size) <= LONGEST * min(size):
        yield max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    if own is not None and resize is None:
        yield own


def first_taken(sizes: Iterable[tuple[int, int]], see: Callable[[tuple[int, int]], T]) -> T:
    """What comes of an image in the first of some sizes that a network takes.

    Args:
        sizes: heights and widths, at least one, the best first.
        see: shows the network the image in that size.

    Raises:
        ImageSizeError: it takes none of them.
    """
    refused = None
    for size in sizes:
        try:
            return see(size)
        except ImageSizeError as error:
            refused = error
    assert refused is not None
    raise refused


def image_size(path: Path, resize: int | None = None) -> tuple[int, int]:
    """Height and width that `read_image` gives, from the file's header alone.

    Args:
        path: an image file.
        resize: length of the longer side in pixels; None keeps the size.

    Raises:
        DataError: the file is missing or no image.
    """
    return resized(oriented_size(path)[0], resize)


def oriented_size(path: Path) -> tuple[tuple[int, int], int]:
    """Height and width of an upright image, and the orientation of its stored pixels, 1 to 8 as EXIF counts them.

    Args:
        path: an image file.

    Raises:
        DataError: the file is missing or no image.
    """
    with opened(path, "image") as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, UPRIGHT)
        turned = orientation in TURNED and image.format != "TIFF"  # which Pillow turns by itself, and says its size so
        width, height = reversed(image.size) if turned else image.size
    return (height, width), orientation


def read_photograph(path: Path) -> Image.Image:
    """Read an image as RGB at its full size, upright as its orientation tag says.

    Args:
        path: an image file of 8 bits a channel.

    Raises:
        DataError: the file is missing, truncated, no image or not of 8 bits.
    """
    with opened(path, "image") as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"image {path} has mode {image.mode}; expected 8 bits a channel: convert it")
        return ImageOps.exif_transpose(image).convert("RGB")


@contextmanager
def opened(path: Path, what: str) -> Iterator[Image.Image]:
    """An open image file; whatever goes wrong while it is read becomes a `DataError`.

    Args:
        path: the file.
        what: what it is, for messages.

    Raises:
        DataError: it is missing, broken, no image or too large.
    """
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
