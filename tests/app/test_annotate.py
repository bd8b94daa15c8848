"""Drawings are read back as any data set is, by `open_dataset`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.app.annotate import drawn_names, flat_name, save_drawing
from wheretolook.app.examples import Examples, dataset_examples, folder_examples
from wheretolook.app.views import Fit, Picture, made_picture, open_picture
from wheretolook.data import open_dataset
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions
from wheretolook.records import Sample

from ..data.folders_on_disk import write_lines, write_voc

NAMES = ("cat", "traffic light", "tench, Tinca")
NOTHING = np.zeros((4, 6), bool)


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    path = tmp_path / "upload" / "a photo.jpg"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return open_picture(path)


def zone(top: int, left: int) -> np.ndarray:
    """Two by two of the cells of a coarse drawing."""
    found = NOTHING.copy()
    found[top : top + 2, left : left + 2] = True
    return found


def full(coarse: np.ndarray) -> np.ndarray:
    return coarse.repeat(10, axis=0).repeat(10, axis=1)


def read_back(folder: Path, name: str, **options: str) -> Sample:
    write_lines(folder / "lists" / "all.txt", name)
    dataset = open_dataset(DataOptions(root=str(folder), **options), str(folder / "lists/all.txt"))
    assert dataset.class_names == NAMES
    return dataset[0]


def test_a_drawing_is_read_back_as_it_was_drawn(tmp_path: Path, picture: Picture) -> None:
    """Of the file's size, though it was drawn on a smaller picture; with the zone to avoid; the image byte by byte."""
    folder = tmp_path / "out"
    written = save_drawing(folder, picture, NAMES, 1, zone(0, 0), zone(1, 3))
    assert [path.relative_to(folder).as_posix() for path in written] == [
        "images/a_photo.jpg",
        "masks/a_photo.png",
        "avoid/a_photo.png",
    ]
    assert written[0].read_bytes() == picture.file.read_bytes()
    sample = read_back(folder, "a_photo", avoid_zones="avoid")
    assert sample.labels.tolist() == [False, True, False] and sample.segmented
    np.testing.assert_array_equal(sample.mask, 2 * full(zone(0, 0)))
    np.testing.assert_array_equal(sample.targets[0], full(zone(0, 0) & ~zone(1, 3)))
    assert drawn_names(folder) == {"a_photo"}


def test_classes_are_drawn_one_after_the_other_and_drawn_again(tmp_path: Path, picture: Picture) -> None:
    folder = tmp_path / "out"
    save_drawing(folder, picture, NAMES, 0, zone(0, 0), NOTHING)
    save_drawing(folder, picture, NAMES, 2, zone(2, 4), NOTHING)
    save_drawing(folder, picture, NAMES, 0, zone(0, 1), NOTHING)  # in place of the first
    wanted = full(zone(0, 1)) + 3 * full(zone(2, 4))
    np.testing.assert_array_equal(read_back(folder, "a_photo").mask, wanted)
    assert len(list((folder / "images").iterdir())) == 1


@pytest.mark.parametrize("class_index", range(3), ids=NAMES)
def test_a_zone_alone_labels_the_image(tmp_path: Path, picture: Picture, class_index: int) -> None:
    """Whatever the class is called: with a blank, with a comma."""
    folder = tmp_path / "out"
    for _ in range(2):
        save_drawing(folder, picture, NAMES, class_index, NOTHING, zone(1, 1))
    assert len((folder / "labels.csv").read_text().splitlines()) == 2
    sample = read_back(folder, "a_photo", avoid_zones="avoid")
    assert sample.labels.nonzero().flatten().tolist() == [class_index] and not sample.segmented
    np.testing.assert_array_equal(sample.targets[0], 1 - full(zone(1, 1)))


def test_masks_are_added_to_a_plain_folder_of_ones_own(tmp_path: Path) -> None:
    """The images stay where they are, other columns of the labels too, and masks have the others' palette."""
    root = tmp_path / "data"
    for name, shade in (("x 1", 10), ("y", 200)):
        (root / "images").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (shade,) * 3).save(root / "images" / f"{name}.png")
    write_lines(root / "classes.txt", *NAMES)
    write_lines(root / "labels.csv", "who,image,classes", "me,x 1,cat", "me,y,cat")
    (root / "masks").mkdir()
    mask = Image.fromarray(zone(0, 0).astype(np.uint8))
    mask.putpalette([0, 0, 0, 1, 2, 3])
    mask.save(root / "masks" / "y.png")
    write_lines(root / "all.txt", "x 1", "y")
    dataset = open_dataset(DataOptions(root=str(root)), str(root / "all.txt"))
    examples = dataset_examples(dataset, Fit())
    assert examples.after(None, set()) == "x 1" and examples.after("x 1", {"x 1"}) is None
    assert examples.picture("x 1").class_index == 0  # its label
    assert dataset_examples(dataset, Fit(), {"y": "why"}).after(None, set()) == "x 1"  # y has a mask
    written = save_drawing(root, examples.picture("x 1"), NAMES, 0, zone(1, 1), NOTHING)
    assert written == [root / "masks" / "x 1.png"]
    assert Image.open(written[0]).getpalette()[:6] == [0, 0, 0, 1, 2, 3]
    assert torch.equal(read_back(root, "x 1").mask, torch.from_numpy(zone(1, 1).astype(np.int64)))
    save_drawing(root, examples.picture("y"), NAMES, 1, NOTHING, zone(0, 0))  # its mask is there: labels stay
    assert (root / "labels.csv").read_text().splitlines() == ["who,image,classes", "me,x 1,cat", "me,y,cat"]


def test_images_of_any_layout_and_made_ones_are_kept_as_a_plain_folder(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "voc", height=4, width=6)
    write_lines(voc / "list.txt", *"abc")
    dataset = open_dataset(DataOptions(root=str(voc)), str(voc / "list.txt"))
    folder = tmp_path / "out"
    save_drawing(folder, dataset_examples(dataset, Fit()).picture("b"), NAMES, 0, zone(0, 0), NOTHING)
    save_drawing(folder, made_picture(torch.zeros(3, 4, 6), "scene"), NAMES, 0, zone(0, 0), NOTHING)
    assert drawn_names(folder) == {"b", "scene"}
    assert read_back(folder, "scene").mask.sum() == 4


def test_folders_of_images_are_offered_whatever_they_are_called(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "upload" / "deeper").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "upload" / "deeper" / "b.png")
    examples = folder_examples(tmp_path / "upload", Fit())
    assert examples.names == ("a photo", "deeper/b")
    assert examples.after("a photo", {"deeper_b"}) == "a photo"
    assert examples.after("deeper/b", {"a_photo"}) == "deeper/b"
    wanted = Examples(examples.names, examples.picture, lambda number: False, {"deeper/b": "a reason"})
    assert [wanted.after(name, set()) for name in (None, "deeper/b", "a photo")] == ["deeper/b", "a photo", "deeper/b"]
    with pytest.raises(DataError, match="there is no example"):
        examples.picture("../../etc/passwd")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none; check the path"):
        folder_examples(tmp_path / "empty", Fit())


def test_two_images_of_one_name_are_kept_apart(tmp_path: Path, picture: Picture) -> None:
    folder, other = tmp_path / "out", tmp_path / "a photo.png"
    Image.new("RGB", (60, 40)).save(other)
    for shown in (picture, open_picture(other), open_picture(other)):
        save_drawing(folder, shown, NAMES, 0, zone(0, 0), NOTHING)
    assert len(drawn_names(folder)) == 2 == len(list((folder / "images").iterdir()))


def test_nothing_is_written_where_nothing_can_be_kept(tmp_path: Path, picture: Picture) -> None:
    folder = tmp_path / "out"
    with pytest.raises(DataError, match="nothing is drawn yet"):
        save_drawing(folder, picture, NAMES, 0, NOTHING, NOTHING)
    with pytest.raises(DataError, match="at most 254 classes apart, and this network has 1000"):
        save_drawing(folder, picture, [str(index) for index in range(1000)], 0, zone(0, 0), NOTHING)
    assert not folder.exists()
    write_lines(folder / "classes.txt", "other")
    with pytest.raises(DataError, match="expected the 3 classes of the network"):
        save_drawing(folder, picture, NAMES, 0, zone(0, 0), NOTHING)
    picture.file.unlink()
    (folder / "classes.txt").unlink()
    with pytest.raises(DataError, match="the upload a photo is gone"):
        save_drawing(folder, picture, NAMES, 0, zone(0, 0), NOTHING)
    assert not drawn_names(folder)


def test_names_cannot_lead_out_of_the_folder() -> None:
    assert flat_name("../../../etc/passwd") == "etc_passwd" and flat_name("/") == "image" and flat_name("é") == "é"
