"""Small data sets on disk, made for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from wheretolook.data import ImageDataset, open_dataset
from wheretolook.options.data import DataOptions
from wheretolook.public import VOC_CLASSES


def opened(root: Path, split: str, *, training: bool = False, **options: object) -> ImageDataset:
    return open_dataset(DataOptions(root=str(root), **options), split, training=training)


def write_image(path: Path, height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values


def write_mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def corner_mask(value: int, height: int = 12, width: int = 16) -> np.ndarray:
    """One object in the upper left quarter, a void column at the right edge."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, : width // 2] = value
    mask[:, -1] = 255
    return mask


def write_voc(root: Path, names: tuple[str, ...] = ("a", "b", "c"), height: int = 12, width: int = 16) -> Path:
    """Image n has class n + 1 of VOC's in its corner."""
    for index, name in enumerate(names):
        write_image(root / "JPEGImages" / f"{name}.jpg", height, width, index)
        write_mask(root / "SegmentationClass" / f"{name}.png", corner_mask(index + 1, height, width))
    write_lines(root / "classes.txt", *VOC_CLASSES)
    write_lines(root / "ImageSets/Segmentation/train.txt", *names[:-1])
    write_lines(root / "ImageSets/Segmentation/val.txt", names[-1])
    return root
