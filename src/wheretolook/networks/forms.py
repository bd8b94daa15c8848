"""What a layer gives out, read as a grid of cells and put together again: channels first or last, or tokens."""

import math
from collections.abc import Iterable
from itertools import product
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.errors import ConfigError

Layout = Literal["channels_first", "channels_last", "tokens"]
Size = tuple[int, int]

MOST_PREFIX_TOKENS = 16  # class, distillation and register tokens; the largest networks have five


class GridForm(NamedTuple):
    """How a layer's output holds its grid.

    Attributes:
        layout: `"channels_first"` (B, K, h, w), `"channels_last"` (B, h, w, K) or `"tokens"` (B, prefix + h w, K).
        prefix: tokens before those of the grid.
        stride: pixels of the image to a cell, down and across; tells the grid of tokens at other image sizes.
    """

    layout: Layout
    prefix: int = 0
    stride: tuple[float, float] = (1.0, 1.0)

    def grid(self, output: Tensor, size: Size) -> Float[Tensor, "batch channels h w"]:
        """The layer's output as a grid, for images of that height and width: a view, in at least single precision.

        Raises:
            ConfigError: no grid of that stride has as many cells as there are tokens.
        """
        if self.layout == "channels_last":
            output = output.permute(0, 3, 1, 2)
        elif self.layout == "tokens":
            cells = output[:, self.prefix :].transpose(1, 2)
            output = cells.unflatten(2, self.token_grid(cells.shape[2], size))
        return output.to(torch.promote_types(output.dtype, torch.float32))

    def rebuilt(self, features: Float[Tensor, "batch channels h w"], output: Tensor) -> Tensor:
        """The very values of `output` as a new tensor, made from the grid, so that gradients pass through the grid."""
        if self.layout == "channels_last":
            features = features.permute(0, 2, 3, 1)
        elif self.layout == "tokens":
            features = features.flatten(2).transpose(1, 2)
            if self.prefix:
                return torch.cat([output[:, : self.prefix], features.to(output.dtype)], dim=1)
        return features.to(output.dtype, copy=True)

    def token_grid(self, tokens: int, size: Size) -> Size:
        """Height and width of the grid that so many tokens make for images of that height and width."""
        sides = (
            {math.floor(pixels / stride), math.ceil(pixels / stride)}
            for pixels, stride in zip(size, self.stride, strict=True)
        )
        for height, width in product(*sides):
            if height * width == tokens:
                return height, width
        raise ConfigError(
            f"expected a token for each {self.stride[1]:g}x{self.stride[0]:g} pixels, got {tokens} for images of "
            f"{size[1]}x{size[0]}; give images whose sides are multiples of a cell"
        )


def fits(grid: Size, size: Size) -> bool:
    """Whether a grid may divide an image of that height and width: the same stride down and across, but for rounding.

    Example:
        >>> fits((7, 7), (224, 224)), fits((7, 9), (224, 288)), fits((512, 7), (224, 224))
        (True, True, False)
    """
    if size[0] == size[1] or grid[0] == grid[1]:
        return grid[0] == grid[1] <= min(size) and (size[0] == size[1] or _strides_meet(grid, size))
    return all(cells <= pixels for cells, pixels in zip(grid, size, strict=True)) and _strides_meet(grid, size)


def _strides_meet(grid: Size, size: Size) -> bool:
    smallest = max(pixels / (cells + 1) for cells, pixels in zip(grid, size, strict=True))
    largest = min(pixels / max(cells - 1, 1e-9) for cells, pixels in zip(grid, size, strict=True))
    return smallest < largest


def form_of(output: Tensor, size: Size, seen: Iterable[Size], module: nn.Module) -> GridForm | None:
    """How a layer's output holds a grid, or None where it holds none.

    Args:
        output: of the layer.
        size: height and width of the images.
        seen: the grids that convolutions before this layer gave: tokens are the cells of one of them.
        module: the layer; what it is made of decides where the shape alone does not.
    """
    if output.ndim == 4:
        return _form_of_map(output, size, module)
    if output.ndim != 3:
        return None
    prefixes = {output.shape[1] - height * width: (height, width) for height, width in seen}
    possible = [prefix for prefix in prefixes if 0 <= prefix <= MOST_PREFIX_TOKENS]
    if not possible:
        return None
    grid = prefixes[min(possible)]
    return GridForm("tokens", min(possible), (size[0] / grid[0], size[1] / grid[1]))


def _form_of_map(output: Tensor, size: Size, module: nn.Module) -> GridForm | None:
    _, first, second, third = output.shape
    channels_first, channels_last = fits((second, third), size), fits((first, second), size)
    if channels_first and channels_last:  # such as 8 channels of 8x8: layers that act on the last axis tell
        widths = {getattr(layer, "out_features", 0) for layer in module.modules()}
        widths |= {getattr(layer, "normalized_shape", (0,))[-1] for layer in module.modules()}
        convolves = any(isinstance(layer, nn.Conv2d) for layer in module.modules())
        channels_first = convolves or third not in widths
    grid = (second, third) if channels_first else (first, second)
    if not (channels_first or channels_last):
        return None
    layout: Layout = "channels_first" if channels_first else "channels_last"
    return GridForm(layout, 0, (size[0] / grid[0], size[1] / grid[1]))
