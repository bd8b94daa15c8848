"""Files that cannot be a network: one clear line that names the file, and never a line of someone else's code run."""

import json
import os
import pickle
import struct
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from wheretolook.errors import DataError, WeightsError
from wheretolook.networks import formats as module
from wheretolook.networks.files import FORMAT, NETWORK_FILE, load_network, save_network
from wheretolook.records import CAFFE

from ..golden.values import WEIGHTS
from .narrow import NAMES, narrow


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


class Reduced:
    """Unpickling this calls a function with arguments."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


scalar = np.float64(0).__reduce__()[0]


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


@pytest.mark.parametrize("ending", ["npz", "pth", "safetensors"])
def test_whatever_bytes_are_wrong(ending, tmp_path):
    """Eight bytes anywhere in a file: the network, or one line, whatever size or name they garble."""
    network, path = narrow(), tmp_path / f"flipped.{ending}"
    torch.save(network.state_dict(), path) if ending == "pth" else save_network(network, path)
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    starts = (*draw.integers(0, 3000, 40), *draw.integers(len(whole) - 3000, len(whole) - 8, 40))
    refusals = 0
    for start in starts:
        path.write_bytes(whole[:start] + draw.bytes(8) + whole[start + 8 :])
        try:
            load_network(path, class_names=NAMES)
        except WeightsError as error:
            refusals += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refusals > 30


@pytest.mark.parametrize(
    "error", [UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"), KeyError(), IndexError(), struct.error()]
)
def test_whatever_torch_and_numpy_say_of_a_broken_file(error, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise error

    path = saved(tmp_path / "broken.npz")
    torch.save({}, tmp_path / "broken.pth")
    monkeypatch.setattr(torch, "load", fails)
    monkeypatch.setattr(np, "load", fails)
    refused(tmp_path / "broken.pth", "expected a PyTorch state dict .* or a broken file")
    refused(path, "expected an npz file, got a broken one")


def test_an_npz_in_a_compression_that_nobody_has(tmp_path):
    path = saved(tmp_path / "odd.npz")
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")  # the first of the directory; its method stands 10 bytes on
    content[entry + 10 : entry + 12] = (99).to_bytes(2, "little")
    path.write_bytes(content)
    refused(path, "expected an npz file, got a broken one")


def test_an_npz_with_a_text_in_place_of_an_array(tmp_path):
    path = saved(tmp_path / "text.npz", **{"conv1_1/W": None})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("conv1_1/W", "nothing of the kind")
    refused(path, "got none for trunk.conv1_1.weight")


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"network": "fcn9s"},
            {"network": ["fcn8s"]},
            {"padding": "sane"},
            {"dropout": 2},
            {"classifier_dropout": 2},
            {"dropout": "x"},
        ),
        *({"class_names": 3}, {"class_names": [1, 2, 3]}, {"preprocessing": 3}, {"preprocessing": None}),
        *({"preprocessing": {**asdict(CAFFE), "mean": [1, 2]}}, {"preprocessing": {**asdict(CAFFE), "std": "abc"}}),
        {"preprocessing": {**asdict(CAFFE), "channels": "HSV"}},
        *({"attention": "attention"}, {"attention": None}, {"attention": ["cam"]}),
    ],
    ids=str,
)
def test_our_own_file_with_a_description_of_no_network(wrong, tmp_path):
    path = tmp_path / "own.safetensors"
    network = narrow()
    text = json.dumps({**network.describe(), **wrong})
    save_file(network.state_dict(), path, {"format": FORMAT, "network": text})
    refused(path, "expected its network's description, got a broken one")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_our_own_file_with_a_description_of_another_kind(text, tmp_path):
    path = tmp_path / "own.safetensors"
    save_file(narrow().state_dict(), path, {"format": FORMAT, "network": text})
    refused(path, "expected its network's description, got a broken one")


def test_our_own_file_without_its_arrays(tmp_path):
    path = tmp_path / "own.safetensors"
    save_file({"a": torch.ones(1)}, path, {"format": FORMAT, "network": json.dumps(narrow().describe())})
    refused(path, "expected the 13 convolutions")


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
    refused(
        path, "expected its network's description" if metadata and FORMAT in metadata.values() else "expected the 13"
    )


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
    "hostile",
    [
        lambda trap: {"model": narrow().state_dict(), "best": np.float64(1), "more": trap},
        lambda trap: {"best": np.array([trap], dtype=object)},
        lambda trap: {"best": Reduced(type(np.dtype("f8")), trap)},
        lambda trap: {"best": Reduced(scalar, np.dtype(object), trap)},
        lambda trap: {"best": Reduced(scalar, np.dtype(object), pickle.dumps(trap))},
        lambda trap: {"best": Reduced(eval, f"__import__('os').mkdir({str(trap.path)!r})")},
        lambda trap: {"best": Reduced(np.load, "x.npy", None, True)},
    ],
)
def test_objects_beside_the_weights_are_never_made(hostile, tmp_path):
    """Refused or left out: what the file names is neither called nor allowed anywhere else."""
    path, before = tmp_path / "model_best.pth.tar", set(torch.serialization.get_safe_globals())
    torch.save(hostile(Trap(tmp_path / "sprung")), path)
    with pytest.raises(WeightsError) as caught:
        load_network(path, class_names=NAMES)
    assert "\n" not in str(caught.value) and not (tmp_path / "sprung").exists()
    assert set(torch.serialization.get_safe_globals()) == before


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
        ({"fc6/W": np.float32(0)}, "expected weights, got nothing in segmenter.fc6.weight"),
        ({"conv1_1/W": np.zeros((0, 3, 3, 3), np.float32)}, "expected weights, got nothing in trunk.conv1_1.weight"),
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
    with pytest.raises(WeightsError, match=r"ending in .safetensors, .pth or .npz, got network.onnx"):
        save_network(narrow(), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(ending, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"cannot write .*file/network.{ending}") as caught:
        save_network(narrow(), tmp_path / "file" / f"network.{ending}")
    assert "\n" not in str(caught.value) and [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", "no space left .* free some"),
        ('Error while serializing: I/O error: Read-only file system (os error 30) at path "x"', "read-only file sys"),
        (
            "Error while serializing: invalid shape, data type, or offset\nfor tensor a",
            "invalid shape, .* for tensor a",
        ),
    ],
)
def test_what_safetensors_says_of_a_file_that_it_cannot_write_is_told_as_it_is(theirs, says, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise SafetensorError(theirs)

    monkeypatch.setattr(module, "save_file", fails)
    with pytest.raises(DataError, match=f"cannot write .*network.safetensors: .*{says}") as caught:
        save_network(narrow(), tmp_path / "network.safetensors")
    assert "\n" not in str(caught.value) and ("space" in str(caught.value)) == ("28" in theirs)
    assert not list(tmp_path.iterdir())
