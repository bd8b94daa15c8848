"""A small network of every library, as options name it and as the library itself makes it."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import wheretolook  # noqa: F401  (first: makes torchvision importable beside a torch that it was not built for)
from wheretolook.networks.build import new_network
from wheretolook.networks.guide import GuidedModule
from wheretolook.options.network import NetworkOptions
from wheretolook.records import TORCHVISION, GuidedNetwork, Preprocessing

NAMES = ("cat", "dog", "boat")
SMALL_VIT = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}
HALVES = Preprocessing("RGB", 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def vit_folder(folder: Path) -> Path:
    """A classifier of transformers as its program saves it, config and processor written by hand."""
    folder.mkdir()
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "image_size": 64, "patch_size": 16}
    config |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config |= {"auto_map": {"AutoModelForImageClassification": "evil.Evil"}, "_attn_implementation": "evil/kernel"}
    (folder / "config.json").write_text(json.dumps(config))
    processor = {"do_rescale": True, "rescale_factor": 1 / 127.5, "do_normalize": True}
    processor |= {"image_mean": [1.0, 1.1, 1.2], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def segformer_folder(folder: Path) -> Path:
    folder.mkdir()
    config = {"architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer", "depths": [1, 1, 1, 1]}
    config |= {"hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 16, "id2label": {"0": "wall", "1": "sky"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    return folder


CASES: dict[str, tuple[Callable[[Path], NetworkOptions], Preprocessing, bool]] = {
    "torchvision": (lambda _: NetworkOptions("torchvision:resnet18", input_size=(64, 64)), TORCHVISION, False),
    "torchvision segmenter": (
        lambda _: NetworkOptions("torchvision:lraspp_mobilenet_v3_large", input_size=(64, 64)),
        TORCHVISION,
        True,
    ),
    "timm": (lambda _: NetworkOptions("timm:vit_small_patch16_224", SMALL_VIT), HALVES, False),
    "smp": (lambda _: NetworkOptions("smp:Unet", {"encoder_name": "resnet18"}, input_size=(64, 64)), TORCHVISION, True),
    "transformers": (
        lambda path: NetworkOptions(f"transformers:{vit_folder(path / 'vit')}"),
        Preprocessing("RGB", 2.0, (1.0, 1.1, 1.2), (0.5, 0.6, 0.7)),
        False,
    ),
    "transformers segmenter": (
        lambda path: NetworkOptions(f"transformers:{segformer_folder(path / 'segformer')}", input_size=(64, 64)),
        Preprocessing("RGB", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        True,
    ),
}


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def same_outputs(first: GuidedNetwork, second: GuidedNetwork) -> bool:
    one, other = first.eval()(images()), second.eval()(images())
    masks = one.mask_scores is None or torch.equal(one.mask_scores, other.mask_scores)
    return masks and torch.equal(one.class_scores, other.class_scores) and torch.equal(one.features, other.features)


def fresh(options: NetworkOptions, seed: int = 0) -> GuidedModule:
    network = new_network(options, NAMES, None, seed)
    assert isinstance(network, GuidedModule)
    return network.eval()


def bare(case: str) -> nn.Module:
    """The library's own network, made without us, its weights from another seed."""
    torch.manual_seed(11)
    if case == "torchvision":
        from torchvision.models import resnet18

        network = resnet18(num_classes=3)
    elif case == "timm":
        import timm

        network = timm.create_model("vit_small_patch16_224", num_classes=3, **SMALL_VIT)
    else:
        import segmentation_models_pytorch as smp

        network = smp.Unet("resnet18", encoder_weights=None, classes=4)
    return network.eval()
