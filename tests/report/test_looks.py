"""A sheet of one image: its tiles lie in order, and each map over the place that it is of."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from wheretolook.report import looks
from wheretolook.report.looks import Tile, looks_sheet

from .seen import drawn, text_of


def corner(row: int, column: int) -> np.ndarray:
    values = np.zeros((30, 60))
    values[row : row + 15, column : column + 30] = 1
    return values


def test_each_map_lies_over_its_place_above_its_name(monkeypatch) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(looks, "save", lambda figure, path: kept.append(figure))
    tiles = [
        Tile("$cat_", 0.75, corner(0, 0)),
        Tile("x" * 50, 0.2, corner(15, 30)),
        Tile("none", 0.05, np.zeros((3, 6))),
    ]
    tiles += [Tile("fifth", 0.01, corner(0, 30))]
    looks_sheet(Image.new("RGB", (600, 300), "navy"), tiles, Path("unused.png"), title="a.png", about="maps")
    (figure,) = kept
    boxes = [axes.get_position() for axes in figure.axes]
    assert len({round(box.y0, 6) for box in boxes}) == 2 and boxes[4].x0 == boxes[0].x0  # four in a row, then the rest
    for axes in figure.axes:
        height, width = axes.images[0].get_array().shape[:2]
        assert width == 2.6 * 200  # inches of the longer side, at the dots of a sheet
        box = axes.get_window_extent()
        assert abs(width / height - 2) < 0.01 and abs(box.width / box.height - 2) < 0.01
    pictures = [np.asarray(axes.images[0].get_array()).astype(float) for axes in figure.axes]
    navy = np.array([0, 0, 128])
    for picture, (row, column) in ((pictures[1], (0, 0)), (pictures[2], (1, 1)), (pictures[4], (0, 1))):
        for down in (0, 1):
            for across in (0, 1):
                middle = picture[round((0.25 + down / 2) * len(picture)), round((0.25 + across / 2) * picture.shape[1])]
                assert (np.abs(middle - navy).max() > 60) == ((down, across) == (row, column))
    assert (pictures[0] == navy).all() and (pictures[3] == navy).all()
    for words in (
        "a.png",
        "maps",
        "image",
        "$cat_",
        "75 %",
        "x" * 31 + "\N{HORIZONTAL ELLIPSIS}",
        "5 %, empty map",
        "1 %",
    ):
        assert text_of(figure, words)
    drawn(figure)
    texts = [text.get_window_extent() for text in figure.texts]
    assert all(box.x1 <= figure.bbox.width and box.y0 >= 0 for box in texts)
    assert not any(one.overlaps(other) for i, one in enumerate(texts) for other in texts[:i])
