"""Tables of an evaluation: for the terminal, and as Markdown to paste."""

import math
from collections.abc import Mapping, Sequence
from typing import SupportsFloat

from rich.table import Table
from rich.text import Text

HEADINGS = {
    "weights": "Weights",
    "accuracy": "Accuracy",
    "accuracy_class": "Accuracy Class",
    "mean_iu": "Mean IU",
    "fwavacc": "FWAVACC",
    "map": "mAP",
    "f1": "F1",
    "energy_pointing": "Energy pointing",
    "energy_pointing_over_chance": "over chance",
    "attention_iou": "Attention IoU",
    "attention_iou_20": "at 20 %",
    "attention_iou_ceiling": "Ceiling",
    "pointing_game": "Pointing game",
    "empty_maps": "Empty maps",
    "images": "Images",
    "masks": "with masks",
    "pairs": "Pairs",
}
"""What each column of an evaluation is called, in the order in which the columns stand."""

FOUR_DECIMALS = ("accuracy", "accuracy_class", "mean_iu", "fwavacc")  # as the literature prints them
RATIOS = ("energy_pointing_over_chance",)
ABSENT = "\N{EN DASH}"
COUNTS = ("images", "masks", "pairs")
SHARES = tuple(key for key in HEADINGS if key not in ("weights", *RATIOS, *COUNTS))
"""The figures that lie in [0, 1] and are printed in percent."""

Row = Mapping[str, object]


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
        >>> cell("mean_iu", 0.65514), cell("map", 0.9), cell("energy_pointing_over_chance", 1.527), cell("f1", None)
        ('65.5140', '90.00', '1.53x', '–')
    """
    if key == "weights":
        return str(value)
    figure = number(value)
    if math.isnan(figure):
        return ABSENT
    if key in COUNTS:
        return f"{figure:.0f}"
    if key in RATIOS:
        return f"{figure:.2f}x"
    return f"{100 * figure:.{4 if key in FOUR_DECIMALS else 2}f}"


def results_table(rows: Sequence[Row], columns: Sequence[str] | None = None, *, title: str | None = None) -> Table:
    """The results for the terminal: one line a figure, one column a weights file, so that it fits a narrow window.

    Args:
        rows: one mapping for each weights file, of the keys of `HEADINGS`; shares in [0, 1].
        columns: keys to show, in this order; none shows each that any row has.
        title: printed above.

    Returns:
        A table for `rich.print`; shares are in percent.
    """
    keys = [key for key in _columns(rows, columns) if key != "weights"]
    lines = [[HEADINGS[key], *(cell(key, row.get(key)) for row in rows)] for key in keys]
    return _table(["", *_weights(rows)], lines, title, "shares in percent")


def results_markdown(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """The results as a GitHub Markdown table; shares are in percent.

    Args:
        rows: one mapping for each weights file, of the keys of `HEADINGS`; shares in [0, 1].
        columns: keys to show, in this order; none shows each that any row has.

    Example:
        >>> print(results_markdown([{"weights": "Original", "mean_iu": 0.6551, "f1": float("nan")}]), end="")
        | Weights | Mean IU | F1 |
        | :-- | --: | --: |
        | Original | 65.5100 | – |
    """
    keys = _columns(rows, columns)
    lines = [[cell(key, row.get(key)) for key in keys] for row in rows]
    return _markdown([HEADINGS[key] for key in keys], lines)


def class_table(rows: Sequence[Row], class_names: Sequence[str], *, title: str | None = None) -> Table:
    """The IU of every class for the terminal, one line a class, one column a weights file.

    Args:
        rows: one mapping for each weights file, with `weights` and `iu_per_class`, background first, in [0, 1].
        class_names: of the classes, without background.
        title: printed above.
    """
    return _table(["Class", *_weights(rows)], _class_cells(rows, class_names), title, "IU in percent")


def class_markdown(rows: Sequence[Row], class_names: Sequence[str]) -> str:
    """The IU of every class as a GitHub Markdown table, in percent, one line a class.

    Args:
        rows: one mapping for each weights file, with `weights` and `iu_per_class`, background first, in [0, 1].
        class_names: of the classes, without background.

    Example:
        >>> print(class_markdown([{"weights": "Original", "iu_per_class": [0.9, 0.5]}], ["boat"]), end="")
        | Class | Original |
        | :-- | --: |
        | background | 90.00 |
        | boat | 50.00 |
    """
    return _markdown(["Class", *_weights(rows)], _class_cells(rows, class_names))


def _columns(rows: Sequence[Row], columns: Sequence[str] | None) -> Sequence[str]:
    return columns if columns is not None else [key for key in HEADINGS if any(key in row for row in rows)]


def _weights(rows: Sequence[Row]) -> list[str]:
    return [str(row["weights"]) for row in rows]


def _class_cells(rows: Sequence[Row], class_names: Sequence[str]) -> list[list[str]]:
    columns = [_figures(row["iu_per_class"]) for row in rows]
    lines = zip(("background", *class_names), *columns, strict=True)
    return [[name, *(cell("iu_per_class", figure) for figure in figures)] for name, *figures in lines]


def _figures(values: object) -> Sequence[object]:
    """A row's figures of each class, whether it holds a list or a tensor."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, Sequence):
        raise TypeError(f"iu_per_class is a sequence or a tensor, not {type(values).__name__}")
    return values


def _table(headings: Sequence[str], cells: Sequence[Sequence[str]], title: str | None, caption: str) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=None, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if position else "left")
    for row in cells:
        table.add_row(*map(Text, row))  # plain text: a name in brackets is no markup
    return table


def _markdown(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    alignment = [":--", *("--:" for _ in headings[1:])]
    lines = (headings, alignment, *([text.replace("|", r"\|") for text in row] for row in cells))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
