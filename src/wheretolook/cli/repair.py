"""The command `repair`: audit, suggest, guide, audit again; each step is skipped where it is done."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from wheretolook.cli.audit import AUDIT_FILE, measured
from wheretolook.cli.console import console
from wheretolook.cli.propagate import SUMMARY, propagate
from wheretolook.cli.suggest import LIST, SHEET, suggest_images
from wheretolook.cli.train import train_gain
from wheretolook.data import ImageDataset, layout_of, open_dataset
from wheretolook.data.names import read_lines
from wheretolook.errors import ConfigError, DataError
from wheretolook.files import require_writable, user_path, write_json, write_text
from wheretolook.options.audit import Audit, Repair
from wheretolook.options.commands import Propagate, Suggest, TrainGain
from wheretolook.options.data import DataOptions
from wheretolook.report.audit_pictures import recorded_patches
from wheretolook.report.page import write_page
from wheretolook.report.pairs import PAIRS_FILE, read_pairs
from wheretolook.report.repair import (
    Audited,
    Done,
    patch_cards,
    repair_answer,
    repair_record,
    repair_sections,
    repair_table,
)
from wheretolook.runs.folder import environment

ANNOTATED, LISTED = "annotated.txt", "list of annotated images"
GUIDED = "guided"  # folder of the training
MASKS = {
    "voc": "SegmentationClass/NAME.png",
    "folder": "masks/NAME.png",
    "labelme": "NAME.json beside the image",
}


def repair(options: Repair) -> Path | None:
    """Repair a network, as far as annotation allows.

    Returns:
        The page; None where images are to be annotated first.
    """
    out = user_path(options.out)
    if options.count < 1:
        raise ConfigError(f"expected at least 1 image to annotate, got {options.count}")
    if options.hardware.devices != 1 or options.hardware.nodes != 1:
        raise ConfigError("expected one device for all steps of a repair; train-gain guides on several")
    open_dataset(options.data, options.data.val_split)  # before the work, not after
    require_writable(out)
    before = _audited(options, options.weights, out / "before")
    annotated = _annotated(options, out)
    if annotated is None:
        return None
    data = replace(options.data, annotated=str(annotated), annotated_fraction=1.0)
    data = _with_propagated(options, data, out)
    guided = train_gain(
        TrainGain(
            options.weights,
            str(out / GUIDED),
            resume=True,
            data=data,
            network=options.network,
            objective=options.objective,
            training=options.training,
            hardware=options.hardware,
        )
    )
    after = _audited(options, str(guided), out / "after")
    images = len(open_dataset(data, data.split, training=True))
    propagated = data.propagated != options.data.propagated
    done = Done(len(read_lines(annotated, LISTED)), images, propagated, options.training.steps)
    return _report(options, before, after, done, out)


def _audited(options: Repair, weights: str | None, out: Path) -> Audited:
    """What an audit of a network left, which is made unless it is there."""
    wanted = Audit(
        weights,
        str(out),
        limit=options.limit,
        accelerator=options.hardware.accelerator,
        rule=options.rule,
        data=replace(options.data, split=options.data.val_split),
        network=options.network,
    )
    if not (out / AUDIT_FILE).exists():
        measured(wanted)
    record: dict[str, Any] = json.loads((out / AUDIT_FILE).read_text(encoding="utf-8"))
    if record["options"] != json.loads(json.dumps(asdict(wanted))):
        raise ConfigError(f"{out}: expected the options of the audit that is there, got others; choose another --out")
    return Audited(record, read_pairs(out / PAIRS_FILE))


def _annotated(options: Repair, out: Path) -> Path | None:
    """The list of the images that guide; None where they are to be annotated first, which is then said."""
    dataset = open_dataset(options.data, options.data.split, training=True)
    folder = out / "suggested"
    if all(dataset.is_annotated(index) for index in range(len(dataset))):
        console.print(f"all {len(dataset)} training images are annotated: nothing to suggest")
        return _listed(out, dataset.names)
    if not (folder / LIST).exists():
        suggest_images(
            Suggest(
                options.weights,
                str(folder),
                options.count,
                options.suggest,
                accelerator=options.hardware.accelerator,
                data=options.data,
                network=options.network,
            )
        )
        dataset = open_dataset(options.data, options.data.split, training=True)
    names = read_lines(folder / LIST, "list of suggested images")
    missing = list(_missing(dataset, names))
    if missing:
        console.print(_what_to_annotate(options.data, folder, missing, len(names)), highlight=False)
        return None
    known = [name for number, name in enumerate(dataset.names) if dataset.is_annotated(number)]
    return _listed(out, known)


def _missing(dataset: ImageDataset, names: list[str]) -> Iterator[str]:
    numbers = {name: number for number, name in enumerate(dataset.names)}
    for name in names:
        if name not in numbers:
            raise DataError(f"'{name}' of the list of suggested images is no training image; take its line away")
        if not dataset.is_annotated(numbers[name]):
            yield name


def _listed(out: Path, names: tuple[str, ...] | list[str]) -> Path:
    """The list of the images that guide, which stays what it is once they have."""
    path = out / ANNOTATED
    if (out / GUIDED).exists() and (count := len(read_lines(path, LISTED))) != len(names):
        raise ConfigError(
            f"{out}: expected the {count} annotated images that guided the network there, got {len(names)}; choose "
            "another --out to guide by these"
        )
    write_text(path, "".join(f"{name}\n" for name in names))
    return path


def _what_to_annotate(data: DataOptions, folder: Path, missing: list[str], total: int) -> str:
    """What to do next, in lines."""
    place = MASKS.get(layout_of(data), "where the other annotation is")
    return "\n".join(
        [
            f"{len(missing)} of {total} images are to be annotated, first '{missing[0]}': {folder / LIST} lists them, "
            f"{folder / SHEET} shows them.",
            f"Put a mask of each into {data.root}: {place} (0 background, 1 the first class, 255 unknown).",
            "Lines of images that you would rather leave out may be taken off the list.",
            "Then run the same command again: it goes on from here.",
        ]
    )


def _with_propagated(options: Repair, data: DataOptions, out: Path) -> DataOptions:
    """The data with probable masks of the images that are not annotated, where there are any."""
    dataset = open_dataset(data, data.split, training=True)
    if not options.propagate or all(dataset.is_annotated(index) for index in range(len(dataset))):
        return data
    folder = out / "propagated"
    if not (folder / SUMMARY).exists():
        accelerator = options.hardware.accelerator
        propagate(Propagate(str(folder), options.weights, accelerator=accelerator, data=data, network=options.network))
    return replace(data, propagated=str(folder))


def _report(options: Repair, before: Audited, after: Audited, done: Done, out: Path) -> Path:
    record = repair_record(before, after, done.annotated)
    settings = {"options": asdict(options), **environment()}
    write_json(out / "repair.json", {**record, **settings})
    page = out / "repair.html"
    text = yaml.safe_dump(settings, sort_keys=False)
    shown = partial(recorded_patches, open_dataset(options.data, options.data.val_split))
    sections = repair_sections(before, after, done, text, patch_cards(before, after, shown))
    write_page(page, "Repair", sections, subtitle=str(options.weights))
    console.print(repair_table(before, after))
    console.print(repair_answer(before, after))
    console.print(f"open {page}; the audits are {out / 'before' / 'audit.html'} and {out / 'after' / 'audit.html'}")
    return page
