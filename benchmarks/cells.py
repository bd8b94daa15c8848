"""How far a map's centre is from the bright spot that the network sees: ours, grad-cam's, captum's, torchcam's.

    .venv/bin/python benchmarks/cells.py

Real architectures with positive weights look at images that are dark but for one soft spot, at five places of each
size. Each library makes the Grad-CAM map of the same layer and stretches it to the image in its own way; the figure is
the distance in pixels from the map's centre of mass to the spot's, along the worse side of the image, the worst of the
places. An error of 16 is half a cell of most of these networks. Trained weights are another matter: strided kernels
learn to look aside, and even stretching is then off by less. Where a library has no way to say how tokens are a grid
there is no figure.
"""

import itertools
import logging
from importlib.metadata import version

import numpy as np
import torch
from spots import SHAPES, Shape, centre, positive, spots
from torch import Tensor, nn

from wheretolook.attention.methods import attention_maps
from wheretolook.networks.guide import guide

SIZES = [(224, 224), (375, 500)]
PLACES = [*itertools.product((0.42, 0.58), repeat=2), (0.5, 0.5)]


def main() -> None:
    """Print the table."""
    logging.getLogger("wheretolook").setLevel(logging.ERROR)
    names = ["wheretolook", *(f"{name} {version(name)}" for name in ("grad-cam", "captum", "torchcam"))]
    print(f"torch {version('torch')}, torchvision {version('torchvision')}, timm {version('timm')}\n")
    print(f"| network | height x width | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for name, shape in SHAPES.items():
        network = positive(shape.make())
        for size in SIZES:
            print(f"| {name} | {' | '.join(row(network, shape, size))} |", flush=True)


def row(network: nn.Module, shape: Shape, size: tuple[int, int]) -> list[str]:
    """The size that the network takes, and every library's error for it."""
    height, width = (side // max(shape.patch, 1) * max(shape.patch, 1) for side in size)
    places = [(down * height, across * width) for down, across in PLACES]
    images = spots((height, width), places)
    errors = [f"{height} x {width}"]
    for makes in (ours, grad_cam, captum, torchcam):
        maps = makes(network, shape, images)
        errors.append("-" if maps is None else f"{error(maps, places):.1f}")
    return errors


def error(maps: Tensor, places: list[tuple[float, float]]) -> float:
    """The largest distance, down or across, of a map's centre of mass from its spot."""
    found = torch.tensor([centre(attention) for attention in maps])
    return float((found - torch.tensor(places)).abs().max())


def ours(network: nn.Module, shape: Shape, images: Tensor) -> Tensor | None:
    """As the README has it."""
    output = guide(network, shape.layer, images=images[:1])(images)
    maps: Tensor = attention_maps(output, [0], size=(images.shape[2], images.shape[3]))
    return maps[:, 0].detach()


def grad_cam(network: nn.Module, shape: Shape, images: Tensor) -> Tensor | None:
    """As its documentation has it, with its example's transform where the layer gives tokens."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def grid(tokens: Tensor) -> Tensor:
        shown: Tensor = tokens[:, 1:].transpose(1, 2)
        return torch.unflatten(shown, 2, (images.shape[2] // shape.patch, -1))

    targets = [ClassifierOutputTarget(0)] * len(images)
    layers = [network.get_submodule(shape.layer)]
    with GradCAM(network, layers, reshape_transform=grid if shape.patch else None) as cam:
        return torch.as_tensor(np.asarray(cam(images, targets=targets)))


def captum(network: nn.Module, shape: Shape, images: Tensor) -> Tensor | None:
    """As its documentation has it, interpolated bilinearly (its default is the nearest cell)."""
    from captum.attr import LayerAttribution, LayerGradCam

    if shape.patch:
        return None
    maps = LayerGradCam(network, network.get_submodule(shape.layer)).attribute(images, 0, relu_attributions=True)
    stretched: Tensor = LayerAttribution.interpolate(maps, tuple(images.shape[2:]), "bilinear")
    return stretched[:, 0].detach()


def torchcam(network: nn.Module, shape: Shape, images: Tensor) -> Tensor | None:
    """As its documentation has it; stretched as its `overlay_mask` does, by Pillow's bicubic."""
    from PIL import Image
    from torchcam.methods import GradCAM

    if shape.patch:
        return None
    with GradCAM(network, shape.layer) as extract:
        maps = extract(0, network(images))[0].detach()
    size = (images.shape[3], images.shape[2])
    stretched = [Image.fromarray(one.numpy()).resize(size, Image.Resampling.BICUBIC) for one in maps]
    return torch.from_numpy(np.stack([np.asarray(one) for one in stretched])).clamp(min=0)


if __name__ == "__main__":
    main()
