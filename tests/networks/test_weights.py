"""Every kind of weights file that users have gives its network; what a file lacks starts afresh and is named."""

import argparse
import hashlib
import io
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from wheretolook.errors import WeightsError
from wheretolook.networks.fcn import weights as module
from wheretolook.networks.fcn.network import FCN, FCN8s, FCN16s, FCN32s
from wheretolook.networks.files import NETWORK_FILE, load_network, read_weights, save_network
from wheretolook.options.network import NetworkOptions
from wheretolook.public import PublicFile
from wheretolook.records import CAFFE, FCN_AUTHORS, TORCHVISION, Preprocessing

from ..golden.values import WEIGHTS, difference, golden_network, golden_values
from .narrow import NAMES, narrow

OWN = Preprocessing("RGB", 1.0, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def same(first: FCN, second: FCN) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def chainer(network: FCN) -> dict[str, np.ndarray]:
    """The arrays of a network, named as in Chainer's files."""
    arrays = {}
    for name, value in network.state_dict().items():
        _, layer, kind = name.split(".")
        arrays[f"{layer}/{'W' if kind == 'weight' else 'b'}"] = value.numpy()
    return arrays


def plain(network: FCN) -> dict[str, Tensor]:
    """The arrays of a network, named as in PyTorch ports of FCN8s."""
    return {name.split(".", 1)[1]: value for name, value in network.state_dict().items()}


def torchvision(network: FCN) -> dict[str, Tensor]:
    """A VGG16 with the network's trunk, fc6 and fc7, in torchvision's names.

    `features` lists convolution, ReLU, ..., pool; `classifier` linear, ReLU, dropout, linear, ReLU, dropout, linear.
    """
    order = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M".split()  # noqa: SIM905 (as they write it)
    state, index, block, layer = {}, 0, 1, 1
    for entry in order:
        if entry == "M":
            index, block, layer = index + 1, block + 1, 1
            continue
        convolution = network.trunk.get_submodule(f"conv{block}_{layer}")
        state[f"features.{index}.weight"], state[f"features.{index}.bias"] = convolution.weight, convolution.bias
        index, layer = index + 2, layer + 1
    for index, layer in ((0, network.segmenter.fc6), (3, network.segmenter.fc7)):
        state[f"classifier.{index}.weight"] = layer.weight.flatten(1)
        state[f"classifier.{index}.bias"] = layer.bias
    width = network.segmenter.fc7.out_channels
    return {**state, "classifier.6.weight": torch.zeros(1000, width), "classifier.6.bias": torch.zeros(1000)}


def saved(folder: Path, name: str, arrays: dict) -> Path:
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        torch.save(arrays, path)
    return path


def test_the_predecessors_file_is_read_with_its_conventions(caplog):
    network = load_network(WEIGHTS)
    assert isinstance(network, FCN8s) and not network.training
    assert (network.padding, network.preprocessing) == ("caffe", FCN_AUTHORS)
    assert (network.class_names[3], len(network.class_names)) == ("boat", 20)
    with np.load(WEIGHTS) as file:
        assert np.array_equal(network.trunk.conv5_3.weight.detach(), file["conv5_3/W"])
        assert np.array_equal(network.segmenter.upscore8.weight.detach(), file["upscore8/W"])
    assert not caplog.records


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("kind", [FCN8s, FCN16s, FCN32s])
@pytest.mark.parametrize("padding", ["same", "caffe"])
def test_our_own_file_brings_everything_back(kind, padding, ending, tmp_path):
    network = narrow(f"fcn{kind.stride}s", padding)
    network.preprocessing, network.classifier.dropout.p = OWN, 0.25
    save_network(network, tmp_path / f"network.{ending}")
    again = load_network(tmp_path / f"network.{ending}", seed=7)
    assert type(again) is kind and same(network, again) and not again.training
    assert (again.class_names, again.padding, again.preprocessing) == (NAMES, padding, OWN)
    assert (again.classifier.dropout.p, again.segmenter.dropout.p) == (0.25, 0.5)
    images = torch.randn(1, 3, 33, 40)
    assert torch.equal(network(images).mask_scores, again(images).mask_scores)


@pytest.mark.parametrize("kind", [FCN8s, FCN16s, FCN32s])
def test_an_npz_is_written_in_the_predecessors_names_and_read_back(kind, tmp_path):
    network = narrow(f"fcn{kind.stride}s")
    save_network(network, tmp_path / "network.npz")
    with np.load(tmp_path / "network.npz") as file:
        expected = chainer(network)
        assert set(file.files) == {*expected, "wheretolook/network"}
        assert all(np.array_equal(file[name], expected[name]) for name in expected)
    again = load_network(tmp_path / "network.npz", padding="same", preprocessing=OWN)
    assert type(again) is kind and same(network, again)
    assert (again.class_names, again.padding, again.preprocessing) == (NAMES, "same", OWN)


def test_a_file_of_the_first_version_is_read(tmp_path):
    """Its description as that version wrote it: `architecture` in place of `network`."""
    network, path = narrow("fcn16s", "caffe"), tmp_path / "network.safetensors"
    preprocessing = {"channels": "RGB", "scale": 1.0, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    description = {"architecture": "fcn16s", "class_names": list(NAMES), "padding": "caffe", "dropout": 0.5}
    text = json.dumps({**description, "classifier_dropout": 0.25, "preprocessing": preprocessing})
    save_file(network.state_dict(), path, {"format": "wheretolook 1", "network": text})
    again = load_network(path)
    assert type(again) is FCN16s and same(network, again)
    assert (again.class_names, again.padding, again.preprocessing) == (NAMES, "caffe", OWN)
    assert again.classifier.dropout.p == 0.25


def test_the_checksum_is_of_the_arrays_whatever_the_format(tmp_path):
    network, others = narrow(), narrow(seed=5)
    for name in ("a.npz", "a.safetensors", "a.pth"):
        save_network(network, tmp_path / name)
    saved(tmp_path, "port.pth", plain(network))
    save_network(others, tmp_path / "others.pth")
    digests = [read_weights(tmp_path / name).digest() for name in ("a.npz", "a.safetensors", "a.pth", "port.pth")]
    assert len(set(digests)) == 1 and read_weights(tmp_path / "others.pth").digest() not in digests


def test_a_pth_holds_the_state_dict_and_nothing_else(tmp_path):
    save_network(narrow(), tmp_path / "bare.pth")
    state = torch.load(tmp_path / "bare.pth", weights_only=True)
    assert state.keys() == narrow().state_dict().keys()
    again = FCN8s(NAMES, widths=(3, 4, 5, 6, 7), segmenter_width=8, classifier_widths=(9, 10))
    again.load_state_dict(state)
    assert same(narrow(), again)


def test_safetensors_of_others_are_state_dicts(tmp_path):
    network = narrow()
    save_file({f"module.{name}": value for name, value in plain(network).items()}, tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", tmp_path):
        again = load_network(path, class_names=NAMES)
        assert same(network, again) and again.preprocessing == FCN_AUTHORS


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_trained_in_another_precision_is_saved_in_single(ending, dtype, tmp_path):
    network = narrow().to(dtype)
    path = tmp_path / f"network.{ending}"
    save_network(network, path)
    with safe_open(path, "np") if ending == "safetensors" else np.load(path) as file:
        arrays = [file.get_tensor(name) if ending == "safetensors" else file[name] for name in file.keys()]  # noqa: SIM118
    assert {str(array.dtype) for array in arrays if array.ndim} == {"float32"}
    assert same(load_network(path, class_names=NAMES, padding="same", preprocessing=OWN), network.float())


@pytest.mark.parametrize("prefix", ["", "network.", "module.network."])
def test_our_own_names_in_a_state_dict_or_a_checkpoint(prefix, tmp_path, caplog):
    """What such a file cannot tell is taken for what a fresh network has, and that is said."""
    network = narrow()
    state = {prefix + name: value for name, value in network.state_dict().items()}
    path = saved(tmp_path, "last.ckpt", {"state_dict": state, "epoch": 0} if prefix else state)
    again = load_network(path, class_names=NAMES)
    assert same(network, again) and (again.padding, again.preprocessing) == ("same", CAFFE)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: says neither padding nor preprocessing; taken for same and Caffe's, as fresh networks"
    ]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "network.", "_orig_mod.module.model."])
def test_a_pytorch_state_dict_holds_the_same_arrays(wrapper, prefix, tmp_path):
    network = golden_network()
    state = {prefix + name: value for name, value in plain(network).items()}
    path = saved(tmp_path, "fcn8s.pth", {wrapper: state, "epoch": 3} if wrapper else state)
    again = load_network(path)
    assert same(network, again) and (again.padding, again.preprocessing) == ("caffe", FCN_AUTHORS)


def test_a_folder_of_a_run_is_its_network(tmp_path):
    save_network(narrow(), tmp_path / NETWORK_FILE)
    assert same(load_network(tmp_path), narrow())


def test_torchvisions_vgg16_becomes_trunk_and_fully_convolutional_layers(tmp_path, caplog):
    network = narrow()
    again = load_network(saved(tmp_path, "vgg16.pth", torchvision(network)), class_names=NAMES)
    for name, value in network.state_dict().items():
        if name.startswith(("trunk", "segmenter.fc")):
            assert torch.equal(again.state_dict()[name], value), name
    assert (again.preprocessing, again.padding, again.segmenter.fc7.out_channels) == (TORCHVISION, "same", 8)
    (message,) = caplog.messages
    assert "started fresh: classifier.fc6_cl, classifier.fc7_cl" in message and message.endswith("not used: fc8")
    assert "segmenter.score_pool3" in message and "upscore" not in message and "trunk." not in message


def test_a_known_public_vgg16_in_torchvisions_names_keeps_caffes_convention(tmp_path, monkeypatch):
    path = saved(tmp_path, "vgg16_from_caffe.pth", torchvision(narrow()))
    monkeypatch.setattr(module, "PUBLIC_FILES", {path.name: PublicFile("", md5_of(path), "")})
    assert load_network(path, class_names=NAMES).preprocessing == CAFFE


def test_the_scales_of_a_network_trained_at_once_are_folded_into_its_weights(tmp_path, monkeypatch):
    network = narrow(padding="caffe")
    arrays = {name: array for name, array in chainer(network).items() if "_cl" not in name}
    path, scales = saved(tmp_path, "at_once.npz", arrays), {"score_pool4": 0.01, "score_pool3": 0.0001}
    monkeypatch.setattr(module, "PUBLIC_FILES", {"at_once.npz": PublicFile("", md5_of(path), "", scales)})
    again = load_network(path, class_names=NAMES)
    for layer, scale in {**scales, "score_fr": 1.0}.items():
        ours, raw = again.segmenter.get_submodule(layer), network.segmenter.get_submodule(layer)
        torch.testing.assert_close(ours.weight, raw.weight * scale)
        torch.testing.assert_close(ours.bias, raw.bias * scale)


@pytest.mark.parametrize("arch", ["FCN8sAtOnce", "FCN8s", None, 3])
def test_what_a_checkpoint_calls_its_network_says_whether_scales_are_folded_in(arch, tmp_path):
    """A checkpoint as pytorch-fcn writes it, `model_best.pth.tar`: a score as numpy has it beside the weights."""
    network = narrow(padding="caffe")
    state = {name: value for name, value in plain(network).items() if "_cl" not in name}
    optimiser = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 1e-10, "params": [0]}]}
    content = {"epoch": 3, "iteration": 4000, "arch": arch, "optim_state_dict": optimiser}
    content |= {"model_state_dict": state, "best_mean_iu": np.float64(0.63)}
    again = load_network(saved(tmp_path, "model_best.pth.tar", content), class_names=NAMES)
    factors = {"score_pool4": 0.01, "score_pool3": 0.0001} if arch == "FCN8sAtOnce" else {}
    for layer in ("score_pool4", "score_pool3", "score_fr"):
        ours, raw = again.segmenter.get_submodule(layer), network.segmenter.get_submodule(layer)
        torch.testing.assert_close(ours.weight, raw.weight * factors.get(layer, 1))
        torch.testing.assert_close(ours.bias, raw.bias * factors.get(layer, 1))
    assert torch.equal(again.trunk.conv1_1.weight, network.trunk.conv1_1.weight)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("core", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numbers_of_either_numpy_may_lie_beside_the_weights(kind, core, tmp_path):
    buffer = io.BytesIO()
    torch.save({"best": kind(1), "model": plain(narrow())}, buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    assert any(name in content for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"))
    path = tmp_path / "best.pth"
    path.write_bytes(content.replace(b"numpy._core.multiarray", core))
    assert same(load_network(path, class_names=NAMES), narrow())


class Settings:
    """What only its author's program has."""

    def __init__(self) -> None:
        self.rate = 0.1


@pytest.mark.parametrize(
    "beside",
    [argparse.Namespace(lr=0.1, data_path="x"), Path("x"), Settings(), {"hparams": [Settings]}, np.ones(3), slice(3)],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_whatever_a_checkpoint_keeps_beside_the_weights_is_left_out(beside, zipped, tmp_path, monkeypatch):
    """Such as the arguments of torchvision's and timm's training programs; its code need not be there."""
    path = tmp_path / "checkpoint.pth"
    content = {"args": beside, "model": plain(narrow()), "score": np.float64(0.5)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(Settings, "__init__", None)
    assert same(load_network(path, class_names=NAMES), narrow())


def test_a_prefix_that_not_all_names_share_is_part_of_the_names(tmp_path):
    state = {**plain(narrow()), "module.conv5_3.weight": torch.zeros(7, 7, 3, 3)}
    again = load_network(saved(tmp_path, "mixed.pth", state), class_names=NAMES)
    assert torch.equal(again.trunk.conv5_3.weight, narrow().trunk.conv5_3.weight)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_tilde_is_the_home_folder(ending, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_network(narrow(), f"~/kept/network.{ending}")
    assert (tmp_path / "kept" / f"network.{ending}").is_file() and not (tmp_path / "~").exists()
    for path in (f"~/kept/network.{ending}", Path(f"~/kept/network.{ending}")):
        assert same(load_network(path), narrow())


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("ending", ["npz", "pth"])
def test_half_precision_is_cast_up(ending, tmp_path):
    network = golden_network().half()
    path = saved(tmp_path, f"half.{ending}", chainer(network) if ending == "npz" else plain(network))
    again = load_network(path)
    assert {value.dtype for value in again.state_dict().values()} == {torch.float32}
    assert torch.equal(again.trunk.conv4_2.weight, network.trunk.conv4_2.weight.float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_network_in_another_precision_can_be_saved(ending, dtype, tmp_path):
    network = narrow().to(dtype)
    save_network(network, tmp_path / f"network.{ending}")
    again = load_network(tmp_path / f"network.{ending}", class_names=NAMES)
    assert torch.equal(again.trunk.conv4_2.weight, network.trunk.conv4_2.weight.float())


def test_a_segmenter_without_a_classifier_gets_one_from_the_seed(tmp_path, caplog):
    network = golden_network()
    arrays = {name: array for name, array in chainer(network).items() if "_cl" not in name}
    path = saved(tmp_path, "fcn8s.npz", arrays)
    first, again, other = (load_network(path, seed=seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert not torch.equal(first.classifier.fc6_cl.weight, other.classifier.fc6_cl.weight)
    assert torch.equal(first.trunk.conv1_1.weight, network.trunk.conv1_1.weight)
    assert first.classifier.fc7_cl.weight.shape == (4096, 4096)
    golden = golden_values()
    assert difference(first(golden["image"]).mask_scores, golden["seg_score"]) <= 1e-4
    fresh = "classifier.fc6_cl, classifier.fc7_cl, classifier.score_cl"
    assert caplog.record_tuples[0] == (
        "wheretolook",
        logging.WARNING,
        f"{path}: loaded: trunk, segmenter; started fresh: {fresh}; not used: none",
    )


def test_what_a_file_lacks_has_the_widths_that_are_asked_for(tmp_path):
    network = golden_network()
    arrays = {name: array for name, array in chainer(network).items() if "_cl" not in name}
    options = NetworkOptions(segmenter_width=9, classifier_widths=(5, 6))
    with pytest.raises(WeightsError, match="expected segmenter_width as in that whole network, 128, got 9"):
        load_network(saved(tmp_path, "fcn8s.npz", arrays), network=options)
    again = load_network(tmp_path / "fcn8s.npz", network=NetworkOptions(classifier_widths=(5, 6)))
    assert (again.classifier.fc6_cl.out_features, again.classifier.fc7_cl.out_features) == (5, 6)
    trunk = {name: array for name, array in arrays.items() if name.startswith("conv")}
    again = load_network(saved(tmp_path, "trunk.npz", trunk), network=options, class_names=NAMES)
    assert (again.segmenter.fc7.out_channels, again.classifier.fc7_cl.out_features) == (9, 6)


def test_a_trunk_alone_needs_class_names_and_takes_the_defaults(tmp_path):
    arrays = {name: array for name, array in chainer(narrow()).items() if name.startswith("conv")}
    network = load_network(saved(tmp_path, "trunk.npz", arrays), class_names=("boat",))
    assert (network.padding, network.preprocessing, network.class_names) == ("same", CAFFE, ("boat",))
    assert torch.equal(network.trunk.conv5_3.weight, narrow().trunk.conv5_3.weight)
    assert network.segmenter.score_fr.weight.abs().max() == 0


def test_the_original_widths_come_from_the_shapes():
    """134 million weights as shapes alone, listed from the paper: VGG16 configuration D, FCN8s on 21 scores."""
    rows = {"conv1": (3, 64), "conv2": (64, 128), "conv3": (128, 256), "conv4": (256, 512), "conv5": (512, 512)}
    shapes = {}
    for block, depth in (("conv1", 2), ("conv2", 2), ("conv3", 3), ("conv4", 3), ("conv5", 3)):
        for layer in range(1, depth + 1):
            before, width = rows[block]
            shapes[f"trunk.{block}_{layer}"] = (width, before if layer == 1 else width, 3, 3)
    shapes |= {"segmenter.fc6": (4096, 512, 7, 7), "segmenter.fc7": (4096, 4096, 1, 1)}
    shapes |= {"segmenter.score_fr": (21, 4096, 1, 1), "segmenter.score_pool4": (21, 512, 1, 1)}
    shapes |= {"segmenter.score_pool3": (21, 256, 1, 1), "classifier.fc6_cl": (4096, 512)}
    shapes |= {"classifier.fc7_cl": (4096, 4096), "classifier.score_cl": (20, 4096)}
    with torch.device("meta"):
        tensors = {f"{name}.weight": torch.empty(shape) for name, shape in shapes.items()}
        tensors |= {f"{name}.bias": torch.empty(shape[0]) for name, shape in shapes.items()}
        weights = module.FCNWeights(Path("fcn8s.npz"), tensors, FCN_AUTHORS)
        network = FCN8s(module._class_names(weights, None), **module._widths(weights, 1, (1, 1)), padding="caffe")
        module.fill(network, weights)
    own = {name: tuple(value.shape) for name, value in network.state_dict().items() if ".upscore" not in name}
    assert own == {name: tuple(value.shape) for name, value in tensors.items()}


def test_the_real_trunk_is_read(vgg16_trunk):
    weights = module.fcn_weights(read_weights(vgg16_trunk))
    assert (weights.preprocessing, weights.segments, weights.classes) == (CAFFE, False, None)
    assert weights.tensors["trunk.conv5_3.weight"].shape == (512, 512, 3, 3)
    assert {tensor.dtype for tensor in weights.tensors.values()} == {torch.float32}


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_have_the_permissions_of_any_other_new_file(ending, umask, tmp_path):
    before = os.umask(umask)
    try:
        save_network(narrow(), tmp_path / f"network.{ending}")
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
