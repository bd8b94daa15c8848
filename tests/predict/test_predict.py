"""The command `predict`: no torch, what torch would say, and one line on what is wrong."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image

from wheretolook.attention.methods import attention_maps
from wheretolook.data.images import read_image
from wheretolook.errors import ImageSizeError
from wheretolook.export.network import Exported
from wheretolook.predict.description import KEY, Description, Place, divides_evenly, read_description
from wheretolook.predict.images import mask_picture, predict_images
from wheretolook.predict.network import ExportedNetwork, Prediction

from ..command_line import complaint
from ..networks.narrow import NAMES, narrow

WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lightning", "torchvision"):
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, NoTorch())
from wheretolook.cli.main import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""


@pytest.fixture(scope="module")
def exported(exported_fcn: Exported) -> Path:
    """A narrow FCN8s, exported."""
    return exported_fcn.path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two photographs of noise, one of them in a folder of its own."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for name, size in (("a.png", (50, 70, 3)), ("more/b.png", (64, 40, 3))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, size, dtype=np.uint8)).save(folder / name)
    return folder


def test_no_torch_and_what_torch_says(exported: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = ["predict", "--weights", str(exported), str(pictures), "--out", str(out), "--top", "2"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *argv], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((out / "scores.csv").open()))
    listed = json.loads((out / "predictions.json").read_text())
    assert [row["image"] for row in rows] == [row["image"] for row in listed] == ["a", "more/b"]
    network = narrow()
    for row, entry in zip(rows, listed, strict=True):
        image = read_image(Path(entry["file"]))
        output = network(network.preprocessing(image[None]))
        scores = output.class_scores[0].detach()
        np.testing.assert_allclose([float(row[name]) for name in NAMES], scores, rtol=1e-4)
        order = scores.argsort(descending=True).tolist()
        assert row["class"] == NAMES[order[0]]
        assert [found["class"] for found in entry["classes"]] == [NAMES[index] for index in order[:2]]
        mask = Image.open(out / entry["mask"])
        assert mask.mode == "P" and len(entry["overlays"]) == 2
        assert (np.asarray(mask) == output.mask_scores[0].argmax(dim=0).numpy()).mean() > 0.999
        maps = attention_maps(output, size=tuple(image.shape[1:]))[0]
        pixels = np.asarray(Image.open(entry["file"]))
        np.testing.assert_allclose(
            ExportedNetwork(exported).predict(pixels).attention, maps, atol=1e-4 * float(maps.max())
        )
        for index, overlay in zip(order, entry["overlays"], strict=False):
            drawn = np.asarray(Image.open(out / overlay)).astype(int)
            assert drawn.shape == pixels.shape
            assert (drawn == pixels).all() == (not maps[index].any())


def test_no_overlay_replaces_another(tmp_path: Path):
    """Image `a` with class `b_c`, `a_b` with `c`, two classes of one name, and names that differ in their case."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    paths = {name: tmp_path / f"{name}.png" for name in ("a", "a_b")}
    for path in paths.values():
        Image.fromarray(pixels).save(path)
    attention = np.stack([np.full((8, 8), value, np.float32) * np.eye(8, dtype=np.float32) for value in range(1, 5)])
    said = Prediction(np.array([4.0, 3.0, 2.0, 1.0]), None, attention)
    network = ExportedNetwork.__new__(ExportedNetwork)  # its graph is not asked
    named = SimpleNamespace(class_names=("b_c", "c", "c", "C"))
    vars(network).update(description=named, predict=lambda pixels, resize: said)
    rows = predict_images(network, paths.items(), tmp_path, resize=None, top=4)
    files = [file for row in rows for file in row["overlays"]]
    assert len({file.lower() for file in files}) == 8 == len(list((tmp_path / "overlays").iterdir()))


def test_what_is_wrong_is_one_line(
    exported: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = ["--weights", str(exported)]

    def said(*argv: str) -> str:
        return complaint(capsys, "predict", *argv)

    assert "found none; check the path" in said("--weights", "nothing.onnx", str(pictures))
    Path("text.onnx").write_text("no network")
    assert "text.onnx: expected a network in ONNX" in said("--weights", "text.onnx", str(pictures))
    foreign = onnx.load(str(exported))
    del foreign.metadata_props[:]
    onnx.save_model(foreign, "foreign.onnx")
    assert "another .onnx without its description" in said("--weights", "foreign.onnx", str(pictures))
    onnx.helper.set_model_props(foreign, {KEY: '{"class_names": 3}'})
    onnx.save_model(foreign, "broken.onnx")
    assert "broken.onnx: expected the description" in said("--weights", "broken.onnx", str(pictures))
    assert "expected an image or a folder of images at none.png" in said(*weights, "none.png")
    Path("empty").mkdir()
    assert "expected images in empty, found none" in said(*weights, "empty")
    assert "would both be called a" in said(*weights, str(pictures / "a.png"), str(pictures))
    assert "expected top of at least 1, got 0" in said(*weights, str(pictures), "--top", "0")
    (pictures / "c.jpg").write_text("no image")
    assert "c.jpg is no image file" in said(*weights, str(pictures))
    assert not Path("runs").exists() and not any("predictions" in path.name for path in tmp_path.iterdir())
    assert "choose another folder" in said(*weights, str(pictures / "a.png"), "--out", "/proc/nowhere/out")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert (
        said(*weights, str(pictures)) == "expected onnxruntime installed, found none; pip install 'wheretolook[onnx]'"
    )


def test_a_size_that_the_network_refuses_is_one_line(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise RuntimeError("Got: 40\nExpected: 224")

    file = ExportedNetwork(exported)
    monkeypatch.setattr(file, "_session", SimpleNamespace(run=refuses))
    said = r"cannot run on images of 48x40 \(Got: 40 Expected: 224\); give another resize"
    with pytest.raises(ImageSizeError, match=said):
        file(np.zeros((1, 3, 40, 48), np.float32))


def test_an_image_is_seen_as_large_as_the_network_was_made_for() -> None:
    about = Description(NAMES, ("class_scores",), None, (224, 320), (), "grad_cam", "layer")
    file = object.__new__(ExportedNetwork)
    for given, expected in (
        (about, (224, 448)),  # as show has it: the shorter side is the network's
        (Description(**{**vars(about), "usual_size": None}), (500, 1000)),
        (Description(**{**vars(about), "fixed_size": (224, 224)}), (224, 224)),
    ):
        file.description = given
        assert file.seen_size((500, 1000)) == expected
    file.description = about
    assert file.seen_size((500, 1000), resize=64) == (32, 64) and file.seen_size((20, 4000)) == (224, 320)
    assert read_description(about.text()) == about


def test_an_image_is_squeezed_where_the_network_takes_no_other_size(exported: Path, monkeypatch) -> None:
    """As many segmenters take only sides that divide by 32."""
    file, tried = ExportedNetwork(exported), []
    file.description = Description(**{**vars(file.description), "usual_size": (32, 32), "fixed_size": None})
    run = file._session.run

    def picky(outputs: object, given: dict[str, np.ndarray]) -> object:
        tried.append(given["images"].shape[2:])
        if tried[-1][1] % 32:
            raise RuntimeError("sides must be divisible by 32")
        return run(outputs, given)

    monkeypatch.setattr(file, "_session", SimpleNamespace(run=picky, get_outputs=file._session.get_outputs))
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    prediction = file.predict(pixels)
    assert tried == [(32, 40), (32, 32)] and prediction.attention.shape[1:] == (32, 32)
    with pytest.raises(ImageSizeError, match="cannot run on images of 50x40"):
        file.predict(pixels, resize=50)


def test_cells_of_a_size_that_was_not_tried() -> None:
    """Cells that divide an image evenly go on doing so; others keep their stride and offset."""
    even = Place((64, 64), (16.0, 16.0), (7.5, 7.5))
    over_the_edge = Place((75, 75), (16.0, 16.0), (7.5, 7.5))
    assert divides_evenly(even) and not divides_evenly(over_the_edge)

    def about(*places: Place) -> Description:
        return Description(NAMES, ("attention_maps",), None, None, places, "grad_cam", "layer")

    assert about(even).place((70, 70), (4, 4)).stride == (17.5, 17.5)
    assert about(even, over_the_edge).place((70, 70), (5, 5)) == Place((70, 70), (16.0, 16.0), (7.5, 7.5))
    aside = Place((64, 64), (32.0, 32.0), (0.0, 0.0))
    assert about(aside).place((96, 96), (3, 3)).offset == (0.0, 0.0)


def test_masks_of_many_classes_keep_their_values() -> None:
    values = np.array([[0, 1], [2, 300]])
    assert np.asarray(mask_picture(values, 400)).tolist() == values.tolist()
    few = mask_picture(values.clip(max=3), 3)
    assert few.mode == "P" and np.asarray(few).tolist() == [[0, 1], [2, 3]]
    assert few.convert("RGB").getpixel((0, 0)) == (0, 0, 0) != few.convert("RGB").getpixel((1, 0))
