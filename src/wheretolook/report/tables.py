"""Tables of an evaluation: for the terminal, and as Markdown to paste."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple, SupportsFloat

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from wheretolook.metrics.figures import FIGURES

ABSENT = "\N{EN DASH}"
CLASSES_SHOWN = 40  # of more, the best and the worst half of so many

Row = Mapping[str, object]


class ClassFigure(NamedTuple):
    """A figure of each class, and what its table is captioned with."""

    key: str
    caption: str
    background: bool  # whether the first value is that of background


class ClassLine(NamedTuple):
    """One class in the table of classes: a value for each weights file, NaN for none."""

    name: str
    values: list[float]


Figures = Sequence[ClassFigure]

CLASS_FIGURES = (
    ClassFigure("iu_per_class", "IU in percent", True),
    ClassFigure("accuracy_per_class", "share of a class's images that are recognised, in percent", False),
    ClassFigure("average_precision_per_class", "average precision in percent", False),
)
"""What can be shown of each class; a table shows the first of them that was measured."""

MARK_FIGURE = ClassFigure("energy_on_mark_per_class", "share of attention on the mark in percent", False)
"""Of each class in a table of its own, where it was measured."""


def number(value: object) -> float:
    """A figure as a float; NaN where there is none.

    Example:
        >>> number(None), number(0.5)
        (nan, 0.5)
    """
    return float(value) if isinstance(value, SupportsFloat) else math.nan


def cell(key: str, value: object) -> str:
    """One figure as its column prints it: shares in percent, ratios as `1.53x`, an en dash where there is none.

    Example:
        >>> cell("mean_iu", 0.65514), cell("f1", 0.9), cell("energy_pointing_over_chance", 1.527), cell("f1", None)
        ('65.5140', '90.00', '1.53x', '–')
    """
    if key == "weights":
        return str(value)
    figure = number(value)
    return ABSENT if math.isnan(figure) else FIGURES[key].printed(figure)


def results_table(rows: Sequence[Row], columns: Sequence[str] | None = None, *, title: str | None = None) -> Table:
    """The results for the terminal: one line a figure, one column a weights file, so that it fits a narrow window.

    Args:
        rows: one mapping for each weights file, of `weights` and the keys of `FIGURES`; shares in [0, 1].
        columns: keys to show, in this order; none shows each that was measured of any row.
        title: printed above.

    Returns:
        A table for `rich.print`; shares are in percent.
    """
    keys = [key for key in _columns(rows, columns) if key != "weights"]
    lines = [[_heading(key), *(cell(key, row.get(key)) for row in rows)] for key in keys]
    return text_table(["", *_weights(rows)], lines, title, "shares in percent")


def figures_markdown() -> str:
    """What there is to measure, as the docs have it: every figure, and what it cannot see."""
    better = {True: "higher", False: "lower", None: ABSENT}
    lines = [
        [
            figure.alone or figure.heading,
            f"`{figure.key}`",
            figure.family,
            better[figure.higher_is_better],
            figure.blind,
        ]
        for figure in FIGURES.values()
    ]
    return markdown_table(["Figure", "Key", "Of", "Better", "What it cannot see"], lines, numbers=False)


def results_markdown(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """The results as a GitHub Markdown table; shares are in percent.

    Args:
        rows: one mapping for each weights file, of `weights` and the keys of `FIGURES`; shares in [0, 1].
        columns: keys to show, in this order; none shows each that was measured of any row.

    Example:
        >>> print(results_markdown([{"weights": "Original", "mean_iu": 0.6551, "f1": float("nan")}]), end="")
        | Weights | Mean IU |
        | :-- | --: |
        | Original | 65.5100 |
    """
    keys = _columns(rows, columns)
    lines = [[cell(key, row.get(key)) for key in keys] for row in rows]
    return markdown_table([_heading(key) for key in keys], lines)


def class_table(
    rows: Sequence[Row], class_names: Sequence[str], *, title: str | None = None, figures: Figures = CLASS_FIGURES
) -> Table | None:
    """A figure of every class for the terminal, one line a class, one column a weights file.

    The figure is the IU, or without segmentation the accuracy, or with several classes an image the average precision.
    Of more than `CLASSES_SHOWN` classes, the best and the worst are shown, by the mean over the rows.

    Args:
        rows: one mapping for each weights file, with `weights` and any of `CLASS_FIGURES`, in [0, 1].
        class_names: of the classes, without background.
        title: printed above.
        figures: of which the first that was measured is shown.

    Returns:
        None where nothing was measured of a class.
    """
    found = class_cells(rows, class_names, figures=figures)
    return None if found is None else text_table(["Class", *_weights(rows)], found[1], title, found[0])


def class_markdown(rows: Sequence[Row], class_names: Sequence[str], *, figures: Figures = CLASS_FIGURES) -> str:
    """The table of `class_table` in GitHub Markdown; empty where nothing was measured of a class.

    Args:
        rows: one mapping for each weights file, with `weights` and any of `CLASS_FIGURES`, in [0, 1].
        class_names: of the classes, without background.
        figures: of which the first that was measured is shown.

    Example:
        >>> print(class_markdown([{"weights": "Original", "iu_per_class": [0.9, 0.5]}], ["boat"]), end="")
        | Class (IU in percent) | Original |
        | :-- | --: |
        | background | 90.00 |
        | boat | 50.00 |
    """
    found = class_cells(rows, class_names, figures=figures)
    return "" if found is None else markdown_table([f"Class ({found[0]})", *_weights(rows)], found[1])


def class_cells(
    rows: Sequence[Row], class_names: Sequence[str], *, figures: Figures = CLASS_FIGURES
) -> tuple[str, list[list[str]]] | None:
    """What the figure of every class is, and the lines of its table; None where nothing was measured of a class.

    Args:
        rows: one mapping for each weights file, with `weights` and any of `figures`, in [0, 1].
        class_names: of the classes, without background.
        figures: the first of them that was measured is shown.
    """
    figure = _class_figure(rows, figures)
    return None if figure is None else (figure.caption, _class_cells(rows, class_names, figure))


def _columns(rows: Sequence[Row], columns: Sequence[str] | None) -> Sequence[str]:
    """The columns asked for, or all of which any row has a value."""
    if columns is not None:
        return columns
    measured = [key for key in FIGURES if any(not math.isnan(number(row.get(key))) for row in rows)]
    return ["weights", *measured]


def _heading(key: str) -> str:
    return "Weights" if key == "weights" else FIGURES[key].heading


def _weights(rows: Sequence[Row]) -> list[str]:
    return [str(row["weights"]) for row in rows]


def _class_figure(rows: Sequence[Row], figures: Figures) -> ClassFigure | None:
    """The first figure of classes that was measured of any row."""
    for figure in figures:
        if any(not math.isnan(value) for row in rows for value in _figures(row, figure.key)):
            return figure
    return None


def _class_cells(rows: Sequence[Row], class_names: Sequence[str], figure: ClassFigure) -> list[list[str]]:
    names = [*(["background"] * figure.background), *class_names]
    columns = [_figures(row, figure.key) or [math.nan] * len(names) for row in rows]
    lines = [ClassLine(name, values) for name, *values in zip(names, *columns, strict=True)]
    return [[name, *map(_percent, values)] for name, values in _best_and_worst(lines)]


def _best_and_worst(lines: Sequence[ClassLine]) -> Sequence[ClassLine]:
    """All lines in their order, or of too many those of the highest and the lowest mean, from best to worst."""
    if len(lines) <= CLASSES_SHOWN:
        return lines
    ranked = sorted(
        (line for line in lines if not math.isnan(_mean(line.values))), key=lambda line: -_mean(line.values)
    )
    half = CLASSES_SHOWN // 2
    left_out = ClassLine(f"({len(ranked) - 2 * half} between them)", [math.nan] * len(lines[0].values))
    return ranked if len(ranked) <= CLASSES_SHOWN else [*ranked[:half], left_out, *ranked[-half:]]


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are there; NaN of none."""
    there = [value for value in values if not math.isnan(value)]
    return fmean(there) if there else math.nan


def _percent(share: float) -> str:
    return ABSENT if math.isnan(share) else f"{100 * share:.2f}"


def _figures(row: Row, key: str) -> list[float]:
    """A row's figures of each class, whether it holds a list or a tensor; none where it has none."""
    values = row.get(key, ())
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, Sequence):
        raise TypeError(f"{key} is a sequence or a tensor, not {type(values).__name__}")
    return [number(value) for value in values]


class CaptionedTable(Table):
    """A table whose caption has the terminal's width, not that of the table, which may be narrow."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        caption, self.caption = self.caption, None
        yield from super().__rich_console__(console, options)
        self.caption = caption
        yield Text(str(caption), style="dim italic")


def text_table(headings: Sequence[str], cells: Sequence[Sequence[str]], title: str | None, caption: str) -> Table:
    """Any table for the terminal: the first column to the left, numbers to the right.

    Args:
        headings: of the columns.
        cells: row by row.
        title: printed above; None for none.
        caption: printed below.
    """
    table = CaptionedTable(
        title=title, caption=caption, title_justify="left", caption_justify="left", box=None, pad_edge=False
    )
    for position, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if position else "left")
    for row in cells:
        table.add_row(*map(Text, row))  # plain text: a name in brackets is no markup
    return table


def markdown_table(headings: Sequence[str], cells: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    r"""Any table in GitHub Markdown.

    Args:
        headings: of the columns.
        cells: row by row.
        numbers: put all columns but the first to the right.

    Example:
        >>> print(markdown_table(["Class", "IU"], [["a|b", "50.00"]]), end="")
        | Class | IU |
        | :-- | --: |
        | a\|b | 50.00 |
    """
    alignment = [":--", *("--:" if numbers else ":--" for _ in headings[1:])]
    lines = (headings, alignment, *([text.replace("|", r"\|") for text in row] for row in cells))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
