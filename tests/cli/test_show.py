"""The command `show`: pictures, lines, classes by name, and images that are broken."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wheretolook.cli.main import main
from wheretolook.cli.show import _named
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from ..command_line import CLASSES, NARROW, complaint
from ..networks import real


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by its default name lands here; four images and a small network."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "more/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 60, 3), np.uint8)).save(name)
    network = FCN8s(CLASSES, **NARROW)
    network.classifier.score_cl.bias.data += 0.1  # or it would count as untrained
    save_network(network, "own.safetensors")


OWN = ["--weights=own.safetensors"]


def listed() -> list[dict]:
    return json.loads(Path("runs/show/show.json").read_text())


def test_a_pretrained_network_names_the_cat(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(real.state_dict(), "lite0.pth")
    real.photograph("chelsea").save("chelsea.png")
    assert main(["show", "chelsea.png", "--network", real.NETWORK, "--weights=lite0.pth", "--top=2"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("chelsea.png: Egyptian cat ") and line.endswith(" -> runs/show/chelsea.png")
    (row,) = listed()
    assert row["classes"][0]["index"] == real.CLASSES["chelsea"] and len(row["classes"]) == 2
    with Image.open("runs/show/chelsea.png") as picture:
        assert picture.width > 2.5 * picture.height


def test_classes_are_named_or_numbered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "a.png", *OWN, "--classes", "Dotted_Square", "0", "dotted_square", "--flip"]) == 0
    assert [(one["class"], one["index"]) for one in listed()[0]["classes"]] == [(CLASSES[1], 1), (CLASSES[0], 0)]
    assert capsys.readouterr().out.startswith("a.png: dotted_square ")
    words = complaint(capsys, "show", "a.png", *OWN, "--classes", "dotted_circle")
    assert words == (
        "expected classes of the network (striped_disc, dotted_square, checked_triangle), got dotted_circle; "
        "did you mean 'dotted_square'?"
    )


def test_a_folder_is_its_images_and_no_picture_replaces_another() -> None:
    assert main(["show", ".", "more", *OWN, "--out=drawn"]) == 0
    assert {path.name for path in Path("drawn").iterdir()} == {"a.png", "b.png", "a-2.png", "show.json"}


def test_names_that_would_meet_are_told_apart_and_hidden_files_are_no_images() -> None:
    paths = [Path(name) for name in ("a.png", "b/a.jpg", "a-2.png", "c/A.png", "d/a.bmp")]
    names = [name for _, name in _named(paths)]
    assert names == ["a.png", "a-2.png", "a-2-2.png", "A-3.png", "a-4.png"]
    Path("more/._a.png").write_bytes(b"\0")
    assert main(["show", "more", *OWN]) == 0 and [row["image"] for row in listed()] == ["more/a.png"]


def test_broken_images_are_a_line_each_and_the_others_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_text("no image")
    assert main(["show", "broken.png", "a.png", "missing.jpg", "b.jpg", *OWN]) == 2
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["a.png", "b.jpg"]
    first, second, last = said.err.splitlines()
    assert "broken.png is no image file" in first and "missing.jpg" in second
    assert last.startswith("wheretolook: 2 of 4 images could not be shown")
    assert [row["image"] for row in listed()] == ["a.png", "b.jpg"]


def test_where_nothing_can_be_shown_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_text("no image")
    assert "broken.png is no image file" in complaint(capsys, "show", "broken.png", *OWN)
    assert main(["show", "broken.png", "missing.jpg", *OWN]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == ("wheretolook: 2 of 2 images could not be shown, as said above")
    assert not Path("runs").exists()


def test_names_come_from_a_file_of_lines(capsys: pytest.CaptureFixture[str]) -> None:
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1(num_classes=3).state_dict(), "squeeze.pth")
    Path("names.txt").write_text("cat\n\ndog\nhen\n")
    given = ["--network=torchvision:squeezenet1_1", "--weights=squeeze.pth", "--classes", "hen"]
    assert main(["show", "a.png", *given, "--class_names", "names.txt"]) == 0
    assert main(["show", "a.png", *given, "--class_names", "cat", "dog", "hen"]) == 0
    assert "got hen" in complaint(capsys, "show", "a.png", *given)


def test_what_makes_no_sense_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected --weights" in complaint(capsys, "show", "a.png")
    Path("empty").mkdir()
    assert "expected images in the folder empty" in complaint(capsys, "show", "empty", *OWN)
    assert "expected images, got none" in complaint(capsys, "show", *OWN)
    for option in ("--top=0", "--resize=0"):
        assert "resize of at least 1" in complaint(capsys, "show", "a.png", *OWN, option)
