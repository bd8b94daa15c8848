"""What a network sees at each place of an image, from fine to coarse: its features of every resolution, stacked."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.errors import ConfigError
from wheretolook.networks.forms import GridForm, Size, form_of
from wheretolook.networks.modes import dry_run, evaluation_mode
from wheretolook.networks.outputs import tensors_in
from wheretolook.records import GuidedNetwork, side_lengths

STRIDE = 4  # pixels from place to place


class Hypercolumns:
    """The last features of each resolution of a network, stretched to one grid.

    Args:
        network: any guided network; it is run in evaluation mode and left as it was.
        images: RGB in [0, 1], to find its layers with.

    Attributes:
        layers: the names of the layers that are stacked, from fine to coarse.

    Raises:
        ConfigError: no layer of the network gives a grid.

    Source: Hariharan et al., "Hypercolumns for Object Segmentation and Fine-grained Localization", CVPR 2015,
    arXiv:1411.5752.
    """

    def __init__(self, network: GuidedNetwork, images: Float[Tensor, "batch 3 height width"]) -> None:
        self.network = network
        self.layers: dict[str, GridForm] = {}
        found: dict[Size, tuple[str, GridForm]] = {}  # the last of each grid
        seen: list[Size] = []
        size = side_lengths(images)

        def ended(name: str, module: nn.Module, output: Tensor) -> None:
            form = form_of(output, size, seen, module) if output.is_floating_point() else None
            if form is None or next(module.parameters(), None) is None:
                return
            grid = side_lengths(form.grid(output, size))
            if form.layout != "tokens":
                seen.append(grid)
            if min(grid) >= 2:
                found.pop(grid, None)
                found[grid] = name, form

        self._run(images, dict(network.named_modules()), ended)
        if not found:
            raise ConfigError("expected a network with grids of features, got none; give larger images")
        self.layers = dict(found[grid] for grid in sorted(found, reverse=True))

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """The columns of images, at one place for every four pixels.

        Args:
            images: RGB in [0, 1].
        """
        size = side_lengths(images)
        places = tuple(-(-side // STRIDE) for side in size)
        features: dict[str, Tensor] = {}

        def ended(name: str, _: nn.Module, output: Tensor) -> None:
            grid = self.layers[name].grid(output, size)
            features[name] = F.interpolate(grid.float(), size=places, mode="bilinear", align_corners=False)

        modules = dict(self.network.named_modules())
        self._run(images, {name: modules[name] for name in self.layers}, ended)
        return torch.cat([features[name] for name in self.layers], dim=1)

    @torch.no_grad()
    def _run(self, images: Tensor, modules: dict[str, nn.Module], ended: Any) -> None:
        def teller(name: str) -> Any:
            def hook(module: nn.Module, _: Any, result: Any) -> None:
                output = next(tensors_in(result), None)
                if not dry_run() and output is not None and output.shape[:1] == images.shape[:1]:
                    ended(name, module, output)

            return hook

        handles = [module.register_forward_hook(teller(name)) for name, module in modules.items()]
        try:
            with evaluation_mode(self.network):
                self.network(self.network.preprocessing(images), segment=False)
        finally:
            for handle in handles:
                handle.remove()
