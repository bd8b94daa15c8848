"""The command `evaluate`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from wheretolook.cli.console import console, device_of, say_attention, say_images, shown_batches
from wheretolook.cli.typed import typed_command
from wheretolook.data import ImageDataset, open_dataset
from wheretolook.errors import ConfigError
from wheretolook.evaluation.evaluate import Figures, evaluate
from wheretolook.evaluation.sanity import shuffled
from wheretolook.files import require_writable, user_path, write_json, write_text
from wheretolook.networks.build import classifying, network_for
from wheretolook.networks.files import read_weights
from wheretolook.options.commands import Evaluate
from wheretolook.records import GuidedNetwork
from wheretolook.report.comparison import labels
from wheretolook.report.recorded import EVALUATION_FILE, METRICS_FILE, read_run
from wheretolook.report.run_page import REPORT_FILE, write_run_page
from wheretolook.report.tables import (
    CLASS_FIGURES,
    MARK_FIGURE,
    class_markdown,
    class_table,
    results_markdown,
    results_table,
)
from wheretolook.runs.folder import environment
from wheretolook.training.denormals import flushed_denormals

OF_CLASSES = (CLASS_FIGURES, (MARK_FIGURE,))  # a table each


def evaluate_networks(options: Evaluate) -> list[Figures]:
    """Measure networks on one split; print the tables and write metrics.json and metrics.md."""
    dataset, out = open_dataset(options.data, options.data.split), user_path(options.out)
    rows = measure(options, dataset)
    _report(rows, dataset.class_names, out, _short(options))
    record = {"options": asdict(options), "command": typed_command(), "class_names": dataset.class_names}
    write_json(out / EVALUATION_FILE, {**record, **environment()})
    write_run_page(read_run(out), out / REPORT_FILE)
    return rows


def measure(options: Evaluate, dataset: ImageDataset, *, say_classes: bool = True) -> list[Figures]:
    """The figures of networks on one split, a row for each.

    Args:
        options: which networks, on what.
        dataset: the images of the split.
        say_classes: begin with the classes and how many images show each.

    Raises:
        ConfigError: the number of names is not that of the networks.
        WeightsError: a network cannot be read, or is one of other classes.
        DataError: an image is broken, or the folder for the results cannot be written.
    """
    if options.names is not None and len(options.names) != len(options.weights):
        raise ConfigError(f"expected {len(options.weights)} names, one for each --weights, got {len(options.names)}")
    device = device_of(options.accelerator)
    files = [read_weights(user_path(weights)) for weights in options.weights]  # all, before the slow part
    networks = [classifying(network_for(file, dataset.class_names, options.network), file) for file in files]
    require_writable(user_path(options.out))
    named = list(zip(options.names or options.weights, networks, strict=True))
    if say_classes:
        say_images(dataset)
        say_attention(dict(named))
    rows: list[Figures] = []
    for name, network in named:
        rows.append(_row(name, network.to(device), dataset, options))
        if options.sanity:
            rows.append(_row(f"{name}, shuffled", shuffled(network), dataset, options))
        network.cpu()
    return rows


def _row(name: str, network: GuidedNetwork, dataset: ImageDataset, options: Evaluate) -> Figures:
    """The figures of one network."""
    batches = shown_batches(dataset, options.data, name)
    with flushed_denormals():
        figures = evaluate(network, batches, deletion=options.deletion, flip=options.flip, scales=options.scales or ())
        return {"weights": name, **figures}


def _short(options: Evaluate) -> dict[str, str]:
    """What tells networks without names from one another: whole paths have no room beside each other."""
    paths = options.weights if options.names is None else []
    return dict(zip(paths, labels([user_path(path) for path in paths]), strict=True)) if paths else {}


def _report(rows: Sequence[Figures], class_names: tuple[str, ...], out: Path, short: Mapping[str, str]) -> None:
    write_json(out / METRICS_FILE, rows)
    tables = (results_markdown(rows), *(class_markdown(rows, class_names, figures=of) for of in OF_CLASSES))
    write_text(out / "metrics.md", "\n".join(table for table in tables if table))
    shown = [{**row, "weights": short.get(str(row["weights"]), row["weights"])} for row in rows]
    console.print(
        *filter(None, (results_table(shown), *(class_table(shown, class_names, figures=of) for of in OF_CLASSES)))
    )
    console.print(f"figures in {out / METRICS_FILE} and {out / 'metrics.md'}; open {out / REPORT_FILE}")
