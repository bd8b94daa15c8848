"""What every picture shares: places in inches, quiet axes, numbers of steps, files."""

from pathlib import Path

import pytest
from PIL import Image

from wheretolook.report.style import HAIRLINE, MUTED, axes_at, new_figure, quiet, save, step_axis, write_at

from .seen import text_of


def test_a_picture_has_200_dots_an_inch_on_white_and_says_nothing_of_its_maker(tmp_path: Path) -> None:
    save(new_figure(1.5, 0.5), tmp_path / "a.png")
    picture = Image.open(tmp_path / "a.png")
    assert picture.size == (300, 100) and picture.convert("RGB").getcolors() == [(30_000, (255, 255, 255))]
    assert "Software" not in picture.info and round(picture.info["dpi"][0]) == 200


def test_places_are_inches_from_the_top_left_corner() -> None:
    figure = new_figure(4.0, 2.0)
    box = axes_at(figure, 1.0, 0.5, 2.0, 1.0).get_position()
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((0.25, 0.75, 0.25, 0.75))
    write_at(figure, 1.0, 0.5, "here", size=9.0, colour=MUTED, weight="bold", ha="right")
    text = text_of(figure, "here")
    assert text.get_position() == pytest.approx((0.25, 0.75))
    found = (text.get_fontsize(), text.get_color(), text.get_weight(), text.get_ha(), text.get_va())
    assert found == (9, MUTED, "bold", "right", "baseline")


def test_quiet_axes_have_a_hairline_below_and_lines_behind_what_is_drawn() -> None:
    axes = axes_at(new_figure(2.0, 2.0), 0.5, 0.5, 1.0, 1.0)
    quiet(axes)
    assert {side: spine.get_visible() for side, spine in axes.spines.items()} == {
        **{"left": False, "right": False, "top": False},
        "bottom": True,
    }
    assert axes.get_axisbelow() is True and len(axes.get_yticks()) <= 6
    lines = axes.get_ygridlines(), axes.get_xgridlines()
    assert [both[0].get_visible() for both in lines] == [True, False]
    assert {line.get_color() for line in lines[0]} == {HAIRLINE}
    assert all(tick.tick1line.get_markersize() == 0 for tick in axes.yaxis.get_major_ticks())


def test_steps_are_whole_numbers_and_thousands_are_short() -> None:
    axes = axes_at(new_figure(2.0, 2.0), 0.5, 0.5, 1.0, 1.0)
    step_axis(axes)
    formatted = axes.xaxis.get_major_formatter()
    assert [formatted(step) for step in (0, 999, 1000, 1500, 20_000)] == ["0", "999", "1k", "1.5k", "20k"]
    axes.set_xlim(0, 3)
    assert all(step == round(step) for step in axes.get_xticks()) and len(axes.get_xticks()) <= 6
