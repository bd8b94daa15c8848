"""Names of classes, however other tools write them down."""

import numpy as np
import pytest

from wheretolook.data.classes import written_classes
from wheretolook.errors import DataError
from wheretolook.public import VOC_CLASSES

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask, write_voc

CELLS = [
    "cat;dog", "cat; dog", "cat|dog", '"cat, dog"', '"cat,dog"', "\"['cat', 'dog']\"", '"[""cat"", ""dog""]"',
    "cat dog", '"(cat, dog)"', "cat;dog;", "  cat   dog ",
]  # fmt: skip


def labelled(root, cell, *, listed=()):
    write_image(root / "images/a.png")
    write_lines(root / "splits/all.txt", "a")
    write_lines(root / "labels.csv", "image,classes", f"a,{cell}")
    if listed:
        write_lines(root / "classes.txt", *listed)
    return opened(root, "all")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("listed", [(), ("owl", "cat", "dog")])
def test_common_separators_are_read_alike(tmp_path, cell, listed):
    data = labelled(tmp_path, cell, listed=listed)
    assert data.class_names == (listed or ("cat", "dog"))
    assert {data.class_names[index] for index in data[0].labels.nonzero().flatten()} == {"cat", "dog"}


@pytest.mark.parametrize("cell", ["hot dog;cat", '"hot dog, cat"', "hot dog|cat", "\"['hot dog', 'cat']\""])
def test_names_with_blanks_stand_between_separators(tmp_path, cell):
    assert labelled(tmp_path, cell).class_names == ("cat", "hot dog")


@pytest.mark.parametrize("cell", ['"tench, Tinca tinca"', '"tench, Tinca tinca; cat"', '"cat, tench, Tinca tinca"'])
def test_known_names_with_separators_are_taken_whole(tmp_path, cell):
    data = labelled(tmp_path, cell, listed=("cat", "tench, Tinca tinca", "tench"))
    found = {data.class_names[index] for index in data[0].labels.nonzero().flatten()}
    assert "tench, Tinca tinca" in found and "tench" not in found and ("cat" in found) == ("cat" in cell)


def test_a_name_that_only_begins_like_a_known_one_is_itself():
    assert written_classes("a, b, c", ["a, b", "a", "b", "c"]) == ["a, b", "c"]
    assert written_classes("a, bc", ["a, b", "a", "bc"]) == ["a", "bc"]
    assert written_classes("a, b, c, d", ["a, b", "a, b, c", "c", "d"]) == ["a, b, c", "d"]  # the longest
    assert written_classes("", []) == written_classes(" ; ", []) == []


@pytest.mark.parametrize("file", ["classes.txt", "class_names.txt"])
@pytest.mark.parametrize(
    "first",
    [
        ["background"], ["_background_"], ["__background__"], ["bg"], ["Background"], ["0 background"], ["0: bg"],
        ["__ignore__", "_background_"], [],
    ],
)  # fmt: skip
def test_lists_of_other_tools_are_read_and_their_backgrounds_left_out(tmp_path, file, first):
    root = write_voc(tmp_path)
    (root / "classes.txt").unlink()
    write_lines(root / file, *first, "cat", "dog", "owl")
    data = opened(root, "train")
    assert data.class_names == ("cat", "dog", "owl")
    assert data[1].labels.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["0 background", "1 cat", "2 hot dog"], ("cat", "hot dog")),
        (["1: cat", "2: dog"], ("cat", "dog")),
        (["0,cat", "1,dog"], ("cat", "dog")),
        (["7 up", "3 musketeers"], ("7 up", "3 musketeers")),  # numbers that do not count are names
        (["1 cat", "dog"], ("1 cat", "dog")),
        (["cat", "background"], ("cat", "background")),  # a class like any other
    ],
)
def test_numbers_that_count_the_lines_are_no_names(tmp_path, lines, names):
    write_lines(tmp_path / "classes.txt", *lines)
    assert labelled(tmp_path, f"{names[0]};").class_names == names


def test_vocs_names_are_not_guessed_for_other_data(tmp_path):
    root = write_voc(tmp_path)
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"has no classes\.txt, and its masks have values up to 3, where VOC's have 20"):
        opened(root, "train")
    write_mask(root / "SegmentationClass/c.png", corner_mask(21))
    with pytest.raises(DataError, match="values up to 21, where VOC's have 20"):
        opened(root, "train")
    write_mask(root / "SegmentationClass/c.png", corner_mask(20))
    assert opened(root, "train").class_names == VOC_CLASSES


def test_a_part_of_voc_is_known_by_its_names(tmp_path):
    root = write_voc(tmp_path, ("2007_000032", "2008_000123"))
    (root / "classes.txt").unlink()
    assert opened(root, "train").class_names == VOC_CLASSES
    write_image(root / "JPEGImages/holiday.jpg")
    write_mask(root / "SegmentationClass/holiday.png", corner_mask(1))
    with pytest.raises(DataError, match=r"has no classes\.txt"):
        opened(root, "train")


@pytest.mark.parametrize("file", ["labels.txt", "obj.names", "labelmap.txt"])
def test_a_list_that_is_not_read_is_said(tmp_path, file):
    root = write_voc(tmp_path / "voc")
    (root / "classes.txt").unlink()
    plain = tmp_path / "plain"
    write_image(plain / "images/a.png")
    write_mask(plain / "masks/a.png", corner_mask(1))
    for folder in (root, plain):
        write_lines(folder / file, "cat", "dog", "owl")
        with pytest.raises(DataError, match=rf"no classes\.txt \({file} is not read: .* rename it to classes\.txt\)"):
            opened(folder, "train")


def test_a_name_in_another_unicode_form_is_the_same(tmp_path):
    data = labelled(tmp_path, "cafe\u0301;cat", listed=("caf\u00e9", "cat"))
    assert data[0].labels.tolist() == [True, True]
    assert np.array_equal(data[0].labels.numpy(), [True, True])


def test_a_second_list_of_other_classes_is_said(tmp_path, caplog):
    write_lines(tmp_path / "class_names.txt", "_background_", "cat", "dog")
    labelled(tmp_path, "cat;", listed=("cat", "dog"))
    assert "not read" not in caplog.text  # it says the same
    write_lines(tmp_path / "class_names.txt", "_background_", "dog", "cat")
    assert labelled(tmp_path, "cat;", listed=("cat", "dog")).class_names == ("cat", "dog")
    assert "class_names.txt is not read: classes.txt beside it lists other classes" in caplog.text
