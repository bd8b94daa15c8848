"""A new layout is its file and a line in the table: it is recognised, named and served like the others."""

import csv
from pathlib import Path

import pytest

from wheretolook.data import describe_classes, layout_of, open_dataset
from wheretolook.data.layout import Folder, Layout, open_split
from wheretolook.data.layouts import LAYOUTS
from wheretolook.data.loading import ImageData
from wheretolook.data.splits import Splits
from wheretolook.data.stored import Entry
from wheretolook.errors import ConfigError, DataError
from wheretolook.options.data import DataOptions

from .folders_on_disk import write_image, write_lines


def open_catalogue(config, split, training=False):
    """A toy layout: pictures in `shelf`, all else in `shelf.csv` (picture, kind), lists of names beside it."""
    root = Path(config.root)
    kinds = dict(csv.reader((root / "shelf.csv").open()))
    names = tuple(sorted(set(kinds.values())))
    lists = {path.stem: path for path in root.glob("*.txt")}

    def entry(name):
        return Entry(name, root / "shelf" / f"{name}.png", class_indices=frozenset({names.index(kinds[name])}))

    return open_split(Folder(Splits(root, lists, kinds), names, entry), config, split, training)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setitem(LAYOUTS, "catalogue", Layout("shelf", open_catalogue))
    for index, name in enumerate("abcde"):
        write_image(tmp_path / "shelf" / f"{name}.png", seed=index)
    write_lines(tmp_path / "shelf.csv", "a,cup", "b,book", "c,cup", "d,book", "e,cup")
    write_lines(tmp_path / "train.txt", *"abcd")
    write_lines(tmp_path / "val.txt", *"de")
    return tmp_path


@pytest.mark.parametrize("layout", ["auto", "catalogue"])
def test_a_layout_of_ones_own_keeps_the_rules_of_all(shelf, layout):
    config = DataOptions(root=str(shelf), layout=layout, batch_size=2, crop=(8, 8))
    data = ImageData(config, steps=3)
    assert data.train_set.names == ("a", "b", "c") and data.val_set.names == ("d", "e")
    assert data.train_set.one_class and data.class_names == ("book", "cup")
    assert describe_classes(data.train_set) == "3 images: book 1, cup 2"
    batch = next(iter(data.train_dataloader()))
    assert batch.exclusive and batch.labels.sum() == 2 and (batch.targets == 255).all()


def test_a_root_is_recognised_by_its_folder_and_by_nothing_else(shelf):
    with pytest.raises(DataError, match=r"expected a folder with images \(layout folder\), got"):
        open_dataset(DataOptions(root=str(shelf), layout="folder"), "train")
    with pytest.raises(ConfigError, match="layout catalogue needs root"):
        open_dataset(DataOptions(layout="catalogue"), "train")
    (shelf / "shelf").rename(shelf / "other")
    with pytest.raises(DataError, match=r"images \(layout folder\) or .* or shelf \(layout catalogue\), got"):
        open_dataset(DataOptions(root=str(shelf)), "train")


@pytest.mark.parametrize("own", ["labels.csv", "boxes.csv", "masks/a.png"])
def test_a_plain_folder_with_an_export_in_it_is_a_plain_folder(tmp_path, own):
    """Its own tables and masks tell it, before the files of annotation tools that lie beside them."""
    write_image(tmp_path / "images" / "a.png")
    for path in ("annotations/instances.json", "labels/a.txt"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text("{}")
    assert layout_of(DataOptions(root=str(tmp_path))) == "coco"
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).write_text("image,classes\na,cat\n")
    assert layout_of(DataOptions(root=str(tmp_path))) == "folder"


def test_a_folder_of_images_alone_says_what_it_lacks(tmp_path):
    write_image(tmp_path / "images" / "a.png")
    assert layout_of(DataOptions(root=str(tmp_path))) == "folder"
    with pytest.raises(DataError, match="names no class"):
        open_dataset(DataOptions(root=str(tmp_path)), "train")


def test_the_help_of_the_option_names_every_layout():
    about = " ".join(str(DataOptions.__doc__).split())
    named = about.partition("layout: what the folder is: ")[2].partition("; auto looks")[0]
    assert set(named.replace(" or ", ", ").split(", ")) == set(LAYOUTS)
