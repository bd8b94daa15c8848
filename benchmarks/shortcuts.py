"""Would guidance save a network that falls for a shortcut? Every way to guide, beside its controls.

    .venv/bin/python benchmarks/shortcuts.py digits --out runs/shortcuts

Beds: `digits` (decoys: a grey corner that names the digit; needs the `bench` extra), `photographs` (each class on its
own kind of background, measured where it never is; an EfficientNet), `trunk` (the same with FCN8s' trunk and
classifier), `ordinary` (photographs without a shortcut: what does guidance cost?), `scenes` (made ones), `parts`
(objects with a faint part: does mining find it?). Those of photographs need the folder of photoscenes. Within a bed
every row has the same network, steps, images and, seed by seed, the same order of them; where a part of the masks is
used, each seed draws another part. Restartable: what is finished is skipped, and the table is written anew after every
run.
"""

import argparse
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from digits import write_decoy_digits
from filelock import FileLock
from made_scenes import write_made_scenes
from parts import write_parts
from photographs import write_biased_photographs, write_ordinary_photographs
from PIL import Image
from shortcut_tables import ON_MARK, SHOWN, differences, read, table

from wheretolook.attention.methods import attention_maps
from wheretolook.cli.evaluate import measure
from wheretolook.cli.propagate import propagate
from wheretolook.cli.suggest import suggest_images
from wheretolook.cli.train import train_classifier, train_gain
from wheretolook.data import open_dataset
from wheretolook.files import write_json, write_text
from wheretolook.networks.build import new_network
from wheretolook.networks.files import NETWORK_FILE, load_network, read_weights, save_network
from wheretolook.options.commands import Evaluate, Propagate, Suggest, SuggestRule, TrainClassifier, TrainGain
from wheretolook.options.data import DataOptions
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions

Options = TypeVar("Options")
PLAIN = {"mining.weight": 0.0, "segmentation.weight": 0.0, "freeze_classifier": False}


@dataclass(frozen=True)
class Bed:
    """A data set with a shortcut, and the network that falls for it."""

    write: Callable[[Path], None]
    network: NetworkOptions
    data: DataOptions
    training: TrainingOptions
    earlier: str  # a layer before the last
    weights: str | None = None
    hardware: HardwareOptions = field(default_factory=HardwareOptions)
    first: TrainingOptions | None = None  # of an added classifier, on a frozen trunk, whose features it finds near 1


@dataclass(frozen=True)
class Row:
    """One way to train: what it changes of the objective, the data and the network, by dotted names."""

    objective: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


EFFICIENTNET = NetworkOptions(name="shortcut_networks:efficientnet", input_size=(128, 128))
BRIEFLY = TrainingOptions(steps=150, optimiser="adamw", learning_rate=3e-4, validate_every=150)
PICTURES = DataOptions(val_split="tune", held_out=["test"], batch_size=16)
BEDS = {
    "digits": Bed(
        write_decoy_digits,
        NetworkOptions(name="shortcut_networks:digits", input_size=(28, 28)),
        DataOptions(val_split="tune", held_out=["test"], batch_size=64, flip=False, colour=0.0),
        TrainingOptions(steps=800, optimiser="adamw", learning_rate=1e-3, validate_every=800),
        "0.1",
    ),
    "photographs": Bed(write_biased_photographs, EFFICIENTNET, PICTURES, BRIEFLY, "blocks.4"),
    "trunk": Bed(
        write_biased_photographs,
        NetworkOptions(name="fcn8s", segmenter_width=64, classifier_widths=(256, 256), classifier_dropout=0.1),
        PICTURES,
        TrainingOptions(
            steps=150,
            optimiser="adamw",
            learning_rate=1e-3,
            trunk_learning_rate=1e-4,
            weight_decay=1e-4,
            clip=5.0,
            validate_every=150,
        ),
        "",
        "../shared/weights/vgg16_conv_caffe.npz",
        HardwareOptions(precision="bf16-mixed"),
        TrainingOptions(steps=400, optimiser="adamw", learning_rate=1e-3, validate_every=400),
    ),
    "ordinary": Bed(write_ordinary_photographs, EFFICIENTNET, PICTURES, BRIEFLY, "blocks.4"),
    "scenes": Bed(
        write_made_scenes,
        NetworkOptions(name="shortcut_networks:small", input_size=(64, 64)),
        DataOptions(val_split="tune", held_out=["test"], batch_size=32),
        TrainingOptions(steps=400, optimiser="adamw", learning_rate=2e-3, validate_every=400),
        "2",
    ),
    "parts": Bed(
        write_parts,
        NetworkOptions(name="shortcut_networks:fine", input_size=(64, 64)),
        DataOptions(val_split="tune", held_out=["test"], batch_size=32, colour=0.0, flip=False),
        TrainingOptions(steps=400, optimiser="adamw", learning_rate=2e-3, validate_every=400),
        "2",
    ),
}

ENERGY, SOFTMAX, MIXED = {"energy.weight": 4.0}, {"softmax_energy.weight": 4.0}, {"mixed_background.weight": 1.0}
GRADIENTS = {"input_gradients.weight": 0.1}
SHARE = {"input_gradients.weight": 4.0, "input_gradients.share": "share"}
MINING = {"mining.weight": 1.0}
THROUGH_MAPS = {**MINING, "mining.updates": "attention"}
DIFFERENTIATED = {**THROUGH_MAPS, "mining.extremes": "differentiated"}
EARLIER = "earlier"  # stands for the bed's own layer
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
    "squared": Row({"squared.weight": 4.0}),
    "squared, extremes differentiated": Row({"squared.weight": 4.0, "squared.extremes": "differentiated"}),
    "L1": Row({"l1.weight": 4.0}),
    "cross-entropy": Row({"cross_entropy.weight": 4.0}),
    "RES": Row({"res.weight": 4.0}),
    "input gradients": Row(GRADIENTS),
    "input gradients, share": Row(SHARE),
    "robust gradients, share": Row({"robust_gradients.weight": 4.0, "robust_gradients.share": "share"}),
    "mixed background": Row(MIXED),
    "softmax energy + mixed background": Row({**SOFTMAX, **MIXED}),
    "softmax energy, weight 1, + mixed background": Row({"softmax_energy.weight": 1.0, **MIXED}),
    "energy + mixed background": Row({**ENERGY, **MIXED}),
    "energy, earlier layer": Row(ENERGY, network={"layer": EARLIER}),
    "softmax energy, earlier layer": Row(SOFTMAX, network={"layer": EARLIER}),
    "energy, HiResCAM": Row(ENERGY, network={"attention": "hires_cam"}),
    "energy, LayerCAM": Row(ENERGY, network={"attention": "layer_cam"}),
    "energy, zones to avoid": Row(ENERGY, {"annotations": "none", "avoid_zones": "avoid"}),
    "input gradients, zones to avoid": Row(GRADIENTS, {"annotations": "none", "avoid_zones": "avoid"}),
    **{
        f"{name}, {fraction:.0%} of masks": Row(objective, {"annotated_fraction": fraction})
        for name, objective in CLOSELY.items()
        for fraction in (0.01, 0.05, 0.2)
    },
    **{
        f"{name}, {fraction:.0%} of masks and those propagated": Row(
            objective, {"annotated_fraction": fraction, "propagated": "propagated"}
        )
        for name, objective in CLOSELY.items()
        for fraction in (0.01, 0.05, 0.2)
    },
    **{
        f"mixed background, {count} masks chosen by {rule} and those propagated": Row(
            MIXED, {"suggested": (rule, count), "propagated": "propagated"}
        )
        for rule in ("confident_elsewhere", "diverse", "random")
        for count in (8, 18, 70)
    },
    **{f"{name}, boxes": Row(objective, {"annotations": "boxes"}) for name, objective in CLOSELY.items()},
    **{f"{name}, random masks": Row(objective, {"root": "random"}) for name, objective in CLOSELY.items()},
    "mining": Row(MINING),
    "mining, attention path": Row(THROUGH_MAPS),
    "mining, blurred": Row({**MINING, "mining.erase": "blur"}),
    "mining, other images": Row({**MINING, "mining.erase": "shuffle"}),
    "mining, sure classes": Row({**MINING, "mining.least_score": 0.5}),
    "mining 4, attention path": Row({**THROUGH_MAPS, "mining.weight": 4.0}),
    "mining, attention path, extremes differentiated": Row(DIFFERENTIATED),
    "mining, attention path, half size": Row({**THROUGH_MAPS, "mining.half_size": True}),
    "mining, attention path, extremes differentiated, half size": Row({**DIFFERENTIATED, "mining.half_size": True}),
    "mining, other images, attention path": Row({**THROUGH_MAPS, "mining.erase": "shuffle"}),
    "mining, other images, half size": Row({**MINING, "mining.erase": "shuffle", "mining.half_size": True}),
    "mining 4, other images": Row({"mining.weight": 4.0, "mining.erase": "shuffle"}),
}


class Task(NamedTuple):
    """One row with one seed."""

    bed: str
    row: str
    seed: int
    out: Path
    split: str


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bed", choices=list(BEDS))
    parser.add_argument("--out", type=Path, default=Path("runs/shortcuts"))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="measure on the split to tune on")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time, each in a process of its own")
    arguments = parser.parse_args()
    bed, out, split = BEDS[arguments.bed], arguments.out / arguments.bed, "tune" if arguments.tune else "test"
    bed.write(out / "data")
    write_random_masks(out / "data", out / "random")
    rows = [row for row in arguments.rows if applies(ROWS[row], bed, out / "data")]
    tasks = [Task(arguments.bed, row, seed, out, split) for seed in range(arguments.seeds) for row in rows]
    for _ in done(run, tasks, arguments.jobs):
        found = read(out / "rows", split, list(ROWS))
        write_text(out / f"{split}.md", f"{table(found)}\n{differences(found)}")
    print(table(read(out / "rows", split, list(ROWS))))


def applies(row: Row, bed: Bed, data: Path) -> bool:
    """Whether a bed has what a row takes: zones to avoid, a layer before the last."""
    return ("avoid_zones" not in row.data or (data / "avoid").is_dir()) and (
        row.network.get("layer") != EARLIER or bool(bed.earlier)
    )


def done(work: Callable[[Task], None], tasks: Sequence[Task], jobs: int) -> Iterator[None]:
    """Do all tasks, that many at a time; gives one None for each that is done."""
    if jobs == 1:
        yield from map(work, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, torch.set_num_threads, (1,)) as pool:
        yield from pool.imap_unordered(work, tasks)


def run(task: Task) -> None:
    """Train a row from a seed and measure it, unless that is done."""
    out = task.out / "rows" / task.row / str(task.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{out}.lock"):  # others wait for a network that suggests them images
        if not (out / f"{task.split}.json").exists():
            train_and_measure(task, out)


def train_and_measure(task: Task, out: Path) -> None:
    """Leave network, figures and what the table needs in a folder."""
    bed, row = BEDS[task.bed], ROWS[task.row]
    changes = {name: value for name, value in row.data.items() if name not in ("root", "propagated", "suggested")}
    root = task.out / ("random" if row.data.get("root") == "random" else "data")
    data = changed(replace(bed.data, root=str(root), annotated_seed=task.seed), changes)
    network = changed(
        bed.network, {name: bed.earlier if value == EARLIER else value for name, value in row.network.items()}
    )
    part = str(data.annotated_fraction)
    if "suggested" in row.data:
        data = replace(data, annotated=str(suggested(task, *row.data["suggested"])))
        part = "_".join(map(str, row.data["suggested"]))
    if "propagated" in row.data:
        masks = task.out / f"propagated_{part}_{task.seed}"
        with FileLock(f"{masks}.lock"):
            if not masks.exists():
                propagate(Propagate(str(masks), bed.weights, data=data, network=bed.network))
        data = replace(data, propagated=str(masks))
    objective = changed(ObjectiveOptions(), {**PLAIN, **row.objective})
    training = replace(bed.training, seed=task.seed)
    train_gain(TrainGain(started(task), str(out), True, data, network, objective, training, bed.hardware))
    measured = replace(bed.data, root=str(task.out / "data"), split=task.split, batch_size=64)
    dataset = open_dataset(measured, task.split)
    options = Evaluate([str(out)], None, str(out / "figures"), "auto", measured, network)
    figures = measure(options, dataset, say_classes=False)[0]
    found = {key: figures[key] for key in SHOWN}
    found[ON_MARK] = energy_on_marks(out, network, dataset, task.out / "data" / "avoid")
    write_json(out / f"{task.split}.json", found)


def started(task: Task) -> str | None:
    """What all rows of a seed start from: the bed's weights, with a classifier trained on them where it says so."""
    bed, out = BEDS[task.bed], task.out / f"classifier_{task.seed}"
    if bed.first is None:
        return bed.weights
    with FileLock(f"{out}.lock"):
        if not (out / NETWORK_FILE).exists():
            data, training = replace(bed.data, root=str(task.out / "data")), replace(bed.first, seed=task.seed)
            weights = str(with_features_near_one(str(bed.weights), bed, data, task.out / "trunk.safetensors"))
            first = TrainClassifier(weights, str(out), False, True, data, bed.network, training, bed.hardware)
            train_classifier(first)
    return str(out)


def with_features_near_one(weights: str, bed: Bed, data: DataOptions, path: Path) -> Path:
    """A trunk with its last convolution divided by the root mean square of its features, and nothing else new.

    Those of a trunk as Caffe trained it have one of 15, in which a fresh classifier starts with a loss of 30 and learns
    next to nothing.
    """
    dataset = open_dataset(data, data.split)
    network = new_network(bed.network, dataset.class_names, read_weights(Path(weights)), seed=0)
    images = torch.stack([dataset[index].image for index in range(64)])
    with torch.no_grad():
        features = network(network.preprocessing(images), segment=False).features
        pooled = F.max_pool2d(features, 2, 2, ceil_mode=True).mean(dim=(2, 3))
        for parameter in network.get_submodule("trunk.conv5_3").parameters():
            parameter.div_(pooled.square().mean().sqrt())
    save_network(network, path)
    return path


def suggested(task: Task, rule: SuggestRule, count: int) -> Path:
    """The list of images that a network which nobody guided suggests to annotate."""
    bed, out = BEDS[task.bed], task.out / f"suggested_{rule}_{count}_{task.seed}"
    with FileLock(f"{out}.lock"):
        if not out.exists():
            run(task._replace(row="no guidance"))
            data = replace(bed.data, root=str(task.out / "data"), annotated_fraction=0.0)
            network = str(task.out / "rows" / "no guidance" / str(task.seed))
            suggest_images(Suggest(network, str(out), count, rule, task.seed, data=data, network=bed.network))
    return out / "suggested.txt"


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


if __name__ == "__main__":
    main()
