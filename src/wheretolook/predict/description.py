"""What an exported network says of itself, beside its graph: all that is needed to use it."""

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

KEY = "wheretolook"  # of the graph's metadata
FORMAT = "wheretolook export 1"
INPUT = "images"
OUTPUTS = ("class_scores", "mask_scores", "attention_maps")  # those that there are, in this order
Size = tuple[int, int]  # height and width
Pair = tuple[float, float]


class Place(NamedTuple):
    """Where the cells of attention maps lie in images of one size: cell i is centred at `offset + i * stride`.

    In pixels, down and across; pixel p is centred at p.
    """

    size: Size
    stride: Pair
    offset: Pair


@dataclass(frozen=True)
class Description:
    """Of an exported network.

    Attributes:
        class_names: the foreground classes, in the order of scores and maps; mask value 1 is the first.
        outputs: which of `OUTPUTS` the graph has.
        fixed_size: height and width that images must have; None for any size that the network takes.
        usual_size: height and width that it was made for; None where it has none.
        places: where the cells lie, for the sizes that were tried; none without attention maps.
        attention: how the maps are made.
        layer: where they are read.
        format: of this description.
    """

    class_names: tuple[str, ...]
    outputs: tuple[str, ...]
    fixed_size: Size | None
    usual_size: Size | None
    places: tuple[Place, ...]
    attention: str
    layer: str
    format: str = FORMAT

    def text(self) -> str:
        """As JSON, for the graph's metadata."""
        return json.dumps({**asdict(self), "places": [place._asdict() for place in self.places]})

    def place(self, size: Size, grid: Size) -> Place:
        """Where the cells lie in images of that size: as was found for the likest size that was tried.

        Where the cells divided all images evenly, they do so here.

        Args:
            size: height and width of the images.
            grid: height and width of the maps.
        """
        stride = size[0] / grid[0], size[1] / grid[1]
        even = Place(size, stride, ((stride[0] - 1) / 2, (stride[1] - 1) / 2))
        if not self.places or all(divides_evenly(place) for place in self.places):
            return even
        likest = min(self.places, key=lambda place: sum(abs(a - b) for a, b in zip(place.size, size, strict=True)))
        return likest._replace(size=size)


def divides_evenly(place: Place) -> bool:
    """Whether the first cell lies as far from the image's edge as cells that divide it evenly.

    Example:
        >>> divides_evenly(Place((64, 64), (32.0, 32.0), (15.5, 15.5)))
        True
        >>> divides_evenly(Place((64, 64), (32.0, 32.0), (0.0, 0.0)))
        False
    """
    even = all(offset == (stride - 1) / 2 for stride, offset in zip(place.stride, place.offset, strict=True))
    counts = [pixels / stride for pixels, stride in zip(place.size, place.stride, strict=True)]
    whole = all(abs(count - round(count)) < 1e-6 for count in counts)
    return even and whole


def read_description(text: str) -> Description:
    """The description in a file's metadata.

    Raises:
        ValueError: it is not one of ours.
    """
    try:
        given = json.loads(text)
        found = Description(
            _texts(given["class_names"]),
            _texts(given["outputs"]),
            _size(given["fixed_size"]),
            _size(given["usual_size"]),
            tuple(_place(place) for place in given["places"]),
            str(given["attention"]),
            str(given["layer"]),
            str(given["format"]),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"expected the description of an exported network, got one without {error}") from error
    if found.format != FORMAT or not set(found.outputs) <= set(OUTPUTS) or not found.class_names:
        raise ValueError(f"expected a file of {FORMAT}, got {found.format[:40]}")
    return found


def stretched(
    maps: Float[np.ndarray, "classes h w"], size: Size, place: Place
) -> Float[np.ndarray, "classes height width"]:
    """Maps at every pixel of an image: linear between the centres of the cells, constant beyond the outermost.

    Args:
        maps: a value a cell.
        size: height and width of the image.
        place: where the cells lie.
    """
    rows, columns = (
        _shares(pixels, cells, step, first)
        for pixels, cells, step, first in zip(size, maps.shape[1:], place.stride, place.offset, strict=True)
    )
    spread: np.ndarray = rows @ maps @ columns.T
    return spread


def _shares(pixels: int, cells: int, stride: float, offset: float) -> np.ndarray:
    """How much each pixel reads of each cell along one side, (pixels, cells)."""
    positions = ((np.arange(pixels) - offset) / stride).clip(0, cells - 1)
    shares: np.ndarray = (1 - np.abs(positions[:, None] - np.arange(cells))).clip(min=0)
    return shares


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("texts")
    return tuple(value)


def _size(value: Any) -> Size | None:
    if value is None:
        return None
    height, width = value
    if not (isinstance(height, int) and isinstance(width, int) and min(height, width) > 0):
        raise TypeError("a size")
    return height, width


def _pair(value: Any) -> Pair:
    down, across = value
    return float(down), float(across)


def _place(value: Any) -> Place:
    size, stride = _size(value["size"]), _pair(value["stride"])
    if size is None or min(stride) <= 0:
        raise TypeError("a place")
    return Place(size, stride, _pair(value["offset"]))
