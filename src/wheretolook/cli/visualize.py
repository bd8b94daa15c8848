"""The command `visualize`."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from wheretolook.cli.console import console, device_of, say_attention, shown_batches
from wheretolook.cli.typed import typed_command
from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.errors import ConfigError, DataError
from wheretolook.files import remove, require_writable, user_path, write_json
from wheretolook.networks.build import classifying, network_for
from wheretolook.networks.files import read_weights
from wheretolook.options.commands import Visualize
from wheretolook.report.changes import Telling, changes
from wheretolook.report.gallery import GALLERY_FILE, write_gallery
from wheretolook.report.pairs import write_pairs
from wheretolook.report.panels import Comparison, choose, comparison_picture, contact_sheet
from wheretolook.report.recorded import AFTER_FILE, BEFORE_FILE, PICTURES_RECORD, read_run
from wheretolook.report.run_page import REPORT_FILE, write_run_page
from wheretolook.runs.folder import environment
from wheretolook.training.denormals import flushed_denormals

PICTURES_FILE = "pictures.json"
UNSAFE = re.compile(r"[^\w.-]")  # in a file's name


def visualize(options: Visualize) -> Path:
    """Draw comparisons, and write the page that shows them; the path of the contact sheet is returned."""
    sheet, out = draw(options), user_path(options.out)
    record = {"options": asdict(options), "command": typed_command(), **environment()}
    write_json(out / PICTURES_RECORD, record)
    write_run_page(read_run(out), out / REPORT_FILE)
    console.print(f"all of them, and how every image changed: {out / REPORT_FILE}")
    return sheet


def draw(options: Visualize) -> Path:
    """Draw chosen comparisons, one PNG each, their list, and one contact sheet, whose path is returned.

    Beside them go the figures of every pair and the pictures of a page.

    Args:
        options: which networks, on what, how many.
    """
    check_count(options.count)
    out = user_path(options.out)
    class_names, chosen, telling = _chosen(options)
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
    for name, pairs in ((BEFORE_FILE, telling.before), (AFTER_FILE, telling.after)):
        write_pairs(out / name, pairs)
    write_gallery(out / GALLERY_FILE, telling.chosen(), class_names, len(telling.before))
    console.print(f"{len(chosen)} comparisons and {sheet}")
    return sheet


def check_count(pictures: int) -> None:
    """Make sure that there is a picture to draw.

    Raises:
        ConfigError: fewer than one.
    """
    if pictures < 1:
        raise ConfigError(f"expected at least 1 picture, got {pictures}")


def _chosen(options: Visualize) -> tuple[tuple[str, ...], list[Comparison], Telling]:
    """The names of the classes, the comparisons that the rule chooses, and what a page shows."""
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
    again = evaluation_loader(dataset, options.data.batch_size, options.data.workers)
    scales = options.scales or ()
    found = changes(before, after, (batches, again), only_annotated=annotated, flip=options.flip, scales=scales)
    telling = Telling(options.seed)
    with flushed_denormals():
        shown = (change.comparison for change in telling.passing(found))
        chosen = choose(shown, options.rule, options.count, options.seed)
    return dataset.class_names, chosen, telling


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
