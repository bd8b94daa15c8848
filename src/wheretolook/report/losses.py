"""Charts of what trainings measured: a chart for each loss, and one for the figures of validation."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wheretolook.metrics.figures import FIGURES
from wheretolook.report import charts
from wheretolook.report.components import Chart
from wheretolook.report.curves import smoothed

POINTS = 250  # of a line: more are not seen
SPAN = 20  # a line is the moving average over so many parts of the training

Steps = Sequence[Mapping[str, float]]


class _Line(NamedTuple):
    """One loss of one training."""

    steps: list[float]
    values: list[float]


def loss_charts(histories: Mapping[str, Steps]) -> list[Chart]:
    """A chart for each loss that any of the trainings weighed, with a line for each training.

    Args:
        histories: for the name of each training, its rows; see `curves.read_history`.
    """
    colours = {name: charts.colour(place) for place, name in enumerate(histories)}
    found = []
    for key in _logged(histories, "train/"):
        raw = {name: line for name, rows in histories.items() if any((line := _line(rows, key)).values)}
        if raw:
            found.append(_loss_chart(key.removeprefix("train/"), raw, colours))
    return found


def validation_charts(histories: Mapping[str, Steps]) -> list[Chart]:
    """A chart for each figure that was validated more than once, with a line for each training.

    Args:
        histories: for the name of each training, its rows.
    """
    colours = {name: charts.colour(place) for place, name in enumerate(histories)}
    found = []
    for key, figure in FIGURES.items():
        lines = {name: _line(rows, f"val/{key}") for name, rows in histories.items()}
        shown = {name: line for name, line in lines.items() if len(line.steps) > 1}
        if shown and figure.colour:
            series = {name: (line.steps, [100 * value for value in line.values]) for name, line in shown.items()}
            title = figure.alone or figure.heading
            made = charts.lines(title, series, across="step", up="%", colours=colours, height=260)
            found.append(made)
    return found


def _loss_chart(name: str, raw: Mapping[str, _Line], colours: Mapping[str, str]) -> Chart:
    averages = {
        key: _thinned(_Line(steps, smoothed(values, max(1, len(values) // SPAN))))
        for key, (steps, values) in raw.items()
    }
    return charts.lines(
        f"{name.replace('_', ' ').capitalize()} loss",
        averages,
        across="step",
        up="",
        description="The weighted sum of all losses." if name == "total" else "",
        faint={key: _thinned(line) for key, line in raw.items()},
        colours=colours,
        height=260,
    )


def _logged(histories: Mapping[str, Steps], prefix: str) -> list[str]:
    """The columns of all histories, in the order in which they come."""
    keys = dict.fromkeys(key for rows in histories.values() for row in rows for key in row)
    return [key for key in keys if key.startswith(prefix)]


def _line(rows: Steps, key: str) -> _Line:
    found = [(row["step"], row[key]) for row in rows if key in row and math.isfinite(row[key])]
    return _Line([step for step, _ in found], [value for _, value in found])


def _thinned(line: _Line) -> _Line:
    """So many points at most, the last one among them, with as many digits as are seen."""
    every = math.ceil(len(line.steps) / POINTS) or 1
    places = range((len(line.steps) - 1) % every, len(line.steps), every)
    return _Line([line.steps[place] for place in places], [float(f"{line.values[place]:.5g}") for place in places])
