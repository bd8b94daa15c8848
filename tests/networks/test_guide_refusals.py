"""What a guided module refuses, in one line each."""

import pytest
import torch
from torch import nn

from wheretolook.errors import ConfigError, ImageSizeError
from wheretolook.networks.guide import guide

from .zoo import network


def test_a_size_that_the_module_refuses_is_said_in_one_line():
    guided = guide(network("vit_small"), input_size=64)
    with pytest.raises(ImageSizeError, match=r"takes images of 64x64, but not of 80x48 \(.+\); give a data.resize"):
        guided(torch.zeros(1, 3, 48, 80))


def test_a_classifier_of_the_modules_own_cannot_start_afresh():
    with pytest.raises(ConfigError, match="leave fresh out"):
        guide(network("resnet18"), input_size=64).reset_classifier(0)


def test_whatever_the_modules_own_code_raises_is_said_in_one_line():
    class Wanting(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images["pixels"] if images.ndim == 9 else {}["pixels"]

    with pytest.raises(ConfigError, match="failed on a dry run"):
        guide(Wanting(), input_size=32)
