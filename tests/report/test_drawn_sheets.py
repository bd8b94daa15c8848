"""Contact sheets by their pixels: pictures in rows, lines below them, names in their colours."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from wheretolook.evaluation.audit import Audit
from wheretolook.evaluation.contexts import Context, Patch
from wheretolook.records import VOID, Sample
from wheretolook.report import sheet
from wheretolook.report.annotations import CLASSES_NAMED, annotation_sheet
from wheretolook.report.audit_pictures import LEAST_IMAGES, PATCHES_SHOWN, _context_card, contexts_sheet, shared
from wheretolook.report.sheet import NAMES_A_LINE, SheetCell, end_of, picture_sheet
from wheretolook.report.style import class_colour

from ..evaluation.test_exchange import Scenes
from .audited import one_class
from .seen import drawn, text_of

SQUARE = "\N{BLACK SQUARE}"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    found: list[Figure] = []
    monkeypatch.setattr(sheet, "save", lambda figure, path: found.append(figure))
    return found


def place(figure: Figure, words: str) -> tuple[float, float]:
    """Inches from the top left corner."""
    across, down = figure.get_size_inches()
    left, bottom = text_of(figure, words).get_position()
    return left * across, (1 - bottom) * down


def boxes(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of the pictures, in inches."""
    across, down = figure.get_size_inches()
    found = [axes.get_position() for axes in figure.axes]
    return [
        tuple(round(float(value), 4) for value in (b.x0 * across, (1 - b.y1) * down, b.width * across, b.height * down))
        for b in found
    ]


def flat(colour: str, shape: tuple[int, int] = (10, 10)) -> np.ndarray:
    return np.broadcast_to(np.array(to_rgb(colour)), (*shape, 3))


def test_pictures_stand_in_rows_each_above_its_own_lines(figures: list[Figure]) -> None:
    colours = ["#112233", "#445566", "#778899", "#aa1100", "#00bb22"]
    shapes = [(10, 10), (5, 10), (10, 4), (10, 10), (10, 10)]
    cells = [
        SheetCell(flat(colour, shape), (f"first {number}", f"second {number}"))
        for number, (colour, shape) in enumerate(zip(colours, shapes, strict=True))
    ]
    picture_sheet(cells, Path("a.png"), title="the title", about="about it", columns=3, side=1.0)
    (figure,) = figures
    pixels, (across, down) = drawn(figure), figure.get_size_inches()
    found = boxes(figure)
    assert [box[2:] for box in found] == [(1.0, 1.0), (1.0, 0.5), (0.4, 1.0), (1.0, 1.0), (1.0, 1.0)]
    for number, (left, top, wide, tall) in enumerate(found):
        middle = left + wide / 2, top + tall / 2
        seen = pixels[int(middle[1] / down * len(pixels)), int(middle[0] / across * pixels.shape[1])]
        assert np.abs(seen / 255 - to_rgb(colours[number])).max() < 0.01
        square = (found[0][0] + number % 3 * 1.1, found[0][1] + number // 3 * (found[3][1] - found[0][1]))
        assert middle == pytest.approx((square[0] + 0.5, square[1] + 0.5), abs=1e-3)
        above, below = (place(figure, f"{word} {number}") for word in ("first", "second"))
        assert above[0] == below[0] == pytest.approx(middle[0]) and square[1] + 1 < above[1] < below[1]
        assert below[1] < square[1] + (found[3][1] - found[0][1])
        assert text_of(figure, f"first {number}").get_ha() == "center"
    assert place(figure, "the title")[1] < place(figure, "about it")[1] < found[0][1]
    assert text_of(figure, "the title").get_weight() == "bold"
    assert max(left + wide for left, _, wide, _ in found) < across and place(figure, "second 4")[1] < down
    assert not any(axes.axison for axes in figure.axes)


def test_the_legend_has_for_each_name_a_square_of_its_colour_before_it(figures: list[Figure]) -> None:
    names = [f"name {number}" for number in range(NAMES_A_LINE + 2)]
    legend = [(name, class_colour(number)) for number, name in enumerate(names)]
    picture_sheet([SheetCell(flat("#000000"), ["a"])], Path("a.png"), title="t", about="b", legend=legend)
    (figure,) = figures
    across, down = figure.get_size_inches()
    squares = [text for text in figure.texts if text.get_text() == SQUARE]
    assert [text.get_color() for text in squares] == [colour for _, colour in legend]
    for name, square in zip(names, squares, strict=True):
        left, top = square.get_position()[0] * across, (1 - square.get_position()[1]) * down
        assert place(figure, name) == pytest.approx((left + 0.14, top)) and top < down
    places = [place(figure, name) for name in names]
    lines = sorted({round(top, 4) for _, top in places})
    assert len(lines) == 2 and lines[0] > place(figure, "a")[1]
    assert [round(top, 4) == lines[0] for _, top in places] == [True] * NAMES_A_LINE + [False] * 2
    assert [left for left, _ in places[NAMES_A_LINE:]] == pytest.approx([left for left, _ in places[:2]])
    apart = {round(after[0] - before[0], 4) for before, after in pairwise(places[:NAMES_A_LINE])}
    assert len(apart) == 1 and NAMES_A_LINE * apart.pop() < across


def test_the_end_of_a_long_text_is_kept() -> None:
    assert end_of("abcdef", 6) == "abcdef" and end_of("abcdefg", 6) == "\N{HORIZONTAL ELLIPSIS}cdefg"
    assert end_of("a" * 30) == "a" * 30 and len(end_of("a" * 31)) == 30


def annotated(number: int, labels: list[int], classes: int) -> Sample:
    known = torch.zeros(classes, dtype=torch.bool)
    known[labels] = True
    return Sample(
        torch.full((3, 8, 8), 0.5), torch.full((8, 8), VOID), known,
        torch.full((len(labels), 8, 8), VOID, dtype=torch.uint8), False, f"image {number}",
    )  # fmt: skip


def test_a_sheet_of_annotations_names_splits_classes_and_colours(figures: list[Figure]) -> None:
    names = [f"class {index}" for index in range(40)]
    shown = [("train", annotated(0, [3, 1], 40)), ("val", annotated(1, [], 40)), ("val", annotated(2, [9], 40))]
    annotation_sheet(shown, names, Path("a.png"), about="chosen so")
    (figure,) = figures
    for number, words in enumerate(("train: class 1, class 3", "val: no class", "val: class 9")):
        assert place(figure, f"image {number}")[0] == place(figure, words)[0] > 0
        assert place(figure, f"image {number}")[1] < place(figure, words)[1]
    named = [(after.get_text(), one.get_color()) for one, after in pairwise(figure.texts) if one.get_text() == SQUARE]
    assert named == [(f"class {index}", class_colour(index)) for index in (1, 3, 9)]
    annotation_sheet([("train", annotated(0, list(range(30)), 40))], names, Path("a.png"), about="")
    assert sum(text.get_text() == SQUARE for text in figures[1].texts) == CLASSES_NAMED
    assert text_of(figure, "chosen so") and text_of(figure, "Images and their annotation")


def audit_with_contexts() -> tuple[Scenes, Audit]:
    """Three classes: two kinds of patches of the first, one that only two images share, and one of the last."""
    images = torch.rand(8, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 0.2
    for number in range(8):
        images[number, :, number : number + 6, 4:10] = torch.tensor([0.1 * number, 1 - 0.1 * number, 0.5])[
            :, None, None
        ]
    samples = [annotated(number, [0], 3)._replace(image=image) for number, image in enumerate(images)]
    patches = tuple(
        Patch(one.name, 0, 0.5, (4, number, 10, number + 6), torch.zeros(1)) for number, one in enumerate(samples)
    )
    kinds = {
        "boat": (Context(5, 0.5, 0.75, patches[:2]), Context(4, 0.375, 0.5, patches)),
        "cow": (Context(LEAST_IMAGES - 1, 0.875, 0.5, patches),),
        "fish": (Context(LEAST_IMAGES, 0.625, 0.25, patches[3:5]), Context(9, 0.25, 0.5, patches[5:6])),
    }
    classes = [one_class(name, "fine", 1) for name in kinds]
    for one in classes:
        object.__setattr__(one, "contexts", kinds[one.name])
    return Scenes(*samples), Audit({}, classes, [], [], [])


def test_what_a_class_shares_most_comes_first_and_of_all_classes_before_a_second_one() -> None:
    """Not what too few images share, whatever their share of the class."""
    _, found = audit_with_contexts()
    listed = [(one.name, context.images) for one, context in shared(found)]
    assert listed == [("fish", 3), ("boat", 5), ("boat", 4), ("fish", 9)]


def test_a_card_of_patches_says_of_how_many_images_and_how_alike_they_are() -> None:
    scenes, found = audit_with_contexts()
    numbers = {name: number for number, name in enumerate(scenes.names)}
    card = _context_card(scenes, numbers, *shared(found)[2])
    boat = found.classes[0]
    assert card.title == "boat: in 38 % of its images" and (card.class_name, card.gain) == ("boat", 0.375)
    assert card.facts == [("images", f"4 of {boat.evidence.images}"), ("likeness", "0.50 of 1")]
    assert [one.alt for one in card.pictures] == [f"patch of image {number}" for number in range(PATCHES_SHOWN)]
    assert {one.size for one in card.pictures} == {(96, 96)}


def test_a_row_of_the_sheet_is_one_kind_of_patches_with_its_class_before_the_first(figures: list[Figure]) -> None:
    scenes, found = audit_with_contexts()
    contexts_sheet(scenes, found, Path("a.png"), 3)
    (figure,) = figures
    of = {one.name: one.evidence.images for one in found.classes}
    heads = [f"fish: 3 of {of['fish']}", f"boat: 5 of {of['boat']}", f"boat: 4 of {of['boat']}"]
    tops = [place(figure, head)[1] for head in heads]
    assert tops == sorted(tops) and {place(figure, head)[0] for head in heads} == {place(figure, heads[0])[0]}
    assert len(figure.axes) == 3 * PATCHES_SHOWN
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    first = {0: 3, 1: 4, 6: 0, 7: 1, **{12 + number: number for number in range(PATCHES_SHOWN)}}
    for position, pixels in enumerate(shown):
        number = first.get(position)
        expected = (1.0, 1.0, 1.0) if number is None else (0.1 * number, 1 - 0.1 * number, 0.5)
        assert np.abs(pixels - np.array(expected)).max() < 0.02
    below = [text for text in figure.texts if text.get_text() == "image 3"]
    assert sorted(round(float(text.get_position()[0]), 3) for text in below) == sorted(
        round(float((figure.axes[place].get_position().x0 + figure.axes[place].get_position().x1) / 2), 3)
        for place in (0, 15)
    )


def test_where_nothing_is_shared_there_is_no_sheet(figures: list[Figure]) -> None:
    scenes, _ = audit_with_contexts()
    contexts_sheet(scenes, Audit({}, [one_class("a", "fine", 1)], [], [], []), Path("a.png"), 0)
    assert not figures
