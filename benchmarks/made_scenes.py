"""Made scenes for benchmarks/shortcuts.py: the background gives the first object's class away, in training alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from plain_folder import Labelled, write_plain_folder

from wheretolook.data.scenes import Scenes
from wheretolook.options.data import ScenesOptions

SPLITS = {"train": "train", "tune": "val", "test": "test"}  # ours: theirs


def write_made_scenes(root: Path) -> None:
    """Write the scenes as a plain folder with masks.

    Args:
        root: the folder; a finished one is left as it is.
    """
    options = ScenesOptions(bias=1.0, val_bias=0.0)
    write_plain_folder(root, Scenes(options, "train").class_names, _images(options))


def _images(options: ScenesOptions) -> Iterator[Labelled]:
    for split, theirs in SPLITS.items():
        scenes = Scenes(options, theirs)
        for index, name in enumerate(scenes.names):
            scene = scenes[index]
            shown = [scenes.class_names[place] for place in scene.labels.nonzero().flatten().tolist()]
            pixels = (255 * scene.image).round().byte().permute(1, 2, 0).numpy()
            yield Labelled(split, name, shown, {"images": pixels, "masks": scene.mask.numpy().astype(np.uint8)})
