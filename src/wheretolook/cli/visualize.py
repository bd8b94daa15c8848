"""The command `visualize`."""

import json
import re
from pathlib import Path

from wheretolook.cli.console import console, device_of, say_attention, shown_batches
from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.errors import ConfigError, DataError
from wheretolook.evaluation.explain import explain
from wheretolook.files import remove, require_writable, user_path, write_json
from wheretolook.networks.build import classifying, network_for
from wheretolook.networks.files import read_weights
from wheretolook.options.commands import Visualize
from wheretolook.report.panels import Comparison, choose, comparison_picture, contact_sheet
from wheretolook.training.denormals import flushed_denormals

PICTURES_FILE = "pictures.json"
UNSAFE = re.compile(r"[^\w.-]")  # in a file's name


def visualize(options: Visualize) -> Path:
    """Draw chosen comparisons, one PNG each, their list, and one contact sheet, whose path is returned."""
    check_count(options.count)
    out = user_path(options.out)
    class_names, chosen = _chosen(options)
    if not chosen:
        raise DataError(f"{options.data.split}: expected an image with a mask or boxes to draw, got none")
    remove(path for path in _drawn_before(out) if path.is_file())
    rows = [_row(number, comparison, class_names) for number, comparison in enumerate(chosen, start=1)]
    write_json(out / PICTURES_FILE, rows)  # first, so that pictures of a call that is cut off are known as well
    for row, comparison in zip(rows, chosen, strict=True):
        comparison_picture(comparison, class_names, out / str(row["picture"]))
    rule = options.rule.replace("_", " ") + (f", seed {options.seed}" if options.rule == "random" else "")
    sheet = out / "contact_sheet.png"
    contact_sheet(chosen, class_names, sheet, rule=rule)
    console.print(f"{len(chosen)} comparisons and {sheet}")
    return sheet


def check_count(pictures: int) -> None:
    """Make sure that there is a picture to draw.

    Raises:
        ConfigError: fewer than one.
    """
    if pictures < 1:
        raise ConfigError(f"expected at least 1 picture, got {pictures}")


def _chosen(options: Visualize) -> tuple[tuple[str, ...], list[Comparison]]:
    """The names of the classes, and the comparisons that the rule chooses."""
    dataset = open_dataset(options.data, options.data.split)
    annotated = dataset.has_annotations
    if not annotated and options.rule != "random":
        raise ConfigError(
            f"expected images with masks or boxes in the split {options.data.split}, for the rule {options.rule}, got "
            "none; choose at random"
        )
    device = device_of(options.accelerator)
    files = [read_weights(user_path(path)) for path in (options.before, options.after)]
    before, after = (
        classifying(network_for(file, dataset.class_names, options.network), file).to(device) for file in files
    )
    require_writable(user_path(options.out))
    say_attention({options.before: before, options.after: after})
    batches = shown_batches(dataset, options.data, "before and after")
    first = explain(before, batches, only_annotated=annotated, flip=options.flip, scales=options.scales or ())
    again = evaluation_loader(dataset, options.data.batch_size, options.data.workers)
    second = explain(after, again, only_annotated=annotated, flip=options.flip, scales=options.scales or ())
    with flushed_denormals():
        pairs = (Comparison(*both) for both in zip(first, second, strict=True))
        return dataset.class_names, choose(pairs, options.rule, options.count, options.seed)


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
