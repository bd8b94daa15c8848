"""What the beds of benchmarks/shortcuts.py are written as: a plain folder with masks, labels and splits."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


class Labelled(NamedTuple):
    """An image to write.

    Args:
        split: the split that it is in.
        name: its name, without suffix.
        classes: names of the classes that it shows.
        pictures: what is written as NAME.png into folders of these names; of the image itself it is `images`.
    """

    split: str
    name: str
    classes: Iterable[str]
    pictures: Mapping[str, np.ndarray | Image.Image]


def write_plain_folder(root: Path, class_names: Iterable[str], images: Iterable[Labelled]) -> None:
    """Write the images, their labels, splits and classes.

    Args:
        root: the folder; a finished one is left as it is, and nothing is asked of the others then.
        class_names: all of them, in the order of the masks' values.
        images: in the order in which they are listed.
    """
    if (root / "labels.csv").exists():
        return
    (root / "splits").mkdir(parents=True, exist_ok=True)
    labels, splits = ["image,classes\n"], dict[str, list[str]]()
    for image in images:
        for folder, picture in image.pictures.items():
            (root / folder).mkdir(exist_ok=True)
            written = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
            written.save(root / folder / f"{image.name}.png")
        labels.append(f"{image.name},{';'.join(image.classes)}\n")
        splits.setdefault(image.split, []).append(f"{image.name}\n")
    for split, names in splits.items():
        (root / "splits" / f"{split}.txt").write_text("".join(names))
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in class_names))
    (root / "labels.csv").write_text("".join(labels))
