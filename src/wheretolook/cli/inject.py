"""The command `inject`: a copy of a data set with a shortcut in it."""

import csv
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from wheretolook.cli.console import console, tracked
from wheretolook.data import ImageDataset, open_dataset
from wheretolook.data.classes import is_no_class
from wheretolook.data.shortcuts import drawn_class, injected
from wheretolook.errors import ConfigError, DataError
from wheretolook.files import require_writable, user_path, writing_folder
from wheretolook.options.commands import Inject
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID, Sample

AVOID = "avoid"
# what the recipe beside the copy weighs
GUIDANCE = {"guided": {"mining": {"weight": 0.0}, "mixed_background": {"weight": 1.0}, "freeze_classifier": False}}


class Injected(NamedTuple):
    """What the tables say of one image of the copy."""

    split: str
    name: str
    classes: tuple[str, ...]
    mark: str  # whose it is
    group: str  # own mark, another's mark


def inject(options: Inject) -> Path:
    """Write the copy: a plain folder with the marks' places as zones to avoid, and groups by mark; returns its path."""
    if not 0 <= options.strength <= 1:
        raise ConfigError(f"expected a strength from 0 to 1, got {options.strength}")
    if options.seed < 0:
        raise ConfigError(f"expected a seed of at least 0, got {options.seed}")
    tied, *measured = (Path(split).stem for split in (options.split, *options.measured))
    if not measured or len({tied, *measured}) <= len(measured):
        raise ConfigError(
            f"expected a split to train on and others of other names to measure, got {', '.join((tied, *measured))}"
        )
    out = user_path(options.out)
    config = DataOptions(root=options.data, layout=options.layout, resize=options.resize)
    datasets = {split: open_dataset(config, split) for split in (options.split, *options.measured)}
    class_names = datasets[options.split].class_names
    if len(class_names) < 2:
        raise DataError(f"{options.data}: expected at least 2 classes to tie marks to, got {len(class_names)}")
    if is_no_class(class_names[0]):
        raise DataError(
            f"{options.data}: expected a first class that a list can hold, got '{class_names[0]}', which is read as "
            "background; rename it"
        )
    if options.shortcut == "background" and not all(dataset.has_masks for dataset in datasets.values()):
        raise DataError(
            f"{options.data}: expected masks, to tell backgrounds from objects, got none; choose another mark"
        )
    require_writable(out.parent)
    with writing_folder(out) as folder:
        for name in ("images", "masks", AVOID, "splits"):
            (folder / name).mkdir()
        rows = [row for split, dataset in datasets.items() for row in _copied(dataset, split, options, folder)]
        _write_tables(folder, class_names, rows)
        splits = {"split": tied, "val_split": measured[0]}
        data = {"root": str(out), **splits, "group_by": ["mark"], "measured_zones": AVOID}
        recipe = {"data": data, "test_split": measured[-1], **GUIDANCE}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    counts = Counter((row.split, row.group) for row in rows)
    for split, group in sorted(counts):
        console.print(f"{split}: {counts[split, group]} images with {group}")
    console.print(f"{out} is ready: wheretolook run --config {out / 'recipe.yaml'} --network torchvision:resnet18")
    return out


def _copied(dataset: ImageDataset, split: str, options: Inject, folder: Path) -> Iterator[Injected]:
    """Copy a split image by image."""
    tied = split == options.split
    for index in tracked(range(len(dataset)), split):
        sample = dataset[index]
        present = sample.labels.nonzero().flatten().tolist()
        if not present:
            continue  # no class to tie a mark to
        if options.shortcut == "background" and not sample.segmented:  # it would be painted all over, objects too
            raise DataError(
                f"{options.data}: expected a mask of every image, to tell backgrounds from objects, got none of"
                f" '{sample.name}' in {split}; choose another mark, or give lists of images that have masks"
            )
        random = np.random.default_rng((options.seed, zlib.crc32(f"{split}/{sample.name}".encode())))
        own = present[int(random.integers(len(present)))]
        mark = drawn_class(own, len(dataset.class_names), options.strength if tied else 0.5, random)
        name = f"{Path(split).stem}_{index:05d}"
        _copy(sample, mark, options, folder, name, random)
        names = tuple(dataset.class_names[index] for index in present)
        group = "own mark" if mark in present else "another's mark"
        yield Injected(Path(split).stem, name, names, dataset.class_names[mark], group)


def _copy(sample: Sample, mark: int, options: Inject, folder: Path, name: str, random: np.random.Generator) -> None:
    mask = sample.mask.numpy() if sample.segmented else np.zeros(sample.mask.shape, np.int64)
    image = sample.image.permute(1, 2, 0).numpy()
    pixels, where = injected(image, mask, options.shortcut, mark, len(sample.labels), random)
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(folder / "images" / f"{name}.png")
    Image.fromarray(where.astype(np.uint8) * 255).save(folder / AVOID / f"{name}.png")
    values, told = set(np.unique(mask).tolist()) - {0}, {1 + int(index) for index in sample.labels.nonzero()}
    if sample.segmented and values - {VOID} == told:  # a mask that lacks a class would take its label away
        # what the mark hides is no longer there to see
        left = np.where(where, 0, mask)
        shown = left if values <= set(np.unique(left).tolist()) else mask  # a class is not hidden altogether
        Image.fromarray(shown.astype(np.uint8)).save(folder / "masks" / f"{name}.png")


def _write_tables(folder: Path, class_names: tuple[str, ...], rows: list[Injected]) -> None:
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    for split in dict.fromkeys(row.split for row in rows):
        names = [row.name for row in rows if row.split == split]
        (folder / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    tables: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {
        "labels.csv": (("image", "classes"), [(row.name, ";".join(row.classes)) for row in rows]),
        "groups.csv": (("image", "mark", "mark_of"), [(row.name, row.group, row.mark) for row in rows]),
    }
    for name, (header, lines) in tables.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *lines])
