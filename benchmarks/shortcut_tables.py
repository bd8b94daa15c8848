"""What came of benchmarks/shortcuts.py: means and spreads, differences seed by seed, accuracy against attention.

    .venv/bin/python benchmarks/shortcut_tables.py runs/shortcuts --picture runs/shortcuts/beds.png

Prints both tables of every bed in the folder, and draws a panel a bed: what guidance is for, against the share of
attention on the object. Rows of fewer seeds than `--least` are in the tables, not in the picture.
"""

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes

from wheretolook.metrics.figures import FIGURES
from wheretolook.report.style import (
    BODY,
    HAIRLINE,
    HEADING,
    INK,
    MUTED,
    SMALL,
    TITLE,
    axes_at,
    new_figure,
    quiet,
    save,
    series_colour,
    write_at,
)

NONE = "no guidance"
SHOWN = (
    "image_accuracy",
    "worst_class_accuracy",
    "mean_average_precision",
    "energy_pointing",
    "attention_iou",
    "attention_recall",
    "empty_maps",
)
ON_MARK = "energy on the mark"
KEYS = (*SHOWN, ON_MARK)
KINDS = ("random masks", "mining", "mixed background", "gradients", "softmax")  # of rows, by a word in their names
SIDE, GAP, EDGE, TOP, LINE = 3.3, 0.75, 0.6, 1.05, 0.14  # inches
Seeds = Mapping[int, Mapping[str, float | None]]  # figures by seed


class Point(NamedTuple):
    """Mean and standard deviation over seeds, in percent."""

    mean: float
    spread: float


def main() -> None:
    """Print the tables of every bed and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with a folder for each bed")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--least", type=int, default=2, help="seeds of a row in the picture")
    arguments = parser.parse_args()
    found = {path.parent.name: read(path) for path in sorted(arguments.folder.glob("*/rows"))}
    for bed, rows in found.items():
        print(f"{bed}\n\n{table(rows)}\n{differences(rows)}")
    if arguments.picture is not None:
        draw(found, arguments.picture, arguments.least)


def read(rows: Path, split: str = "test", order: Sequence[str] = ()) -> dict[str, Seeds]:
    """The figures of every row that has been measured, those of `order` first."""
    names = [*order, *sorted(path.name for path in rows.glob("*") if path.is_dir() and path.name not in order)]
    found = {
        name: {
            int(one.parent.name): json.loads(one.read_text()) for one in sorted((rows / name).glob(f"*/{split}.json"))
        }
        for name in names
    }
    return {name: seeds for name, seeds in found.items() if seeds}


def table(rows: Mapping[str, Seeds]) -> str:
    """Mean and spread of every row, in percent; figures that no row has are left out."""
    return _markdown(rows, rows, sign="")


def differences(rows: Mapping[str, Seeds]) -> str:
    """What every row changes of the one without guidance, seed by seed; empty where that was not measured."""
    none = rows.get(NONE, {})
    found: dict[str, Seeds] = {}
    for name, seeds in rows.items():
        both = sorted(none.keys() & seeds.keys()) if name != NONE else []
        found[name] = {seed: {key: _minus(seeds[seed].get(key), none[seed].get(key)) for key in KEYS} for seed in both}
    changed = {name: seeds for name, seeds in found.items() if seeds}
    return _markdown(changed, rows, sign="+") if changed else ""


def _minus(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _markdown(rows: Mapping[str, Seeds], known: Mapping[str, Seeds], sign: str) -> str:
    keys = [key for key in KEYS if any(_of(seeds, key) for seeds in known.values())]
    headings = [FIGURES[key].heading if key in FIGURES else key.capitalize() for key in keys]
    lines = ["| row | seeds | " + " | ".join(headings) + " |", "|---|---|" + "---|" * len(headings)]
    for name, seeds in rows.items():
        cells = [spread(_of(seeds, key), sign) for key in keys]
        lines.append(f"| {name} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _of(seeds: Seeds, key: str) -> list[float]:
    values = [figures.get(key) for figures in seeds.values()]
    return [100 * value for value in values if value is not None and math.isfinite(value)]


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation."""
    if not values:
        return "-"
    return f"{statistics.fmean(values):{sign}.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def draw(beds: Mapping[str, Mapping[str, Seeds]], path: Path, least: int) -> None:
    """A panel a bed: accuracy, or mean average precision where an image has several classes, against attention."""
    kept = {bed: {name: row for name, row in rows.items() if len(row) >= least} for bed, rows in beds.items()}
    names = sorted({name for rows in kept.values() for name in rows}, key=lambda name: (_kind(name), name))
    numbers = {name: place for place, name in enumerate(names)}
    lines = math.ceil(len(numbers) / 2)
    width = 2 * EDGE + 2 * SIDE + GAP
    below = TOP + math.ceil(len(kept) / 2) * (SIDE + GAP)
    figure = new_figure(width, below + lines * LINE + 0.4)
    write_at(figure, EDGE, 0.35, "Accuracy against attention", size=TITLE, weight="bold")
    write_at(figure, EDGE, 0.55, "percent, mean and deviation over seeds; up and to the right is better", colour=MUTED)
    write_at(figure, EDGE, 0.70, "cross: nobody guided; stairs: rows that no other beats in both", colour=MUTED)
    for place, (bed, rows) in enumerate(kept.items()):
        down, across = divmod(place, 2)
        left, top = EDGE + across * (SIDE + GAP), TOP + down * (SIDE + GAP)
        write_at(figure, left, top - 0.08, bed, size=HEADING, weight="bold")
        _panel(axes_at(figure, left, top, SIDE, SIDE), rows, numbers)
    for name, number in numbers.items():
        across, down = divmod(number, lines)
        left, top = EDGE + across * (SIDE + GAP), below + 0.1 + down * LINE
        write_at(figure, left, top, f"{number}", colour=_colour(name), weight="bold", size=SMALL)
        write_at(figure, left + 0.22, top, name, size=SMALL)
    save(figure, path)


def _panel(axes: Axes, rows: Mapping[str, Seeds], numbers: Mapping[str, int]) -> None:
    quiet(axes)
    key = "image_accuracy" if any(_of(seeds, "image_accuracy") for seeds in rows.values()) else "mean_average_precision"
    points = {name: (_point(seeds, "energy_pointing"), _point(seeds, key)) for name, seeds in rows.items()}
    front = sorted(
        (x.mean, y.mean)
        for x, y in points.values()
        if not any(other.mean > x.mean and better.mean > y.mean for other, better in points.values())
    )
    axes.step(*zip(*front, strict=True), where="pre", color=MUTED, linewidth=0.6, zorder=1)
    for name, (x, y) in points.items():
        colour = _colour(name)
        axes.errorbar(x.mean, y.mean, xerr=x.spread, yerr=y.spread, color=colour, fmt="o", markersize=3, elinewidth=0.6)
        axes.annotate(
            str(numbers[name]), (x.mean, y.mean), (3, 3), textcoords="offset points", fontsize=SMALL, color=colour
        )
        if name == NONE:
            axes.axvline(x.mean, color=HAIRLINE, linewidth=0.8, zorder=0)
            axes.axhline(y.mean, color=HAIRLINE, linewidth=0.8, zorder=0)
    axes.set_xlabel("Energy pointing", fontsize=BODY, color=INK)
    axes.set_ylabel(FIGURES[key].heading, fontsize=BODY, color=INK)


def _point(seeds: Seeds, key: str) -> Point:
    values = _of(seeds, key)
    return Point(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


def _kind(name: str) -> int:
    """Its place in `KINDS`; before them the network that nobody guided and, after it, losses on maps."""
    return -1 if name == NONE else next((place for place, word in enumerate(KINDS, 1) if word in name), 0)


def _colour(name: str) -> str:
    return INK if name == NONE else series_colour(_kind(name) + 1)


if __name__ == "__main__":
    main()
