import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from wheretolook.errors import DataError
from wheretolook.records import VOID
from wheretolook.report.panels import GAP, MARGIN, Comparison, _legend, choose, comparison_picture, contact_sheet
from wheretolook.report.style import DPI

from .seen import NAMES, explanation

INFERNO = colormaps["inferno"].colors


def panel(path: Path, column: int) -> np.ndarray:
    """The pixels of one panel of a comparison picture: 2 inches wide, 1.5 high, 0.75 below the top."""
    left, top = round((MARGIN + column * (2 + GAP)) * DPI), round(0.75 * DPI)
    return np.asarray(Image.open(path).convert("RGB"))[top : top + 300, left : left + 400].astype(int)


def bytes_of(colour: np.ndarray | float) -> np.ndarray:
    return np.round(np.broadcast_to(np.asarray(colour), (3,)) * 255)


def test_different_classes_images_or_sizes_are_no_comparison() -> None:
    before = explanation()
    for after in (explanation(class_index=2), explanation(name="b"), explanation(image=torch.zeros(3, 24, 33))):
        with pytest.raises(ValueError, match="one class in one image"):
            Comparison(before, after)


def test_choosing_is_sorting_by_rise() -> None:
    rises = [0.1, -0.3, 0.25, 0.25, 0.0, -0.05]
    before = [explanation(name=str(index), energy=0.4) for index in range(6)]
    after = [explanation(name=str(index), energy=0.4 + rise) for index, rise in enumerate(rises)]

    def names(rule: str, count: int, seed: int = 0) -> list[str]:
        pairs = (Comparison(*both) for both in zip(before, after, strict=True))
        return [pair.after.name for pair in choose(pairs, rule, count, seed)]

    assert names("largest_rise", 4) == ["2", "3", "0", "4"]
    assert names("largest_fall", 2) == ["1", "5"]
    assert names("largest_fall", 99) == ["1", "5", "4", "0", "2", "3"]
    assert sorted(names("random", 99)) == list("012345")
    assert names("random", 3, seed=7) == names("random", 3, seed=7)
    assert {name for seed in range(40) for name in names("random", 1, seed)} == set("012345")


def test_a_comparison_is_of_one_class_in_one_image() -> None:
    with pytest.raises(ValueError, match="one class in one image"):
        Comparison(explanation(name="1"), explanation(name="2"))
    with pytest.raises(ValueError, match="one class in one image"):
        Comparison(explanation(class_index=0), explanation(class_index=1))


def test_half_the_attention_is_drawn_as_half_whichever_comes_first(tmp_path: Path) -> None:
    """On a ground of brightness 1 - 0.7 * (1 - 0.5) = 0.65; each map by its own maximum would draw both alike."""
    strong, weak = explanation(), explanation(attention=torch.full((24, 32), 0.5))
    top, middle = bytes_of(INFERNO[255]), bytes_of((0.65 + np.array(INFERNO[128])) / 2)
    for pair, colours in (((strong, weak), (top, middle)), ((weak, strong), (middle, top))):
        comparison_picture(Comparison(*pair), NAMES, tmp_path / "pair.png")
        for column, colour in zip((2, 3), colours, strict=True):
            assert np.abs(panel(tmp_path / "pair.png", column)[5:-5, 5:-5] - colour).max() <= 1


def test_identical_explanations_are_drawn_identically_and_grey_where_nothing_is_attended(tmp_path: Path) -> None:
    attention = torch.rand(24, 32)
    attention[:, :16] = 0
    truth = torch.zeros(24, 32, dtype=torch.long)
    truth[4:9, 20:30] = 2
    same = explanation(attention=attention, truth=truth)
    comparison_picture(Comparison(same, same), NAMES, tmp_path / "same.png")
    before, after = panel(tmp_path / "same.png", 2), panel(tmp_path / "same.png", 3)
    np.testing.assert_array_equal(before, after)
    assert np.abs(before[5:-5, 5:150] - bytes_of(0.65)).max() <= 1
    assert np.abs(panel(tmp_path / "same.png", 0)[5:-5, 5:-5] - bytes_of(0.5)).max() <= 1


def test_the_guided_class_is_outlined_where_it_is(tmp_path: Path) -> None:
    """Class 1 is mask value 2, in rows 6 to 17 and columns 8 to 23 of 24 x 32; class 0 beside it gets no line."""
    truth = torch.zeros(24, 32, dtype=torch.long)
    truth[6:18, 8:24] = 2
    truth[:3, :6] = 1
    nothing = torch.zeros(24, 32)
    pair = Comparison(*[explanation(truth=truth, attention=nothing)] * 2)
    comparison_picture(pair, NAMES, tmp_path / "outline.png")
    rows, columns = np.nonzero((panel(tmp_path / "outline.png", 2) > 250).all(axis=2))
    edges = rows.min() / 300, rows.max() / 300, columns.min() / 400, columns.max() / 400
    assert edges == pytest.approx((6 / 24, 18 / 24, 8 / 32, 24 / 32), abs=0.015)


def test_segmentation_panels_are_there_only_with_predictions(tmp_path: Path) -> None:
    def width(**known: torch.Tensor) -> float:
        comparison_picture(Comparison(*[explanation(**known)] * 2), NAMES, tmp_path / "row.png")
        return Image.open(tmp_path / "row.png").width / DPI

    assert width() == pytest.approx(2 * MARGIN + 4 * 2 + 3 * GAP, abs=0.01)
    prediction = torch.full((24, 32), 3)
    assert width(prediction=prediction) == pytest.approx(2 * MARGIN + 6 * 2 + 5 * GAP, abs=0.01)


def test_the_legend_names_what_occurs_and_nothing_else() -> None:
    truth = torch.zeros(24, 32, dtype=torch.long)
    truth[0, 0] = VOID
    after = explanation(truth=truth, prediction=torch.full((24, 32), 3))
    before = explanation(truth=truth, prediction=torch.ones(24, 32, dtype=torch.long))
    assert [patch.get_label() for patch in _legend([Comparison(before, after)], NAMES)] == ["boat", "sheep", "void"]


def test_sheets_of_mixed_shapes_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Heights by hand: header 0.92, rows of 1.55 * 24/32 and 1.55 (the longer side) and captions, then the key."""
    wide = explanation()
    tall = explanation(
        image=torch.rand(3, 32, 24), truth=torch.ones(32, 24, dtype=torch.long), attention=torch.rand(32, 24)
    )
    rows = [Comparison(wide, wide), Comparison(tall, tall)]
    for name in ("one.png", "two.png"):
        contact_sheet(rows, NAMES, tmp_path / name, rule="all")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    height = 0.92 + 1.55 * (0.75 + 1) + 2 * (0.17 + 1.5 * GAP) + 0.56 + 0.18
    assert Image.open(tmp_path / "one.png").height / DPI == pytest.approx(height, abs=0.01)


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write .*row\.png"):
            comparison_picture(Comparison(explanation(), explanation()), NAMES, tmp_path / "row.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
