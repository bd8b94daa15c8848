"""Groups of images: class and attribute, from a table."""

import pytest

from wheretolook.errors import ConfigError, DataError

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask

HEADER = "image,place,light"


@pytest.fixture
def birds(tmp_path):
    for index, name in enumerate("abcd"):
        write_image(tmp_path / "images" / f"{name}.jpg", seed=index)
    write_lines(tmp_path / "labels.csv", "image,classes", "a,landbird", "b,waterbird", "c,landbird", "d,waterbird")
    write_lines(tmp_path / "splits/all.txt", *"abcd")
    rows = ("c.jpg,water,dim", "a,land,dim", "images/b.jpg,land,bright", "d,water,bright", "of_another_split,sea,dim")
    write_lines(tmp_path / "groups.csv", HEADER, *rows)
    return tmp_path


def groups(root, **options):
    data = opened(root, "all", **options)
    return [data[index].group for index in range(len(data))]


def test_a_group_is_class_and_attribute_where_every_image_has_one_class(birds):
    """As in Waterbirds: four groups of two classes and two places."""
    expected = ["landbird, land", "waterbird, land", "landbird, water", "waterbird, water"]
    assert groups(birds, group_by=["place"]) == expected
    both = ["landbird, dim, land", "waterbird, bright, land", "landbird, dim, water", "waterbird, bright, water"]
    assert groups(birds, group_by=["light", "place"]) == both
    assert groups(birds) == [""] * 4


def test_a_group_is_the_attribute_where_images_have_several_classes(birds):
    write_lines(
        birds / "labels.csv", "image,classes", "a,landbird", "b,waterbird landbird", "c,landbird", "d,waterbird"
    )
    assert groups(birds, group_by=["place"]) == ["land", "land", "water", "water"]


def test_a_table_may_lie_elsewhere_and_have_one_attribute(birds):
    write_lines(birds / "notes/places.csv", "filename,place", *(f"{name}.jpg,{name * 2}" for name in "dcba"))
    found = groups(birds, groups=str(birds / "notes/places.csv"))
    assert [group.split(", ")[1] for group in found] == ["aa", "bb", "cc", "dd"]


@pytest.mark.parametrize(
    ("rows", "options", "error", "words"),
    [
        ((HEADER, "a,x,y"), {"group_by": ["plase"]}, ConfigError, r"no column 'plase'; did you mean 'place'\?; it has"),
        (
            (HEADER, "a,x,y"),
            {"groups": "groups.csv"},
            ConfigError,
            "has the columns place, light; choose with group",
        ),
        ((HEADER, "a,x,y"), {"group_by": ["place"]}, DataError, "no row for 3 of 4 images, first 'b'"),
        (("picture,place", "a,x"), {"group_by": ["place"]}, DataError, "no column of images; expected .* column image"),
        ((HEADER,), {"group_by": ["place"]}, DataError, "no column of images"),
        (None, {"group_by": ["place"]}, DataError, r"cannot read .*groups\.csv: no such file"),
    ],
)
def test_tables_that_do_not_fit_are_refused(birds, monkeypatch, rows, options, error, words):
    monkeypatch.chdir(birds)
    (birds / "groups.csv").unlink()
    if rows:
        write_lines(birds / "groups.csv", *rows)
    with pytest.raises(error, match=words):
        opened(birds, "all", **options)


def test_whether_images_have_one_class_is_told_by_the_data(birds):
    assert opened(birds, "all").one_class
    write_lines(birds / "classes.txt", "landbird", "waterbird")
    write_mask(birds / "masks/a.png", corner_mask(1))
    assert opened(birds, "all").one_class  # the mask agrees
    both = corner_mask(1)
    both[8:, :4] = 2
    write_mask(birds / "masks/a.png", both)
    assert not opened(birds, "all").one_class
    (birds / "masks/a.png").unlink()
    write_lines(birds / "labels.csv", "image,classes", "a,landbird", "b,", "c,landbird", "d,waterbird")
    assert not opened(birds, "all").one_class  # none is not one


def test_masks_alone_say_nothing_of_one_class(birds):
    """They may show any number of classes: that each has one so far is chance."""
    (birds / "labels.csv").unlink()
    write_lines(birds / "classes.txt", "landbird", "waterbird")
    for name in "abcd":
        write_mask(birds / "masks" / f"{name}.png", corner_mask(1))
    assert not opened(birds, "all").one_class


def test_the_photographs_have_their_backgrounds_as_groups(photoscenes):
    data = opened(photoscenes, "biased_train", group_by=["background"])
    rows = [line.split(",") for line in (photoscenes / "groups.csv").read_text().splitlines()[1:]]
    expected = {row[0]: row[2] for row in rows}
    for index in range(0, len(data), 80):
        assert data[index].group == expected[data[index].name] != ""
