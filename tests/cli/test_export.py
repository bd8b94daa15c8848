"""The command `export`: what it says, what it writes, and what it refuses before the work."""

import json
from pathlib import Path

import numpy as np
import pytest

from wheretolook.cli.main import main
from wheretolook.networks.files import save_network
from wheretolook.predict.network import ExportedNetwork

from ..command_line import complaint
from ..networks.narrow import NAMES, narrow

SCENES = ["--data.layout=scenes", "--data.scenes.size=40", "--data.scenes.images=6", "--data.scenes.classes=3"]


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A narrow FCN8s in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    save_network(narrow(), "net.safetensors")
    return "net.safetensors"


def test_a_network_and_the_same_in_eight_bits(weights: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["export", "--weights", weights, "--out=out/net.onnx", "--quantise=int8", "--calibration=3", *SCENES]) == 0
    )
    said, noise = capfd.readouterr()
    assert noise == ""  # exporters talk
    lines = said.splitlines()
    assert lines[0].startswith("wrote out/net.onnx: class_scores, mask_scores, attention_maps of images of any size")
    assert "checked against torch" in lines[1] and "times the time of the network alone" in lines[2]
    assert lines[3].startswith("wrote out/net.int8.onnx") and len(lines) == 4
    cost = json.loads(Path("out/net.int8.json").read_text())
    assert cost["images"] == 3 and 0 < cost["scores_moved"] < 1 and 0 < cost["maps_moved"] < 1
    assert 0.5 < cost["masks_agree"] < 1 and 0 <= cost["same_class"] <= 1
    assert cost["megabytes_int8"] == Path("out/net.int8.onnx").stat().st_size / 1e6
    assert sorted(path.name for path in Path("out").iterdir()) == ["net.int8.json", "net.int8.onnx", "net.onnx"]
    whole, small = (ExportedNetwork(f"out/net{kind}.onnx") for kind in ("", ".int8"))
    assert whole.class_names == small.class_names == NAMES
    images = np.random.default_rng(0).random((1, 3, 40, 40), dtype=np.float32)
    assert set(whole(images)) == set(small(images))


def test_what_cannot_work_is_said_before_the_work(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*argv: str) -> str:
        return complaint(capsys, "export", "--weights", weights, *argv)

    assert said("--out=net.pt2") == "expected a name ending in .onnx for the format onnx, got net.pt2"
    assert "expected the format onnx for quantise" in said("--out=net.pt2", "--format=torch", "--quantise=int8")
    assert "give --data.root" in said("--quantise=int8")
    assert "expected at least 1 image to calibrate on" in said("--quantise=int8", "--calibration=0", *SCENES)
    assert "cannot write /proc/nowhere" in said("--out=/proc/nowhere/net.onnx")
    assert "found none" in complaint(capsys, "export", "--weights=nothing.safetensors")
    assert [path.name for path in Path().iterdir()] == [weights]
