"""Which figure is drawn where, in which colour and with which number beside it: read off the drawn artists."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from wheretolook.metrics.figures import FIGURES
from wheretolook.report import curves
from wheretolook.report.curves import SUMMARY, loss_curves, summary_picture
from wheretolook.report.style import INK, series_colour

from .seen import drawn, lines_of, text_of

TIMES = {50: 1, 100: 4, 150: 2, 200: 3}  # what the validation at a step adds: the last is neither best nor worst
SHARES = [key for key, figure in FIGURES.items() if figure.unit == "share"]


@pytest.fixture
def figure_of(monkeypatch: pytest.MonkeyPatch):
    """Draws, and gives the figure in place of writing it."""
    kept: list[Figure] = []
    monkeypatch.setattr(curves, "save", lambda figure, path: kept.append(figure))

    def draw(drawing: object, *arguments: object, **options: object) -> Figure:
        drawing(*arguments, Path("unused.png"), **options)
        return kept.pop()

    return draw


def history(steps: int = 200) -> list[dict[str, float]]:
    """Losses of random steps, and a validation every fifty of them in which every share has values of its own."""
    draw = np.random.default_rng(0)
    rows: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        losses = {
            "train/total": draw.uniform(1, 2),
            "train/mining": draw.uniform(3, 4),
            "train/energy": draw.uniform(5, 6),
        }
        rows.append({"step": float(step), **losses})
        if step % 50 == 0:
            figures = {f"val/{key}": 0.05 * position + 0.001 * TIMES[step] for position, key in enumerate(SHARES)}
            rows.append({"step": float(step), **figures, "val/energy": 0.01 * step, "val/pairs": 7.0, "val/score": 0.5})
    return rows


def panel_of(figure: Figure, title: str) -> Axes:
    (axes,) = [axes for axes in figure.axes if axes.get_title(loc="left") == title]
    return axes


def average(values: Sequence[float], span: int) -> list[float]:
    """The moving average once more: weights of every step by its age."""
    decay = (span - 1) / (span + 1)
    weights = [[decay ** (last - step) for step in range(last + 1)] for last in range(len(values))]
    return [float(np.average(values[: len(row)], weights=row)) for row in weights]


@pytest.mark.parametrize(("steps", "span"), [(200, 10), (15, 1), (59, 2)])
def test_a_loss_has_a_faint_line_as_logged_and_a_strong_one_of_a_twentieth_of_the_run(figure_of, steps: int, span: int):
    rows = history(steps)
    figure = figure_of(loss_curves, rows, title="Guided")
    for loss in ("total", "mining", "energy"):
        axes = panel_of(figure, loss)
        logged = [row[f"train/{loss}"] for row in rows if f"train/{loss}" in row]
        faint, strong, *_ = axes.get_lines()
        assert list(faint.get_xdata()) == list(strong.get_xdata()) == [float(step) for step in range(1, steps + 1)]
        assert list(faint.get_ydata()) == logged
        np.testing.assert_allclose(strong.get_ydata(), average(logged, span))
        assert faint.get_alpha() < 0.5 and strong.get_alpha() is None and strong.get_linewidth() > faint.get_linewidth()
        assert axes.get_title(loc="right") == f"{average(logged, span)[-1]:.3g}"
        assert (faint.get_color() == INK) == (loss == "total")
    assert [axes.get_title(loc="left") for axes in figure.axes][:3] == ["total", "mining", "energy"]
    assert text_of(figure, "Guided")


def test_both_lines_of_a_loss_have_its_colour(figure_of):
    figure = figure_of(loss_curves, history(), title="a run")
    for name, colour in (("total", INK), ("mining", series_colour(1)), ("energy", series_colour(1))):
        assert {line.get_color() for line in panel_of(figure, name).lines[:2]} == {colour}


@pytest.mark.parametrize("count", [1, 5, 6, 11])
def test_losses_beyond_five_go_on_below_and_nothing_overlaps(figure_of, count: int):
    names = [f"classification{index}" for index in range(count)]
    rows = [
        {"step": float(step), **{f"train/{name}": 0.123 * step for name in names}, "val/f1": 0.5} for step in (1, 2)
    ]
    figure = figure_of(loss_curves, rows, title="")
    drawn(figure)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [*names, "validation, in percent"]
    parts = [axes.get_position() for axes in figure.axes]
    parts += [text.get_window_extent().transformed(figure.transFigure.inverted()) for axes in figure.axes
              for text in axes.findobj(Text) if text.get_text() in (*names, "0.246")]  # fmt: skip
    assert len(parts) == 1 + 3 * count
    assert not any(one.overlaps(other) for index, one in enumerate(parts) for other in parts[:index])
    assert all(part.x0 >= 0 and part.x1 <= 1 and part.y0 >= 0 and part.y1 <= 1 for part in parts)
    assert [box.y0 for box in parts[: min(count, 3)]] == [parts[0].y0] * min(count, 3)


def test_dots_are_the_same_loss_on_the_validation_split(figure_of):
    figure = figure_of(loss_curves, history(), title="")
    dots = {loss: panel_of(figure, loss).get_lines()[2] for loss in ("total", "mining", "energy")}
    assert list(dots["energy"].get_xdata()) == [50, 100, 150, 200]
    assert list(dots["energy"].get_ydata()) == pytest.approx([0.5, 1, 1.5, 2])
    assert not len(dots["total"].get_xdata()) and not len(dots["mining"].get_xdata())
    low, high = panel_of(figure, "energy").get_ylim()
    assert low == 0 and high > 6 and panel_of(figure, "energy").get_xlim() == (1, 200)


def test_the_legend_says_what_is_drawn(figure_of):
    def said(rows: list[dict[str, float]]) -> str:
        texts = [text.get_text() for text in figure_of(loss_curves, rows, title="").texts]
        (legend,) = [text for text in texts if "faint" in text or "nothing" in text]
        return legend

    smooth, total = (
        "faint: as logged; strong: moving average over a twentieth of the run",
        "total is the weighted sum of the others",
    )
    assert said(history()) == f"{smooth}; dots: validation; {total}"
    assert said([{"step": 1.0, "train/total": 1.0}]) == smooth
    assert said([{"step": 1.0, "train/total": 1.0, "train/mining": 2.0}]) == f"{smooth}; {total}"
    assert said([{"step": 1.0, "val/mean_iu": 0.5}]) == said([]) == "nothing was logged while training"


def test_every_share_of_the_validation_has_its_line_its_colour_its_name_and_its_last_value(figure_of):
    axes = panel_of(figure_of(loss_curves, history(), title=""), "validation, in percent")
    assert len(axes.get_lines()) == len(SHARES)
    labels = {text.get_text(): text for text in axes.texts}
    for position, key in enumerate(SHARES):
        figure = FIGURES[key]
        ((steps, percent),) = lines_of(axes, figure.colour)
        assert steps == [50, 100, 150, 200]
        assert percent == pytest.approx([5 * position + 0.1 * time for time in TIMES.values()])
        label = labels[f"{5 * position + 0.3:.1f}  {figure.alone or figure.heading}"]
        assert label.get_color() == figure.colour
    assert axes.get_ylim() == (0, 100) and axes.get_xlim() == (1, 200)
    heights = [labels[text].get_position()[1] for text in sorted(labels, key=lambda text: float(text.split()[0]))]
    assert all(second - first >= 0.0619 for first, second in pairwise(heights))


def test_what_is_not_a_number_takes_no_other_figure_away(figure_of):
    rows: list[Mapping[str, float]] = [
        {"step": 1.0, "val/mean_iu": math.nan, "val/f1": 0.25, "val/attention_iou": math.nan},
        {"step": 2.0, "val/mean_iu": 0.5, "val/f1": 0.75, "val/attention_iou": math.nan},
    ]
    axes = panel_of(figure_of(loss_curves, rows, title=""), "validation, in percent")
    assert lines_of(axes, FIGURES["mean_iu"].colour) == [([2.0], [50.0])]
    assert lines_of(axes, FIGURES["f1"].colour) == [([1.0, 2.0], [25.0, 75.0])]
    assert len(axes.get_lines()) == 2 and len(axes.texts) == 2


def rows_of(*names: str) -> list[dict[str, object]]:
    return [
        {"weights": name, **{key: 0.1 * line + 0.03 * (position + 1) for line, key in enumerate(SUMMARY)}}
        for position, name in enumerate(names)
    ]


def test_the_summary_has_each_rows_numbers_under_its_name_in_its_colour(figure_of):
    """Texts and dots of every figure and row at their places: lines from top to bottom, rows from left to right."""
    names = ("Original", "Control", "Guided")
    rows = rows_of(*names)
    figure = figure_of(summary_picture, rows)
    (axes,) = figure.axes
    lines = [text_of(figure, FIGURES[key].heading).get_position()[1] for key in SUMMARY]
    assert lines == sorted(lines, reverse=True)
    columns = []
    for position, name in enumerate(names):
        heading, colour = text_of(figure, name), series_colour(position)
        columns.append(heading.get_position()[0])
        numbers = [text for text in figure.texts if text.get_position()[0] == columns[-1] and text is not heading]
        values = [10 * line + 3 * (position + 1) for line in range(len(SUMMARY))]
        assert [text.get_text() for text in numbers] == [f"{value:.2f}" for value in values]
        assert [text.get_position()[1] for text in numbers] == lines
        assert {text.get_color() for text in (heading, *numbers)} == {colour}
        found = lines_of(axes, colour)
        assert [line for line in found if len(line[0]) == 1] == [
            (pytest.approx([value]), pytest.approx([line + 0.2 * (position - 1)])) for line, value in enumerate(values)
        ]
        assert [line[0] for line in found if len(line[0]) == 2] == [pytest.approx([0, value]) for value in values]
    assert columns == sorted(columns)
    first, last = (axes.transData.transform((0, line))[1] for line in (0, len(SUMMARY) - 1))
    down = figure.get_size_inches()[1] * figure.dpi
    apart = 0.23 - 0.19  # inches from the middle of a line of 0.38 to the baseline of its heading
    assert [first / down - lines[0], last / down - lines[-1]] == pytest.approx(
        [apart * figure.dpi / down] * 2, abs=1e-6
    )
    assert axes.get_xlim() == (0, 100) and list(axes.get_xticks()) == [0, 25, 50, 75, 100]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "25", "50", "75", "100 %"]


def test_the_summary_leaves_out_what_nobody_measured_and_dashes_what_one_did_not(figure_of):
    first, second = rows_of("A", "B")
    first |= {"mean_iu": math.nan, "attention_iou": None, "f1": 0.3}
    second |= {"mean_iu": math.nan, "attention_iou": torch.tensor(0.5)}
    del first["pointing_game"], second["pointing_game"]
    figure = figure_of(summary_picture, [first, second])
    words = [text.get_text() for text in figure.texts]
    kept = ("image_accuracy", "mean_average_precision", "energy_pointing", "attention_iou")
    assert words[:4] == [FIGURES[key].heading for key in kept]
    assert words[4:] == ["A", "13.00", "23.00", "33.00", "\N{EN DASH}", "B", "16.00", "26.00", "36.00", "50.00"]
