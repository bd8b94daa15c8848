"""The hand of every picture: inks, palettes, sizes and how a figure reaches its file. Nothing global is changed."""

from collections.abc import Mapping, Sequence
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from wheretolook.files import replacing

DPI = 200

INK = "#1d2730"  # text that is read first
MUTED = "#66727c"  # text that is read second
HAIRLINE = "#d3d9de"

TITLE, HEADING, BODY, SMALL = 11.0, 8.5, 7.5, 6.5  # text sizes in points

# Lines and dots: neighbours differ in lightness too, so that they survive a grey printer.
SERIES = (
    "#7b868f", "#3b8fc4", "#c4500b", "#14694a", "#902159", "#c98a10", "#4e4385", "#43a894", "#a8577e", "#6f4300",
    "#2b3f50", "#8f8ad6",
)  # fmt: skip

# Classes: each next colour lies as far as it can from all before it, for normal and for colour-blind eyes.
CLASS_COLOURS = (
    "#006fb1", "#d36400", "#f4b12c", "#168559", "#902159", "#7ac8e9", "#9090ff", "#a6d39b", "#6f4300", "#c87a9b",
    "#43b164", "#4e4385", "#905985", "#3fd6c4", "#a685c8", "#9b592c", "#2c43a6", "#6f6fde", "#90b1ff", "#c89b00",
)  # fmt: skip
VOID_COLOUR = "#f4f4f2"

ATTENTION_COLOURS = "inferno"  # perceptually uniform: equal steps of attention look equal


def series_colour(position: int) -> str:
    """The colour of the rows of a summary by their position; no two are the same."""
    return _nth(SERIES, position)


def class_colour(class_index: int) -> str:
    """The colour of a class; no two are the same, but past the 20th some look alike.

    Example:
        >>> class_colour(0), class_colour(20)
        ('#006fb1', '#3433a6')
    """
    return _nth(CLASS_COLOURS, class_index)


def _nth(palette: Sequence[str], position: int) -> str:
    """A chosen colour, or after the last of these one of a hue that lies far from those before it (golden angle)."""
    further = position - len(palette)
    if further < 0:
        return palette[position]
    hue, lightness = (0.667 + 0.618034 * further) % 1, (0.65, 0.85, 0.5)[further % 3]
    return to_hex(hsv_to_rgb(hue, 0.69, lightness))


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of so many inches, outside of pyplot and its global state."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the figure's top left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def write_at(
    figure: Figure,
    left: float,
    top: float,
    text: str,
    *,
    size: float = BODY,
    colour: str = INK,
    weight: str = "normal",
    ha: Literal["left", "center", "right"] = "left",
) -> None:
    """Text whose baseline starts (or, with `ha`, ends or is centred) so many inches from the top left corner."""
    across, down = figure.get_size_inches()
    figure.text(
        left / across, 1 - top / down, text, fontsize=size, color=colour, weight=weight, ha=ha, parse_math=False
    )


def quiet(axes: Axes) -> None:
    """Take the frame away: a hairline below, light lines to read values by, small muted numbers."""
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=MUTED, pad=3)
    axes.grid(axis="y", color=HAIRLINE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def step_axis(axes: Axes) -> None:
    """Steps along the bottom: a few whole numbers, thousands as k."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"))


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; the same figure gives the same bytes.

    Raises:
        DataError: `path` cannot be written.
    """
    unnamed: Mapping[str, None] = {"Software": None}
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata=unnamed)
