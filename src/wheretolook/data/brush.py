"""Brush strokes of Label Studio: runs of values of four channels, packed bit by bit; the last one is the stroke."""

import numpy as np

from wheretolook.data.marks import Pixels
from wheretolook.errors import DataError

CHANNELS = 4  # red, green, blue and how opaque
LENGTHS = 4  # how many widths of run lengths there are to choose from


def brushed(packed: object, size: tuple[int, int], where: str) -> tuple[Pixels, int, int]:
    """The part of an image that strokes cover.

    The values' count has 32 bits, the width of a value 5 and each width of run lengths 4 (all widths less 1). A run is
    a bit that says whether one value repeats, two that choose the width of its length less 1, the length, and the value
    or values.

    Args:
        packed: the bytes, as numbers.
        size: height and width of the image.
        where: what to call it in messages.

    Returns:
        What is on in the smallest part that holds all of it, and that part's left and top.

    Raises:
        DataError: these are no such runs, or of another size.

    Source: rle-pack of thi.ng/umbrella, which the tool uses.
    """
    try:
        values = _unpacked(bytes(packed) if isinstance(packed, list) else b"", size[0] * size[1] * CHANNELS)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{where}: expected runs of a brush that fill {size[1]}x{size[0]} pixels; export it anew"
        ) from error
    covered = values.reshape(*size, CHANNELS)[..., -1] > 0
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        return covered[:0, :0], 0, 0
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return covered[part].copy(), int(columns[0]), int(rows[0])


class _Bits:
    """Bits that are read from the front."""

    def __init__(self, packed: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(packed, np.uint8)).astype(np.int64)
        self._place = 0

    def many(self, width: int, count: int) -> np.ndarray:
        """So many numbers of that many bits each, highest bits first."""
        end = self._place + width * count
        if end > len(self._bits):
            raise ValueError
        words = self._bits[self._place : end].reshape(count, width)
        self._place = end
        numbers: np.ndarray = words @ (1 << np.arange(width)[::-1])
        return numbers

    def one(self, width: int) -> int:
        """A number of that many bits."""
        return int(self.many(width, 1)[0])


def _unpacked(packed: bytes, expected: int) -> np.ndarray:
    bits = _Bits(packed)
    if bits.one(32) != expected:
        raise ValueError
    width, lengths = bits.one(5) + 1, [bits.one(4) + 1 for _ in range(LENGTHS)]
    values, place = np.zeros(expected, np.int64), 0
    while place < expected:
        repeats, end = bits.one(1), place + 1 + bits.one(lengths[bits.one(2)])
        if end > expected:
            raise ValueError
        values[place:end] = bits.one(width) if repeats else bits.many(width, end - place)
        place = end
    return values
