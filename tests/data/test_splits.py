"""What validates or tests is never trained on: one rule, however a split is written and wherever the data lie."""

import unicodedata

import pytest

from wheretolook.data.loading import ImageData
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions, ScenesOptions

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask

NAMES = tuple(f"n{index:02d}" for index in range(20))


def write_data(root, layout, names=NAMES):
    """The same images in either layout, with lists `fit` (all but the last four) and `most` (all but the last two)."""
    images, masks, lists = {
        "voc": ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
        "folder": ("images", "masks", "splits"),
    }[layout]
    for index, name in enumerate(names):
        write_image(root / images / f"{name}.png", seed=index)
        write_mask(root / masks / f"{name}.png", corner_mask(1))
    write_lines(root / "classes.txt", "cat")
    write_lines(root / lists / "fit.txt", *names[:-4])
    write_lines(root / lists / "most.txt", *names[:-2])
    return root / lists


WAYS = {
    "name": lambda name: name,
    "suffix": lambda name: f"{name}.png",
    "another suffix": lambda name: f"{name}.JPG",
    "path": lambda name: f"JPEGImages/{name}.png",
    "blanks": lambda name: f"  {name}  ",
}


@pytest.mark.parametrize("layout", ["voc", "folder"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["in the folder", "elsewhere"])
def test_validation_images_are_taken_out_of_training(tmp_path, caplog, layout, way, place):
    lists = write_data(tmp_path / "data", layout)
    file = lists / "check.txt" if place == "in the folder" else tmp_path / "check.txt"
    write_lines(file, *map(WAYS[way], NAMES[3:8]))
    split = "check" if place == "in the folder" else str(file)
    config = DataOptions(root=str(tmp_path / "data"), split="most", val_split=split, batch_size=4, crop=(8, 8))
    data = ImageData(config, steps=10)
    assert data.val_set.names == NAMES[3:8]
    assert data.train_set.names == NAMES[:3] + NAMES[8:-2]
    assert f"5 of the 18 images to train on are left out (first n03): '{split}' validates or tests" in caplog.text
    shown = {name for batch in data.train_dataloader() for name in batch.names}
    assert shown == set(data.train_set.names)


@pytest.mark.parametrize("layout", ["voc", "folder"])
def test_test_images_are_taken_out_as_well(tmp_path, caplog, layout):
    lists = write_data(tmp_path, layout)
    write_lines(lists / "val.txt", *NAMES[-3:])
    write_lines(tmp_path / "elsewhere.txt", *NAMES[2:4], "of_another_data_set")
    write_lines(lists / "test.txt", *NAMES[4:6])
    held_out = [str(tmp_path / "elsewhere.txt"), "test"]
    data = opened(tmp_path, "most", training=True, held_out=held_out)
    assert data.names == NAMES[:2] + NAMES[6:-3]
    assert [line.split(" ")[0] for line in caplog.text.splitlines() if "left out" in line]
    assert caplog.text.count("left out") == 3
    assert opened(tmp_path, "most", held_out=held_out).names == NAMES[:-2]  # to look at, not to train on


def test_nothing_is_said_where_nothing_is_taken_out(tmp_path, caplog):
    lists = write_data(tmp_path, "voc")
    write_lines(lists / "val.txt", *NAMES[-2:])
    assert opened(tmp_path, "most", training=True).names == NAMES[:-2]
    assert "left out" not in caplog.text


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("layout", ["voc", "folder"])
def test_names_in_another_unicode_form_are_the_same_names(tmp_path, layout, form):
    """MacOS takes accents apart in the names of files, most editors put them together in lists."""
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    names = tuple(f"café{index}" for index in range(6))
    on_disk = tuple(unicodedata.normalize(form, name) for name in names)
    lists = write_data(tmp_path, layout, on_disk)
    write_lines(lists / "val.txt", *(unicodedata.normalize(other, name) for name in names[:3]))
    write_lines(lists / "all.txt", *(unicodedata.normalize(other, name) for name in names))
    data = opened(tmp_path, "all", training=True)
    assert data.names == tuple(unicodedata.normalize("NFC", name) for name in names[3:])
    assert data[0].segmented


def test_an_automatic_cut_never_trains_on_a_list_elsewhere(tmp_path):
    """The plain folder without splits: train is cut by itself, val is a file of the user's; and the other way round."""
    lists = write_data(tmp_path, "folder")
    for file in lists.iterdir():
        file.unlink()
    cut = {split: set(opened(tmp_path, split).names) for split in ("train", "val")}
    assert cut["train"] | cut["val"] == set(NAMES) and min(map(len, cut.values())) >= 2
    own = tmp_path / "own.txt"
    write_lines(own, *NAMES[:5], *sorted(cut["val"] - set(NAMES[:5])))
    data = ImageData(DataOptions(root=str(tmp_path), val_split=str(own)), steps=1)
    assert set(data.train_set.names) == cut["train"] - set(NAMES[:5])
    data = ImageData(DataOptions(root=str(tmp_path), split=str(own)), steps=1)
    assert set(data.val_set.names) == cut["val"]
    assert set(data.train_set.names) == set(NAMES[:5]) - cut["val"]


@pytest.mark.parametrize("layout", ["voc", "folder"])
@pytest.mark.parametrize("measured", [{"val_split": "fit"}, {"val_split": "most"}, {"held_out": ["most"]}])
def test_a_split_that_is_measured_as_a_whole_is_refused(tmp_path, layout, measured):
    lists = write_data(tmp_path, layout)
    write_lines(lists / "val.txt", *NAMES[-2:])
    with pytest.raises(DataError, match=r"of the training split 'fit' is left: all its images are in '(fit|most)'"):
        opened(tmp_path, "fit", training=True, **measured)


def test_made_scenes_keep_the_rule():
    config = DataOptions(val_split="train", scenes=ScenesOptions(images=2))
    with pytest.raises(DataError, match="nothing of the training split 'train' is left"):
        ImageData(config, steps=1)
    with pytest.raises(DataError, match="nothing of the training split 'train' is left"):
        ImageData(DataOptions(held_out=["train"]), steps=1)
    data = ImageData(DataOptions(), steps=1)
    assert not set(data.train_set.names) & set(data.val_set.names)


@pytest.mark.parametrize(
    ("layout", "written"),
    [("voc", ("Train", "Validation")), ("folder", ("train", "valid")), ("folder", ("TRAIN", "Val"))],
)
def test_lists_may_have_the_names_of_other_tools(tmp_path, layout, written):
    """CVAT writes Train and Validation, others valid; no image of it is trained on, and none is drawn by its name."""
    lists = write_data(tmp_path, layout)
    for name, images in zip(written, (NAMES, NAMES[5:8]), strict=True):
        write_lines(lists / f"{name}.txt", *images)
    data = ImageData(DataOptions(root=str(tmp_path), batch_size=4, crop=(8, 8)), steps=10)
    assert data.val_set.names == NAMES[5:8] and data.train_set.names == NAMES[:5] + NAMES[8:]


def test_of_two_spellings_of_a_split_neither_is_guessed(tmp_path):
    lists = write_data(tmp_path, "folder")
    for name in ("train", "valid", "Validation"):
        write_lines(lists / f"{name}.txt", NAMES[0])
    with pytest.raises(DataError, match=r"there is no split 'val'.*available: .*Validation, fit, most, train, valid"):
        opened(tmp_path, "val")
