"""Training drawn over its steps, and what it bought drawn in one small picture."""

import csv
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wheretolook.errors import DataError, reason
from wheretolook.metrics.figures import FIGURES
from wheretolook.report.style import (
    BODY,
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
    step_axis,
    write_at,
)
from wheretolook.report.tables import ABSENT, Row, number

NAME, LINE = 16, 0.16  # letters of a line of a name above its numbers, and inches of that line
SUMMARY = ("mean_iu", "image_accuracy", "mean_average_precision", "energy_pointing", "attention_iou", "pointing_game")
LOSSES_A_LINE = 5  # panels; more would be too narrow for their titles
Points = tuple[list[float], list[float]]


def read_history(path: Path) -> list[dict[str, float]]:
    """Read the CSV that training keeps.

    Args:
        path: a table whose first column is `step`; a cell is empty where a row lacks the figure.

    Returns:
        One mapping for each row, of the figures that it has.

    Raises:
        DataError: the file is missing, or is no such table.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read the history {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the history {path} is not a text file; give the CSV that training wrote") from error
    heading, *rows = csv.reader(lines) if lines else [[]]
    if heading[:1] != ["step"]:
        raise DataError(
            f"{path}: expected a table whose first column is step, got {','.join(heading[:3]) or 'nothing'}"
        )
    return [_history_row(path, line, heading, cells) for line, cells in enumerate(rows, start=2)]


def _history_row(path: Path, line: int, heading: Sequence[str], cells: Sequence[str]) -> dict[str, float]:
    if len(cells) != len(heading) or not cells[0]:
        found = f"{len(cells)} cells" if cells and cells[0] else "no step"
        raise DataError(f"{path}, line {line}: expected {len(heading)} cells and a step, got {found}; is it cut short?")
    try:
        return {key: float(text) for key, text in zip(heading, cells, strict=True) if text}
    except ValueError as error:
        raise DataError(f"{path}, line {line}: expected numbers or empty cells; {error}") from error


def smoothed(values: Sequence[float], span: int) -> list[float]:
    """Exponential moving average that starts unbiased: `s_t = sum_i d**(t-i) x_i / sum_i d**(t-i)`, i = 0..t.

    Args:
        values: one figure a step.
        span: about how many steps an average looks back; the decay is `d = (span - 1) / (span + 1)`.

    Returns:
        As many averages; with span 1 the values themselves.

    Example:
        >>> smoothed([3.0, 0.0], span=3)
        [3.0, 1.0]
    """
    decay = (span - 1) / (span + 1)
    averages, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        averages.append(total / weight)
    return averages


def loss_curves(history: Sequence[Mapping[str, float]], path: Path, *, title: str) -> None:
    """Draw a panel for each loss that was logged, and one for the figures of validation.

    In a loss's panel the faint line is what was logged, the strong line its moving average over a twentieth of the run,
    dots are the same loss on the validation split. A loss that is 0 throughout is off and has no panel. Figures
    that are no shares are not drawn, nor are NaNs.

    Args:
        history: rows with `step` and any of `train/<loss>`, `val/<loss>` and `val/<figure>`; see `read_history`.
        path: the PNG.
        title: of the picture.

    Raises:
        DataError: `path` cannot be written.
    """
    logged = dict.fromkeys(key for row in history for key in row)  # in the order in which training keeps them
    losses = [
        key.removeprefix("train/") for key in logged if key.startswith("train/") and any(_points(history, key)[1])
    ]
    shares = [key for key, figure in FIGURES.items() if figure.colour and _points(history, f"val/{key}")[0]]
    lines = math.ceil(len(losses) / LOSSES_A_LINE)
    figure = new_figure(10.4, 0.95 + 2.0 * lines + 3.1 * bool(shares))
    write_at(figure, 0.45, 0.38, title, size=TITLE, weight="bold")
    write_at(figure, 0.45, 0.58, _legend(history, losses), size=SMALL, colour=MUTED)
    panels = _loss_panels(figure, history, losses, lines)
    if shares:
        panels.append(_validation_panel(figure, history, shares, top=1.05 + 2.0 * lines))
    steps = [row["step"] for row in history] or [0.0]
    for axes in panels:
        axes.set_xlim(min(steps), max(max(steps), min(steps) + 1))
    save(figure, path)


def _points(history: Sequence[Mapping[str, float]], key: str) -> Points:
    """Steps and values of the rows that have a finite figure."""
    pairs = [(row["step"], row[key]) for row in history if key in row and math.isfinite(row[key])]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _legend(history: Sequence[Mapping[str, float]], losses: Sequence[str]) -> str:
    if not losses:
        return "nothing was logged while training"
    dots = "; dots: validation" if any(_points(history, f"val/{name}")[0] for name in losses) else ""
    weighted = "; total is the weighted sum of the others" if "total" in losses and len(losses) > 1 else ""
    return f"faint: as logged; strong: moving average over a twentieth of the run{dots}{weighted}"


def _loss_panels(
    figure: Figure, history: Sequence[Mapping[str, float]], losses: Sequence[str], lines: int
) -> list[Axes]:
    a_line = math.ceil(len(losses) / max(lines, 1))
    panels = []
    for position, name in enumerate(losses):
        line, column = divmod(position, a_line)
        width = 9.6 / a_line
        axes = axes_at(figure, 0.45 + column * width, 1.05 + 2.0 * line, width - 0.4, 1.45)
        _draw_loss(axes, name, _points(history, f"train/{name}"), _points(history, f"val/{name}"))
        panels.append(axes)
    return panels


def _draw_loss(axes: Axes, name: str, train: Points, validation: Points) -> None:
    colour = INK if name == "total" else series_colour(1)
    steps, values = train
    averages = smoothed(values, max(1, len(values) // 20))
    axes.plot(steps, values, color=colour, alpha=0.28, linewidth=0.5)
    axes.plot(steps, averages, color=colour, linewidth=1.5, solid_capstyle="round")
    axes.plot(
        *validation, "o", color="white", markeredgecolor=colour, markersize=3.6, markeredgewidth=1.0, clip_on=False
    )
    axes.set_title(name, loc="left", fontsize=HEADING, color=INK, pad=7)
    axes.set_title(f"{averages[-1]:.3g}", loc="right", fontsize=BODY, color=MUTED, pad=7)
    quiet(axes)
    step_axis(axes)
    axes.set_ylim(_limits(values, [*averages, *validation[1]]))


def _limits(faint: Sequence[float], strong: Sequence[float]) -> tuple[float, float]:
    """From zero to a little beyond all that is strong; a lone faint spike may leave, or it would flatten the rest."""
    lowest = min(*strong, _quantile(faint, 0.005), 0.0)
    highest = max(*strong, _quantile(faint, 0.995), 0.0)
    room = 0.08 * (highest - lowest)
    return lowest - room * (lowest < 0), highest + room * (highest > 0)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _validation_panel(
    figure: Figure, history: Sequence[Mapping[str, float]], shares: Sequence[str], *, top: float
) -> Axes:
    axes = axes_at(figure, 0.45, top, 7.8, 2.55)
    axes.set_title("validation, in percent", loc="left", fontsize=HEADING, color=INK, pad=7)
    ends = []
    for name in shares:
        colour = FIGURES[name].colour
        steps, values = _points(history, f"val/{name}")
        percent = [100 * value for value in values]
        axes.plot(steps, percent, "o-", color=colour, linewidth=1.3, markersize=3, clip_on=False)
        ends.append((percent[-1], f"{percent[-1]:.1f}  {FIGURES[name].alone or FIGURES[name].heading}", colour))
    quiet(axes)
    step_axis(axes)
    axes.set_xlabel("step", fontsize=SMALL, color=MUTED, loc="right", labelpad=2)
    axes.set_ylim(0, 100)
    for place, (_, label, colour) in zip(_apart([end[0] for end in ends], 6.2), ends, strict=True):
        axes.text(1.02, place / 100, label, color=colour, fontsize=BODY, va="center", transform=axes.transAxes)
    return axes


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Move labels as little as possible (least squares) so that neighbours in order are at least `gap` apart.

    Example:
        >>> _apart([5.0, 0.0, 5.0], 2.0)
        [4.0, 0.0, 6.0]
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    wanted = [places[index] - gap * rank for rank, index in enumerate(order)]
    moved = list(places)
    for rank, index in enumerate(order):  # the min-max formula of isotonic regression
        moved[index] = gap * rank + max(
            min(fmean(wanted[first : last + 1]) for last in range(rank, len(wanted))) for first in range(rank + 1)
        )
    return moved


def summary_picture(rows: Sequence[Row], path: Path) -> None:
    """Draw what guidance changed: a line of dots for each figure, a dot and a column of numbers for each row.

    Args:
        rows: evaluations, such as those of Original, Control and Guided, with `weights` and the keys of `SUMMARY`, the
            latter in [0, 1].
        path: the PNG.

    Raises:
        DataError: `path` cannot be written.
    """
    keys = [key for key in SUMMARY if any(math.isfinite(number(row.get(key))) for row in rows)]
    names = [textwrap.wrap(str(row["weights"]), NAME) for row in rows]
    widths = [max(0.85, 0.2 + 0.08 * max(map(len, name))) for name in names]
    top = 0.45 + LINE * (max(map(len, names)) - 1)
    figure = new_figure(5.0 + sum(widths), top + 0.33 + 0.38 * len(keys))
    axes = axes_at(figure, 1.35, top, 3.4, 0.38 * len(keys))
    for line, key in enumerate(keys):
        write_at(figure, 0.2, top + 0.23 + 0.38 * line, FIGURES[key].heading, size=HEADING)
        _draw_dots(axes, line, [100 * number(row.get(key)) for row in rows])
    for position, (row, name) in enumerate(zip(rows, names, strict=True)):
        right, colour = 4.7 + sum(widths[: position + 1]), series_colour(position)
        for line, words in enumerate(reversed(name)):
            place = top - 0.15 - LINE * line
            write_at(figure, right, place, words, size=HEADING, colour=colour, weight="bold", ha="right")
        _number_column(figure, right, top + 0.23, [number(row.get(key)) for key in keys], colour)
    quiet(axes)
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    save(figure, path)


def _draw_dots(axes: Axes, line: int, percent: Sequence[float]) -> None:
    for position, value in enumerate(percent):
        place = line + 0.2 * (position - (len(percent) - 1) / 2)  # so that equal figures do not hide one another
        colour = series_colour(position)
        axes.plot([0, value], [place, place], color=colour, linewidth=1.1, alpha=0.45)
        axes.plot(value, place, "o", color=colour, markersize=5)


def _number_column(figure: Figure, right: float, top: float, values: Sequence[float], colour: str) -> None:
    for line, value in enumerate(values):
        text = ABSENT if math.isnan(value) else f"{100 * value:.2f}"  # two decimals for every figure here
        write_at(figure, right, top + 0.38 * line, text, size=HEADING, colour=colour, ha="right")
