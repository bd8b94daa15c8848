"""Small networks, one for each thing that may lie behind the attention layer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wheretolook.networks.guide import GuidedModule, guide

CLASSES, CHANNELS = 3, 6
POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Residual(nn.Module):
    """Two ways back to the features, and a product of both."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)

    def forward(self, pooled: Tensor) -> Tensor:
        return pooled + self.one(pooled) * torch.tanh(self.two(pooled)) * 0.5


class ChannelsLast(nn.Module):
    """A norm over channels, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, grid: Tensor) -> Tensor:
        return self.norm(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """The mean over all cells but the first, which a class token stands before in other networks."""

    def forward(self, grid: Tensor) -> Tensor:
        return grid.flatten(2).transpose(1, 2)[:, 1:].mean(dim=1)


def hidden(activation: nn.Module) -> list[nn.Module]:
    """A classifier with one hidden layer."""
    return [*POOLED, nn.Linear(CHANNELS, 8), activation, nn.Dropout(), nn.Linear(8, CLASSES)]


HEADS: dict[str, Callable[[], list[nn.Module]]] = {
    "linear": lambda: [*POOLED, nn.Linear(CHANNELS, CLASSES)],
    "relu": lambda: hidden(nn.ReLU()),
    "relu in place": lambda: hidden(nn.ReLU(inplace=True)),
    "gelu": lambda: hidden(nn.GELU()),
    "silu": lambda: hidden(nn.SiLU()),
    "hardswish": lambda: hidden(nn.Hardswish()),
    "relu6": lambda: hidden(nn.ReLU6()),
    "sigmoid": lambda: hidden(nn.Sigmoid()),
    "layer norm": lambda: [*POOLED, nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, CLASSES)],
    "norm before pooling": lambda: [ChannelsLast(), *POOLED, nn.Linear(CHANNELS, CLASSES)],
    "norm and relu of positions": lambda: [nn.BatchNorm2d(CHANNELS), nn.ReLU(), *POOLED, nn.Linear(CHANNELS, CLASSES)],
    "convolution behind pooling": lambda: [
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(CHANNELS, 8, 1), nn.Hardswish(), nn.Flatten(), nn.Linear(8, CLASSES)
    ],
    "convolution before pooling": lambda: [nn.Conv2d(CHANNELS, CLASSES, 1), nn.ReLU(), *POOLED],
    "max-pool": lambda: [nn.MaxPool2d(2, 2, ceil_mode=True), *POOLED, nn.Linear(CHANNELS, CLASSES)],
    "pooled to cells": lambda: [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * CHANNELS, CLASSES)],
    "residual": lambda: [*POOLED, Residual(), nn.Linear(CHANNELS, CLASSES)],
    "tokens": lambda: [Tokens(), nn.Linear(CHANNELS, CLASSES)],
}  # fmt: skip


def headed(name: str) -> GuidedModule:
    """A guided network whose attention layer is `0`, with that head."""
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Conv2d(3, CHANNELS, 5, stride=8, padding=2), nn.Tanh())
    module = nn.Sequential(trunk, *HEADS[name]()).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
    return guide(module, "0", input_size=(40, 48))
