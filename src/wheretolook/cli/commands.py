"""What each command does, from options to objects: one function a command, called once the options are checked."""

import json
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn, track

from wheretolook.data import ImageDataset, describe_classes, open_dataset
from wheretolook.data.loading import ImageData, evaluation_loader
from wheretolook.errors import ConfigError, DataError
from wheretolook.evaluation.evaluate import Figures, evaluate
from wheretolook.evaluation.explain import explain
from wheretolook.files import remove, write_json, write_text
from wheretolook.networks.build import classifying, network_for, new_network
from wheretolook.networks.fcn.network import Padding
from wheretolook.networks.files import load_network, read_weights, save_network
from wheretolook.networks.weights import Weights
from wheretolook.options.commands import Evaluate, Recipe, TrainClassifier, TrainGain, TrainSegmenter, Visualize
from wheretolook.options.data import DataOptions
from wheretolook.public import PUBLIC_FILES, fetch
from wheretolook.records import CAFFE, FCN_AUTHORS, TORCHVISION, Batch
from wheretolook.report.curves import loss_curves, read_history, summary_picture
from wheretolook.report.panels import Comparison, choose, comparison_picture, contact_sheet
from wheretolook.report.tables import class_markdown, class_table, results_markdown, results_table
from wheretolook.runs.folder import (
    HISTORY_FILE,
    environment,
    is_finished,
    is_main_process,
    locked,
    write_or_match_options,
)
from wheretolook.runs.trainer import run_stage
from wheretolook.training.optimiser import check_budget
from wheretolook.training.stage import Stage

# a file or a pipe has no width to keep to, and a table wrapped in it cannot be read by a program
console = Console(width=None if sys.stdout.isatty() else 1000)
log = logging.getLogger("wheretolook")
PREPROCESSINGS = {"caffe": CAFFE, "fcn_authors": FCN_AUTHORS, "torchvision": TORCHVISION}
PICTURES_FILE = "pictures.json"
UNSAFE = re.compile(r"[^\w.-]")  # in a file's name


def train_segmenter(options: TrainSegmenter) -> Path:
    """Stage 0; returns the finished network's path."""
    data = _data(options)
    start = None if options.weights is None else read_weights(Path(options.weights))
    network = new_network(options.network, data.class_names, start, options.training.seed)
    return _train(Stage.segmenter(network, options.training), data, options, start, "Segmenter")


def train_classifier(options: TrainClassifier) -> Path:
    """Stage 1; returns the finished network's path."""
    data = _data(options)
    start = read_weights(Path(options.weights))
    network = network_for(start, data.class_names, seed=options.training.seed)
    if options.fresh:
        network.reset_classifier(options.training.seed)
    return _train(Stage.classifier(network, options.training), data, options, start, "Classifier")


def train_gain(options: TrainGain) -> Path:
    """Stage 2; returns the finished network's path."""
    data = _data(options)
    start = read_weights(Path(options.weights))
    network = classifying(network_for(start, data.class_names, seed=options.training.seed), start)
    return _train(
        Stage.guidance(network, options.training, options.objective), data, options, start, "Guided attention"
    )


def evaluate_networks(options: Evaluate) -> list[Figures]:
    """Measure networks on one split; print the tables and write metrics.json and metrics.md."""
    if options.names is not None and len(options.names) != len(options.weights):
        raise ConfigError(f"expected {len(options.weights)} names, one for each --weights, got {len(options.names)}")
    dataset = open_dataset(options.data, options.data.split)
    files = [read_weights(Path(weights)) for weights in options.weights]  # all, before the slow part
    networks = [classifying(network_for(file, dataset.class_names), file) for file in files]
    console.print(describe_classes(dataset))
    rows: list[Figures] = []
    for name, network in zip(options.names or options.weights, networks, strict=True):
        network.to(_device(options.accelerator))
        rows.append({"weights": name, **evaluate(network, _shown(dataset, options.data, name))})
        network.cpu()
    _report(rows, dataset.class_names, Path(options.out))
    write_json(Path(options.out) / "evaluation.json", {"options": asdict(options), **environment()})
    return rows


def visualize(options: Visualize) -> Path:
    """Draw chosen comparisons, one PNG each, their list, and one contact sheet, whose path is returned."""
    check_count(options.count)
    dataset, out = open_dataset(options.data, options.data.split), Path(options.out)
    device = _device(options.accelerator)
    files = [read_weights(Path(path)) for path in (options.before, options.after)]
    before, after = (classifying(network_for(file, dataset.class_names), file).to(device) for file in files)
    first = explain(before, _shown(dataset, options.data, "before and after"))
    second = explain(after, evaluation_loader(dataset, options.data.batch_size, options.data.workers))
    pairs = (Comparison(*both) for both in zip(first, second, strict=True))
    chosen = choose(pairs, options.rule, options.count, options.seed)
    if not chosen:
        raise DataError(f"{options.data.split}: expected an image with a mask or boxes to draw, got none")
    remove(path for path in _drawn_before(out) if path.is_file())
    rows = [_row(number, comparison, dataset.class_names) for number, comparison in enumerate(chosen, start=1)]
    write_json(out / PICTURES_FILE, rows)  # first, so that pictures of a call that is cut off are known as well
    for row, comparison in zip(rows, chosen, strict=True):
        comparison_picture(comparison, dataset.class_names, out / str(row["picture"]))
    rule = options.rule.replace("_", " ") + (f", seed {options.seed}" if options.rule == "random" else "")
    sheet = out / "contact_sheet.png"
    contact_sheet(chosen, dataset.class_names, sheet, rule=rule)
    console.print(f"{len(chosen)} comparisons and {sheet}")
    return sheet


def _row(number: int, comparison: Comparison, class_names: tuple[str, ...]) -> dict[str, object]:
    """What the list of pictures says of one of them."""
    before, name = comparison.before, class_names[comparison.before.class_index]
    picture = re.sub(UNSAFE, "_", f"{number:02d}_{Path(before.name).name}_{name}") + ".png"
    energies = {"energy_before": before.energy_inside, "energy_after": comparison.after.energy_inside}
    return {"picture": picture, "image": before.name, "class": name, **energies}


def _drawn_before(out: Path) -> list[Path]:
    """The pictures that an earlier call has listed: its own, and no one else's."""
    try:
        rows = json.loads((out / PICTURES_FILE).read_text(encoding="utf-8"))
        return [out / Path(row["picture"]).name for row in rows]
    except (OSError, ValueError, TypeError, KeyError):  # no list, or not ours: then nothing in it is ours either
        return []


def check_count(pictures: int) -> None:
    """Make sure that there is a picture to draw.

    Raises:
        ConfigError: fewer than one.
    """
    if pictures < 1:
        raise ConfigError(f"expected at least 1 picture, got {pictures}")


def run_recipe(recipe: Recipe) -> list[Figures]:
    """All stages, the control, the table and the pictures; skips what is done, goes on with what was cut off.

    Where several processes train, one of them measures and draws; the others return no figures.
    """
    check_count(recipe.pictures)
    recipe = with_test_held_out(recipe)
    out, test = Path(recipe.out), replace(recipe.data, split=recipe.test_split)
    open_dataset(test, test.split)  # what is wrong with it shows before the training, not after
    original = stages_before_guidance(recipe, out)
    runs = {"Original": original}
    for name, objective in (("control", recipe.control), ("guided", recipe.guided)):
        if objective is not None:
            options = TrainGain(
                str(original), str(out / name), True, recipe.data, objective, recipe.gain, recipe.hardware
            )
            runs[name.capitalize()] = train_gain(options)
    if not is_main_process():
        return []
    weights = [str(path) for path in runs.values()]
    report = out / "report"
    accelerator = recipe.hardware.accelerator
    rows = evaluate_networks(Evaluate(weights, list(runs), str(report), accelerator, test))
    before, after = weights[0], weights[-1]
    pictures = Visualize(before, after, str(report), count=recipe.pictures, accelerator=accelerator, data=test)
    summary_picture(rows, report / "summary.png")
    sheet = visualize(pictures)
    console.print(f"open {sheet} (pictures), {report / 'summary.png'}, and {out}/*/curves.png")
    return rows


def with_test_held_out(recipe: Recipe) -> Recipe:
    """The recipe with its test split kept out of training: the table must not be of images that SBD brought in."""
    return replace(recipe, data=replace(recipe.data, held_out=[*recipe.data.held_out, recipe.test_split]))


def stages_before_guidance(recipe: Recipe, out: Path) -> Path:
    """Stages 0 and 1 of a recipe, unless they are done; returns what stage 2 starts from: the table's Original.

    Raises:
        ConfigError: the recipe has neither weights nor a segmenter stage.
    """
    weights = recipe.weights
    if recipe.segmenter is not None:
        folder = str(out / "segmenter")
        options = TrainSegmenter(weights, folder, True, recipe.data, recipe.network, recipe.segmenter, recipe.hardware)
        weights = str(train_segmenter(options))
    if weights is None:
        raise ConfigError("expected weights or a segmenter stage, got neither; give one of them in the recipe")
    folder = str(out / "classifier")
    return train_classifier(
        TrainClassifier(weights, folder, False, True, recipe.data, recipe.classifier, recipe.hardware)
    )


def convert(
    source: Path,
    target: Path,
    class_names: Sequence[str] | None = None,
    padding: Padding | None = None,
    preprocessing: str | None = None,
) -> None:
    """Write a network in another format, or with another padding or preprocessing than its file is known by."""
    names = tuple(class_names) if class_names else None
    space = None if preprocessing is None else PREPROCESSINGS[preprocessing]
    save_network(load_network(source, class_names=names, padding=padding, preprocessing=space), target)
    console.print(f"wrote {target}")


def fetch_public(name: str, folder: Path) -> None:
    """Fetch a public file, with progress and checksum."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        path = fetch(name, folder, progress=lambda done, total: bar.update(task, completed=done, total=total))
    console.print(f"{path} is there and has the published checksum{PUBLIC_FILES[name].hint}")


def _data(options: TrainSegmenter | TrainClassifier | TrainGain) -> ImageData:
    training = options.training
    check_budget(training)  # before a network is made from its seed
    return ImageData(options.data, steps=training.steps, accumulate=training.accumulate, seed=training.seed)


def _train(
    stage: Stage,
    data: ImageData,
    options: TrainSegmenter | TrainClassifier | TrainGain,
    start: Weights | None,
    title: str,
) -> Path:
    out = Path(options.out)
    _require_data(stage, data)
    if is_main_process():
        console.print(described(options.data, data))
    curves, record = out / "curves.png", {"options": asdict(options)}
    skipped = is_finished(out) and options.resume
    with nullcontext() if skipped else locked(out):
        digest = None if start is None else start.digest()
        write_or_match_options(out, options, resume=options.resume, weights_sha256=digest)
        if not skipped:
            if is_main_process():
                console.print(describe_classes(data.train_set))
            run_stage(stage, data, out, hardware=options.hardware, resume=options.resume, record=record)
        elif is_main_process():
            console.print(f"{out} is finished: skipped")
    if is_main_process() and not (skipped and curves.exists()):
        loss_curves(read_history(out / HISTORY_FILE), curves, title=title)
        console.print(f"{out} is finished; its losses are drawn in {curves}")
    return out


def described(config: DataOptions, data: ImageData) -> str:
    """What a stage trains on, in one line, so that a forgotten root or list of classes shows at once."""
    source = config.root or "made scenes (no --data.root)"
    names = ", ".join(data.class_names[:6]) + (", ..." if len(data.class_names) > 6 else "")
    counts = f"{len(data.train_set)} images to train on, {len(data.val_set)} to validate on"
    return f"{source}: {counts}; {len(data.class_names)} classes: {names}"


def _require_data(stage: Stage, data: ImageData) -> None:
    """A loss without an image to act on would train nothing and say so nowhere."""
    if "masks" in stage.needs and not data.train_set.has_masks:
        raise ConfigError(
            f"expected images with masks in the split {data.config.split}, for the segmentation loss, got none; "
            "add masks, name their images in the split, or (train-gain) weigh that loss 0"
        )
    if "annotations" in stage.needs and not data.train_set.has_annotations:
        raise ConfigError(
            f"expected images with masks or boxes in the split {data.config.split}, for a loss on maps, got none; "
            "add some, name their images in the split, or weigh that loss 0"
        )


def _shown(dataset: ImageDataset, config: DataOptions, what: str) -> Iterable[Batch]:
    loader = evaluation_loader(dataset, config.batch_size, config.workers)
    return track(loader, what, console=console, transient=True)


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device="cuda" if accelerator == "gpu" else accelerator).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"accelerator {accelerator} is not there on this machine; give cpu or auto") from error


def _report(rows: Sequence[Figures], class_names: tuple[str, ...], out: Path) -> None:
    write_json(out / "metrics.json", rows)
    tables = (results_markdown(rows), class_markdown(rows, class_names))
    write_text(out / "metrics.md", "\n".join(table for table in tables if table))
    console.print(*filter(None, (results_table(rows), class_table(rows, class_names))))
    console.print(f"figures in {out / 'metrics.json'} and {out / 'metrics.md'}")
