"""Draws docs/hero.jpg: photographs before and after guidance, as two networks of benchmarks/shortcuts.py see them.

    python benchmarks/shortcuts.py photographs --seeds 1 --rows "no guidance" "mixed background" --out runs/shortcuts
    python docs/hero.py runs/shortcuts/photographs ../shared/data/photoscenes

Both networks are trained on photographs whose backgrounds give the class away, and see others here. Nobody chooses the
pictures: of the images that are mistaken before and right after, and where attention on the object rises, it is those
in the middle by that rise, one each of the four classes that have the most of them. What is drawn is the attention of
the class that a network answers, and what is measured how much of it lies on the object.
"""

import io
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wheretolook import DataOptions, GuidedNetwork, load_network, overlay
from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.evaluation.maps import shown_maps
from wheretolook.metrics.attention import energy_inside
from wheretolook.records import VOID
from wheretolook.report.style import INK, MUTED, axes_at, new_figure, write_at

PICTURE = Path(__file__).with_name("hero.jpg")
NETWORK = "shortcut_networks:efficientnet"
ROWS = {"no guidance": "trained on labels", "mixed background": "and told where to look"}
RIGHT, WRONG = "#14694a", "#a8322a"
COLUMNS, SIDE, GAP, LEFT, TOP, CAPTION = 4, 1.95, 0.14, 0.34, 0.12, 0.52  # inches
DENSITY, QUALITY = 200, 88


class Answer(NamedTuple):
    """What a network says of an image, and where it looks for that."""

    name: str
    true: int
    answered: int
    probability: float
    on_object: float
    attention: Tensor


def main(bed: Path, originals: Path) -> None:
    """Draw the picture, and say how many images it speaks for."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    data = DataOptions(root=str(bed / "data"), split="test", batch_size=50)
    networks = [load_network(bed / "rows" / row / "0", network=NETWORK) for row in ROWS]
    found = [answers(network, data) for network in networks]
    chosen = median_rises(list(zip(*found, strict=True)))
    draw(chosen, networks[0].class_names, originals)
    for row, own in zip(ROWS, found, strict=True):
        right = sum(one.true == one.answered for one in own)
        inside = statistics.fmean(one.on_object for one in own)
        sys.stdout.write(f"{row}: {right} of {len(own)} right, {inside:.1%} of attention on the object\n")


@torch.inference_mode()
def answers(network: GuidedNetwork, data: DataOptions) -> list[Answer]:
    """The answer of a network to every image of the split."""
    network.eval()
    found = []
    for batch in evaluation_loader(open_dataset(data, data.split), data.batch_size, 0):
        output = network(network.preprocessing(batch.images))
        shares, answered = output.class_scores.softmax(dim=1).max(dim=1)
        said = torch.stack([torch.arange(len(answered)), answered], dim=1)
        maps = shown_maps(output, said, batch.images.shape[2:], network.attention)
        inside = energy_inside(maps, batch.targets == 1, batch.targets != VOID)
        true = batch.labels.int().argmax(dim=1)
        found += map(Answer, batch.names, true.tolist(), answered.tolist(), shares.tolist(), inside.tolist(), maps)
    return found


def median_rises(pairs: list[tuple[Answer, Answer]]) -> list[tuple[Answer, Answer]]:
    """Of each of the four commonest classes among those that are mended, the image of the median rise."""
    by_class: dict[int, list[tuple[Answer, Answer]]] = {}
    for before, after in pairs:
        if before.answered != before.true == after.answered and after.on_object > before.on_object:
            by_class.setdefault(before.true, []).append((before, after))
    commonest = sorted(by_class, key=lambda index: (-len(by_class[index]), index))[:COLUMNS]
    chosen = []
    for index in sorted(commonest):
        found = sorted(by_class[index], key=lambda pair: pair[1].on_object - pair[0].on_object)
        chosen.append(found[len(found) // 2])
    return chosen


def draw(chosen: list[tuple[Answer, Answer]], names: tuple[str, ...], originals: Path) -> None:
    """Before above, after below, with what each network answers under each photograph."""
    pictures = [Image.open(originals / "JPEGImages" / f"{before.name}.jpg").convert("RGB") for before, _ in chosen]
    high = SIDE * 3 / 4
    figure = new_figure(LEFT + COLUMNS * (SIDE + GAP), TOP + 2 * (high + CAPTION))
    for column, (pair, picture) in enumerate(zip(chosen, pictures, strict=True)):
        for row, one in enumerate(pair):
            left, top = LEFT + column * (SIDE + GAP), TOP + row * (high + CAPTION)
            axes = axes_at(figure, left, top, SIDE, high)
            axes.imshow(np.asarray(seen(picture, one)), aspect="auto")
            axes.set_axis_off()
            sure = one.answered == one.true
            mark = "\N{HEAVY CHECK MARK}" if sure else "\N{HEAVY BALLOT X}"
            says = f"{mark} \N{LEFT DOUBLE QUOTATION MARK}{names[one.answered]}\N{RIGHT DOUBLE QUOTATION MARK}"
            says += f" {100 * one.probability:.0f} %"
            write_at(figure, left, top + high + 0.18, says, size=9, colour=RIGHT if sure else WRONG, weight="bold")
            where = f"{100 * one.on_object:.0f} % of its attention on the {names[one.true]}"
            write_at(figure, left, top + high + 0.34, where, size=7, colour=MUTED)
    for row, words in enumerate(ROWS.values()):
        middle = 1 - (TOP + row * (high + CAPTION) + high / 2) / figure.get_figheight()
        figure.text(0.02, middle, words, rotation=90, ha="center", va="center", fontsize=8, color=INK, weight="bold")
    with io.BytesIO() as memory:
        figure.savefig(memory, format="png", dpi=DENSITY)
        Image.open(memory).convert("RGB").save(PICTURE, quality=QUALITY, optimize=True)


def seen(picture: Image.Image, one: Answer) -> Image.Image:
    """The photograph at twice its size, squared to 4 x 3, with the attention of the answer."""
    width = 3 * DENSITY * SIDE // 2
    large = picture.resize((int(width), int(width * 3 / 4)), Image.Resampling.LANCZOS)
    return overlay(large, one.attention)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
