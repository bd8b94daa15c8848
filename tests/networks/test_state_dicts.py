"""State dicts that others wrote, of bare modules: taken whoever wrapped them, and what does not fit is named."""

import json
import logging
import re

import pytest
import torch
from safetensors.torch import save_file

from wheretolook.errors import WeightsError
from wheretolook.networks.build import network_for
from wheretolook.networks.files import load_network, read_weights
from wheretolook.networks.guide import GuidedModule
from wheretolook.options.network import NetworkOptions

from .libraries import CASES, NAMES, bare, fresh, images, vit_folder

PREFIXES = ("", "module.", "_orig_mod.", "model.", "network.", "module._orig_mod.model.")
KINDS = ("pth", "checkpoint", "safetensors")
# every prefix in every kind of file for the smallest network; for the others each prefix once, each kind twice
WRAPPED = [(kind, prefix, "timm") for kind in KINDS for prefix in PREFIXES]
WRAPPED += [
    (KINDS[place % 3], prefix, case) for case in ("torchvision", "smp") for place, prefix in enumerate(PREFIXES)
]


@pytest.mark.parametrize(("kind", "prefix", "case"), WRAPPED)
def test_a_state_dict_of_the_bare_module_is_taken_whoever_wrapped_it(kind, prefix, case, tmp_path, caplog):
    module = bare(case)
    state = {prefix + name: value for name, value in module.state_dict().items()}
    path = tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'ckpt'}"
    if kind == "safetensors":
        save_file({name: value.clone() for name, value in state.items()}, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if kind == "checkpoint" else state, path)
    network = network_for(read_weights(path), NAMES, CASES[case][0](tmp_path))
    scores = network(images())
    expected = module(images())
    torch.testing.assert_close(scores.mask_scores if case == "smp" else scores.class_scores, expected, rtol=0, atol=0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_a_checkpoint_of_lightning_has_beside_the_network_is_left_out_and_named(tmp_path, caplog):
    module = bare("torchvision")
    state = {f"model.{name}": value for name, value in module.state_dict().items()}
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(3)}}, tmp_path / "last.ckpt")
    network = load_network(tmp_path / "last.ckpt", class_names=NAMES, network="torchvision:resnet18")
    assert torch.equal(network(images()).class_scores, module(images()))
    assert not caplog.messages  # what belongs to the loss is nobody's loss


def test_a_head_for_other_classes_stays_fresh_and_is_named(tmp_path, caplog):
    from torchvision.models import resnet18

    module = resnet18(num_classes=10)
    torch.save(module.state_dict(), tmp_path / "ten.pth")
    options = NetworkOptions("torchvision:resnet18", input_size=(64, 64))
    network = network_for(read_weights(tmp_path / "ten.pth"), NAMES, options, seed=4)
    assert isinstance(network, GuidedModule)
    own, head = network.module.state_dict(), fresh(options, seed=4).module.state_dict()
    for name, value in module.state_dict().items():
        assert torch.equal(own[name], head[name] if name.startswith("fc.") else value), name
    (message,) = caplog.messages
    assert "120 of the network's 122 arrays loaded" in message
    assert "fc.weight (10x512 in the file, 3x512 in the network), fc.bias (10 in the file, 3 in the network)" in message


def test_an_encoder_alone_goes_where_it_fits_and_the_rest_is_named(tmp_path, caplog):
    from torchvision.models import resnet18

    encoder = resnet18()
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    network = network_for(read_weights(tmp_path / "encoder.pth"), NAMES, CASES["smp"][0](tmp_path))
    assert isinstance(network, GuidedModule)
    assert torch.equal(network.module.get_parameter("encoder.layer4.1.conv2.weight"), encoder.layer4[1].conv2.weight)
    (message,) = caplog.messages
    assert "since not in the file: decoder." in message and "not used: encoder.fc" in message


def test_a_folder_of_transformers_brings_its_weights(tmp_path):
    """As its program saves it, by names that are not those of the modules in memory."""
    from transformers import ViTConfig, ViTForImageClassification

    folder = vit_folder(tmp_path / "vit")
    said = {name: value for name, value in json.loads((folder / "config.json").read_text()).items() if name[0] != "_"}
    del said["auto_map"], said["architectures"], said["model_type"]
    module = ViTForImageClassification(ViTConfig(**said, num_labels=3)).eval()
    module.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "model.safetensors").rename(folder / "model.safetensors")
    network = load_network(folder, network=f"transformers:{folder}", class_names=NAMES)
    torch.testing.assert_close(network(images()).class_scores, module(images()).logits, rtol=0, atol=0)
    assert network.preprocessing(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist() == pytest.approx(
        [(0.5 * 255 / 127.5 - mean) / std for mean, std in ((1.0, 0.5), (1.1, 0.6), (1.2, 0.7))], abs=1e-6
    )


def test_transformers_names_in_files_are_read_and_another_head_stays_fresh(tmp_path, caplog, capfd):
    """By hand, as the hub has them: `vit.encoder.layer.0.attention.attention.query` is a module of another name."""
    options = CASES["transformers"][0](tmp_path)
    draw = torch.Generator().manual_seed(6)
    query = torch.randn(16, 16, generator=draw)
    state = {f"vit.encoder.layer.{layer}.attention.attention.query.weight": query for layer in range(2)}
    state |= {"classifier.weight": torch.ones(9, 16), "odd.weight": torch.ones(1)}
    torch.save(state, tmp_path / "hub.bin")
    network = network_for(read_weights(tmp_path / "hub.bin"), NAMES, options)
    assert sum(torch.equal(parameter, query) for parameter in network.parameters()) == 2
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "classifier.weight (9x16 in the file, 3x16 in the network)" in message and "not used: odd" in message
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


def test_published_densenets_have_names_of_their_own(tmp_path, caplog):
    from torchvision.models import densenet121

    module = densenet121(num_classes=3).eval()
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in module.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "densenet121.pth")
    options = NetworkOptions("torchvision:densenet121", input_size=(64, 64))
    network = network_for(read_weights(tmp_path / "densenet121.pth"), NAMES, options)
    assert torch.equal(network(images()).class_scores, module(images())) and not caplog.messages


def test_weights_of_which_nothing_fits(tmp_path):
    state = {"a.weight": torch.ones(2, 2), "conv1.weight": torch.ones(1), "fc.bias": torch.ones(3)}
    torch.save(state, tmp_path / "other.pth")  # a bias of as many classes fits by chance
    with pytest.raises(WeightsError, match=r"other.pth: expected weights of ResNet, .* got none that fits: a.weight"):
        network_for(read_weights(tmp_path / "other.pth"), NAMES, CASES["torchvision"][0](tmp_path))


def test_nan_in_a_state_dict(tmp_path):
    state = bare("torchvision").state_dict()
    state["layer1.0.conv1.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"NaN in layer1\.0\.conv1\.weight"):
        network_for(read_weights(tmp_path / "nan.pth"), NAMES, CASES["torchvision"][0](tmp_path))
