"""Networks of every library from options and from files: the same again, with whatever weights users have."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import wheretolook  # first: makes torchvision importable beside a torch that it was not built for
from wheretolook.errors import ConfigError, WeightsError
from wheretolook.networks.build import network_for
from wheretolook.networks.files import load_network, read_weights, save_network
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.libraries import make_module
from wheretolook.networks.made import Wanted
from wheretolook.options.network import NetworkOptions
from wheretolook.records import TORCHVISION

from .libraries import CASES, HALVES, NAMES, bare, fresh, images, same_outputs
from .narrow import narrow

OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, num_classes=2):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.model(images).mean(dim=(2, 3)))

def not_a_network():
    return 3
"""


@pytest.mark.parametrize("case", CASES)
def test_a_network_of_every_library_is_made_saved_and_made_again(case, tmp_path, monkeypatch):
    options, preprocessing, segments = CASES[case]
    state = torch.random.get_rng_state()
    network = fresh(options(tmp_path), seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert network.preprocessing == preprocessing and network.class_names == NAMES
    output = network(images())
    assert output.class_scores.shape == (2, 3)
    assert (output.mask_scores.shape if output.mask_scores is not None else None) == (
        (2, 4, 64, 64) if segments else None
    )

    save_network(network, tmp_path / "network.safetensors")
    for folder in ("vit", "segformer"):  # nothing of it is needed any more
        (tmp_path / folder).is_dir() and (tmp_path / folder).rename(tmp_path / f"gone {folder}")
    again = load_network(tmp_path / "network.safetensors", seed=7)
    assert same_outputs(network, again) and not again.training
    assert again.describe() == network.describe() and str(tmp_path) not in json.dumps(again.describe())


@pytest.mark.parametrize("case", ["torchvision", "timm", "smp"])
def test_the_seed_is_of_the_first_weights(case, tmp_path):
    options = CASES[case][0](tmp_path)
    first, again, other = (fresh(options, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's file beside which the command is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_mine.py").write_text(OWN)
    path = list(sys.path)
    yield NetworkOptions("nets_of_mine:Net", {"width": 6}, input_size=(64, 64))
    assert sys.path == path
    sys.modules.pop("nets_of_mine", None)


def test_a_users_function_is_run_for_the_user_and_never_for_a_file(own_module, tmp_path):
    network = fresh(own_module)
    assert (network.module.head.out_features, network.module.head.in_features) == (3, 6)
    save_network(network, "mine.safetensors")
    sys.modules.pop("nets_of_mine")
    with pytest.raises(WeightsError, match=r"its network is nets_of_mine:Net, a function that is never run"):
        load_network("mine.safetensors")
    assert "nets_of_mine" not in sys.modules
    again = load_network("mine.safetensors", network="nets_of_mine:Net")
    made = load_network("mine.safetensors", make=type(network.module))
    assert same_outputs(network, again) and same_outputs(network, made)
    with pytest.raises(WeightsError, match=r"mine.safetensors: expected a function Other in nets_of_mine, found none"):
        load_network("mine.safetensors", network="nets_of_mine:Other")


def test_names_that_a_users_network_shares_with_wrappers_are_its_own(own_module, tmp_path):
    """All keys of this one begin with `model.`, as a wrapper's would."""
    module = fresh(own_module).module.model
    torch.save({f"model.{name}": value for name, value in module.state_dict().items()}, "trunk.pth")
    again = network_for(read_weights(Path("trunk.pth")), NAMES, own_module, seed=9)
    assert isinstance(again, GuidedModule)
    assert torch.equal(again.module.get_parameter("model.0.weight"), module[0].weight)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nets_of_mine:Nett", "expected a function Nett in nets_of_mine, found none; did you mean 'Net'"),
        ("nets_of_yours:Net", "found no module nets_of_yours"),
        ("nets_of_mine:__name__", "expected a function __name__ in nets_of_mine, got a str"),
        ("nets_of_mine:not_a_network", "expected a torch module of nets_of_mine:not_a_network, got a int"),
        ("fcn9s", "expected a network such as fcn8s, .* got 'fcn9s'; did you mean 'fcn8s'"),
        ("torchvision:resnet81", "expected a model of torchvision such as .* got 'resnet81'; did you mean 'resnet18'"),
        ("torchvision:raft_large", "expected a model of torchvision"),
        ("timm:hf-hub:someone/something", "expected a model of timm"),
        ("timm:vit_smal_patch16_224", "did you mean 'vit_small_patch16_224'"),
        ("smp:unnet", "did you mean 'unet'"),
        ("transformers:nowhere", "cannot read nowhere/config.json: no such file"),
        ("torchvison:resnet18", "found no module torchvison.*did you mean 'torchvision'"),
    ],
)
def test_a_network_that_there_is_not(name, says, own_module):
    with pytest.raises(ConfigError, match=says) as caught:
        fresh(NetworkOptions(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (NetworkOptions("timm:convnext_atto", {"depht": 3}), "timm's convnext_atto cannot be made with depht=3"),
        (NetworkOptions("torchvision:resnet18", {"depth": 3}), "torchvision's resnet18 cannot be made with depth=3"),
        (NetworkOptions("smp:Unet", {"encoder_name": "resnet19"}), "Unet cannot be made with encoder_name='resnet19'"),
        (NetworkOptions("torchvision:resnet18", segmenter_width=8), "network.segmenter_width is of an FCN"),
        (NetworkOptions("fcn8s", {"depth": 3}), "leave out network.arguments"),
        (
            NetworkOptions(layer="trunk"),
            "expected layers of an FCN, each once, of conv3_3, conv4_3, conv5_3, got",
        ),
        (NetworkOptions(scores="pooled"), "leave out network.scores"),
    ],
)
def test_options_that_a_network_does_not_take(options, says):
    with pytest.raises(ConfigError, match=says) as caught:
        fresh(options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["torchvision", "timm", "segmentation_models_pytorch", "transformers"])
def test_a_library_that_is_not_installed_is_named_with_what_installs_it(package, monkeypatch, tmp_path):
    for name in [*sys.modules]:
        if name.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"segmentation_models_pytorch": "smp"}.get(package, package)
    with pytest.raises(ConfigError, match=rf"expected {package} installed.*pip install 'wheretolook\[{extra}\]'"):
        fresh(NetworkOptions(f"{extra}:anything"))


@pytest.mark.parametrize("classes", [NAMES[:2], ("cat", "boat", "dog"), (*NAMES, "cow")])
def test_the_classes_of_a_file_are_the_datas(classes, tmp_path):
    save_network(fresh(CASES["torchvision"][0](tmp_path)), tmp_path / "network.safetensors")
    with pytest.raises(WeightsError, match="expected the data's classes"):
        network_for(read_weights(tmp_path / "network.safetensors"), classes)


def test_a_bare_state_dict_needs_class_names(tmp_path):
    torch.save(bare("torchvision").state_dict(), tmp_path / "bare.pth")
    with pytest.raises(WeightsError, match=r"bare.pth: expected class names.*class_names="):
        load_network(tmp_path / "bare.pth", network="torchvision:resnet18")
    with pytest.raises(WeightsError, match="expected the 13 convolutions of an FCN or VGG16"):
        load_network(tmp_path / "bare.pth", class_names=NAMES)


def test_the_bare_modules_state_dict_is_written_for_others(tmp_path):
    from torchvision.models import resnet18

    network = fresh(CASES["torchvision"][0](tmp_path))
    save_network(network, tmp_path / "bare.pth")
    module = resnet18(num_classes=3)
    module.load_state_dict(torch.load(tmp_path / "bare.pth", weights_only=True))
    assert torch.equal(module.eval()(images()), network(images()).class_scores)
    with pytest.raises(WeightsError, match=r"expected an FCN for network.npz, got another network"):
        save_network(network, tmp_path / "network.npz")


def test_an_added_classifier_is_kept_with_its_widths_and_can_be_added_to_a_file_without(tmp_path, caplog):
    options = NetworkOptions("torchvision:resnet18", scores="classifier", classifier_widths=(5, 6), input_size=(64, 64))
    network = fresh(options, seed=3)
    save_network(network, tmp_path / "network.safetensors")
    again = load_network(tmp_path / "network.safetensors")
    assert same_outputs(network, again) and again.describe() == network.describe()
    assert not again.classifies and not caplog.messages

    save_network(fresh(CASES["torchvision"][0](tmp_path), seed=3), tmp_path / "without.safetensors")
    added = load_network(tmp_path / "without.safetensors", network=NetworkOptions(scores="classifier"))
    assert not added.classifies and "started fresh: the added classifier" in caplog.messages[-1]
    assert torch.equal(added(images()).features, network(images()).features)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "fcn8s"])
def test_a_file_is_of_what_it_says_and_not_of_what_options_say(name, tmp_path):
    others = fresh(CASES["timm"][0](tmp_path)) if name != "fcn8s" else fresh(CASES["torchvision"][0](tmp_path))
    save_network(others, tmp_path / "network.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_network(tmp_path / "network.safetensors", network=name)
    assert str(tmp_path / "network.safetensors") in str(caught.value) and "\n" not in str(caught.value)


def test_an_fcns_file_is_no_library_network(tmp_path):
    save_network(narrow(), tmp_path / "network.safetensors")
    with pytest.raises(WeightsError, match="expected weights of torchvision:resnet18, got those of fcn8s"):
        load_network(tmp_path / "network.safetensors", network="torchvision:resnet18")
    assert wheretolook.load_network(tmp_path / "network.safetensors", network="fcn8s").class_names == NAMES


def test_what_the_user_says_goes_before_what_the_file_says(tmp_path):
    path = tmp_path / "network.safetensors"
    network = fresh(CASES["torchvision"][0](tmp_path))
    save_network(network, path)
    again = load_network(
        path,
        network=NetworkOptions(layer="layer3", input_size=(96, 64)),
        class_names=("kitten", "puppy", "ship"),
        preprocessing=HALVES,
    )
    said = {"layer": "layer3", "input_size": [96, 64], "class_names": ["kitten", "puppy", "ship"]}
    assert again.describe() == {**network.describe(), **said, "preprocessing": asdict(HALVES)}
    assert again(images()).features.shape == (2, 256, 4, 4) and network(images()).features.shape == (2, 512, 2, 2)
    with pytest.raises(WeightsError, match="expected 3 class names, got 2: cat, dog"):
        load_network(path, class_names=("cat", "dog"))
    with pytest.raises(WeightsError, match=r"expected network.arguments as in the file, \{\}, got \{'width': 3\}"):
        load_network(path, network=NetworkOptions(arguments={"width": 3}))
    with pytest.raises(ConfigError, match=r"network\.segmenter_width is of an FCN"):
        load_network(path, network=NetworkOptions(segmenter_width=3))


def test_the_layer_and_size_of_the_options_reach_the_network(tmp_path):
    options = NetworkOptions("torchvision:resnet18", layer="layer2", scores="logits", input_size=(96, 64))
    assert {**fresh(options).describe(), "layer": "layer2", "input_size": [96, 64]} == fresh(options).describe()


@pytest.mark.parametrize(
    ("encoder", "expected"), [("tu-tf_efficientnet_lite0", HALVES), ("xception", HALVES), ("vgg11", TORCHVISION)]
)
def test_an_encoder_of_smp_has_the_preprocessing_that_it_was_trained_with(encoder, expected):
    wanted = Wanted("FPN", {"encoder_name": encoder}, classes=2)
    assert make_module("smp:FPN", wanted).preprocessing == expected


def test_torchvisions_own_size_is_of_its_weights():
    assert make_module("torchvision:efficientnet_b1", Wanted("efficientnet_b1", {}, 2)).input_size == (240, 240)


def test_a_segmenter_of_smp_may_classify_as_well():
    arguments = {"encoder_name": "resnet18", "aux_params": {"pooling": "max"}}
    network = fresh(NetworkOptions("smp:Unet", arguments, input_size=(64, 64)))
    output = network(images())
    assert output.class_scores.shape == (2, 3) and output.mask_scores.shape == (2, 4, 64, 64)
    assert network.scores == "logits"


def test_the_number_of_classes_may_be_the_users(tmp_path):
    """Such as a trained head of a thousand classes, kept beside an added classifier for three."""
    options = NetworkOptions("torchvision:resnet18", {"num_classes": 7}, scores="classifier", input_size=(64, 64))
    network = fresh(options)
    save_network(network, tmp_path / "network.safetensors")
    again = load_network(tmp_path / "network.safetensors")
    assert again(images()).class_scores.shape == (2, 3) and again.module.fc.out_features == 7
    assert same_outputs(network, again)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A network of the user's, and its own state dict, which says nothing of the images."""
    (tmp_path / "told_nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import told_nets  # type: ignore[import-not-found]

    torch.save(told_nets.Net().state_dict(), tmp_path / "own.pth")
    yield tmp_path / "own.pth"
    sys.modules.pop("told_nets")


def test_what_a_network_of_ones_own_was_trained_on_can_be_said(own, caplog):
    """Nothing is known of it: what is assumed is said, and wrong figures come of it where that is not so."""
    names = ("cat", "dog")
    assumed = load_network(own, network="told_nets:Net", class_names=names)
    assert assumed.preprocessing == TORCHVISION
    (line,) = [record.message for record in caplog.records if "network.mean" in record.message]
    assert line.startswith("told_nets:Net: nothing says what images it was trained on; torchvision's mean")
    caplog.clear()
    said = NetworkOptions("told_nets:Net", mean=(0.5, 0.4, 0.3), std=(1.0, 0.5, 0.25))
    network = load_network(own, network=said, class_names=names)
    seen = network.preprocessing(torch.ones(1, 3, 1, 1)).flatten()
    assert torch.allclose(seen, torch.tensor([0.5, 1.2, 2.8])) and "network.mean" not in caplog.text
    save_network(network, own.parent / "kept.safetensors")
    again = load_network(own.parent / "kept.safetensors", network="told_nets:Net")
    assert again.preprocessing == network.preprocessing and "network.mean" not in caplog.text
    plain = NetworkOptions("told_nets:Net", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # the file is not the last word
    assert torch.equal(load_network(own.parent / "kept.safetensors", network=plain).preprocessing(images()), images())


def test_what_a_library_says_of_images_gives_way_to_the_options(caplog):
    said = NetworkOptions("torchvision:resnet18", input_size=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert fresh(said).preprocessing == HALVES and not caplog.records


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.0, 0.0, 0.0), None),
        (None, (1.0, 1.0, 1.0)),
        ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)),
        ((0.0, 0.0, float("nan")), (1.0, 1.0, 1.0)),
    ],
)
def test_mean_and_deviation_go_together(own, mean, std):
    options = NetworkOptions("told_nets:Net", mean=mean, std=std)
    with pytest.raises(ConfigError, match=r"expected network.mean and network.std together, .* got (none|0 0)"):
        load_network(own, network=options, class_names=("cat", "dog"))


def test_an_fcn_has_its_own(tmp_path):
    with pytest.raises(ConfigError, match=r"leave out network\.mean and network\.std"):
        fresh(NetworkOptions("fcn8s", widths=(4, 4, 4, 4, 4), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
