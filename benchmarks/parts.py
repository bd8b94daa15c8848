"""Objects of two parts for benchmarks/shortcuts.py: either names the class, one stands out and one is faint.

Mining claims to make attention cover all that is discriminative of an object (arXiv:1802.10171 section 3.1): here that
is known. A class has a disc of a colour of its own and, elsewhere, stripes of a direction of its own, in grey and of
little contrast, so far apart that a cell in the middle of one sees nothing of the other. The mask is both, so that
*attention recall* says how much of them is attended to.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from plain_folder import Labelled, write_plain_folder

from wheretolook.data.textures import Plane

SPLITS = {"train": 800, "tune": 200, "test": 400}
CLASSES = 4
SIDE, PART, APART = 64, 16, 32  # an image, a part, and the least between the middles of parts, in pixels
COLOURS = np.array([[0.9, 0.2, 0.2], [0.2, 0.8, 0.2], [0.25, 0.35, 0.95], [0.9, 0.8, 0.1]])
CONTRAST = 0.06  # of the stripes


def write_parts(root: Path) -> None:
    """Write the images as a plain folder with masks.

    Args:
        root: the folder; a finished one is left as it is.
    """
    write_plain_folder(root, map(str, range(CLASSES)), _images())


def _images() -> Iterator[Labelled]:
    random = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for number in range(count):
            pixels, mask = drawn(number % CLASSES, random)
            pictures = {"images": (255 * pixels).round().astype(np.uint8), "masks": mask}
            yield Labelled(split, f"{split}_{number:03d}", [str(number % CLASSES)], pictures)


def drawn(class_index: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image in [0, 1] and its mask: the two parts apart from each other, on coloured noise."""
    noise = random.normal(0.5, 0.12, (8, 8, 3)).clip(0, 1)
    coarse = Image.fromarray((255 * noise).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse) / 255 + random.normal(0, 0.03, (SIDE, SIDE, 1))
    corners = random.integers(0, SIDE - PART + 1, (2, 2))
    while np.hypot(*(corners[0] - corners[1])) < APART:
        corners = random.integers(0, SIDE - PART + 1, (2, 2))
    bright, faint = (np.s_[top : top + PART, left : left + PART] for top, left in corners)
    across, down = np.meshgrid(*2 * [np.arange(PART) - (PART - 1) / 2])
    disc = np.hypot(across, down) < PART / 2
    pixels[bright][disc] = COLOURS[class_index]
    pixels[faint] = 0.5 + CONTRAST * stripes(across, down, class_index, random)[:, :, None]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[bright][disc] = mask[faint] = 1 + class_index
    return pixels.clip(0, 1), mask


def stripes(across: Plane, down: Plane, class_index: int, random: np.random.Generator) -> np.ndarray:
    """Waves between -1 and 1, six pixels long, of a direction of the class and of any phase."""
    angle = np.pi * class_index / CLASSES
    phase = random.uniform(0, 2 * np.pi)
    waves: np.ndarray = np.sin((across * np.cos(angle) + down * np.sin(angle)) * 2 * np.pi / 6 + phase)
    return waves
