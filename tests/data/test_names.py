"""What a folder may hold besides: hidden files, other files, paths that begin at home."""

import pytest
from PIL import Image

from wheretolook.data import open_dataset
from wheretolook.data.names import files_below, files_by_name, image_name
from wheretolook.errors import ConfigError, DataError
from wheretolook.files import visible_below
from wheretolook.options.data import DataOptions
from wheretolook.predict.images import image_files

from .folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask, write_voc


def test_hidden_files_are_no_images(tmp_path, caplog):
    root = write_voc(tmp_path)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        for name in ("._a.png", "._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "._train.txt"):
            (root / folder / name).write_bytes(b"\0")
    assert opened(root, "train")[0].name == "a"
    plain = tmp_path / "plain"
    write_image(plain / "images/a0.png")
    (plain / "images/._a0.png").write_bytes(b"\0")
    write_lines(plain / "labels.csv", "image,classes", "a0,cat")
    write_lines(plain / "splits/all.txt", "a0")
    assert opened(plain, "all").names == ("a0",)
    assert "not read" not in caplog.text


def test_neither_are_those_of_hidden_folders(tmp_path):
    for name in ("a.png", "b/c.PNG", "b/._c.png", ".ipynb_checkpoints/a-checkpoint.png", "b/.thumbs/c.png", "d.txt"):
        write_image(tmp_path / name) if name.lower().endswith("png") else write_lines(tmp_path / name, "x")
    assert visible_below(tmp_path, (".png",)) == [tmp_path / "a.png", tmp_path / "b/c.PNG"]
    assert list(files_below(tmp_path, (".png",))) == ["a", "b/c"] == list(image_files([tmp_path]))
    assert not visible_below(tmp_path / "missing", (".png",))


def test_files_that_are_not_read_are_said_once(tmp_path, caplog):
    root = write_voc(tmp_path)
    (root / "JPEGImages/b.heic").write_bytes(b"\0")
    (root / "JPEGImages/c.gif").write_bytes(b"\0")
    (root / "JPEGImages/raw").mkdir()
    for split in ("train", "val", "train"):
        opened(root, split)
    expected = "JPEGImages: 2 files are not read, first b.heic; expected .jpg, .jpeg, .png, .bmp, .tif, .tiff, .webp"
    assert caplog.text.count("not read") == 1 and expected in caplog.text


@pytest.mark.parametrize("suffix", ["jpeg", "JPG", "bmp", "tif", "webp"])
def test_photographs_come_in_many_files(tmp_path, suffix):
    values = write_image(tmp_path / "images/a.png")
    (tmp_path / "images/a.png").unlink()
    Image.fromarray(values).save(tmp_path / f"images/a.{suffix}")
    write_lines(tmp_path / "labels.csv", "image,classes", "a,cat")
    write_lines(tmp_path / "splits/all.txt", f"a.{suffix}")
    assert opened(tmp_path, "all")[0].image.shape == (3, 12, 16)


def test_a_dot_in_a_name_is_no_suffix():
    assert image_name("a.5", {"a", "a.5"}) == image_name("a.5.jpg", {"a"}) == "a.5"
    assert image_name("folder/v1.2", set()) == "v1.2"


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("cafe\u0301.png", "caf\u00e9.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="have the same name"):
        files_by_name(tmp_path, (".png", ".jpg"))


def test_every_path_may_begin_at_home(tmp_path, monkeypatch):
    """As a shell has it, for paths from files, and for those that stand within a list."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    write_voc(home / "voc", tuple("abcdef"))
    write_lines(home / "fit.txt", *"abcd")
    write_lines(home / "tune.txt", "b")
    write_lines(home / "test.txt", "c")
    write_lines(home / "groups.csv", "image,place", *(f"{name},north" for name in "abcdef"))
    config = DataOptions(root="~/voc", val_split="~/tune.txt", held_out=["~/test.txt"], groups="~/groups.csv")
    data = open_dataset(config, "~/fit.txt", training=True)
    assert data.names == ("a", "d")
    assert open_dataset(config, config.val_split).names == ("b",)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no SBD in .*home/sbd"):
        open_dataset(DataOptions(root="~/voc", sbd="~/sbd"), "train", training=True)


def test_a_home_that_nobody_has_is_one_line():
    with pytest.raises(ConfigError, match="expected a path, got ~nobody_of_that_name/d, and there is no such user"):
        open_dataset(DataOptions(root="~nobody_of_that_name/d"), "train")


def test_an_unknown_layout_names_the_nearest(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"no layout 'foldr'; did you mean 'folder'\?; known: auto, voc",
    ):
        opened(tmp_path, "train", layout="foldr")


def test_masks_keep_the_suffix_of_their_images_in_lists(tmp_path):
    """A list may name `a.b.png` where the image is called so without its suffix."""
    write_image(tmp_path / "images/a.b.png")
    write_mask(tmp_path / "masks/a.b.png", corner_mask(1))
    write_lines(tmp_path / "classes.txt", "cat")
    write_lines(tmp_path / "splits/all.txt", "a.b.png")
    assert opened(tmp_path, "all").names == ("a.b",)
