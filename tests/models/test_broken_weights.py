"""Files that cannot be a network: one clear line that names the file, and never a line of someone else's code run."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wheretolook.errors import DataError, WeightsError
from wheretolook.models.weights import FORMAT, NETWORK_FILE, load_network, save_network

from ..golden.values import WEIGHTS
from .narrow import NAMES, narrow


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def refused(path: Path, says: str, **options: object) -> None:
    with pytest.raises(WeightsError, match=says) as caught:
        load_network(path, **options)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(WEIGHTS) as file:
        return dict(file)


def saved(path: Path, **changes: np.ndarray | None) -> Path:
    """The golden weights with some arrays replaced, or left out where None."""
    arrays = {**golden_arrays(), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("name", ["none.npz", "none.pth", "none.safetensors", "no/folder"])
def test_a_missing_file(name, tmp_path):
    refused(tmp_path / name, "expected a weights file .* found none")


@pytest.mark.parametrize("ending", ["npz", "pth", "safetensors", "bin"])
@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", WEIGHTS.read_bytes()[:5000]])
def test_a_file_that_is_empty_a_web_page_or_cut_short(ending, content, tmp_path):
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(content)
    refused(path, "broken")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_with_flipped_bytes(compressed, tmp_path):
    path = tmp_path / "flipped.npz"
    (np.savez_compressed if compressed else np.savez)(path, **golden_arrays())
    content = bytearray(path.read_bytes())
    content[3000:3100] = b"\x55" * 100
    path.write_bytes(content)
    refused(path, "broken")


def test_our_own_file_cut_short(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_network(narrow(), path)
    path.write_bytes(path.read_bytes()[:-50])
    refused(path, "broken")


@pytest.mark.parametrize(
    "metadata", [None, {"format": "other"}, {"format": FORMAT}, {"format": FORMAT, "network": "{"}]
)
def test_safetensors_that_are_not_ours(metadata, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata)
    refused(path, "expected a file written by wheretolook" if metadata is None else "expected")


def test_a_pickle_in_an_npz_is_never_loaded(tmp_path):
    path = saved(tmp_path / "trap.npz", **{"conv1_1/W": np.array([Trap(tmp_path / "sprung")], dtype=object)})
    refused(path, "pickled object, which is never loaded")
    np.load(path, allow_pickle=True)["conv1_1/W"]
    assert (tmp_path / "sprung").exists()  # so the trap works, and load_network did not step into it


@pytest.mark.parametrize("wrap", [lambda trap: trap, lambda trap: {"conv1_1.weight": trap}])
def test_a_pickled_object_in_a_pth_is_never_made(wrap, tmp_path):
    path = tmp_path / "trap.pth"
    torch.save(wrap(Trap(tmp_path / "sprung")), path)
    refused(path, "state dict of plain tensors")
    assert not (tmp_path / "sprung").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(1)], "expected a state dict, got a list"),
        ({1: torch.ones(1)}, "expected the 13 convolutions"),
        ({"layer4.weight": torch.ones(1)}, r"expected the 13 convolutions .* \(layer4.weight\)"),
        ({}, "expected the 13 convolutions"),
    ],
)
def test_a_pth_of_something_else(content, says, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"conv3_2/W": np.zeros((8, 7, 3, 3), np.float32)},
            r"conv3_2.weight of shape \(8, 8, 3, 3\), got \(8, 7, 3, 3\)",
        ),
        ({"fc6/W": np.zeros((128, 100), np.float32)}, r"fc6.weight of shape \(128, 16, 7, 7\), got \(128, 100\)"),
        ({"score_cl/W": np.zeros((11, 128), np.float32)}, "expected class names, got 11 classes without names"),
        ({"conv1_2/W": np.float32(0)}, "expected the 13 convolutions .* got none for trunk.conv1_2.weight"),
        ({"conv5_3/W": None}, "expected the 13 convolutions .* got none for trunk.conv5_3.weight"),
        ({"conv5_3/W": np.full((16, 16, 3, 3), np.nan, np.float32)}, "NaN or infinity in trunk.conv5_3.weight"),
        ({"fc7/b": np.full(128, np.inf, np.float16)}, "NaN or infinity in segmenter.fc7.bias"),
    ],
)
def test_arrays_that_are_missing_or_wrong(changes, says, tmp_path):
    refused(saved(tmp_path / "wrong.npz", **changes), says)


def test_nan_in_our_own_file(tmp_path):
    network = narrow()
    network.segmenter.fc6.bias.data[0] = float("nan")
    save_network(network, tmp_path / "nan.safetensors")
    refused(tmp_path / "nan.safetensors", "NaN or infinity in segmenter.fc6.bias")


def test_a_trunk_alone_without_class_names(tmp_path):
    others = {name: None for name in golden_arrays() if not name.startswith("conv")}
    refused(saved(tmp_path / "trunk.npz", **others), r"got a trunk alone; give class_names=")


def test_a_wrong_number_of_class_names():
    refused(WEIGHTS, "expected 20 class names, got 3: cat, dog, boat", class_names=NAMES)


def test_a_folder_without_a_network_names_the_runs_inside(tmp_path):
    refused(tmp_path, f"expected a {NETWORK_FILE} in the run folder .* is the run finished")
    for run in ("guided", "control"):
        save_network(narrow(), tmp_path / run / NETWORK_FILE)
    refused(tmp_path, "it holds the runs control, guided: name one of them")


def test_a_name_to_save_as_that_tells_no_format(tmp_path):
    with pytest.raises(WeightsError, match=r"ending in .safetensors or .npz, got network.pth"):
        save_network(narrow(), tmp_path / "network.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(ending, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"cannot write .*file/network.{ending}") as caught:
        save_network(narrow(), tmp_path / "file" / f"network.{ending}")
    assert "\n" not in str(caught.value) and [path.name for path in tmp_path.iterdir()] == ["file"]
