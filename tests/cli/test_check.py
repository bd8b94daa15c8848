"""The command `check`: what it prints, what it writes, and that faults are lines and no errors."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.cli.main import main

CATS = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for folder in ("images", "masks", "splits", "avoid"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name in CATS:
        Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / f"data/images/{name}.png")
        mask = np.zeros((40, 60), np.uint8)
        mask[5:20, 10:30] = 1
        Image.fromarray(mask).save(tmp_path / f"data/masks/{name}.png")
    (tmp_path / "data/classes.txt").write_text("cat\n")
    (tmp_path / "data/splits/train.txt").write_text("a\nb\nc\n")
    (tmp_path / "data/splits/val.txt").write_text("d\n")
    (tmp_path / "data/avoid").rmdir()
    return tmp_path / "data"


def checked(data: Path, *options: str) -> list[str]:
    out = data.parent / "out"
    assert main(["check", str(data), "--out", str(out), *options]) == 0
    return (out / "check.txt").read_text().splitlines()


def test_sound_data_have_no_problem_and_a_picture(data, capsys):
    lines = checked(data)
    assert lines[0] == f"{data}: layout folder" and lines[-1] == "no problem was found"
    assert "train: 3 images, 60x40 pixels" in lines and "  classes: cat 3" in lines and "  annotation: masks 3" in lines
    printed = capsys.readouterr().out
    assert printed.startswith(lines[0]) and all(line in printed for line in lines)  # bars leave nothing in a file
    with Image.open(data.parent / "out/annotations.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3).astype(int)
    assert sheet.width > 1000
    blue = (np.abs(pixels - (0, 111, 177)).sum(axis=1) < 12).sum()  # the legend's square
    assert 20 < blue < 2000


def test_faults_are_lines(data):
    (data / "images/b.png").write_bytes(b"")
    (data / "avoid").mkdir()
    (data / "masks/more.txt").write_text("")
    (data / "splits/val.txt").write_text("z\n")
    lines = checked(data)
    problems = [line for line in lines if line.startswith("- ")]
    assert f"{len(problems)} lines on what looks wrong:" in lines
    for word in ("b.png", "not in", "--data.avoid_zones avoid", "more.txt"):
        assert [line for line in problems if word in line], word
    assert "  annotation: masks 2 (2 of 3 images were read whole)" in lines  # the other images were read all the same


def test_what_is_no_data_set_is_said(data, capsys):
    assert main(["check", str(data / "splits")]) == 2
    assert "expected a folder with" in capsys.readouterr().err
    assert main(["check", str(data), "--limit", "0"]) == 2
    assert "expected limit >= 1" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["no classes", "no images"])
def test_data_of_which_no_split_can_be_opened_are_an_error_said_once(data, fault, capsys):
    if fault == "no classes":
        (data / "classes.txt").unlink()
    for split in ("train", "val") if fault == "no images" else ():
        (data / f"splits/{split}.txt").write_text(f"not_in_{split}\n")
    out = data.parent / "out"
    assert main(["check", str(data), "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1 and not out.exists()
    wanted = ["classes.txt"] if fault == "no classes" else ["train: ", "not_in_train", "val: ", "not_in_val"]
    assert [printed.err.count(word) for word in wanted] == [1] * len(wanted) and not printed.out.strip()


def test_one_line_is_no_lines_and_groups_of_two_words_stay_apart(data):
    table = "image,classes\n" + "".join(f"{name},cat\n" for name in CATS)
    (data / "labels.csv").write_text(table)
    (data / "groups.csv").write_text("image,place\n" + "".join(f"{name},{name}\n" for name in CATS))
    assert "1 line on what looks wrong:" in checked(data)
    assert "  groups: cat, a 1; cat, b 1; cat, c 1" in checked(data, "--data.group_by", "place")


def test_pictures_may_be_left_out(data):
    checked(data, "--pictures", "0")
    assert not (data.parent / "out/annotations.png").exists()


@pytest.mark.parametrize("broken", ["a", "b"])
@pytest.mark.parametrize("fault", ["no image", "of another size", "of no class"])
@pytest.mark.parametrize("layout", ["folder", "labelled", "class_folders", "voc"])
def test_a_broken_mask_is_a_line_and_stops_nothing(data, layout, fault, broken):
    """Whichever it is of the masks, and whether or not tables or folders say the class of its image."""
    masks, images = {name: data / f"masks/{name}.png" for name in CATS}, data / "images"
    if layout == "labelled":
        (data / "labels.csv").write_text("image,classes\n" + "".join(f"{name},cat\n" for name in CATS))
    elif layout == "class_folders":
        for name in CATS:
            split = "val" if name == "d" else "train"
            for path, target in (
                (images / f"{name}.png", data / split / "cat"),
                (masks[name], data / "masks" / split / "cat"),
            ):
                target.mkdir(parents=True, exist_ok=True)
                masks[name] = path.rename(target / path.name)
        images.rmdir()
        (data / "splits/train.txt").unlink()
        (data / "splits/val.txt").unlink()
        (data / "splits").rmdir()
    elif layout == "voc":
        for old, new in (
            ("images", "JPEGImages"),
            ("masks", "SegmentationClass"),
            ("splits", "ImageSets/Segmentation"),
        ):
            (data / new).parent.mkdir(exist_ok=True)
            (data / old).rename(data / new)
        masks = {name: data / f"SegmentationClass/{name}.png" for name in CATS}
    if fault == "no image":
        masks[broken].write_bytes(b"")
    else:
        values = np.ones((40, 60), np.uint8)
        Image.fromarray(values[1:] if fault == "of another size" else 7 * values).save(masks[broken])
    lines = checked(data)
    problems = [line for line in lines if line.startswith("- ")]
    assert [line for line in problems if f"{broken}.png" in line], problems
    assert "train: 3 images, 60x40 pixels" in lines and "  classes: cat 2" in lines
    assert "  annotation: masks 2 (2 of 3 images were read whole)" in lines and "val: 1 images, 60x40 pixels" in lines


def test_where_every_mask_is_broken_the_split_is_a_line(data):
    for name in "abc":
        (data / f"masks/{name}.png").write_bytes(b"")
    lines = checked(data)
    assert [line for line in lines if line.startswith("- train: ") and "a.png" in line]
    assert "val: 1 images, 60x40 pixels" in lines
