"""Pictures before and after: the same image, the same class, the same colour scale."""

import heapq
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from torch import Tensor

from wheretolook.records import VOID, Explanation
from wheretolook.report.overlay import LEVELS
from wheretolook.report.paint import (
    BEHIND_ATTENTION,
    Picture,
    Values,
    grey,
    overlay,
    painted,
    paled,
    picture,
    shared_scale,
)
from wheretolook.report.sheet import end_of
from wheretolook.report.style import (
    BODY,
    HEADING,
    INK,
    MUTED,
    SMALL,
    TITLE,
    VOID_COLOUR,
    axes_at,
    class_colour,
    new_figure,
    save,
    write_at,
)

GAP = 0.07  # inches between two panels
MARGIN = 0.3
LINE = 0.17  # inches of a line of small text
NAME, IMAGE_NAME = 30, 26  # most letters of a class's name, and of an image's
OWN_SCALE = "#7fdcff"  # a colour that neither attention nor the line around the object has
LEAST_NAME = 0.65  # inches that a name in the legend takes at least
CLASSES_NAMED = 24  # most classes in the legend
COLUMNS = (
    "image",
    "ground truth",
    "segmentation before",
    "segmentation after",
    "attention before",
    "attention after",
)


Rule = Literal["random", "largest_rise", "largest_fall"]


class _Panel(NamedTuple):
    """One small picture with what stands below it."""

    pixels: Picture
    caption: str = ""
    outline: float = 0.0  # width, in points, of the line around the true object; 0 draws none
    heights: Values | None = None  # of the map as shares of its own maximum, for lines of its own scale


class _Mask(NamedTuple):
    """What a mask says: the value of every pixel's class, and where it says nothing."""

    values: Tensor
    void: Tensor


@dataclass(frozen=True, eq=False)
class Comparison:
    """One class in one image, as two networks see it.

    Args:
        before: what the first network says.
        after: what the second one says about the same class in the same image.

    Raises:
        ValueError: the two speak of different images or classes.
    """

    before: Explanation
    after: Explanation

    def __post_init__(self) -> None:
        before, after = self.before, self.after
        if _identity(before) != _identity(after):
            found = f"{_identity(before)} and {_identity(after)}"
            raise ValueError(f"a comparison shows one class in one image, got (name, class, size) {found}")

    @property
    def rise(self) -> float:
        """By how much the share of energy inside the object grew, in [-1, 1]."""
        return self.after.energy_inside - self.before.energy_inside


def _identity(explanation: Explanation) -> tuple[str, int, tuple[int, ...]]:
    return explanation.name, explanation.class_index, tuple(explanation.image.shape[1:])


def choose(comparisons: Iterable[Comparison], rule: Rule, count: int, seed: int = 0) -> list[Comparison]:
    """Choose what to show by a rule that can be stated beside the pictures.

    Holds no more than `count` comparisons at a time, so a whole data set can stream through.

    Args:
        comparisons: all there are, in any fixed order.
        rule: at random, or those whose energy inside the object grew, or fell, the most, the most extreme first.
        count: how many; all where there are fewer.
        seed: of the random choice; the same seed chooses the same ones.
    """
    lottery = random.Random(seed)
    keys: dict[Rule, Callable[[Comparison], float]] = {
        "random": lambda comparison: lottery.random(),
        "largest_rise": lambda comparison: comparison.rise,
        "largest_fall": lambda comparison: -comparison.rise,
    }
    return heapq.nlargest(count, comparisons, key=keys[rule])


def comparison_picture(comparison: Comparison, class_names: Sequence[str], path: Path) -> None:
    """Draw one comparison as a row: image, truth, segmentation before and after, attention before and after.

    Both attention maps are divided by the larger of their two maxima, so that equal attention has equal colour. Without
    predictions there are no segmentation panels, without masks or boxes no truth. Long names are shortened.

    Args:
        comparison: what to draw.
        class_names: of all classes, without background.
        path: the PNG.

    Raises:
        DataError: `path` cannot be written.
    """
    shown = comparison.before
    title = f"{_named(class_names, shown)} in {end_of(shown.name, IMAGE_NAME)}"
    if not math.isnan(shown.energy_inside):
        both = _percent(shown.energy_inside), _percent(comparison.after.energy_inside)
        title += ": energy inside {} \N{RIGHTWARDS ARROW} {}".format(*both)
    save(_sheet([comparison], class_names, title, "", width=2.0), path)


def contact_sheet(comparisons: Sequence[Comparison], class_names: Sequence[str], path: Path, *, rule: str) -> None:
    """Draw many comparisons as the rows of one picture; see `comparison_picture`.

    Args:
        comparisons: the rows, from top to bottom.
        class_names: of all classes, without background.
        path: the PNG.
        rule: how they were chosen, in words; it is printed, because a choice without its rule proves nothing.

    Raises:
        DataError: `path` cannot be written.
    """
    save(_sheet(comparisons, class_names, "Before and after", f"chosen: {rule}", width=1.55), path)


def _sheet(
    comparisons: Sequence[Comparison], class_names: Sequence[str], title: str, rule: str, width: float
) -> Figure:
    """All rows, from top to bottom; `width` is that of a column, and the longer side of every panel, in inches."""
    segmented = any(_predictions(comparison) for comparison in comparisons)
    annotated = any(_annotated(comparison.before) for comparison in comparisons)
    left_out = {
        "ground truth": not annotated,
        "segmentation before": not segmented,
        "segmentation after": not segmented,
    }
    columns = [name for name in COLUMNS if not left_out.get(name)]
    heights = [width * _shape(comparison)[0] + LINE + 1.5 * GAP for comparison in comparisons]
    legend = _legend(comparisons, class_names)
    top = 0.92 if rule else 0.75
    across = len(columns) * (width + GAP) - GAP
    a_line = max(1, int(across / (0.4 + max([LEAST_NAME, *(_inches(str(patch.get_label())) for patch in legend)]))))
    lines = math.ceil(len(legend) / a_line)
    figure = new_figure(2 * MARGIN + across, top + sum(heights) + 0.56 + 0.18 * lines)
    write_at(figure, MARGIN, 0.36, title, size=TITLE, weight="bold")
    write_at(figure, MARGIN, 0.54, rule, size=BODY, colour=MUTED)
    for position, name in enumerate(columns):
        centre = MARGIN + position * (width + GAP) + width / 2
        write_at(figure, centre, top - 0.07, name, size=HEADING, ha="center")
    for comparison, height in zip(comparisons, heights, strict=True):
        _draw_row(figure, comparison, _panels(comparison, class_names, columns), top, width)
        top += height
    _draw_key(figure, top + 0.12, legend, a_line, annotated)
    return figure


def _shape(comparison: Comparison) -> tuple[float, float]:
    """Height and width of the image as shares of its longer side."""
    height, width = comparison.before.image.shape[1:]
    return height / max(height, width), width / max(height, width)


def _predictions(comparison: Comparison) -> list[Tensor]:
    both = (comparison.before.prediction, comparison.after.prediction)
    return [prediction for prediction in both if prediction is not None]


def _panels(comparison: Comparison, class_names: Sequence[str], columns: Sequence[str]) -> list[_Panel | None]:
    """The panels of a row, in the order of the columns; None where a network gave no segmentation."""
    before, after = comparison.before, comparison.after
    background = grey(before.image)
    ground = paled(background, BEHIND_ATTENTION)
    first, second = shared_scale(before.attention, after.attention)
    name = _named(class_names, before)
    alone = "" if "ground truth" in columns else name  # where no truth has the class's name under it
    panels = {
        "image": _Panel(picture(before.image), end_of(before.name, IMAGE_NAME)),
        "ground truth": _Panel(painted(background, *_truth(before)), name, outline=1.1),
        "attention before": _Panel(overlay(ground, first), _caption(alone, before), 0.6, _heights(first)),
        "attention after": _Panel(overlay(ground, second), _caption(alone, after), 0.6, _heights(second)),
    }
    for when, prediction in (("before", before.prediction), ("after", after.prediction)):
        if prediction is not None:
            panels[f"segmentation {when}"] = _Panel(painted(background, *_plain(prediction)))
    return [panels.get(name) for name in columns]


def _draw_row(
    figure: Figure, comparison: Comparison, panels: Sequence[_Panel | None], top: float, width: float
) -> None:
    tall, wide = (width * share for share in _shape(comparison))
    inside = comparison.before.target.cpu().numpy() == 1
    for position, panel in enumerate(panels):
        left = MARGIN + position * (width + GAP)
        if panel is None:
            continue
        axes = axes_at(figure, left + (width - wide) / 2, top, wide, tall)
        axes.imshow(panel.pixels, aspect="auto")
        axes.set_axis_off()
        if panel.outline and inside.any():
            _outline(axes, inside, panel.outline)
        if panel.heights is not None:
            _own_scale(axes, panel.heights)
        write_at(
            figure, left + width / 2, top + tall + LINE - 0.04, panel.caption, size=SMALL, colour=MUTED, ha="center"
        )


def _annotated(shown: Explanation) -> bool:
    """Whether a mask or box says anything of the image."""
    return bool((shown.truth != VOID).any() or (shown.target == 1).any())


def _plain(mask: Tensor) -> _Mask:
    return _Mask(mask, mask == VOID)


def _truth(shown: Explanation) -> _Mask:
    """The mask, or where there is none the plane of the class as one."""
    if (shown.truth != VOID).any():
        return _plain(shown.truth)
    return _Mask((shown.target == 1) * (1 + shown.class_index), shown.target == VOID)


def _caption(name: str, shown: Explanation) -> str:
    """A name if there is one to give, and the share of attention on the object where anybody knows where that is."""
    share = "" if math.isnan(shown.energy_inside) else f"{_percent(shown.energy_inside)} inside"
    return ", ".join(filter(None, (name, share if shown.attention.any() else "empty map")))


def _outline(axes: Axes, inside: np.ndarray, width: float) -> None:
    """A white line with a dark edge, so that it is seen on every ground; closed where the object leaves the image."""
    rows, columns = inside.shape
    ring = np.pad(inside.astype(float), 1)
    places = np.arange(-1, columns + 1), np.arange(-1, rows + 1)
    axes.contour(*places, ring, levels=[0.5], colors=[INK], linewidths=width + 1.0)
    axes.contour(*places, ring, levels=[0.5], colors=["white"], linewidths=width)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _heights(attention: Values) -> Values | None:
    """A map as shares of its own maximum; None where it is zero everywhere."""
    heights: Values | None = attention / attention.max() if attention.any() else None
    return heights


def _own_scale(axes: Axes, heights: Values) -> None:
    """Lines at shares of the map's own maximum: its shape, however faint it is on the common scale."""
    rows, columns = heights.shape
    if min(rows, columns) > 1 and heights.min() < LEVELS[-1]:
        axes.contour(heights, levels=LEVELS, colors=[OWN_SCALE], linewidths=(0.45, 0.9))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _legend(comparisons: Sequence[Comparison], class_names: Sequence[str]) -> list[Patch]:
    """A patch for each class that occurs in a mask, in order, and one for void; of too many classes the true ones."""
    truths = [_truth(comparison.before) for comparison in comparisons if _annotated(comparison.before)]
    answers = [_plain(prediction) for comparison in comparisons for prediction in _predictions(comparison)]
    true, seen = (_values(masks) for masks in (truths, [*truths, *answers]))
    named = sorted(sorted(seen, key=lambda value: (value not in true, value))[:CLASSES_NAMED])
    patches = [Patch(color=class_colour(value - 1), label=_start(class_names[value - 1])) for value in named]
    if len(seen) > len(named):
        patches.append(Patch(color="white", label=f"and {len(seen) - len(named)} more"))
    if any(mask.void.any() for mask in (*truths, *answers)):
        patches.append(Patch(facecolor=VOID_COLOUR, edgecolor=MUTED, hatch="/////", linewidth=0, label="void"))
    return patches


def _values(masks: Iterable[_Mask]) -> set[int]:
    """The values of all classes in masks."""
    return {value for values, void in masks for value in values[~void].unique().tolist()} - {0}


def _draw_key(figure: Figure, top: float, legend: Sequence[Patch], a_line: int, annotated: bool) -> None:
    """What the colours mean: those of attention on a middle grey, and those of the classes."""
    ramp = np.linspace(0, 1, 256)[None]
    axes = axes_at(figure, MARGIN, top, 1.55, 0.09)
    axes.imshow(overlay(np.full((1, 256, 3), 0.5), ramp), aspect="auto")
    axes.set_axis_off()
    text = "attention, from 0 to the larger maximum of both maps"
    if annotated:
        text += "; line: the true object; inside: attention's share on it"
    write_at(figure, MARGIN + 1.65, top + 0.085, text, size=SMALL, colour=MUTED)
    fine, bold = (f"{100 * level:.0f} %" for level in LEVELS)
    own = f"blue: {fine} (fine) and {bold} (bold) of that map's own maximum"
    write_at(figure, MARGIN + 1.65, top + 0.225, own, size=SMALL, colour=MUTED)
    if legend:
        _draw_legend(figure, top + 0.34, legend, a_line)


def _draw_legend(figure: Figure, top: float, legend: Sequence[Patch], a_line: int) -> None:
    across, down = figure.get_size_inches()
    drawn = figure.legend(
        handles=list(legend), labels=["name"] * len(legend),
        loc="upper left", bbox_to_anchor=(MARGIN / across, 1 - top / down),
        ncols=a_line, fontsize=SMALL, labelcolor=MUTED, frameon=False, borderpad=0, borderaxespad=0,
        handlelength=1.2, handleheight=1.0, handletextpad=0.5, columnspacing=1.6, labelspacing=0.6,
    )  # fmt: skip
    for line, patch in zip(drawn.get_texts(), legend, strict=True):
        line.set(text=patch.get_label(), parse_math=False)  # as a label, a name that starts with _ would be left out


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _inches(name: str) -> float:
    """How wide a name is in small text."""
    letters = name.replace("$", "S")  # which could start a formula
    return float(TextPath((0, 0), letters, size=SMALL).get_extents().width) / 72


def _start(name: str) -> str:
    """The start of a long name."""
    return name if len(name) <= NAME else name[: NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _named(class_names: Sequence[str], shown: Explanation) -> str:
    return _start(class_names[shown.class_index])
