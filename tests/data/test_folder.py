import numpy as np
import pytest

from wheretolook.data import open_dataset
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask


@pytest.fixture
def folder(tmp_path):
    """One image of each kind: with a mask, with boxes, with both, and with labels alone."""
    for index, name in enumerate(("masked", "boxed", "both", "plain", "empty")):
        write_image(tmp_path / "images" / f"{name}.png", seed=index)
    write_lines(tmp_path / "classes.txt", "cat", "dog", "owl")
    write_lines(
        tmp_path / "labels.csv", "image,classes", "masked,dog", "boxed.png, cat", "both,owl", "plain,owl cat", "empty,"
    )
    write_lines(
        tmp_path / "boxes.csv",
        "image,class,left,top,right,bottom",
        "boxed,dog,2,2,4,4",
        "boxed,cat,0,1,10,9",
        "both,owl,0,0,16,12",
    )
    write_mask(tmp_path / "masks/masked.png", corner_mask(1))
    write_mask(tmp_path / "masks/both.png", corner_mask(2))
    write_lines(tmp_path / "splits/train.txt", "masked", "boxed", "both.png", "plain", "empty")
    return tmp_path


def samples(folder, resize=None):
    data = opened(folder, "train", resize=resize)
    return {sample.name: sample for sample in (data[index] for index in range(len(data)))}


def test_flags_say_what_the_mask_is_worth(folder):
    flags = {name: (bool((sample.targets == 1).any()), sample.segmented) for name, sample in samples(folder).items()}
    assert flags == {
        "masked": (True, True),
        "boxed": (True, False),
        "both": (True, True),
        "plain": (False, False),
        "empty": (False, False),
    }


def test_labels_come_from_the_mask_and_else_from_the_tables(folder):
    labels = {name: sample.labels.nonzero().flatten().tolist() for name, sample in samples(folder).items()}
    assert labels == {"masked": [0], "boxed": [0, 1], "both": [1], "plain": [0, 2], "empty": []}


def test_boxes_are_painted_with_the_small_on_top(folder):
    """Pixel by pixel: the smallest box that covers it, or background."""
    expected = np.zeros((12, 16), np.int64)
    for row in range(12):
        for column in range(16):
            if 2 <= column < 4 and 2 <= row < 4:
                expected[row, column] = 2
            elif 0 <= column < 10 and 1 <= row < 9:
                expected[row, column] = 1
    np.testing.assert_array_equal(samples(folder)["boxed"].mask.numpy(), expected)


def test_boxes_are_in_pixels_of_the_full_image(folder):
    mask = samples(folder, resize=8)["boxed"].mask
    assert mask.shape == (6, 8)
    assert mask[1, 1] == 2 and mask[3, 4] == 1 and mask[5, 5] == 0


def test_without_annotation_everything_is_void(folder):
    assert (samples(folder)["plain"].mask == 255).all()
    np.testing.assert_array_equal(samples(folder)["both"].mask.numpy(), corner_mask(2))


def test_classes_are_those_of_the_table_where_no_list_is(folder):
    (folder / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"has masks but no classes\.txt"):
        opened(folder, "train")
    for mask in (folder / "masks").iterdir():
        mask.unlink()
    assert opened(folder, "train").class_names == ("cat", "dog", "owl")
    (folder / "labels.csv").unlink()
    with pytest.raises(DataError, match="names no class"):
        opened(folder, "train")


def test_cut_by_name_is_complete_disjoint_and_stable(tmp_path):
    """A name keeps its side when other images come and go."""
    for index in range(200):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / f"images/{index}.png").touch()
    write_lines(tmp_path / "labels.csv", "image,classes", *(f"{index},cat" for index in range(200)))
    train, val = (set(opened(tmp_path, split).names) for split in ("train", "val"))
    assert not train & val and len(train | val) == 200 and 25 <= len(val) <= 55
    write_lines(tmp_path / "labels.csv", "image,classes", *(f"{index},cat" for index in range(100)))
    for index in range(100, 200):
        (tmp_path / f"images/{index}.png").unlink()
    assert set(opened(tmp_path, "val").names) == {name for name in val if int(name) < 100}
    with pytest.raises(DataError, match=r"splits holds no split; expected .*\(test.txt\)"):
        opened(tmp_path, "test")


def test_split_files_end_the_cut_by_name(folder):
    write_lines(folder / "splits/val.txt", "plain")
    write_lines(folder / "notes.txt", "what is in the root is no split")
    assert opened(folder, "val").names == ("plain",)
    with pytest.raises(DataError, match=r"no split 'vall'; did you mean 'val'\?; available: train, val"):
        opened(folder, "vall")
    (folder / "splits/val.txt").unlink()
    with pytest.raises(DataError, match="no split 'val'; available: train"):
        opened(folder, "val")


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("labels.csv", "plain,ow", r"labels\.csv, line 7: unknown class 'ow'; did you mean 'owl'\?"),
        ("labels.csv", "plane,owl", r"line 7: there is no image 'plane' in the folder images; did you mean 'plain'\?"),
        (
            "boxes.csv",
            "plain,cat,0,0,17,5",
            r"boxes\.csv, line 5: the box 0 0 17 5 .* is 16 pixels wide and 12 high",
        ),
        ("boxes.csv", "plain,cat,-1,0,7,5", "the box -1 0 7 5 reaches out of its image"),
        ("boxes.csv", "plain,cat,5,0,5,5", "the box 5 0 5 5 is empty; expected .* left < right"),
        ("boxes.csv", "plain,cat,nan,0,5,5", "expected numbers for left, top, right and bottom, got nan 0 5 5"),
        ("boxes.csv", "plain,cat,a,0,5,5", "expected numbers for left, top, right and bottom"),
        ("boxes.csv", "plain,cat,1", "expected numbers for left, top, right and bottom"),
        ("boxes.csv", "plain,lion,1,1,2,2", "unknown class 'lion'"),
        ("splits/train.txt", "nobody", "names 6 images, but 1 of them are not in"),
    ],
)
def test_bad_lines_are_named(folder, file, line, words):
    with (folder / file).open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(DataError, match=words) as caught:
        opened(folder, "train")
    assert "\n" not in str(caught.value)


def test_other_bad_folders(folder):
    write_image(folder / "images/unknown.png")
    write_lines(folder / "splits/all.txt", "unknown")
    with pytest.raises(DataError, match="nothing is known about image 'unknown'"):
        opened(folder, "all")
    write_lines(folder / "labels.csv", "picture,classes", "plain,cat")
    with pytest.raises(DataError, match=r"labels\.csv has no column 'image'; expected the header image,classes"):
        opened(folder, "train")
    write_mask(folder / "masks/masked_mask.png", corner_mask(1))
    with pytest.raises(DataError, match=r"masked_mask\.png belongs to no image"):
        opened(folder, "train")
    write_image(folder / "images/plain.jpg")
    with pytest.raises(DataError, match=r"plain\.jpg and plain\.png have the same name"):
        opened(folder, "train")


def test_an_all_void_mask_says_nothing_and_the_labels_stay(folder):
    write_mask(folder / "masks" / "masked.png", np.full_like(corner_mask(1), 255))
    found = samples(folder)["masked"]
    assert found.labels.nonzero().flatten().tolist() == [1]  # the table's dog
    assert not found.segmented and not (found.targets == 1).any()
    write_lines(folder / "labels.csv", "image,classes", "plain,owl", "empty,")
    with pytest.raises(DataError, match=r"masked\.png says nothing"):
        samples(folder)


def test_an_automatic_cut_leaves_out_what_a_written_split_names(tmp_path):
    names = [f"image{index}" for index in range(20)]
    for index, name in enumerate(names):
        write_image(tmp_path / "images" / f"{name}.png", seed=index)
    write_lines(tmp_path / "labels.csv", "image,classes", *(f"{name},cat" for name in names))
    write_lines(tmp_path / "splits/test.txt", *names[:5])
    splits = [set(opened(tmp_path, split).names) for split in ("train", "val", "test")]
    assert all(splits) and set.union(*splits) == set(names) and sum(map(len, splits)) == len(names)
    write_lines(tmp_path / "elsewhere.txt", *(f"{name}.png" for name in names[5:10]), "not_shipped")
    config = DataOptions(root=str(tmp_path), held_out=[str(tmp_path / "elsewhere.txt")])
    for split in ("train", "val"):
        assert not set(names[:10]) & set(open_dataset(config, split).names)


def test_a_split_in_the_root_is_not_overlooked(tmp_path):
    write_image(tmp_path / "images/a.png")
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat")
    write_lines(tmp_path / "val.txt", "a")
    for _ in range(2):
        with pytest.raises(DataError, match=r"val\.txt is not read there; move it into .*splits"):
            opened(tmp_path, "train")
        write_lines(tmp_path / "splits/test.txt", "a")  # others that are written change nothing
    write_lines(tmp_path / "splits/train.txt", "a")  # but then train and val are known
    assert opened(tmp_path, "train").names == ("a",)


def test_rows_of_one_image_add_up(tmp_path):
    write_image(tmp_path / "images/a.png")
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat", "a.png,dog owl", "a,cat")
    write_lines(tmp_path / "splits/all.txt", "a")
    assert opened(tmp_path, "all")[0].labels.tolist() == [True, True, True]


def test_a_folder_knows_what_it_can_teach(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat")
    write_lines(tmp_path / "splits/all.txt", "a")
    assert not opened(tmp_path, "all").has_annotations
    write_lines(tmp_path / "boxes.csv", "image,class,left,top,right,bottom", "a,cat,1,1,5,5")
    boxed = opened(tmp_path, "all")
    assert boxed.has_annotations and not boxed.has_masks
    (tmp_path / "boxes.csv").unlink()
    write_lines(tmp_path / "classes.txt", "cat")
    write_mask(tmp_path / "masks/a.png", corner_mask(1))
    masked = opened(tmp_path, "all")
    assert masked.has_annotations and masked.has_masks


@pytest.mark.parametrize("resize", [None, 8, 40])
def test_sizes_are_those_that_are_served(folder, resize):
    data = opened(folder, "train", resize=resize)
    for index in range(len(data)):
        sample = data[index]
        assert data.size(index) == sample.image.shape[1:] == sample.mask.shape == sample.targets.shape[1:]


def test_a_class_may_have_blanks_in_its_name(tmp_path):
    for name in "abcd":
        write_image(tmp_path / "images" / f"{name}.jpg")
    rows = ("a,traffic light", "b,traffic light; dog", "c,dog bus", "d,traffic light;")
    write_lines(tmp_path / "labels.csv", "image,classes", *rows)
    write_lines(tmp_path / "splits/all.txt", *"abcd")
    write_lines(tmp_path / "classes.txt", "dog", "traffic light", "bus")
    data = opened(tmp_path, "all")
    assert [data[index].labels.nonzero().flatten().tolist() for index in range(4)] == [[1], [0, 1], [0, 2], [1]]
    (tmp_path / "classes.txt").unlink()
    assert opened(tmp_path, "all").class_names == ("bus", "dog", "traffic light")


def test_classes_separated_by_commas_are_refused(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat,dog")
    with pytest.raises(DataError, match=r"line 2: expected 2 columns, got more; separate the classes"):
        opened(tmp_path, "train")
