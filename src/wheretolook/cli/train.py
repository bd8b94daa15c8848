"""The commands `train-segmenter`, `train-classifier` and `train-gain`: a stage in its folder."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from wheretolook.cli.console import console, say_attention
from wheretolook.cli.typed import typed_command
from wheretolook.data import describe_classes
from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError
from wheretolook.files import user_path
from wheretolook.losses.objective import for_network, loss_weights
from wheretolook.networks.build import given_network, new_network, warn_untrained
from wheretolook.networks.files import read_weights
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.weights import Weights
from wheretolook.options.commands import TrainClassifier, TrainGain, TrainSegmenter
from wheretolook.options.data import DataOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import GuidedNetwork
from wheretolook.report.curves import loss_curves, read_history
from wheretolook.report.recorded import read_run
from wheretolook.report.run_page import REPORT_FILE, write_run_page
from wheretolook.runs.folder import HISTORY_FILE, is_finished, is_main_process, locked, write_or_match_options
from wheretolook.runs.trainer import require_whole_network, run_stage
from wheretolook.training.optimiser import check_budget
from wheretolook.training.stage import Stage

Training = TrainSegmenter | TrainClassifier | TrainGain


def train_segmenter(options: TrainSegmenter, *, page: bool = True) -> Path:
    """Stage 0; returns the finished network's path.

    Args:
        options: of the command.
        page: whether to write the run's page.
    """
    data, start = _data(options), _start(options)
    network = new_network(options.network, data.class_names, start, options.training.seed)
    return _train(Stage.segmenter(network, options.training), data, options, start, "Segmenter", page=page)


def train_classifier(options: TrainClassifier, *, page: bool = True) -> Path:
    """Stage 1; returns the finished network's path.

    Args:
        options: of the command.
        page: whether to write the run's page.
    """
    data, start = _data(options), _start(options)
    network = _network(options, data, start)
    if options.fresh:
        network.reset_classifier(options.training.seed)
    return _train(Stage.classifier(network, options.training), data, options, start, "Classifier", page=page)


def train_gain(options: TrainGain, network: GuidedNetwork | None = None, *, page: bool = True) -> Path:
    """Stage 2; returns the finished network's path.

    Args:
        options: of the command.
        network: what `to_guide` made of them; None to make it.
        page: whether to write the run's page.
    """
    data, start = _data(options), _start(options)
    network = network or _network(options, data, start)
    if start is not None:
        warn_untrained(network, start)
    objective = for_network(options.objective, segments=network.segments, annotated=data.train_set.has_annotations)
    stage = Stage.guidance(network, options.training, objective)
    return _train(stage, data, options, start, "Guided attention", page=page)


def to_guide(options: TrainGain) -> tuple[GuidedNetwork, ObjectiveOptions]:
    """The network that stage 2 trains, and its objective with the weights that depend on network and data."""
    data = _data(options)
    network = _network(options, data, _start(options))
    objective = for_network(options.objective, segments=network.segments, annotated=data.train_set.has_annotations)
    return network, objective


def _data(options: Training) -> ImageData:
    training = options.training
    check_budget(training)  # before a network is made from its seed
    require_whole_network(options.hardware)
    return ImageData(options.data, steps=training.steps, accumulate=training.accumulate, seed=training.seed)


def _start(options: Training) -> Weights | None:
    return None if options.weights is None else read_weights(user_path(options.weights))


def _network(options: TrainClassifier | TrainGain, data: ImageData, start: Weights | None) -> GuidedNetwork:
    """The network that is trained further."""
    return given_network(options.network, data.class_names, start, seed=options.training.seed)


def _train(stage: Stage, data: ImageData, options: Training, start: Weights | None, title: str, *, page: bool) -> Path:
    out = user_path(options.out)
    _require_data(stage, data)
    if is_main_process():
        console.print(described(options.data, data))
        if isinstance(stage.network, GuidedModule):
            names = " and ".join(f"'{name}'" for name in stage.network.layers)
            console.print(f"attention is read from layer {names}")
        say_attention({str(out): stage.network})
        weights = loss_weights(stage.objective)
        console.print("losses: " + ", ".join(f"{name} {weight:g}" for name, weight in weights.items()))
    curves, record = out / "curves.png", {"options": asdict(options), "command": typed_command()}
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
    if is_main_process() and page and not (skipped and (out / REPORT_FILE).exists()):
        write_run_page(read_run(out), out / REPORT_FILE)
        console.print(f"open {out / REPORT_FILE}")
    return out


def described(config: DataOptions, data: ImageData) -> str:
    """What a stage trains on, so that a forgotten root or list of classes shows at once.

    Args:
        config: where the images come from.
        data: the images.
    """
    source = config.root or "made scenes (no --data.root)"
    names = ", ".join(data.class_names[:6]) + (", ..." if len(data.class_names) > 6 else "")
    counts = f"{len(data.train_set)} images to train on, {len(data.val_set)} to validate on"
    each = "one class" if data.train_set.one_class else "any number of classes"
    return f"{source}: {counts}; {len(data.class_names)} classes, {each} an image: {names}"


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
