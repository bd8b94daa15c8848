"""Made scenes for benchmarks/shortcuts.py: the background gives the first object's class away, in training alone."""

from pathlib import Path

import numpy as np
from PIL import Image

from wheretolook.data.scenes import Scenes
from wheretolook.options.data import ScenesOptions

SPLITS = {"train": "train", "tune": "val", "test": "test"}  # ours: theirs


def write_made_scenes(root: Path) -> None:
    """Write the scenes as a plain folder with masks.

    Args:
        root: the folder; a finished one is left as it is.
    """
    if (root / "labels.csv").exists():
        return
    for name in ("images", "masks", "splits"):
        (root / name).mkdir(parents=True, exist_ok=True)
    labels = ["image,classes\n"]
    for split, theirs in SPLITS.items():
        scenes = Scenes(ScenesOptions(bias=1.0, val_bias=0.0), theirs)
        (root / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in scenes.names))
        for index, name in enumerate(scenes.names):
            scene = scenes[index]
            pixels = (255 * scene.image).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(root / "images" / f"{name}.png")
            Image.fromarray(scene.mask.numpy().astype(np.uint8)).save(root / "masks" / f"{name}.png")
            shown = (scenes.class_names[place] for place in scene.labels.nonzero().flatten().tolist())
            labels.append(f"{name},{';'.join(shown)}\n")
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in scenes.class_names))
    (root / "labels.csv").write_text("".join(labels))
