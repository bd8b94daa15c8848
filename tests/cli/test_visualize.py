"""The pictures of two networks: their names, what is removed, and data without masks."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.cli.main import main
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from ..command_line import NARROW, complaint
from ..data.folders_on_disk import write_lines, write_voc


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by its default name lands here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def odd() -> list[str]:
    """Options of a folder with classes that make no file names, and of a network of theirs."""
    names = ("a/b", "c d", "e")
    write_lines(write_voc(Path("voc"), height=40, width=36) / "classes.txt", *names)
    write_lines(Path("voc/ImageSets/Segmentation/all.txt"), *"abc")
    save_network(FCN8s(names, **NARROW), "odd.safetensors")
    return ["--before=odd.safetensors", "--after=odd.safetensors", "--data.root=voc", "--out=drawn"]


def test_pictures_have_names_that_files_can_have(odd: list[str]):
    assert main(["visualize", *odd, "--data.split=all"]) == 0
    names = {path.name[3:] for path in Path("drawn").glob("*.png")}
    assert names == {"a_a_b.png", "b_c_d.png", "c_e.png", "tact_sheet.png"}
    listed = json.loads(Path("drawn/pictures.json").read_text())
    assert [(row["picture"], row["image"], row["class"]) for row in listed] == [
        (f"{number:02d}_{image}_{re.sub('[/ ]', '_', name)}.png", image, name)
        for number, (image, name) in enumerate(zip("abc", ("a/b", "c d", "e"), strict=True), start=1)
    ]
    assert all(0 <= row["energy_before"] == row["energy_after"] <= 1 for row in listed)  # one network twice


def test_pictures_of_an_earlier_choice_are_removed_and_nothing_else(odd: list[str]):
    mine = {"01_notes.txt", "mine.png", "2007_000032.png", "01_a_e.png"}
    for name in mine:
        write_lines(Path("drawn") / name, "mine")
    write_lines(Path("precious.png"), "mine")
    write_lines(Path("drawn/pictures.json"), '[{"picture": "../precious.png"}]')  # a list that someone has forged
    for count, expected in ((3, 3), (1, 1)):
        assert main(["visualize", *odd, "--data.split=all", f"--count={count}"]) == 0
        assert len({path.name for path in Path("drawn").glob("0?_*.png")} - mine) == expected
    assert {*mine, "contact_sheet.png"} < {path.name for path in Path("drawn").iterdir()}
    assert Path("precious.png").exists()


def test_nothing_to_draw_is_said(odd: list[str], capsys: pytest.CaptureFixture[str]):
    """An image without an object; and what was drawn before stays."""
    assert main(["visualize", *odd, "--data.split=all"]) == 0
    drawn = sorted(Path("drawn").iterdir())
    Image.fromarray(np.zeros((40, 36), np.uint8)).save("voc/SegmentationClass/c.png")
    said = complaint(capsys, "visualize", *odd)
    assert said == "val: expected an image with a mask or boxes to draw, got none"
    assert sorted(Path("drawn").iterdir()) == drawn


def test_data_that_nobody_annotated_are_drawn_at_random_alone(capsys: pytest.CaptureFixture[str]):
    """Labels are enough for maps; by how much attention rises or falls is not known then."""
    for index, name in enumerate(("a", "b", "c")):
        Path("plain/images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 60 * index, np.uint8)).save(f"plain/images/{name}.png")
    write_lines(Path("plain/labels.csv"), "image,classes", "a.png,e", "b.png,c", "c.png,e c")
    write_lines(Path("plain/classes.txt"), "c", "e")
    write_lines(Path("plain/splits/val.txt"), "a", "b", "c")
    save_network(FCN8s(("c", "e"), **NARROW), "net.safetensors")
    argv = ["visualize", "--before=net.safetensors", "--after=net.safetensors", "--data.root=plain", "--out=drawn"]
    assert complaint(capsys, *argv, "--rule=largest_rise") == (
        "expected images with masks or boxes in the split val, for the rule largest_rise, got none; choose at random"
    )
    assert not Path("drawn").exists()
    assert main(argv) == 0
    assert len(list(Path("drawn").glob("0?_*.png"))) == 4
