"""Would guidance save a network that falls for a shortcut? Every way to guide, beside its controls.

    .venv/bin/python benchmarks/shortcuts.py digits --out runs/shortcuts

Beds: `digits` (decoys: a grey corner that names the digit; needs the `bench` extra) and `photographs` (each class on
its own kind of background, measured where it never is; needs the folder of photoscenes). Within a bed every row has the
same network, steps, images and, seed by seed, the same order of them. Restartable: what is finished is skipped, and the
table is written anew after every run.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from digits import write_decoy_digits
from photographs import write_biased_photographs
from PIL import Image

from wheretolook.attention.methods import attention_maps
from wheretolook.cli.evaluate import measure
from wheretolook.cli.propagate import propagate
from wheretolook.cli.train import train_gain
from wheretolook.data import open_dataset
from wheretolook.files import write_json, write_text
from wheretolook.metrics.figures import FIGURES
from wheretolook.networks.files import load_network
from wheretolook.options.commands import Evaluate, Propagate, TrainGain
from wheretolook.options.data import DataOptions
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions

SHOWN = ("image_accuracy", "worst_class_accuracy", "energy_pointing", "attention_iou", "empty_maps")
ON_MARK = "energy on the mark"
Options = TypeVar("Options")
PLAIN = {"mining.weight": 0.0, "freeze_classifier": False}


@dataclass(frozen=True)
class Bed:
    """A data set with a shortcut, and the network that falls for it."""

    write: Callable[[Path], None]
    network: NetworkOptions
    data: DataOptions
    training: TrainingOptions
    tune: str
    test: str


@dataclass(frozen=True)
class Row:
    """One way to train: what it changes of the objective, the data and the network, by dotted names."""

    objective: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


BEDS = {
    "digits": Bed(
        write_decoy_digits,
        NetworkOptions(name="shortcut_networks:digits", input_size=(28, 28)),
        DataOptions(val_split="tune", held_out=["test"], batch_size=64, flip=False, colour=0.0),
        TrainingOptions(steps=800, optimiser="adamw", learning_rate=1e-3, validate_every=800),
        "tune",
        "test",
    ),
    "photographs": Bed(
        write_biased_photographs,
        NetworkOptions(name="shortcut_networks:efficientnet", input_size=(128, 128)),
        DataOptions(val_split="tune", held_out=["test"], batch_size=16),
        TrainingOptions(steps=150, optimiser="adamw", learning_rate=3e-4, validate_every=150),
        "tune",
        "test",
    ),
}

ENERGY, SOFTMAX, MIXED = {"energy.weight": 4.0}, {"softmax_energy.weight": 4.0}, {"mixed_background.weight": 1.0}
GRADIENTS = {"input_gradients.weight": 0.1}
SHARE = {"input_gradients.weight": 4.0, "input_gradients.share": "share"}
# those that are looked at closely: with few masks, with boxes, and with masks that say nothing
CLOSELY = {
    "energy": ENERGY,
    "softmax energy": SOFTMAX,
    "input gradients": GRADIENTS,
    "mixed background": MIXED,
}
ROWS = {
    "no guidance": Row(),
    "energy": Row(ENERGY),
    "softmax energy": Row(SOFTMAX),
    "RRR on maps": Row({"rrr_maps.weight": 4.0}),
    "size-fair energy": Row({"size_fair_energy.weight": 4.0}),
    "mining": Row({"mining.weight": 1.0}),
    "input gradients": Row(GRADIENTS),
    "input gradients, share": Row(SHARE),
    "robust gradients, share": Row({"robust_gradients.weight": 4.0, "robust_gradients.share": "share"}),
    "mixed background": Row(MIXED),
    "softmax energy + mixed background": Row({**SOFTMAX, **MIXED}),
    "energy + mixed background": Row({**ENERGY, **MIXED}),
    **{
        f"{name}, {fraction:.0%} of masks": Row(objective, {"annotated_fraction": fraction})
        for name, objective in CLOSELY.items()
        for fraction in (0.01, 0.05, 0.2)
    },
    "mixed background, 5% of masks and those propagated": Row(
        MIXED, {"annotated_fraction": 0.05, "propagated": "propagated"}
    ),
    "softmax energy, 5% of masks and those propagated": Row(
        SOFTMAX, {"annotated_fraction": 0.05, "propagated": "propagated"}
    ),
    **{f"{name}, boxes": Row(objective, {"annotations": "boxes"}) for name, objective in CLOSELY.items()},
    **{f"{name}, random masks": Row(objective, {"root": "random"}) for name, objective in CLOSELY.items()},
}


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bed", choices=list(BEDS))
    parser.add_argument("--out", type=Path, default=Path("runs/shortcuts"))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="measure on the split to tune on")
    arguments = parser.parse_args()
    bed, out = BEDS[arguments.bed], arguments.out / arguments.bed
    roots = {"true": out / "data", "random": out / "random"}
    bed.write(roots["true"])
    write_random_masks(roots["true"], roots["random"])
    split = bed.tune if arguments.tune else bed.test
    for seed in range(arguments.seeds):
        for name in arguments.rows:
            run(bed, ROWS[name], seed, out / "rows" / name / str(seed), roots, split)
            write_text(out / f"{split}.md", table(out / "rows", split))
    print(table(out / "rows", split))


def run(bed: Bed, row: Row, seed: int, out: Path, roots: Mapping[str, Path], split: str) -> None:
    """Train a row from a seed and measure it, unless that is done."""
    if (out / f"{split}.json").exists():
        return
    changes = {name: value for name, value in row.data.items() if name not in ("root", "propagated")}
    data = changed(replace(bed.data, root=str(roots[row.data.get("root", "true")])), changes)
    network = changed(bed.network, row.network)
    if "propagated" in row.data:
        masks = roots["true"].parent / f"propagated_{data.annotated_fraction}"
        if not masks.exists():
            propagate(Propagate(str(masks), accelerator="cpu", data=data, network=network))
        data = replace(data, propagated=str(masks))
    objective = changed(ObjectiveOptions(), {**PLAIN, **row.objective})
    training = replace(bed.training, seed=seed)
    train_gain(TrainGain(None, str(out), True, data, network, objective, training))
    measured = replace(bed.data, root=str(roots["true"]), split=split, batch_size=64)
    dataset = open_dataset(measured, split)
    options = Evaluate([str(out)], None, str(out / "figures"), "cpu", measured, network)
    figures = measure(options, dataset, say_classes=False)[0]
    found = {key: figures[key] for key in SHOWN}
    found[ON_MARK] = energy_on_marks(out, network, dataset, roots["true"] / "avoid")
    write_json(out / f"{split}.json", found)


def changed(options: Options, changes: Mapping[str, Any]) -> Options:
    """Options with others by their dotted names."""
    for name, value in changes.items():
        group, dot, inner = name.partition(".")
        new = replace(getattr(options, group), **{inner: value}) if dot else value
        options = replace(options, **{group: new})  # type: ignore[type-var]
    return options


def energy_on_marks(run: Path, network: NetworkOptions, dataset: Any, marks: Path) -> float | None:
    """The share of each image's attention that lies on its mark, the mean over images with any; None without marks."""
    if not marks.is_dir():
        return None
    guided = load_network(run, network=network.name)
    guided.eval()
    shares = []
    for index, name in enumerate(dataset.names):
        sample = dataset[index]
        where = torch.from_numpy(np.asarray(Image.open(marks / f"{name}.png")) > 0)
        output = guided(guided.preprocessing(sample.image[None]))
        attention = attention_maps(output, [int(sample.labels.int().argmax())], size=sample.mask.shape)[0, 0]
        if attention.sum() > 0:
            shares.append(float((attention * where).sum() / attention.sum()))
    return statistics.fmean(shares) if shares else None


def write_random_masks(source: Path, target: Path) -> None:
    """A copy of a bed whose training images have each other's masks, moved at random, in the value of their own class.

    Moved around the edges: masks of objects in the middle would still say that corners do not matter.
    """
    if target.exists():
        return
    names = (source / "splits" / "train.txt").read_text().split()
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.name != "masks":
            (target / path.name).symlink_to(path.resolve())
    (target / "masks").mkdir()
    random = np.random.default_rng(0)
    for name, other in zip(names, random.permutation(names), strict=True):
        own, given = (np.asarray(Image.open(source / "masks" / f"{one}.png")) for one in (name, other))
        given = np.roll(given, random.integers(0, given.shape), (0, 1))
        value = own[(own > 0) & (own < 255)].max()
        Image.fromarray(np.where((given > 0) & (given < 255), value, given)).save(target / "masks" / f"{name}.png")
    for path in (source / "masks").iterdir():
        if not (target / "masks" / path.name).exists():
            (target / "masks" / path.name).symlink_to(path.resolve())


def table(rows: Path, split: str) -> str:
    """Mean and spread of every row that has been measured, in percent."""
    headings = [FIGURES[key].heading for key in SHOWN] + [ON_MARK.capitalize()]
    lines = ["| row | seeds | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    for name in ROWS:
        found = [json.loads(path.read_text()) for path in sorted((rows / name).glob(f"*/{split}.json"))]
        if found:
            cells = [spread([one[key] for one in found]) for key in (*SHOWN, ON_MARK)]
            lines.append(f"| {name} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def spread(values: list[float | None]) -> str:
    """Mean and standard deviation in percent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.fmean(known):.1f}" + (f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else "")


if __name__ == "__main__":
    main()
