"""Which map, mask, name and colour stands where: read off the drawn pixels and the texts."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from wheretolook.records import VOID
from wheretolook.report import panels
from wheretolook.report.panels import CLASSES_NAMED, GAP, LINE, MARGIN, Comparison, _legend, _sheet
from wheretolook.report.style import class_colour

from .seen import NAMES, at, drawn, explanation, panel, text_of, under

INFERNO = np.array(colormaps["inferno"].colors)
COLUMNS = (
    *("image", "ground truth", "segmentation before", "segmentation after"),
    *("attention before", "attention after"),
)


def sheet(*comparisons: Comparison, names: list[str] = NAMES, title: str = "title", rule: str = "") -> Figure:
    return _sheet(comparisons, names, title, rule, width=2.0)


def spot(row: int, column: int) -> torch.Tensor:
    attention = torch.zeros(24, 32)
    attention[row - 1 : row + 2, column - 1 : column + 2] = 1
    return attention


def pair() -> Comparison:
    """A cow on the left half; before and after differ in everything that a network says."""
    truth = torch.zeros(24, 32, dtype=torch.long)
    truth[:, :16] = 2
    image = torch.tensor([0.9, 0.5, 0.1])[:, None, None].expand(3, 24, 32)
    shared = {"truth": truth, "image": image}
    before = explanation(energy=0.25, attention=spot(4, 24), prediction=torch.ones(24, 32, dtype=torch.long), **shared)
    after = explanation(energy=0.75, attention=spot(18, 6), prediction=torch.full((24, 32), 3), **shared)
    return Comparison(before, after)


def test_every_caption_stands_under_its_own_picture():
    figure = sheet(pair())
    assert under(figure, "image") == ["a"]
    assert under(figure, "ground truth") == ["cow"]
    assert under(figure, "segmentation before") == under(figure, "segmentation after") == []
    assert under(figure, "attention before") == ["25 % inside"]
    assert under(figure, "attention after") == ["75 % inside"]


def test_roboflows_names_are_told_apart():
    hashes = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)
    names = [f"train/cat_{number}_jpg.rf.{found}" for number, found in enumerate(hashes)]
    sides = pair().before, pair().after
    figure = sheet(*(Comparison(*(side._replace(name=name) for side in sides)) for name in names))
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    assert under(figure, "image") == [f"train/cat_0{ellipsis}0123", f"train/cat_1{ellipsis}fedc"]


def test_columns_stand_in_the_order_of_a_reader():
    figure = sheet(pair())
    places = [text_of(figure, name).get_position()[0] for name in COLUMNS]
    assert places == sorted(places) and len(set(places)) == 6


def test_a_picture_alone_and_a_sheet_say_what_they_show(monkeypatch: pytest.MonkeyPatch):
    kept: list[Figure] = []
    monkeypatch.setattr(panels, "save", lambda figure, path: kept.append(figure))
    panels.comparison_picture(pair(), NAMES, Path("unused.png"))
    panels.contact_sheet([pair(), pair()], NAMES, Path("unused.png"), rule="largest rise")
    alone, many = kept
    assert text_of(alone, "cow in a: energy inside 25 % \N{RIGHTWARDS ARROW} 75 %").get_weight() == "bold"
    assert text_of(many, "Before and after") and text_of(many, "chosen: largest rise")
    assert under(many, "attention after") == ["75 % inside"] * 2
    key = "attention, from 0 to the larger maximum of both maps; line: the true object; inside: attention's share on it"
    assert text_of(alone, key) and text_of(many, key)


def test_a_picture_of_which_nobody_knows_where_the_object_is_says_its_name_alone(monkeypatch: pytest.MonkeyPatch):
    kept: list[Figure] = []
    monkeypatch.setattr(panels, "save", lambda figure, path: kept.append(figure))
    unknown = torch.full((24, 32), VOID)
    shown = explanation(energy=math.nan, truth=unknown, target=unknown.to(torch.uint8))
    panels.comparison_picture(Comparison(shown, shown), NAMES, Path("unused.png"))
    assert text_of(kept[0], "cow in a").get_weight() == "bold"


def test_the_legend_stands_at_the_left_below_the_pictures_and_their_key():
    figure = sheet(pair())
    drawn(figure)
    (legend,) = figure.legends
    box, size = legend.get_window_extent(), figure.get_size_inches() * figure.dpi
    assert box.x0 == pytest.approx(MARGIN * figure.dpi, abs=2)
    assert 0 < box.y0 < box.y1 < min(axes.get_position().y0 for axes in figure.axes) * size[1]


def test_every_row_has_its_own_captions_from_top_to_bottom():
    first, second = pair(), pair()
    second = Comparison(
        second.before._replace(name="b", energy_inside=0.1, class_index=0),
        second.after._replace(name="b", energy_inside=0.9, class_index=0),
    )
    figure = sheet(first, second, rule="chosen: all")
    assert under(figure, "image") == ["a", "b"]
    assert under(figure, "ground truth") == ["cow", "boat"]
    assert under(figure, "attention before") == ["25 % inside", "10 % inside"]
    assert under(figure, "attention after") == ["75 % inside", "90 % inside"]
    assert text_of(figure, "chosen: all") and text_of(figure, "title")


def test_each_map_is_drawn_in_its_own_panel_where_it_looks():
    """The top of the colour map at its own spot, the pale grey ground at the other's."""
    figure = sheet(pair())
    before, after = panel(figure, "attention before"), panel(figure, "attention after")
    brightness = 0.299 * 0.9 + 0.587 * 0.5 + 0.114 * 0.1
    ground = np.full(3, 1 - 0.7 * (1 - brightness))
    for pixels, here, there in ((before, (4, 24), (18, 6)), (after, (18, 6), (4, 24))):
        np.testing.assert_allclose(at(pixels, *here), INFERNO[255], atol=0.005)
        np.testing.assert_allclose(at(pixels, *there), ground, atol=0.005)


def test_a_row_is_as_high_as_its_picture_and_the_key_shows_the_colours_of_attention():
    """Inches: header, 2 x 24/32 of picture, its caption, two lines of key, one of classes. The ramp begins grey."""
    figure = sheet(pair())
    assert figure.get_figheight() == pytest.approx(0.75 + 1.5 + LINE + 1.5 * GAP + 0.56 + 0.18)
    assert figure.get_figwidth() == pytest.approx(2 * MARGIN + 6 * 2 + 5 * GAP)
    ramp = min((axes.get_position() for axes in figure.axes), key=lambda box: box.y0)
    pixels = drawn(figure)
    row = pixels[round((1 - (ramp.y0 + ramp.y1) / 2) * len(pixels))] / 255
    left, right = round(ramp.x0 * len(row)), round(ramp.x1 * len(row))
    np.testing.assert_allclose(row[left + 1], 0.5, atol=0.02)
    np.testing.assert_allclose(row[right - 2], INFERNO[255], atol=0.05)


def test_a_faint_map_shows_its_shape_by_lines_of_its_own_scale():
    """The same cone, once a hundred times fainter: another colour on the common scale, the same blue lines."""
    rows, columns = np.indices((24, 32))
    cone = torch.tensor(1 - np.hypot(rows - 11.5, columns - 15.5) / 11).clamp(min=0)
    truth = torch.zeros(24, 32, dtype=torch.long)
    maps = {"before": 0.01 * cone, "after": cone}
    figure = sheet(Comparison(*(explanation(attention=values, truth=truth) for values in maps.values())))
    faint, strong = panel(figure, "attention before"), panel(figure, "attention after")
    assert np.abs(at(faint, 11, 15) - at(strong, 11, 15)).max() > 0.3
    found = []
    for when in maps:
        centre = text_of(figure, f"attention {when}").get_position()[0]
        (axes,) = (axes for axes in figure.axes if abs(sum(axes.get_position().intervalx) / 2 - centre) < 1e-3)
        (lines,) = axes.collections
        assert to_rgb(lines.get_edgecolor()[0]) == to_rgb(panels.OWN_SCALE)
        radii = [np.hypot(*(path.vertices - [15.5, 11.5]).T) for path in lines.get_paths()]
        assert all(radius.std() < 0.2 for radius in radii)
        found.append([radius.mean() for radius in radii])
    expected = [11 * (1 - level * cone.max().item()) for level in (0.2, 0.5)]
    assert found[0] == pytest.approx(expected, abs=0.1) and found[0] == pytest.approx(found[1])
    assert text_of(figure, "blue: 20 % (fine) and 50 % (bold) of that map's own maximum")


def test_the_image_keeps_its_colours_and_masks_have_those_of_their_classes():
    figure = sheet(pair())
    np.testing.assert_allclose(at(panel(figure, "image"), 12, 16), [0.9, 0.5, 0.1], atol=0.005)
    grey = 0.299 * 0.9 + 0.587 * 0.5 + 0.114 * 0.1

    def painted(class_index: int) -> np.ndarray:
        return 0.15 * grey + 0.85 * np.array(to_rgb(class_colour(class_index)))

    np.testing.assert_allclose(at(panel(figure, "ground truth"), 12, 5), painted(1), atol=0.005)
    np.testing.assert_allclose(at(panel(figure, "ground truth"), 12, 28), np.full(3, 1 - 0.35 * (1 - grey)), atol=0.005)
    np.testing.assert_allclose(at(panel(figure, "segmentation before"), 12, 16), painted(0), atol=0.005)
    np.testing.assert_allclose(at(panel(figure, "segmentation after"), 12, 16), painted(2), atol=0.005)


def test_the_legend_has_the_colour_that_the_mask_has():
    """Every class alone on a picture: what the mask is mixed of is what the patch beside its name shows."""
    for class_index, name in enumerate(NAMES):
        truth = torch.full((24, 32), 1 + class_index)
        shown = explanation(class_index=class_index, truth=truth, image=torch.zeros(3, 24, 32))
        figure = sheet(Comparison(shown, shown))
        pixels = drawn(figure)
        (legend,) = figure.legends
        (patch,), (label,) = legend.get_patches(), legend.get_texts()
        assert label.get_text() == name
        box = patch.get_window_extent()
        middle = pixels[int(len(pixels) - (box.y0 + box.y1) / 2), int((box.x0 + box.x1) / 2)] / 255
        np.testing.assert_allclose(at(panel(figure, "ground truth"), 12, 16), 0.85 * middle, atol=0.006)
        assert label.get_window_extent().x0 > box.x1


def test_names_are_printed_as_they_are():
    """Dollars start no formula, an underscore hides nothing; of classes the start stays, of files the end."""
    names = ["_$\\frac$", "c" * 99, "$1$"]
    truth = torch.arange(4).repeat_interleave(8).expand(24, 32)
    shown = explanation(name="x" * 60 + "$a$_b.png", class_index=1, truth=truth)
    figure = sheet(Comparison(shown, shown), names=names)
    drawn(figure)
    cut = "c" * 29 + "\N{HORIZONTAL ELLIPSIS}"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_$\\frac$", cut, "$1$"]
    assert under(figure, "ground truth") == [cut]
    assert under(figure, "image") == ["\N{HORIZONTAL ELLIPSIS}" + ("x" * 60 + "$a$_b.png")[-25:]]
    texts = [*figure.texts, *figure.legends[0].get_texts()]
    width = figure.bbox.width
    assert all(text.get_window_extent().x0 >= 0 and text.get_window_extent().x1 <= width for text in texts)


@pytest.mark.parametrize("letters", [5, 40])
def test_names_in_the_legend_do_not_touch(letters: int):
    names = [f"{index:02d}" + "W" * letters for index in range(12)]
    truth = torch.arange(13).repeat(60)[: 24 * 32].view(24, 32)
    shown = explanation(truth=truth)
    figure = sheet(Comparison(shown, shown), names=names)
    drawn(figure)
    boxes = [text.get_window_extent() for text in figure.legends[0].get_texts()]
    boxes += [patch.get_window_extent() for patch in figure.legends[0].get_patches()]
    assert len(boxes) == 24
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert all(box.x1 <= figure.bbox.width and box.y0 >= 0 for box in boxes)


def test_of_a_thousand_classes_the_legend_names_those_of_the_truth_and_says_how_many_more():
    names = [f"n{index}" for index in range(1000)]
    truth = torch.zeros(24, 32, dtype=torch.long)
    truth[:, :8], truth[:, 8:16] = 901, 800
    answer = (torch.arange(24 * 32) % 50 * 10 + 1).view(24, 32)
    answer[answer == VOID] = 1
    shown = explanation(class_index=900, truth=truth, prediction=answer)
    labels = [patch.get_label() for patch in _legend([Comparison(shown, shown)], names)]
    assert len(labels) == CLASSES_NAMED + 1
    seen = len({*answer.unique().tolist(), 801, 901})
    assert {"n799", "n900"} < set(labels) and labels[-1] == f"and {seen - CLASSES_NAMED} more"
    assert [int(label[1:]) for label in labels[:-1]] == sorted(int(label[1:]) for label in labels[:-1])


def test_without_masks_the_box_of_the_class_is_the_truth():
    """Also of the class whose value would be that of void."""
    names = [f"n{index}" for index in range(300)]
    target = torch.zeros(24, 32, dtype=torch.uint8)
    target[:, :16], target[:, 28:] = 1, VOID
    for class_index in (0, 254):
        shown = explanation(class_index=class_index, truth=torch.full((24, 32), VOID), target=target)
        figure = sheet(Comparison(shown, shown), names=names)
        colour = 0.15 * 0.5 + 0.85 * np.array(to_rgb(class_colour(class_index)))
        np.testing.assert_allclose(at(panel(figure, "ground truth"), 12, 4), colour, atol=0.005)
        np.testing.assert_allclose(at(panel(figure, "ground truth"), 12, 22), np.full(3, 1 - 0.35 * 0.5), atol=0.005)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"n{class_index}", "void"]


def test_without_any_annotation_there_is_no_truth_and_no_share_of_it():
    nothing = {"truth": torch.full((24, 32), VOID), "target": torch.full((24, 32), VOID, dtype=torch.uint8)}
    shown = explanation(energy=math.nan, **nothing)
    empty = explanation(energy=math.nan, attention=torch.zeros(24, 32), **nothing)
    figure = sheet(Comparison(shown, empty))
    words = [text.get_text() for text in figure.texts]
    assert not {"ground truth", "segmentation before"} & set(words) and not figure.legends
    assert under(figure, "image") == ["a"]
    assert (under(figure, "attention before"), under(figure, "attention after")) == (["cow"], ["cow, empty map"])
    assert not any("inside" in text or "nan" in text for text in words)
