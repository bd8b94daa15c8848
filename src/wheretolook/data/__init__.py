"""Where images come from: folders in VOC's layout, plain folders and made scenes, all served as `Sample`s."""

from pathlib import Path
from typing import Literal

from wheretolook.data.dataset import ImageDataset
from wheretolook.data.folder import open_folder
from wheretolook.data.scenes import Scenes
from wheretolook.data.voc import IMAGES, open_voc
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions

__all__ = ["ImageDataset", "open_dataset"]


def open_dataset(config: DataOptions, split: str, *, training: bool = False) -> ImageDataset:
    """Open one split of a data set.

    Args:
        config: where the data lie.
        split: the split's name, or the path of a file of names.
        training: add the masks of SBD, where the configuration names it, except for images of other splits.

    Raises:
        DataError: the folder, its split or a file in it is missing or wrong.
        ConfigError: options out of their range, or that do not fit together.

    Example:
        >>> open_dataset(DataOptions(), "val").class_names[0]
        'striped_disc'
    """
    _check(config)
    layout = _layout(config)
    if config.sbd is not None and layout != "voc":
        raise ConfigError(f"sbd adds to data in VOC layout, but the layout here is {layout}; leave sbd out")
    if layout == "scenes" or config.root is None:
        if config.resize is not None:
            raise ConfigError("made scenes are not resized; give scenes.size in place of resize")
        return Scenes(config.scenes, split)
    if layout == "folder":
        return open_folder(Path(config.root), split, config.resize, held_out=config.held_out)
    sbd = Path(config.sbd) if training and config.sbd is not None else None
    held_out = (config.val_split, *config.held_out)
    return open_voc(Path(config.root), split, config.resize, sbd=sbd, held_out=held_out)


def _check(config: DataOptions) -> None:
    if config.batch_size < 1 or config.workers < 0:
        raise ConfigError(f"expected batch_size >= 1 and workers >= 0, not {config.batch_size} and {config.workers}")
    if config.resize is not None and config.resize < 1:
        raise ConfigError(f"resize is a length in pixels, at least 1, not {config.resize}")
    if config.crop is not None and min(config.crop) < 1:
        raise ConfigError(f"crop is a height and a width in pixels, not {config.crop[0]} {config.crop[1]}")
    if not 0 < config.scale[0] <= config.scale[1]:
        raise ConfigError(f"scale is the smallest and the largest factor, not {config.scale[0]} {config.scale[1]}")
    if config.crop is None and config.scale not in (DataOptions.scale, (1.0, 1.0)):
        raise ConfigError(
            f"scale {config.scale[0]} {config.scale[1]} resizes before a crop, and there is none; give crop"
        )
    if not 0 <= config.colour <= 1:
        raise ConfigError(f"colour is a strength from 0 to 1, not {config.colour}")


def _layout(config: DataOptions) -> Literal["voc", "folder", "scenes"]:
    """The layout that the configuration names, or the one that the folder has."""
    if config.root is None:
        if config.layout in ("voc", "folder"):
            raise ConfigError(f"layout {config.layout} needs root, the folder of the data")
        return "scenes"
    if config.layout == "scenes":
        raise ConfigError(f"made scenes come from no folder; leave out root ({config.root}) or the layout")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; expected the root of a data set")
    folders: dict[Literal["voc", "folder"], str] = {"voc": IMAGES, "folder": "images"}
    for layout, images in folders.items():
        if config.layout in (layout, "auto") and (root / images).is_dir():
            return layout
    expected = " or ".join(images for layout, images in folders.items() if config.layout in (layout, "auto"))
    raise DataError(f"{root} has no folder {expected}; expected VOC layout (JPEGImages) or a plain folder (images)")
