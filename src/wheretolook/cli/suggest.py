"""The command `suggest`: which images to annotate next, as a list, with reasons, and as pictures."""

import csv
import textwrap
from pathlib import Path

import numpy as np

from wheretolook.cli.console import console, device_of, say_attention, shown_batches
from wheretolook.data import ImageDataset, open_dataset
from wheretolook.evaluation.explain import explain
from wheretolook.evaluation.suggest import Suggestion, suggest
from wheretolook.files import replacing, require_writable, user_path, write_text
from wheretolook.networks.build import classifying, given_network
from wheretolook.networks.files import read_weights
from wheretolook.options.commands import Suggest
from wheretolook.records import GuidedNetwork, collate
from wheretolook.report.overlay import overlay
from wheretolook.report.sheet import SheetCell, end_of, picture_sheet
from wheretolook.training.denormals import flushed_denormals

LIST, REASONS, SHEET = "suggested.txt", "suggested.csv", "suggested.png"
COLUMNS, SIDE, LETTERS = 5, 1.9, 42  # of the sheet: pictures a row, inches of one, letters of a line below it


def suggest_images(options: Suggest) -> list[Suggestion]:
    """Suggest images and write them down."""
    dataset = open_dataset(options.data, options.data.split, training=True)
    device = device_of(options.accelerator)
    weights = None if options.weights is None else read_weights(user_path(options.weights))
    network = given_network(options.network, dataset.class_names, weights).to(device)
    if weights is not None:
        classifying(network, weights)
    out = user_path(options.out)
    require_writable(out)
    say_attention({str(options.weights or options.network.name): network})
    with flushed_denormals():
        batches = shown_batches(dataset, options.data, "images")
        found = suggest(network, dataset, options.count, options.rule, options.seed, batches=batches)
        cells = [_cell(network, dataset, suggestion) for suggestion in found]
    rule = options.rule.replace("_", " ")
    about = f"{rule}, {len(found)} of {len(dataset)} images; attention, with lines at 20 % and 50 % of its maximum"
    _write_reasons(out / REASONS, found, dataset.class_names)
    picture_sheet(cells, out / SHEET, title="Annotate next", about=about, columns=COLUMNS, side=SIDE)
    write_text(out / LIST, "".join(f"{suggestion.name}\n" for suggestion in found))  # last: a repair goes on from it
    console.print(f"{len(found)} images: {out / LIST}, with reasons in {REASONS} and pictures in {SHEET}")
    console.print(f"once annotated: --data.annotated {out / LIST} guides by these alone")
    return found


def _cell(network: GuidedNetwork, dataset: ImageDataset, suggestion: Suggestion) -> SheetCell:
    """A picture with the attention for the class, and the reason below it."""
    explanations = explain(network, [collate([dataset[suggestion.number]])], only_annotated=False)
    shown = next(one for one in explanations if one.class_index == suggestion.class_index)
    pixels = np.asarray(overlay(shown.image, shown.attention)) / 255
    return SheetCell(pixels, [end_of(suggestion.name, LETTERS), *textwrap.wrap(suggestion.reason, LETTERS)])


def _write_reasons(path: Path, found: list[Suggestion], class_names: tuple[str, ...]) -> None:
    rows = [
        (number, one.name, class_names[one.class_index], f"{one.score:.4f}", one.reason)
        for number, one in enumerate(found, start=1)
    ]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("rank", "image", "class", "score", "reason"), *rows])
