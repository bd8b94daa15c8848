"""The networks that must work, small: few classes, small images, random weights; each is made once."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import wheretolook  # first: makes torchvision importable beside a torch that it was not built for
from wheretolook.networks.guide import GuidedModule

CLASSES = 3
NAMES = ("cat", "dog", "boat")


class Entry(NamedTuple):
    """One network: how it is made, its images, how it is guided, and where its attention is to be found."""

    make: Callable[[], nn.Module]
    layer: str  # that `guide` finds by itself
    size: tuple[int, int] = (64, 64)
    options: Mapping[str, Any] = MappingProxyType({})  # of `guide`
    prefix: int = 0  # tokens before those of the grid
    layout: str = "channels_first"
    segments: bool = False


def torchvision(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        return models.get_model(name, weights=None, num_classes=CLASSES, **arguments)

    return make


def torchvision_segmenter(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        return models.get_model(name, weights=None, weights_backbone=None, num_classes=1 + CLASSES)

    return make


def fcn_resnet() -> nn.Module:
    """Torchvision's, of one narrow block a stage and with a narrow head: its own has 35 million weights."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import Bottleneck, ResNet
    from torchvision.models.segmentation.fcn import FCN

    dilated = [False, True, True]
    trunk = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=16, replace_stride_with_dilation=dilated)
    narrow = nn.Conv2d(2048, 16, 3, padding=1, bias=False)
    head = nn.Sequential(narrow, nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(16, 1 + CLASSES, 1))
    return FCN(IntermediateLayerGetter(trunk, {"layer4": "out"}), head)


def densenet() -> nn.Module:
    """Torchvision's, of fewer and narrower layers."""
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 2, 2, 2), 16, num_classes=CLASSES)


def short_resnet() -> nn.Module:
    """Torchvision's, of one block a stage."""
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)


def vgg() -> nn.Module:
    """Torchvision's, but for a narrow classifier: its own has 120 million weights."""
    from torchvision.models import vgg11

    network = vgg11(weights=None, init_weights=False)
    network.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, CLASSES))
    return network


def convnext() -> nn.Module:
    """Torchvision's, narrow."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    widths = (16, 24, 32, 48)
    blocks = [CNBlockConfig(one, other, 1) for one, other in zip(widths, (*widths[1:], None), strict=True)]
    return ConvNeXt(blocks, layer_scale=1.0, num_classes=CLASSES)


def swin() -> nn.Module:
    """Torchvision's, narrow."""
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [1, 1, 1, 1], [1, 2, 4, 8], [7, 7], num_classes=CLASSES)


def vision_transformer() -> nn.Module:
    """Torchvision's, small; its head starts at zero, so it is drawn as training would have moved it."""
    from torchvision.models import VisionTransformer

    network = VisionTransformer(
        image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=CLASSES
    )
    nn.init.normal_(network.heads.head.weight)
    return network


def timm(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **arguments)

    return make


def smp(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import segmentation_models_pytorch

        return getattr(segmentation_models_pytorch, name)("resnet18", encoder_weights=None, classes=1 + CLASSES)

    return make


def segformer() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=16, num_labels=1 + CLASSES
    )
    return SegformerForSemanticSegmentation(config)


def huggingface_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=64,
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=CLASSES,
    )
    return ViTForImageClassification(config)


class TwoOutputs(nn.Module):
    """A user's module: features and scores, in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Any:
        features = self.features(images)
        return features, self.head(features.mean(dim=(2, 3)))


class DictOutput(TwoOutputs):
    """A user's module: everything in a dict."""

    def forward(self, images: Tensor) -> Any:
        features, scores = super().forward(images)
        return {"embedding": features.mean(dim=(2, 3)), "scores": scores}


small_vit = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}

ZOO: dict[str, Entry] = {
    "resnet18": Entry(torchvision("resnet18"), "layer4"),
    "vgg11": Entry(vgg, "features"),
    "convnext_tiny": Entry(convnext, "features"),
    "mobilenet_v3_small": Entry(torchvision("mobilenet_v3_small"), "features"),
    "densenet121": Entry(densenet, "features"),
    "swin_t": Entry(swin, "norm", layout="channels_last"),
    "vit_b_16": Entry(vision_transformer, "encoder.layers.encoder_layer_1.ln_1", prefix=1, layout="tokens"),
    "fcn_resnet50": Entry(fcn_resnet, "backbone", segments=True),
    "deeplabv3_mobilenet_v3_large": Entry(
        torchvision_segmenter("deeplabv3_mobilenet_v3_large"), "backbone", segments=True
    ),
    "efficientnet_b0": Entry(timm("efficientnet_b0"), "bn2"),
    "convnext_atto": Entry(timm("convnext_atto"), "stages"),
    "vit_small": Entry(timm("vit_small_patch16_224", **small_vit), "blocks.1.norm1", prefix=1, layout="tokens"),
    "vit_average": Entry(
        timm("vit_small_patch16_224", global_pool="avg", class_token=False, **small_vit), "blocks", layout="tokens"
    ),
    "deit3": Entry(timm("deit3_small_patch16_224", **small_vit), "blocks.1.norm1", prefix=1, layout="tokens"),
    "eva02": Entry(
        timm("eva02_tiny_patch14_224", **{**small_vit, "patch_size": 16}), "blocks.1", prefix=1, layout="tokens"
    ),
    "swin_tiny": Entry(
        timm("swin_tiny_patch4_window7_224", img_size=64, embed_dim=24, depths=(1, 1, 1, 1)),
        "norm",
        layout="channels_last",
    ),
    "dinov2_registers": Entry(
        timm("vit_small_patch14_reg4_dinov2", **small_vit), "blocks.1.norm1", prefix=5, layout="tokens"
    ),
    "unet": Entry(smp("Unet"), "encoder.layer4", segments=True),
    "fpn": Entry(smp("FPN"), "decoder.seg_blocks.0.block.0.block", segments=True),
    "segformer": Entry(segformer, "segformer", segments=True),
    "huggingface_vit": Entry(huggingface_vit, "vit.layers.1.layernorm_before", prefix=1, layout="tokens"),
    "two_outputs": Entry(TwoOutputs, "features"),
    "dict_output": Entry(DictOutput, "features", options={"class_names": NAMES}),
    "not_square": Entry(short_resnet, "layer4", size=(64, 96)),
}


@lru_cache
def network(name: str) -> nn.Module:
    """The bare module, in evaluation mode."""
    torch.manual_seed(1)
    return ZOO[name].make().eval()


@lru_cache
def guided(name: str) -> GuidedModule:
    """The same module, guided."""
    entry = ZOO[name]
    return wheretolook.guide(network(name), input_size=entry.size, **entry.options)


def images(name: str, count: int = 2) -> Tensor:
    """Noise of the size that the network takes."""
    return torch.randn(count, 3, *ZOO[name].size, generator=torch.Generator().manual_seed(2))
