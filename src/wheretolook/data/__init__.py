"""Where images come from: folders in VOC's layout, plain folders and made scenes, all served as `Sample`s."""

from dataclasses import replace
from pathlib import Path

from wheretolook.data.dataset import ImageDataset, describe_classes, say_of_several
from wheretolook.data.guiding import guiding
from wheretolook.data.layouts import LAYOUTS
from wheretolook.data.weights import weighted
from wheretolook.errors import ConfigError, DataError, nearest
from wheretolook.files import user_path
from wheretolook.options.data import DataOptions

__all__ = ["ImageDataset", "describe_classes", "layout_of", "open_dataset", "say_of_several"]


def open_dataset(config: DataOptions, split: str, *, training: bool = False) -> ImageDataset:
    """Open one split of a data set.

    Args:
        config: where the data lie.
        split: the split's name, or the path of a file of names.
        training: the split is to be trained on: leave out images that validate or test, and add those of SBD, where the
            configuration names it.

    Raises:
        DataError: the folder, its split or a file in it is missing or wrong, or nothing is left to train on.
        ConfigError: options out of their range, or that do not fit together.

    Example:
        >>> open_dataset(DataOptions(), "val").class_names[0]
        'striped_disc'
    """
    config = at_home(config)
    _check(config)
    layout = _layout(config)
    if config.sbd is not None and layout != "voc":
        raise ConfigError(f"sbd adds to data in VOC layout, but the layout here is {layout}; leave sbd out")
    dataset = LAYOUTS[layout].open(config, _expanded(split), training)
    if config.one_class is not None and layout == "scenes":
        raise ConfigError("one_class is of images on disk, but made scenes show several classes; leave one_class out")
    if config.one_class is not None:
        _count_classes(dataset, config)
    dataset = guiding(dataset, config, split, training)
    return weighted(dataset, config.weights) if training else dataset


def _count_classes(dataset: ImageDataset, config: DataOptions) -> None:
    """Let images show one class or several, as the options say.

    Raises:
        DataError: one class is said, and an image shows none, or several that are not to be avoided.
    """
    for name, shown in zip(dataset.names, dataset.classes_of_images, strict=True) if config.one_class else ():
        names = [dataset.class_names[index] for index in sorted(shown)]
        left = [name for name in names if name not in config.avoid]
        if len(left) != 1:
            raise DataError(
                f"data.one_class: expected one class in each image, got {len(left)} in '{name}'"
                f"{' (' + ', '.join(left) + ')' if left else ''}; leave the option or the image out"
            )
    dataset.one_class = bool(config.one_class)


def layout_of(config: DataOptions) -> str:
    """The name of the layout that the data have.

    Args:
        config: where they lie.

    Raises:
        DataError: there is no such folder, or no layout is its.
        ConfigError: options out of their range, or that do not fit together.
    """
    config = at_home(config)
    _check(config)
    return _layout(config)


def at_home(config: DataOptions) -> DataOptions:
    """The options with every path that begins with `~` led home: a shell does it for some, and a file for none.

    Args:
        config: the options as they were given.
    """
    return replace(
        config,
        root=None if config.root is None else _expanded(config.root),
        sbd=None if config.sbd is None else _expanded(config.sbd),
        split=_expanded(config.split),
        val_split=_expanded(config.val_split),
        held_out=[_expanded(path) for path in config.held_out],
        groups=None if config.groups is None else _expanded(config.groups),
        annotated=None if config.annotated is None else _expanded(config.annotated),
        weights=None if config.weights is None else _expanded(config.weights),
        propagated=None if config.propagated is None else _expanded(config.propagated),
        avoid_zones=None if config.avoid_zones is None else _expanded(config.avoid_zones),
        measured_zones=None if config.measured_zones is None else _expanded(config.measured_zones),
    )


def _expanded(path: str) -> str:
    return str(user_path(path)) if path.startswith("~") else path  # a split's name stays as it is


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


def _layout(config: DataOptions) -> str:
    """The layout that the configuration names, or the one that the folder has."""
    if config.layout not in ("auto", *LAYOUTS):
        raise ConfigError(
            f"there is no layout '{config.layout}'{nearest(config.layout, LAYOUTS)}; known: auto, {', '.join(LAYOUTS)}"
        )
    named = LAYOUTS.get(config.layout)
    if config.root is None:
        if named is not None and named.marker is not None:
            raise ConfigError(f"layout {config.layout} needs root, the folder of the data")
        return "scenes" if named is None else config.layout
    if named is not None and named.marker is None:
        raise ConfigError(f"layout {config.layout} comes from no folder; leave out root ({config.root}) or the layout")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; expected the root of a data set")
    tried = {name: layout for name, layout in LAYOUTS.items() if layout.marker and named in (None, layout)}
    found = next((name for name, layout in tried.items() if layout.tells(root)), None)
    # nothing but its folder: it is opened all the same, and says what it lacks
    found = found or next((name for name, layout in tried.items() if (root / str(layout.marker)).is_dir()), None)
    if found is None:
        expected = " or ".join(f"{layout.marker} (layout {name})" for name, layout in tried.items())
        raise DataError(f"expected a folder with {expected}, got {root}, which has none of them")
    return found
