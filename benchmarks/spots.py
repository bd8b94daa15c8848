"""Real architectures with weights that make any honest map follow the light, and where such a map's centre is.

Every weight is positive and every norm neutral, so that the features are a soft copy of the image; the map of a class
is then bright where the image is, and how far its centre is from the spot's is the error of whoever stretched the map.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wheretolook.records import Cells

SPOT = 16.0  # standard deviation of the bright spot in pixels: patches of 32 pixels then still tell where it is


class Shape(NamedTuple):
    """An architecture, the layer whose output is looked at, and how that is a grid and becomes one again."""

    make: Callable[[], nn.Module]
    layer: str
    patch: int = 0  # pixels of a patch's side, where the layer gives tokens behind a class token


class Pass(nn.Module):
    """In place of what no positive weights make harmless: norms over channels, attention between positions."""

    def forward(self, features: Tensor, **_: Any) -> Tensor:
        """The features themselves."""
        return features


def plain_vgg() -> nn.Module:
    """VGG11 without its last pool and its 120 million weights behind it."""
    from torchvision.models.vgg import cfgs, make_layers

    trunk = make_layers(cfgs["A"], batch_norm=False)[:-1]
    return nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))


def from_torchvision(name: str) -> Callable[[], nn.Module]:
    """A maker of a network of torchvision."""

    def make() -> nn.Module:
        import torchvision

        network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=2)
        return network

    return make


def from_timm(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    """A maker of a network of timm."""

    def make() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=2, **arguments)
        return network

    return make


SHAPES = {
    "resnet18": Shape(from_torchvision("resnet18"), "layer4"),
    "vgg11": Shape(plain_vgg, "0"),
    "mobilenet_v3_small": Shape(from_torchvision("mobilenet_v3_small"), "features"),
    "efficientnet_b0": Shape(from_timm("efficientnet_b0"), "conv_head"),
    "tf_efficientnet_b0": Shape(from_timm("tf_efficientnet_b0"), "conv_head"),
    "tf_efficientnet_lite0": Shape(from_timm("tf_efficientnet_lite0"), "conv_head"),
    "convnext_atto": Shape(from_timm("convnext_atto"), "stages"),
    "vit_tiny": Shape(
        from_timm("vit_tiny_patch16_224", dynamic_img_size=True, global_pool="avg", depth=3),
        "blocks.2.norm2",
        patch=16,
    ),
}


def positive(network: nn.Module) -> nn.Module:
    """Every weight positive, every bias 0, norms neutral; a convolution passes on what it sees about where it is.

    Strided convolutions fall off linearly from their middle, so that no pixel is seen better than its neighbour.
    """
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if type(child).__name__ in ("LayerNorm", "LayerNorm2d", "Attention"):
                setattr(part, name, Pass())
    for name, parameter in network.named_parameters():
        if name in ("pos_embed", "cls_token"):
            nn.init.zeros_(parameter)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.constant_(layer.weight, 1 / layer.weight.shape[1])
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Conv2d):
            with torch.no_grad():
                layer.weight.mul_(kernel(layer))
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
            nn.init.ones_(layer.weight)  # timm starts the last of a block at 0
    return network.eval()


def kernel(layer: nn.Conv2d) -> Tensor:
    """What each place in a convolution's window weighs; all of them together 1."""
    if layer.stride == layer.kernel_size:
        return torch.full(layer.kernel_size, 1 / (layer.kernel_size[0] * layer.kernel_size[1]))
    rise = [1 - (torch.arange(n) - (n - 1) / 2).abs() / ((n + 1) / 2) for n in layer.kernel_size]
    tent = rise[0][:, None] * rise[1] / (rise[0].sum() * rise[1].sum())
    if layer.stride == (1, 1):  # narrow, or 20 of them would blur the spot beyond the image
        middle = torch.zeros_like(tent)
        middle[layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1
        return 0.1 * tent + 0.9 * middle
    return tent


def spots(size: tuple[int, int], places: list[tuple[float, float]]) -> Tensor:
    """An image for each place, dark but for a soft bright spot there; so dim that no ReLU6 is reached."""
    images = torch.zeros(len(places), 3, *size)
    for image, place in zip(images, places, strict=True):
        down, across = (
            torch.exp(-(((torch.arange(n) - at) / SPOT) ** 2) / 2) for n, at in zip(size, place, strict=True)
        )
        image += 1e-3 * down[:, None] * across
    return images


def centre(attention: Tensor) -> tuple[float, float]:
    """The centre of mass of a map of image size."""
    height, width = attention.shape
    down, across = attention.double().sum(dim=1), attention.double().sum(dim=0)
    rows, columns = torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
    return float(down @ rows / down.sum()), float(across @ columns / across.sum())


def shifted(cells: Cells, share: float) -> Cells:
    """The cells moved by that share of a stride."""
    (down, across), (first, left) = cells
    return Cells((down, across), (first + share * down, left + share * across))
