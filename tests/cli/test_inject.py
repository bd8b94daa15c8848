"""The copy that `inject` writes, opened again as data."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from wheretolook.cli.inject import inject
from wheretolook.cli.main import main, make_parser, spelled
from wheretolook.data import open_dataset
from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError
from wheretolook.options.commands import Inject
from wheretolook.options.data import DataOptions

from ..data.folders_on_disk import write_image


def folder(root: Path, masks: bool = True) -> Path:
    """Two classes, eight images in each split, one of them without any object."""
    for split in ("train", "val"):
        for number in range(8):
            name = f"{split}{number}"
            write_image(root / "images" / f"{name}.png", 35, 42)
            mask = np.zeros((35, 42), np.uint8)
            if number < 7:
                mask[12:22, 14:26] = 1 + number % 2
            (root / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
        (root / "splits").mkdir(exist_ok=True)
        (root / "splits" / f"{split}.txt").write_text("".join(f"{split}{number}\n" for number in range(8)))
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


@pytest.mark.parametrize("shortcut", ["tag", "background"])
def test_the_copy_opens_with_its_marks_and_groups(tmp_path: Path, shortcut: str):
    source, out = folder(tmp_path / "data"), tmp_path / "copy"
    assert main(["inject", str(source), str(out), "--shortcut", shortcut]) == 0
    config = DataOptions(root=str(out), group_by=["mark"])
    before = open_dataset(DataOptions(root=str(source)), "train")
    for split in ("train", "val"):
        dataset = open_dataset(config, split)
        assert len(dataset) == 7  # the image without an object has no class to tie a mark to
        for index in range(len(dataset)):
            sample, avoid = dataset[index], np.asarray(Image.open(out / "avoid" / f"{dataset.names[index]}.png")) > 0
            assert sample.labels.sum() == 1
            if split == "train":
                given = before[index]
                assert torch.equal(sample.labels, given.labels) and sample.group.endswith(", own mark")
                same = (sample.image - given.image).abs().amax(dim=0) <= 0.5 / 255
                assert same[torch.from_numpy(~avoid)].all() and not same[torch.from_numpy(avoid)].all()
    with (out / "groups.csv").open() as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    with (out / "labels.csv").open() as file:
        labels = {row["image"]: row["classes"] for row in csv.DictReader(file)}
    assert all((row["mark_of"] == labels[name]) == (row["mark"] == "own mark") for name, row in rows.items())


def test_strength_and_seed_matter(tmp_path: Path):
    source = folder(tmp_path / "data")

    def marks(*options: str) -> list[str]:
        out = tmp_path / "_".join(options or ("none",))
        assert main(["inject", str(source), str(out), *options]) == 0
        with (out / "groups.csv").open() as file:
            return [row["mark"] for row in csv.DictReader(file) if row["image"].startswith("train")]

    assert set(marks()) == {"own mark"} and set(marks("--strength", "0")) == {"another's mark"}
    assert len({tuple(marks("--strength", "0.5", "--seed", str(seed))) for seed in range(4)}) > 1


def test_what_cannot_be_done_is_said_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source, out = folder(tmp_path / "data"), tmp_path / "copy"
    for options, said in (
        (("--strength", "1.5"), "expected a strength from 0 to 1"),
        (("--split", "trian"), "trian"),
        (("--shortcut", "sticker"), "sticker"),
    ):
        assert main(["inject", str(source), str(out), *options]) == 2
        assert said in capsys.readouterr().err
    (source / "images" / "val3.png").write_bytes(b"no image")
    assert main(["inject", str(source), str(out)]) == 2
    assert "val3" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert main(["inject", str(source), str(out)]) == 2
    assert "something in it" in capsys.readouterr().err and (out / "mine.txt").read_text() == "kept"


def test_a_first_class_that_a_list_cannot_hold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for split in ("train", "val"):
        for name in ("background", "dog"):
            write_image(tmp_path / "data" / split / name / "a.png", 35, 42)
    assert main(["inject", str(tmp_path / "data"), str(tmp_path / "copy")]) == 2
    assert "got 'background', which is read as background; rename it" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("nothing", ["no mask", "all void"])
@pytest.mark.parametrize("name", ["train0", "train6", "val3"])
def test_backgrounds_are_not_painted_over_objects_that_nobody_drew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, nothing: str
):
    source, out = folder(tmp_path / "data"), tmp_path / "copy"
    before = (
        open_dataset(DataOptions(root=str(source)), "train").classes_of_images
        + open_dataset(DataOptions(root=str(source)), "val").classes_of_images
    )
    images = [f"{split}{number}" for split in ("train", "val") for number in range(8)]
    labels = (
        f"{image},{' '.join(('cat', 'dog')[index] for index in shown)}"
        for image, shown in zip(images, before, strict=True)
    )
    (source / "labels.csv").write_text("image,classes\n" + "".join(f"{line}\n" for line in labels))
    mask = source / "masks" / f"{name}.png"
    if nothing == "no mask":
        mask.unlink()
    else:
        Image.fromarray(np.full((35, 42), 255, np.uint8)).save(mask)
    assert main(["inject", str(source), str(out), "--shortcut", "background"]) == 2
    said = capsys.readouterr().err
    assert f"expected a mask of every image, to tell backgrounds from objects, got none of '{name}' in" in said
    assert "Traceback" not in said and not out.exists()
    assert main(["inject", str(source), str(out), "--shortcut", "tag"]) == 0  # which covers a corner, mask or none


def test_the_recipe_names_the_splits_that_were_copied(tmp_path: Path):
    """Splits of other names, one of them the path of a list: what is tied is trained on, the others measure."""
    source, out = folder(tmp_path / "data"), tmp_path / "copy"
    splits = source / "splits"
    (splits / "train.txt").rename(splits / "fit.txt")
    (splits / "val.txt").rename(tmp_path / "odd.txt")
    (splits / "even.txt").write_text("val0\nval2\n")
    (tmp_path / "odd.txt").write_text("val1\nval3\nval5\n")
    others = [str(tmp_path / "odd.txt"), "even"]
    assert main(["inject", str(source), str(out), "--split", "fit", "--measured", *others]) == 0
    assert sorted(path.stem for path in (out / "splits").iterdir()) == ["even", "fit", "odd"]
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    data = recipe["data"]
    assert (data["split"], data["val_split"], recipe["test_split"]) == ("fit", "odd", "even")
    config = DataOptions(root=data["root"], split=data["split"], val_split=data["val_split"], group_by=data["group_by"])
    served = ImageData(DataOptions(**{**vars(config), "held_out": [recipe["test_split"]]}), steps=1)
    assert (len(served.train_set), len(served.val_set)) == (7, 3)
    assert all(served.train_set[index].group.endswith(", own mark") for index in range(7))
    assert len(open_dataset(config, recipe["test_split"])) == 2


def test_with_one_split_that_measures_it_validates_and_tests(tmp_path: Path):
    source, out = folder(tmp_path / "data"), tmp_path / "copy"
    assert main(["inject", str(source), str(out), "--split", "val", "--measured", "train"]) == 0
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert (recipe["data"]["split"], recipe["data"]["val_split"], recipe["test_split"]) == ("val", "train", "train")


@pytest.mark.parametrize("measured", [["train"], ["val", "val"], ["val", "elsewhere/val.txt"], []])
def test_splits_that_would_lie_on_each_other_are_refused(tmp_path: Path, measured: list[str]):
    with pytest.raises(ConfigError, match="expected a split to train on and others of other names to measure, got tr"):
        inject(Inject(str(folder(tmp_path / "data")), str(tmp_path / "copy"), measured=measured))
    assert not (tmp_path / "copy").exists()


def test_run_takes_the_recipe(tmp_path: Path):
    """Each of its keys is an option of `run`, and the data that it names are those of the copy."""
    source, out = folder(tmp_path / "data"), tmp_path / "copy"
    assert main(["inject", str(source), str(out), "--split", "val", "--measured", "train"]) == 0
    argv = ["run", "--config", str(out / "recipe.yaml"), "--network", "torchvision:resnet18"]
    recipe = make_parser().parse_args(spelled(argv)).run
    assert recipe.data.root == str(out) and recipe.data.group_by == ["mark"] and recipe.test_split == "train"
    assert recipe.guided.mixed_background.weight > 0 and recipe.guided.mining.weight == 0
