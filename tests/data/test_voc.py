import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from wheretolook.data import open_dataset
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions
from wheretolook.public import VOC_CLASSES

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask, write_voc


def write_sbd(root, names):
    for name in names:
        write_image(root / "img" / f"{name}.jpg")
        (root / "cls").mkdir(exist_ok=True)
        savemat(root / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": corner_mask(20).clip(0, 20)}})
    write_lines(root / "train.txt", *names[:1])
    write_lines(root / "val.txt", *names[1:])
    return root


def test_samples_hold_what_the_files_hold(tmp_path):
    data = opened(write_voc(tmp_path), "train")
    assert data.names == ("a", "b")
    assert data.class_names == VOC_CLASSES
    sample = data[1]
    np.testing.assert_array_equal(sample.mask.numpy(), corner_mask(2))
    assert sample.labels.nonzero().flatten().tolist() == [1]
    assert (sample.segmented, sample.name) == (True, "b")
    assert data.size(1) == (12, 16)


def test_split_may_be_a_file_anywhere(tmp_path):
    write_voc(tmp_path / "voc")
    write_lines(tmp_path / "seg11valid.txt", "c", "", "a ")
    assert opened(tmp_path / "voc", str(tmp_path / "seg11valid.txt")).names == ("c", "a")


def test_a_split_may_write_the_endings_of_its_images(tmp_path):
    write_voc(tmp_path, names=("a", "b.jpg"))
    write_lines(tmp_path / "with_endings.txt", "a.jpg", "b.jpg")
    assert opened(tmp_path, str(tmp_path / "with_endings.txt")).names == ("a", "b.jpg")  # one is called that


def test_a_root_without_splits_says_where_they_are_expected(tmp_path):
    for path in (write_voc(tmp_path) / "ImageSets/Segmentation").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"ImageSets/Segmentation holds no split; expected .*\(train.txt\)"):
        opened(tmp_path, "train")
    write_lines(tmp_path / "list.txt", "a")
    assert opened(tmp_path, str(tmp_path / "list.txt")).names == ("a",)


def test_classes_file_replaces_vocs_and_loses_its_background(tmp_path):
    write_lines(write_voc(tmp_path) / "classes.txt", "background", "cat", "dog")
    data = opened(tmp_path, "train")
    assert data.class_names == ("cat", "dog")
    assert data[1].labels.tolist() == [False, True]
    with pytest.raises(DataError, match=r"c\.png has the value 3, but there are 2 classes"):
        opened(tmp_path, "val")[0]


def test_a_mask_of_background_is_an_annotation_and_one_of_void_is_refused(tmp_path):
    """Taken for an image without objects, an all-void mask would teach that none are there."""
    write_voc(tmp_path)
    write_mask(tmp_path / "SegmentationClass/a.png", np.zeros((12, 16)))
    sample = opened(tmp_path, "train")[0]
    assert sample.segmented and not sample.labels.any()
    write_mask(tmp_path / "SegmentationClass/b.png", np.full((12, 16), 255))
    with pytest.raises(DataError, match=r"b\.png says nothing: expected a pixel that is not void \(255\); mend it"):
        opened(tmp_path, "train")[1]


def test_missing_split_names_the_nearest_and_all(tmp_path):
    with pytest.raises(DataError, match=r"no split 'trian'; did you mean 'train'\?; available: train, val"):
        opened(write_voc(tmp_path), "trian")


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass"])
def test_missing_files_are_counted_at_opening(tmp_path, folder):
    write_voc(tmp_path, ("a", "b", "c", "d"))
    for name in ("b", "c"):
        next((tmp_path / folder).glob(f"{name}.*")).unlink()
    with pytest.raises(DataError, match=rf"split 'train' names 3 \w+, but 2 of them are not in .*{folder}, first 'b'"):
        opened(tmp_path, "train")


@pytest.mark.parametrize(
    ("lines", "words"),
    [(["background"], "lists 0 classes"), (["cat", "cat"], "lists 'cat' twice"), (["x"] * 255, "lists 255 classes")],
)
def test_bad_class_lists(tmp_path, lines, words):
    write_lines(write_voc(tmp_path) / "classes.txt", *lines)
    with pytest.raises(DataError, match=words):
        opened(tmp_path, "train")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00a"])
def test_bad_split_files(tmp_path, content):
    write_voc(tmp_path)
    (tmp_path / "ImageSets/Segmentation/odd.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"names no image|is no text in UTF-8"):
        opened(tmp_path, "odd")


@pytest.mark.parametrize("below", ["", "dataset", "benchmark_RELEASE/dataset"])
def test_sbd_adds_what_neither_training_nor_validation_holds(tmp_path, below):
    voc, sbd = write_voc(tmp_path / "voc"), tmp_path / "sbd"
    write_sbd(sbd / below, ("new", "a", "c", "other"))
    config = DataOptions(root=str(voc), sbd=str(sbd))
    data = open_dataset(config, "train", training=True)
    assert data.names == ("a", "b", "new", "other")
    np.testing.assert_array_equal(data[2].mask.numpy(), corner_mask(20).clip(0, 20))
    assert data[2].labels.nonzero().flatten().tolist() == [19]
    assert data[0].labels.nonzero().flatten().tolist() == [0]  # VOC's own mask, not SBD's
    assert open_dataset(config, "train").names == ("a", "b")


def test_sbd_brings_in_no_image_of_any_other_split(tmp_path):
    """Whatever is measured later: the splits of the root, and those that lie elsewhere and are named."""
    voc, sbd = write_voc(tmp_path / "voc"), tmp_path / "sbd"
    write_sbd(sbd, ("new", "measured", "elsewhere"))
    write_lines(voc / "ImageSets/Segmentation/seg11valid.txt", "measured")
    write_lines(tmp_path / "own.txt", "elsewhere")
    config = DataOptions(root=str(voc), sbd=str(sbd))
    assert open_dataset(config, "train", training=True).names == ("a", "b", "new", "elsewhere")
    # a larger list to train on holds none out
    write_lines(voc / "ImageSets/Segmentation/trainaug.txt", "b", "a", "new")
    assert open_dataset(config, "train", training=True).names == ("a", "b", "new", "elsewhere")
    held_out = replace(config, held_out=[str(tmp_path / "own.txt")])
    assert open_dataset(held_out, "train", training=True).names == ("a", "b", "new")


def test_only_a_list_of_the_whole_split_is_a_larger_one(tmp_path):
    """One that lacks an image of the split may measure something, even an image that is itself held out."""
    voc, sbd = write_voc(tmp_path / "voc", tuple("abcd")), tmp_path / "sbd"
    write_sbd(sbd, ("new", "other"))
    write_lines(voc / "ImageSets/Segmentation/val.txt", "c")
    write_lines(voc / "ImageSets/Segmentation/most.txt", "a", "b", "new")
    data = opened(voc, "train", training=True, sbd=str(sbd))
    assert data.names == ("a", "b", "other")


def test_sbd_that_cannot_work_is_refused(tmp_path, monkeypatch):
    voc, sbd = write_voc(tmp_path / "voc"), write_sbd(tmp_path / "sbd", ("new", "other"))
    with pytest.raises(DataError, match="no SBD in"):
        opened(voc, "train", training=True, sbd=str(voc))
    (sbd / "cls/new.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"new\.mat is no MATLAB file with GTcls\.Segmentation"):
        opened(voc, "train", training=True, sbd=str(sbd))[2]
    (sbd / "img/other.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of them are not in .*img, first 'other'"):
        opened(voc, "train", training=True, sbd=str(sbd))
    write_lines(voc / "classes.txt", *"abc")
    with pytest.raises(DataError, match="VOC's 20 classes"):
        opened(voc, "train", training=True, sbd=str(sbd))
    monkeypatch.setattr("wheretolook.data.sbd.find_spec", lambda name: None)
    write_lines(voc / "classes.txt", *VOC_CLASSES)
    with pytest.raises(DataError, match=r"need scipy; install it: pip install 'wheretolook\[sbd\]'"):
        opened(voc, "train", training=True, sbd=str(sbd))


def test_layout_is_found_or_its_absence_explained(tmp_path):
    write_voc(tmp_path / "voc")
    assert open_dataset(DataOptions(root=str(tmp_path / "voc")), "val").names == ("c",)
    with pytest.raises(
        DataError, match=r"expected a folder with JPEGImages \(layout voc\) or .*train \(layout class_folders\)"
    ):
        open_dataset(DataOptions(root=str(tmp_path)), "val")
    with pytest.raises(DataError, match=r"expected a folder with images \(layout folder\), got"):
        open_dataset(DataOptions(root=str(tmp_path / "voc"), layout="folder"), "val")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        open_dataset(DataOptions(root=str(tmp_path / "nowhere")), "val")
    for config in (DataOptions(layout="voc"), DataOptions(root="x", layout="scenes"), DataOptions(sbd="x")):
        with pytest.raises(ConfigError):
            open_dataset(config, "val")


def test_an_image_that_a_split_names_twice_would_count_twice(tmp_path):
    write_voc(tmp_path)
    write_lines(tmp_path / "ImageSets/Segmentation/val.txt", "c", "a", "b", "a")
    with pytest.raises(DataError, match=r"split 'val' \(.*val.txt\) names 'a' twice; each image has one line"):
        open_dataset(DataOptions(root=str(tmp_path)), "val")


def test_photographs_agree_with_their_own_list(photoscenes):
    """groups.csv was written by whoever made the scenes; the classes that it lists must be the classes we read."""
    rows = [line.split(",") for line in (photoscenes / "groups.csv").read_text().splitlines()[1:]]
    classes = {row[0]: set(row[4].split()) for row in rows}
    for split, count in (("train", 600), ("val", 160), ("biased_train", 400), ("unbiased_val", 400)):
        data = open_dataset(DataOptions(root=str(photoscenes)), split)
        assert len(data) == count and data.class_names[0] == "bird" and len(data.class_names) == 8
        for index in range(0, count, 40):
            sample = data[index]
            found = {data.class_names[c] for c in sample.labels.nonzero().flatten().tolist()}
            assert found == classes[sample.name]
            assert (sample.mask == 255).any() and sample.mask.shape == data.size(index)
            raw = np.array(Image.open(photoscenes / "SegmentationClass" / f"{sample.name}.png"))
            torch.testing.assert_close(sample.mask, torch.from_numpy(raw.astype(np.int64)))


def test_importing_the_package_does_without_the_heavy_parts():
    code = "import sys, wheretolook.data; print([m for m in ('lightning', 'kornia', 'scipy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
