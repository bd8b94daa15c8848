"""What the tests of pictures share: explanations to draw, and the reading of a drawn figure's texts and pixels."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from wheretolook.records import VOID, Explanation
from wheretolook.report.style import DPI

NAMES = ["boat", "cow", "sheep"]


def explanation(name: str = "a", class_index: int = 1, energy: float = 0.5, **known: torch.Tensor) -> Explanation:
    """One of a grey image of 24 x 32 on which nothing is to be seen, but for what is given."""
    fields = {
        "image": torch.full((3, 24, 32), 0.5),
        "truth": torch.zeros(24, 32, dtype=torch.long),
        "target": None,
        "prediction": None,
        "attention": torch.ones(24, 32),
    }
    fields |= known
    if fields["target"] is None:
        truth = fields["truth"]
        fields["target"] = torch.where(truth == VOID, VOID, (truth == 1 + class_index).long()).to(torch.uint8)
    return Explanation(name, class_index, energy_inside=energy, **fields)


@lru_cache(maxsize=2)
def drawn(figure: Figure) -> np.ndarray:
    """The pixels of a figure, RGB, coarser than it would be saved."""
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def text_of(figure: Figure, words: str) -> Text:
    """The one text with exactly these words, wherever it stands."""
    (found,) = [text for text in figure.findobj(Text) if text.get_text() == words]
    return found


def under(figure: Figure, heading: str) -> list[str]:
    """The texts of the figure that stand centred at the same place across as a heading, from top to bottom."""
    across = text_of(figure, heading).get_position()[0]
    column = [text for text in figure.texts if abs(text.get_position()[0] - across) < 1e-6]
    texts = [text.get_text() for text in sorted(column, key=lambda text: -text.get_position()[1])]
    return [text for text in texts if text and text != heading]


def panel(figure: Figure, heading: str, row: int = 0) -> np.ndarray:
    """The pixels of the picture below a heading, in a row."""
    pixels = drawn(figure)
    down, across = pixels.shape[:2]
    centre = text_of(figure, heading).get_position()[0]
    boxes = [axes.get_position() for axes in figure.axes]
    column = sorted((box for box in boxes if abs((box.x0 + box.x1) / 2 - centre) < 1e-3), key=lambda box: -box.y1)
    box = column[row]
    top, bottom = round((1 - box.y1) * down), round((1 - box.y0) * down)
    return pixels[top:bottom, round(box.x0 * across) : round(box.x1 * across)]


def at(pixels: np.ndarray, row: float, column: float, shape: tuple[int, int] = (24, 32)) -> np.ndarray:
    """The drawn colour, in [0, 1], of the middle of a pixel of the image."""
    height, width = pixels.shape[:2]
    return pixels[int((row + 0.5) / shape[0] * height), int((column + 0.5) / shape[1] * width)] / 255


def lines_of(axes: Axes, colour: str) -> list[tuple[list[float], list[float]]]:
    """The data of the lines of a colour."""
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in axes.get_lines()
        if line.get_color() == colour
    ]


def places_of(path: Path, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, in inches from the top left, of the pixels that have exactly this colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    rows, columns = np.nonzero((pixels == wanted).all(axis=2))
    return rows / DPI, columns / DPI
