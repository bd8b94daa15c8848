"""The charts of pages: dictionaries for plotly, each with its figures as a table, and with names that stay names."""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from wheretolook.report.components import Chart, Table
from wheretolook.report.tables import ABSENT

# Each is told from paper in light and in dark (3:1 at least), and from its neighbours by lightness too.
COLOURS = ("#7b868f", "#3b8fc4", "#d9641a", "#2a9a6c", "#b0559a", "#b98a10", "#8577d6", "#3aa79b", "#c2677f", "#94764a")
GOOD, BAD = "#2a9a6c", "#d9641a"
ROWS = 24  # of the table beside a chart of many steps

Values = Sequence[float | int]
Points = tuple[Values, Values]


def plain(text: str) -> str:
    """A name as plotly shows it: it would read tags and entities.

    Example:
        >>> plain("<b>cats & dogs</b>")
        '&lt;b&gt;cats &amp; dogs&lt;/b&gt;'
    """
    return html.escape(text, quote=False)


def colour(position: int) -> str:
    """The colour of the so-manieth line or bar."""
    return COLOURS[position % len(COLOURS)]


def lines(
    title: str,
    series: Mapping[str, Points],
    *,
    across: str,
    up: str,
    description: str = "",
    faint: Mapping[str, Points] | None = None,
    colours: Mapping[str, str] | None = None,
    height: int = 320,
) -> Chart:
    """Lines over one axis.

    Args:
        title: above the chart.
        series: for each name the places across and up.
        across: what is across.
        up: what is up.
        description: what is to be seen, in a sentence; may be empty.
        faint: thin lines behind those of the same names, such as what was measured behind its averages.
        colours: of the names; none for those of their places.
        height: in pixels.
    """
    data: list[dict[str, object]] = []
    for position, (name, (x, y)) in enumerate(series.items()):
        line = {"color": (colours or {}).get(name, colour(position)), "width": 2}
        if faint and name in faint:
            behind, raw = faint[name]
            thin = {"line": {**line, "width": 1}, "opacity": 0.3, "hoverinfo": "skip", "showlegend": False}
            data.append({"type": "scatter", "mode": "lines", "x": list(behind), "y": list(raw), **thin})
        shape = {"mode": "lines" if len(x) > 30 else "lines+markers", "line": line}
        data.append({"type": "scatter", "name": plain(name), "x": list(x), "y": list(y), **shape})
    layout = _layout(across, up, legend=len(series) > 1)
    return Chart(title, {"data": data, "layout": layout}, _lines_table(title, series, across), description, height)


def bars(
    title: str,
    names: Sequence[str],
    series: Mapping[str, Values],
    *,
    up: str,
    description: str,
    stacked: bool = False,
    unit: str = "",
    colours: Mapping[str, str] | None = None,
) -> Chart:
    """Lying bars: for each name one of each series, side by side or in one line.

    Args:
        title: above the chart.
        names: one group of bars each, from top to bottom.
        series: for each name of a series, the values of all names; NaN for none.
        up: what the bars measure.
        description: what is to be seen, in a sentence.
        stacked: whether the series add up to a whole.
        unit: after each number.
        colours: of the series' names; none for those of their places.
    """
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": plain(name),
            "y": [plain(each) for each in names],
            "x": list(values),
            "marker": {"color": (colours or {}).get(name, colour(position))},
            "hovertemplate": f"%{{y}}: %{{x:.1f}}{unit}<extra>{plain(name)}</extra>",
        }
        for position, (name, values) in enumerate(series.items())
    ]
    layout = _layout(up, "", legend=len(series) > 1)
    layout |= {"barmode": "stack" if stacked else "group", "bargap": 0.25, "hovermode": "closest"}
    layout["yaxis"] = {"autorange": "reversed", "type": "category", "showgrid": False}
    rows = [[name, *(_number(values[line]) for values in series.values())] for line, name in enumerate(names)]
    each = 1 if stacked else max(1, len(series))
    height = 95 + 18 * len(series) + len(names) * (16 + 15 * each)  # a legend has a line for each name on a telephone
    table = Table(title, ["", *series], rows, note=f"in {unit.strip()}" if unit.strip() else "")
    return Chart(title, {"data": data, "layout": layout}, table, description, height)


def histogram(title: str, values: Values, *, across: str, description: str, steps: int = 25, unit: str = "") -> Chart:
    """How often each change occurs: those below zero in one colour, those above in another.

    Args:
        title: above the chart.
        values: those that are finite are counted.
        across: what they are.
        description: what is to be seen, in a sentence.
        steps: into how many steps the range is cut, so that zero lies between two of them.
        unit: after each number.
    """
    known = [value for value in values if math.isfinite(value)]
    edges = _edges(known, steps)
    counts = [
        sum(1 for value in known if low <= value < high or value == high == edges[-1]) for low, high in pairwise(edges)
    ]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    spans = [f"{low:+.3g} to {high:+.3g}{unit}" for low, high in pairwise(edges)]
    data = [
        {
            "type": "bar",
            "x": middles,
            "y": counts,
            "width": edges[1] - edges[0],
            "marker": {"color": [GOOD if middle > 0 else BAD for middle in middles], "line": {"width": 0}},
            "customdata": spans,
            "hovertemplate": "%{customdata}: %{y}<extra></extra>",
        }
    ]
    layout = _layout(across, "how many", legend=False) | {"bargap": 0.04, "hovermode": "closest"}
    rows = [[span, str(number)] for span, number in zip(spans, counts, strict=True)]
    return Chart(title, {"data": data, "layout": layout}, Table(title, [across, "how many"], rows), description, 280)


def _edges(values: Values, steps: int) -> list[float]:
    """Edges of even steps of a round width, zero among them, that hold all values."""
    reach = max([abs(value) for value in values], default=0.0) or 1.0
    width = _round_up(2 * reach / steps)
    half = math.ceil(reach / width)
    return [width * place for place in range(-half, half + 1)]


def _round_up(width: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= width * (1 - 1e-9))


def _layout(across: str, up: str, *, legend: bool) -> dict[str, object]:
    return {
        "xaxis": {"title": {"text": plain(across)}},
        "yaxis": {"title": {"text": plain(up)}},
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "hovermode": "x unified",
        "margin": {"t": 40 if legend else 12},
    }


def _lines_table(title: str, series: Mapping[str, Points], across: str) -> Table:
    """The lines' values at some of the places across, the first and the last among them."""
    places = sorted({place for x, _ in series.values() for place in x})
    if len(places) > ROWS:
        places = [places[round(index * (len(places) - 1) / (ROWS - 1))] for index in range(ROWS)]
    found = [dict(zip(x, y, strict=True)) for x, y in series.values()]
    rows = [[f"{place:g}", *(_number(line.get(place, math.nan)) for line in found)] for place in places]
    return Table(title, [across, *series], rows)


def _number(value: float | int) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ABSENT
