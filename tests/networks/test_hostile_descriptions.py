"""What a weights file may ask for: a model of four libraries by its listed name, and nothing else at all."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import wheretolook  # noqa: F401  (first: makes torchvision importable beside a torch that it was not built for)
from wheretolook.errors import WeightsError
from wheretolook.networks.files import FORMAT, load_network

VIT = {"model_type": "vit", "image_size": 64, "patch_size": 16, "hidden_size": 16, "num_hidden_layers": 1}
WRAPPER = {"model_type": "timm_wrapper", "architecture": "convnext_atto", "num_labels": 1}
PREPROCESSING = {"channels": "RGB", "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}


class Trap:
    """Unpickling this makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def written(path: Path, **changes: object) -> Path:
    description = {"network": "torchvision:resnet18", "arguments": {}, "class_names": ["cat"], "layer": "layer4"}
    description |= {"scores": "logits", "input_size": [64, 64], "background": False, "classifier_widths": None}
    text = json.dumps({**description, "preprocessing": PREPROCESSING, **changes})
    save_file({"module.fc.weight": torch.ones(1)}, path, {"format": FORMAT, "network": text})
    return path


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A folder whose module tells when it is imported, on a machine whose network tells when it is used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\ndef make(**_): make.x\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text(json.dumps(VIT))
    torch.save(Trap(), tmp_path / "other.pth")

    def called(*_: object) -> None:
        (tmp_path / "called").touch()
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", called)
    monkeypatch.setattr(socket, "getaddrinfo", called)
    yield tmp_path
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "called").exists() and "trap" not in sys.modules


@pytest.mark.parametrize(
    "changes",
    [
        *({"network": name} for name in ("os:system", "builtins:eval", "trap:make", "subprocess:run", "torch:load")),
        *({"network": name} for name in ("torchvision.models:resnet18", "timm:hf-hub:a/b", "timm:local-dir:folder")),
        *({"network": name} for name in ("torchvision:__name__", "torchvision:get_model", "smp:from_pretrained")),
        *({"network": name} for name in ("smp:encoders", "transformers:folder", "transformers:", "timm:", ":", "a:")),
        {"arguments": {"weights": "DEFAULT"}},
        {"network": "torchvision:fcn_resnet50", "arguments": {"weights_backbone": "DEFAULT"}},
        {"network": "timm:convnext_atto", "arguments": {"pretrained": True}},
        {"network": "timm:convnext_atto", "arguments": {"checkpoint_path": "other.pth"}},
        {"network": "timm:convnext_atto", "arguments": {"pretrained_cfg": {"file": "other.pth"}}},
        {"network": "timm:convnext_atto", "arguments": {"pretrained_cfg_overlay": {"url": "http://a"}}},
        {"network": "timm:convnext_atto", "arguments": {"cache_dir": "here"}},
        {"network": "smp:Unet", "arguments": {"encoder_name": "tu-hf-hub:a/b"}},
        {"network": "smp:Unet", "arguments": {"encoder_weights": "imagenet"}},
        {"network": "transformers:vit", "arguments": {}},
        {"network": "transformers:vit", "arguments": {"config": "folder"}},
        {"network": "transformers:vit", "arguments": {"config": {"model_type": "trap"}}},
        {"network": "transformers:vit", "arguments": {"config": {"model_type": "bert"}}},
        {"network": "transformers:vit", "arguments": {"config": {**VIT, "backbone": "microsoft/resnet-50"}}},
        {"network": "transformers:upernet", "arguments": {"config": {"model_type": "upernet", "backbone": "a/b"}}},
        {"network": "transformers:vit", "arguments": {"config": {**VIT, "hidden_size": "wide"}}},
        {"network": "transformers:timm_wrapper", "arguments": {"config": {**WRAPPER, "architecture": "hf-hub:a/b"}}},
        {
            "network": "transformers:timm_wrapper",
            "arguments": {"config": {**WRAPPER, "model_args": {"checkpoint_path": "other.pth"}}},
        },
        *({"arguments": wrong} for wrong in (3, "x", [1], {"depth": 3})),
        *({"layer": wrong} for wrong in (3, "nowhere", ["layer4"])),
        *({"scores": wrong} for wrong in ("pooled", "x", 3)),
        *({"input_size": wrong} for wrong in ("x", [1], [0, 0], 3)),
        *({"classifier_widths": wrong, "scores": "classifier"} for wrong in ("x", [1], [0, 0])),
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_nothing_else_is_made_run_or_fetched(changes, watched):
    path = written(watched / "hostile.safetensors", **changes)
    with pytest.raises(WeightsError) as caught:
        load_network(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["_attn_implementation", "attn_implementation", "auto_map", "quantization_config"])
def test_what_a_config_says_of_code_is_dropped(how, watched):
    """The rest is a network, so the file's fault is only that its arrays are not there."""
    said = {"auto_map": {"AutoModelForImageClassification": "trap.make"}, "quantization_config": {"quant_method": "x"}}
    config = {**VIT, how: said.get(how, "someone/kernel"), "num_attention_heads": 2, "intermediate_size": 32}
    changes = {"network": "transformers:vit", "arguments": {"config": config}, "layer": None}
    path = written(watched / "hostile.safetensors", **changes)
    with pytest.raises(WeightsError, match="expected the arrays of transformers:vit, got none that fits"):
        load_network(path)
