"""The maps of several layers, made one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wheretolook.cells import onto_grid
from wheretolook.records import GuidedOutput, side_lengths


def each_layer(output: GuidedOutput) -> list[GuidedOutput]:
    """A record for each layer that attention is read from, with that layer alone, in the order in which they run.

    Args:
        output: what the network's forward gave.

    Example:
        >>> from wheretolook.records import LayerGrid
        >>> fine, coarse = torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 4, 4)
        >>> output = GuidedOutput(torch.zeros(1, 2), fine, layers=(LayerGrid(fine), LayerGrid(coarse)))
        >>> [tuple(layer.features.shape) for layer in each_layer(output)]
        [(1, 4, 8, 8), (1, 6, 4, 4)]
    """
    alone = output._replace(layers=())
    return [alone._replace(features=grid.features, cells=grid.cells) for grid in output.layers] or [alone]


def fused(maps: Sequence[Float[Tensor, "pairs _ _"]], output: GuidedOutput) -> Float[Tensor, "pairs h w"]:
    """Signed maps of each layer, as one map on the finest layer's grid; those of one layer are left as they are.

        F = fuse of relu(A_l) / max A_l,    fuse the mean over the layers l, or their maximum cell by cell

    each read where the finest layer's cells lie. Where no layer is above 0, F is what they say against the class: minus
    the fuse of relu(-A_l) / max(-A_l); so the ReLU of F is the fused ReLUs. The extremes are differentiated along: to
    make one layer's map smaller as a whole gains nothing.

    Args:
        maps: of each layer of `each_layer`, before their ReLU.
        output: the record; its `fusion` says how.

    Source: this project. LayerCAM (Jiang et al., IEEE TIP 30, 2021) takes the maximum too, of maps that it scales by
    tanh(2 A / max A) for shallow layers; pytorch-grad-cam takes the mean of maps scaled to [0, 1].

    Example:
        >>> one, other = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[1.0, 3.0]]])
        >>> from wheretolook.records import LayerGrid
        >>> output = GuidedOutput(torch.zeros(1, 1), one[None], layers=(LayerGrid(one[None]), LayerGrid(other[None])))
        >>> fused([one, other], output)
        tensor([[[0.6667, 0.5000]]])
    """
    if not output.layers:
        return maps[0]
    speaks_for = _fuse([layer.relu() for layer in maps], output)
    against = _fuse([(-layer).relu() for layer in maps], output)
    return torch.where(speaks_for > 0, speaks_for, -against)


def _fuse(maps: Sequence[Tensor], output: GuidedOutput) -> Tensor:
    grid = side_lengths(output.features)
    here = [
        onto_grid(_by_maximum(layer), grid, own.cells, output.cells)
        for layer, own in zip(maps, output.layers, strict=True)
    ]
    stacked = torch.stack(here)
    return stacked.mean(dim=0) if output.fusion == "mean" else stacked.amax(dim=0)


def _by_maximum(maps: Tensor, eps: float = 1e-30) -> Tensor:
    high = maps.flatten(1).amax(dim=1)[:, None, None]
    return maps / torch.where(high > eps, high, 1.0)
