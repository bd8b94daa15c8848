"""What a module says of the images that it wants, in the words of the libraries that make networks."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.records import TORCHVISION, Preprocessing

USUAL_SIDE = 224


def trial_images(
    module: nn.Module, size: int | tuple[int, int] | None, images: Tensor | None
) -> Float[Tensor, "batch channels height width"]:
    """Two images to try a module with, on its device and in its precision; the global random state is left alone.

    Args:
        module: the network.
        size: side, or height and width; None for what the module says of itself.
        images: taken in place of drawn ones.
    """
    weight = next((parameter for parameter in module.parameters() if parameter.is_floating_point()), torch.empty(0))
    if images is not None:
        # two of them, so that the batch is told from the other axes
        return images[:2] if len(images) > 1 else images.expand(2, -1, -1, -1)
    height, width = (size, size) if isinstance(size, int) else size or own_size(module)
    drawn = torch.randn(2, own_channels(module), height, width, generator=torch.Generator().manual_seed(0))
    return drawn.to(weight)


def own_size(module: nn.Module) -> tuple[int, int]:
    """Height and width of a module's images: timm's record, or Hugging Face's and torchvision's `image_size`."""
    for holder, name in (
        (getattr(module, "patch_embed", None), "img_size"),
        (_timm_record(module), "input_size"),
        (getattr(module, "config", None), "image_size"),
        (module, "image_size"),
    ):
        given = holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
        if isinstance(given, int):
            return given, given
        if isinstance(given, list | tuple) and len(given) >= 2:
            return int(given[-2]), int(given[-1])
    return USUAL_SIDE, USUAL_SIDE


def own_channels(module: nn.Module) -> int:
    """How many channels a module's images have: as many as its first convolution takes, or else 3."""
    return next((layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)), 3)


def own_preprocessing(module: nn.Module) -> Preprocessing:
    """What timm has on record for the module, or else torchvision's mean and standard deviation."""
    return recorded_preprocessing(module) or TORCHVISION


def recorded_preprocessing(module: nn.Module) -> Preprocessing | None:
    """What the module itself, as timm's do, has on record of its images; None where it says nothing."""
    record = _timm_record(module)
    if all(len(record.get(name, ())) == 3 for name in ("mean", "std")):
        return Preprocessing("RGB", 1.0, tuple(record["mean"]), tuple(record["std"]))
    return None


def _timm_record(module: nn.Module) -> dict[str, Any]:
    record = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    return record if isinstance(record, dict) else {}
