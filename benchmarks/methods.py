"""Attention methods beside those of grad-cam, captum and torchcam: the same network, layer and classes.

    .venv/bin/python benchmarks/methods.py

A ResNet18 of random weights at its last layer, where the scores are linear in the features, and at the layer before,
where they are not; four images, one class each. "differs by" is the largest difference of two maps, of which each is
brought to [0, 1] by its own extremes, at feature resolution; "time" is the time that the package takes for a forward
and its maps over the time that ours take, the median of pairs taken in turn. Methods that a package lacks have no row.
Grad-CAM++ differs, and why is known: grad-cam adds 1e-6 to a denominator of about that size, and torchcam's weights
are the sum of relu(g) g^2, as its division works on a copy. The methods on pixels have rows of their own, signed, at
the image's resolution; captum takes the mean of gradients at the same 32 places.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from speed import paired
from torch import Tensor, nn

from wheretolook.attention.maps import normalised
from wheretolook.attention.methods import attention_maps
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.options.objective import Method

LAYERS = ("layer4", "layer3")
CLASSES = (3, 1, 4, 1)
GRAD_CAM = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "xgrad_cam": "XGradCAM",
}
ON_PIXELS: dict[Method, str] = {"input_x_gradient": "InputXGradient", "integrated_gradients": "IntegratedGradients"}
CAPTUM = {"grad_cam": "LayerGradCam", "hires_cam": "LayerGradientXActivation"}
TORCHCAM = {
    "cam": "CAM",
    "grad_cam": "GradCAM",
    "layer_cam": "LayerCAM",
    "grad_cam_plus_plus": "GradCAMpp",
    "xgrad_cam": "XGradCAM",
}
Maps = Callable[[], Tensor]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row; at least 3 pairs are timed")
    seconds: float = parser.parse_args().seconds
    logging.getLogger("wheretolook").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # of hooks that the packages leave on the network
    print("| layer | method | package | differs by | time |\n|---|---|---|---|---|", flush=True)
    for row in rows(make_network(), seconds):
        print(row, flush=True)


def make_network() -> nn.Module:
    """A ResNet18 of random weights whose layers vary from image to image."""
    import torchvision

    torch.manual_seed(0)
    network: nn.Module = torchvision.models.resnet18(weights=None, num_classes=10)
    return network.eval()


def rows(network: nn.Module, seconds: float, side: int = 224) -> Iterator[str]:
    """A line for each layer, method and package that has it."""
    images = torch.randn(len(CLASSES), 3, side, side, generator=torch.Generator().manual_seed(0))
    for layer in LAYERS:
        guided = guide(network, layer, images=images[:1])
        for package, (names, theirs) in PACKAGES.items():
            for method, name in names.items():
                if method == "cam" and layer != LAYERS[0]:
                    continue  # it is of the last layer only
                other, ours = theirs(network, layer, images, name), partial(_ours, guided, images, method)
                start = f"| {layer} | {method} | {package} {version(package)}"
                yield f"{start} | {differs(ours(), other()):.1e} | {paired(other, ours, seconds):.2f} |"
    guided = guide(network, images=images[:1])
    for method, name in ON_PIXELS.items():
        other, ours = captum_on_pixels(network, images, name), partial(_ours_on_pixels, guided, images, method)
        difference = float((ours() - other()).abs().max() / other().abs().max())
        start = f"| pixels | {method} | captum {version('captum')}"
        yield f"{start} | {difference:.1e} | {paired(other, ours, seconds):.2f} |"


def differs(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of maps that each are brought to [0, 1]."""
    found, expected = (normalised(maps.detach().float().relu()) for maps in (ours, theirs))
    return float((found - expected).abs().max())


def _ours(guided: nn.Module, images: Tensor, method: str) -> Tensor:
    maps: Tensor = attention_maps(guided(images), torch.tensor(CLASSES), method=method)  # type: ignore[arg-type]
    return maps


def _ours_on_pixels(guided: GuidedModule, images: Tensor, method: Method) -> Tensor:
    guided.attention = method
    maps: Tensor = attention_maps(guided(images), torch.tensor(CLASSES), method=method, signed=True)
    return maps.detach()


def captum_on_pixels(network: nn.Module, images: Tensor, name: str) -> Maps:
    """Attributions of the image's pixels by captum, summed over colours."""
    import captum.attr

    made = getattr(captum.attr, name)(network)
    more = {"n_steps": 32, "method": "riemann_middle"} if name == "IntegratedGradients" else {}

    def maps() -> Tensor:
        found: Tensor = made.attribute(images.clone().requires_grad_(), target=torch.tensor(CLASSES), **more)
        return found.sum(dim=1).detach()

    return maps


def grad_cam(network: nn.Module, layer: str, images: Tensor, name: str) -> Maps:
    """A forward and maps by grad-cam, not stretched."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(index) for index in CLASSES]
    size = guide(network, layer, images=images[:1])(images).features.shape[2:]

    def maps() -> Tensor:
        with getattr(pytorch_grad_cam, name)(network, [network.get_submodule(layer)]) as made:
            made.get_target_width_height = lambda _: (size[1], size[0])
            return torch.as_tensor(np.asarray(made(images, targets=targets)))

    return maps


def captum(network: nn.Module, layer: str, images: Tensor, name: str) -> Maps:
    """A forward and maps by captum."""
    import captum.attr

    made = getattr(captum.attr, name)(network, network.get_submodule(layer))

    def maps() -> Tensor:
        found: Tensor = made.attribute(images, torch.tensor(CLASSES))
        return found.sum(dim=1)  # over channels, where it leaves them apart

    return maps


def torchcam(network: nn.Module, layer: str, images: Tensor, name: str) -> Maps:
    """A forward and maps by torchcam."""
    import torchcam.methods

    further = ("fc",) if name == "CAM" else ()

    def maps() -> Tensor:
        with getattr(torchcam.methods, name)(network, layer, *further) as made:
            found: Tensor = made(list(CLASSES), network(images), normalized=False)[0]
        return found

    return maps


PACKAGES = {"grad-cam": (GRAD_CAM, grad_cam), "captum": (CAPTUM, captum), "torchcam": (TORCHCAM, torchcam)}


if __name__ == "__main__":
    main()
