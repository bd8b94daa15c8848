"""Charts field by field, and their tables cell by cell."""

import math

import pytest

from wheretolook.report import charts
from wheretolook.report.losses import loss_charts, validation_charts
from wheretolook.report.tables import ABSENT

SERIES = {"one": [1.25, math.nan, 3], "<two>": [4, 5, 6]}
NAMES = ["a", "b", "<c>"]


def made(stacked: bool = False, **known: object) -> charts.Chart:
    return charts.bars("title", NAMES, SERIES, up="up", description="said", stacked=stacked, **known)


def test_bars_have_a_value_for_each_name_in_the_colour_of_their_series() -> None:
    figure = made(unit=" %", colours={"one": "#123456"}).figure
    assert figure["data"] == [
        {
            **{"type": "bar", "orientation": "h", "name": "one", "y": ["a", "b", "&lt;c&gt;"], "x": SERIES["one"]},
            **{"marker": {"color": "#123456"}, "hovertemplate": "%{y}: %{x:.1f} %<extra>one</extra>"},
        },
        {
            **{"type": "bar", "orientation": "h", "name": "&lt;two&gt;", "y": ["a", "b", "&lt;c&gt;"]},
            **{"x": [4, 5, 6], "marker": {"color": charts.COLOURS[1]}},
            "hovertemplate": "%{y}: %{x:.1f} %<extra>&lt;two&gt;</extra>",
        },
    ]
    layout = figure["layout"]
    assert (layout["barmode"], layout["hovermode"], layout["showlegend"]) == ("group", "closest", True)
    assert made(stacked=True).figure["layout"]["barmode"] == "stack"
    assert layout["xaxis"]["title"]["text"] == "up" and layout["yaxis"]["autorange"] == "reversed"
    alone = charts.bars("t", ["a"], {"one": [1]}, up="u", description="d")
    assert (
        alone.figure["layout"]["showlegend"] is False and "%{x:.1f}<extra>" in alone.figure["data"][0]["hovertemplate"]
    )
    assert alone.table.note == ""


def test_the_table_of_bars_has_a_line_for_each_name_and_a_column_for_each_series() -> None:
    table = made(unit=" %").table
    assert (table.caption, table.headings, table.note) == ("title", ["", "one", "<two>"], "in %")
    assert table.rows == [["a", "1.25", "4"], ["b", ABSENT, "5"], ["<c>", "3", "6"]]


def test_bars_side_by_side_take_more_room_than_those_in_one_line() -> None:
    """As much more for each name as there are more bars in its group."""
    few = {name: {stacked: made_of(name, stacked) for stacked in (False, True)} for name in (1, 4)}
    assert few[4][False] - few[4][True] == 4 * (few[1][False] - few[1][True]) > 0
    assert few[4][True] > few[1][True]
    one = charts.bars("t", ["a"], {"one": [1]}, up="u", description="d")
    assert one.height == charts.bars("t", ["a"], {"one": [1]}, up="u", description="d", stacked=True).height


def made_of(names: int, stacked: bool) -> int:
    series = {str(number): [1] * names for number in range(3)}
    listed = [str(number) for number in range(names)]
    return charts.bars("t", listed, series, up="u", description="d", stacked=stacked).height


def test_lines_lie_before_their_faint_ones_and_have_their_colour() -> None:
    steps = list(range(31))
    chart = charts.lines(
        "title", {"a": (steps, steps), "<b>": ([0, 7], [2.5, math.nan])}, across="step", up="%", description="said",
        faint={"<b>": ([0, 1, 2], [3, 4, 5])}, colours={"a": "#123456"}, height=99,
    )  # fmt: skip
    second = charts.COLOURS[1]
    assert chart.figure["data"] == [
        {
            **{"type": "scatter", "name": "a", "x": steps, "y": steps, "mode": "lines"},
            "line": {"color": "#123456", "width": 2},
        },
        {
            **{"type": "scatter", "mode": "lines", "x": [0, 1, 2], "y": [3, 4, 5], "opacity": 0.3},
            **{"line": {"color": second, "width": 1}, "hoverinfo": "skip", "showlegend": False},
        },
        {
            **{"type": "scatter", "name": "&lt;b&gt;", "x": [0, 7], "y": [2.5, pytest.approx(math.nan, nan_ok=True)]},
            **{"mode": "lines+markers", "line": {"color": second, "width": 2}},
        },
    ]
    assert (chart.title, chart.description, chart.height) == ("title", "said", 99)
    assert chart.figure["layout"]["showlegend"] is True
    one = charts.lines("t", {"a": (steps[:30], steps[:30])}, across="", up="")
    assert one.figure["layout"]["showlegend"] is False and one.figure["data"][0]["mode"] == "lines+markers"
    assert one.figure["layout"]["margin"]["t"] < chart.figure["layout"]["margin"]["t"]  # room for the legend


def test_the_table_of_few_steps_has_all_of_them() -> None:
    steps = list(range(charts.ROWS))
    for more, lines in ((0, charts.ROWS), (1, charts.ROWS)):
        some = [*steps, *range(charts.ROWS, charts.ROWS + more)]
        rows = charts.lines("t", {"a": (some, some)}, across="step", up="").table.rows
        assert len(rows) == lines and rows[-1] == [str(some[-1])] * 2
    assert [row[0] for row in charts.lines("t", {"a": (steps, steps)}, across="", up="").table.rows] == [
        *map(str, steps)
    ]
    both = charts.lines("t", {"a": ([0, 2], [1, 3]), "b": ([1, 2], [0.123456, 7])}, across="step", up="").table
    assert both.rows == [["0", "1", ABSENT], ["1", ABSENT, "0.1235"], ["2", "3", "7"]]


def test_a_histogram_says_between_what_its_bars_lie_and_whether_that_is_a_gain() -> None:
    chart = charts.histogram(
        "t", [-1.0, -0.4, 0.0, 0.4, 0.4, 1.0], across="points", description="d", steps=4, unit=" %"
    )
    (bar,) = chart.figure["data"]
    assert bar["x"] == [-0.75, -0.25, 0.25, 0.75] and bar["y"] == [1, 1, 3, 1] and bar["width"] == 0.5
    assert bar["marker"]["color"] == [charts.BAD, charts.BAD, charts.GOOD, charts.GOOD]
    spans = ["-1 to -0.5 %", "-0.5 to +0 %", "+0 to +0.5 %", "+0.5 to +1 %"]
    assert bar["customdata"] == spans and bar["hovertemplate"].startswith("%{customdata}: %{y}")
    assert chart.table.headings == ["points", "how many"]
    assert chart.table.rows == [[span, str(count)] for span, count in zip(spans, bar["y"], strict=True)]
    layout = chart.figure["layout"]
    assert (layout["xaxis"]["title"]["text"], layout["showlegend"]) == ("points", False)


@pytest.mark.parametrize(("reach", "width"), [(1.0, 0.1), (1.1, 0.2), (2.4, 0.25), (2.6, 0.5), (5.1, 1.0), (30.0, 5.0)])
def test_the_steps_of_a_histogram_are_the_next_round_width(reach: float, width: float) -> None:
    """Of 20 steps over twice the reach: a tenth of it, rounded up to 1, 2, 2.5 or 5 times a power of ten."""
    chart = charts.histogram("t", [-reach, reach / 3], across="", description="", steps=20)
    assert chart.figure["data"][0]["width"] == pytest.approx(width)


def test_a_loss_is_named_and_explained_and_keeps_the_colour_of_its_training() -> None:
    first = [{"step": float(step), "train/total": 1.0} for step in range(3)]
    second = [{**row, "train/attention_distillation": 2.0, "val/total": 1.0} for row in first]
    total, other = loss_charts({"a": first, "b": second})
    assert (total.title, other.title) == ("Total loss", "Attention distillation loss")
    assert total.description and not other.description
    assert [line["line"]["color"] for line in total.figure["data"]] == [charts.COLOURS[0]] * 2 + [charts.COLOURS[1]] * 2
    assert {line["line"]["color"] for line in other.figure["data"]} == {charts.COLOURS[1]}
    assert [line["x"] for line in other.figure["data"]] == [[0, 1, 2]] * 2
    assert other.figure["layout"]["xaxis"]["title"]["text"] == "step"


def test_validation_has_a_chart_for_each_share_that_was_measured_twice() -> None:
    rows = [{"step": float(step), "val/mean_iu": step / 8, "val/images": 3.0} for step in (1, 2)]
    rows[0]["val/energy_pointing"] = 0.5
    (chart,) = validation_charts({"other": [], "a": [*rows, {"step": 3.0, "val/mean_iu": math.nan}]})
    (line,) = chart.figure["data"]
    assert (line["name"], line["x"], line["y"]) == ("a", [1, 2], [12.5, 25.0])
    assert line["line"]["color"] == charts.COLOURS[1] and chart.title == "Mean IU"
