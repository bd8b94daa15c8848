"""The command `export`."""

from dataclasses import asdict
from pathlib import Path

from wheretolook.cli.console import console
from wheretolook.data import ImageDataset, open_dataset
from wheretolook.errors import ConfigError
from wheretolook.export.formats import WRITERS
from wheretolook.export.network import Exported, export_network
from wheretolook.export.quantise import quantise
from wheretolook.files import require_writable, user_path, write_json
from wheretolook.networks.build import build, classifying
from wheretolook.networks.files import read_weights
from wheretolook.options.export import Export


def export(options: Export) -> Path:
    """Write the network as one graph, and what was checked beside it; returns the graph's path."""
    out = user_path(options.out)
    images = _calibration(options)
    WRITERS[options.format].require()
    weights = read_weights(user_path(options.weights))
    require_writable(out.parent)
    names = tuple(options.class_names) if options.class_names else None
    network = classifying(build(weights, names, options.network), weights)
    with console.status("reading the network") as status:
        exported = export_network(
            network,
            out,
            format=options.format,
            attention=not options.without_attention,
            progress=lambda step: status.update(step),
        )
    _say(exported)
    if images is not None:
        _quantise(out, images, options.calibration, options.data.resize)
    return out


def _calibration(options: Export) -> ImageDataset | None:
    """The images to calibrate on, looked for before the work."""
    if options.quantise is None:
        return None
    if options.format != "onnx":
        raise ConfigError(f"expected the format onnx for quantise, got {options.format}; leave one of them out")
    if options.calibration < 1:
        raise ConfigError(f"expected at least 1 image to calibrate on, got {options.calibration}")
    if options.data.root is None and options.data.layout == "auto":
        raise ConfigError("expected images to calibrate on, for quantise, got none; give --data.root")
    return open_dataset(options.data, options.data.split)


def _say(exported: Exported) -> None:
    size = exported.fixed_size
    takes = "images of any size" if size is None else f"images of {size[1]}x{size[0]}"
    console.print(f"wrote {exported.path}: {', '.join(exported.outputs)} of {takes}, in batches of any length")
    if size is not None:
        console.print("the network is tied to a size; --network.input_size HEIGHT WIDTH asks for another one")
    worst = max(exported.differences.values())
    where = ", ".join(f"{batch} of {width}x{height}" for batch, height, width in exported.tried)
    console.print(f"checked against torch: largest difference {worst:.1g} of the largest value ({where})")
    if exported.slower is not None:
        console.print(f"attention maps of all classes: {exported.slower:.2f} times the time of the network alone")


def _quantise(path: Path, images: ImageDataset, count: int, resize: int | None) -> None:
    small, figures = path.with_suffix(".int8.onnx"), path.with_suffix(".int8.json")
    with console.status(f"calibrating on at most {count} images"):
        cost = quantise(path, small, images, count, resize=resize)
    write_json(figures, asdict(cost))
    maps = "" if cost.maps_moved is None else f", maps moved by {100 * cost.maps_moved:.1f} %"
    masks = "" if cost.masks_agree is None else f", {100 * cost.masks_agree:.1f} % of pixels the same"
    console.print(
        f"wrote {small} ({cost.megabytes_int8:.1f} MB of {cost.megabytes:.1f}): on {cost.images} images "
        f"{100 * cost.same_class:.1f} % the same class, scores moved by {100 * cost.scores_moved:.1f} % of their "
        f"spread{maps}{masks}; in {figures}"
    )
