"""Photographs for benchmarks/shortcuts.py: each class on its own kind of background, then never on it; or by chance."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from plain_folder import Labelled, write_plain_folder

SOURCE = Path("../shared/data/photoscenes")
SIDE = 128
# ours: theirs, and which of every eight images
Splits = Mapping[str, tuple[str, range]]
BIASED: Splits = {
    "train": ("biased_train", range(7)),
    "tune": ("biased_train", range(7, 8)),
    "test": ("unbiased_val", range(8)),
}
ORDINARY: Splits = {"train": ("train", range(7)), "tune": ("train", range(7, 8)), "test": ("val", range(8))}


def write_photographs(splits: Splits, root: Path) -> None:
    """Write the photographs as a plain folder of squares.

    Args:
        splits: which images are in which split.
        root: the folder; a finished one is left as it is.
    """
    write_plain_folder(root, _class_names(), _images(splits))


def _class_names() -> Iterator[str]:
    yield from (name for name in (SOURCE / "classes.txt").read_text().split() if name != "background")


def _images(splits: Splits) -> Iterator[Labelled]:
    classes = list(_class_names())
    for split, (theirs, kept) in splits.items():
        listed = (SOURCE / "ImageSets" / "Segmentation" / f"{theirs}.txt").read_text().split()
        for name in (name for number, name in enumerate(listed) if number % 8 in kept):
            image = Image.open(next((SOURCE / "JPEGImages").glob(f"{name}.*"))).convert("RGB")
            mask = Image.open(SOURCE / "SegmentationClass" / f"{name}.png").resize(
                (SIDE, SIDE), Image.Resampling.NEAREST
            )
            values = np.unique(np.asarray(mask))
            shown = [classes[value - 1] for value in values[(values > 0) & (values < 255)].tolist()]
            small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            yield Labelled(split, name, shown, {"images": small, "masks": mask})


write_biased_photographs = partial(write_photographs, BIASED)
write_ordinary_photographs = partial(write_photographs, ORDINARY)
