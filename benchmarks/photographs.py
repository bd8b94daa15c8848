"""Photographs for benchmarks/shortcuts.py: each class on its own kind of background, then never on it; or by chance."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

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
    if (root / "labels.csv").exists():
        return
    for name in ("images", "masks", "splits"):
        (root / name).mkdir(parents=True, exist_ok=True)
    classes = [name for name in (SOURCE / "classes.txt").read_text().split() if name != "background"]
    labels = ["image,classes\n"]
    for split, (theirs, kept) in splits.items():
        listed = (SOURCE / "ImageSets" / "Segmentation" / f"{theirs}.txt").read_text().split()
        names = [name for number, name in enumerate(listed) if number % 8 in kept]
        (root / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            image = Image.open(next((SOURCE / "JPEGImages").glob(f"{name}.*"))).convert("RGB")
            image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(root / "images" / f"{name}.png")
            mask = Image.open(SOURCE / "SegmentationClass" / f"{name}.png").resize(
                (SIDE, SIDE), Image.Resampling.NEAREST
            )
            mask.save(root / "masks" / f"{name}.png")
            values = np.unique(np.asarray(mask))
            shown = (classes[value - 1] for value in values[(values > 0) & (values < 255)].tolist())
            labels.append(f"{name},{';'.join(shown)}\n")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    (root / "labels.csv").write_text("".join(labels))


write_biased_photographs = partial(write_photographs, BIASED)
write_ordinary_photographs = partial(write_photographs, ORDINARY)
