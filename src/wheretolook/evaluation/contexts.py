"""What attracts attention beside the object in image after image: the same place, or patches that look alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wheretolook.cells import averaged, standard_cells
from wheretolook.evaluation.pairs import Seen
from wheretolook.records import Cells, shows_object, side_lengths

PLACES = 12  # rows and columns of the places that are compared between images
TOP = 0.1  # of the places: the most attended ones
ON_OBJECT = 0.25  # a cell with so much of the object in it is not beside it
CLUSTERS = 4
LEAST_LIKENESS = 0.5  # cosine to a cluster's centre: of less, a patch is not of its kind
ROUNDS = 20
WORDS = (("top left", "top", "top right"), ("left", "middle", "right"), ("bottom left", "bottom", "bottom right"))


class Patch(NamedTuple):
    """The most attended cell of a map, beside the object where that is known."""

    name: str  # of the image
    class_index: int
    share: float  # of the map's energy in that cell
    box: tuple[int, int, int, int]  # left, top, right, bottom, in pixels
    column: Float[Tensor, " channels"]  # its features


@dataclass(frozen=True)
class Context:
    """Patches that many images of a class share.

    Args:
        images: how many images have a patch of this kind.
        share: those of the class's images.
        likeness: mean cosine of their features to their mean, once the mean of all patches is taken away.
        patches: the most typical first.
    """

    images: int
    share: float
    likeness: float
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class Places:
    """Where in the image attention beside the object lies, over the images of a class.

    Args:
        over_chance: its energy in the most attended tenth of all places, over that of a uniform map; 1 for no place.
        where: the middle of that tenth, in words.
    """

    over_chance: float
    where: str


def beside(seen: Seen) -> Bool[Tensor, "pairs height width"]:
    """The pixels that are not the class's object, as far as that is known; all of them where nothing is.

    Args:
        seen: a batch and what a network gave for it.
    """
    annotated = shows_object(seen.batch.targets)[:, None, None]
    return (seen.batch.targets == 0) | ~annotated


def place_energies(seen: Seen) -> Float[Tensor, "pairs rows columns"]:
    """How each map's energy beside the object is spread over a grid of places, the same for every size of image.

    Args:
        seen: a batch and what a network gave for it.

    Returns:
        Shares of each map's energy; their sum is that beside the object, 0 of an empty map.
    """
    total = seen.maps.sum(dim=(1, 2), keepdim=True)
    shares = seen.maps * beside(seen) / torch.where(total == 0, 1, total)
    height, width = side_lengths(shares)
    grid = min(PLACES, height), min(PLACES, width)
    pooled = F.adaptive_avg_pool2d(shares, grid)
    return F.interpolate(pooled[:, None], size=(PLACES, PLACES), mode="nearest")[:, 0] * height * width / PLACES**2


def places(mean: Float[Tensor, "rows columns"]) -> Places:
    """What the mean of a class's `place_energies` says.

    Args:
        mean: over its images.
    """
    total = float(mean.sum())
    count = max(round(TOP * mean.numel()), 1)
    top = mean.flatten().topk(count)
    if total == 0:
        return Places(1.0, "nowhere")
    weights = top.values / top.values.sum()
    row = float((top.indices // mean.shape[1] * weights).sum()) / (mean.shape[0] - 1)
    column = float((top.indices % mean.shape[1] * weights).sum()) / (mean.shape[1] - 1)
    over_chance = float(top.values.sum()) / total / (count / mean.numel())
    return Places(over_chance, WORDS[_third(row)][_third(column)])


def _third(share: float) -> int:
    return min(int(3 * share), 2)


def patches(seen: Seen) -> list[Patch]:
    """The most attended cell of each map that is not empty, beside the object where that is known.

    Args:
        seen: a batch and what a network gave for it.
    """
    size, grid = side_lengths(seen.maps), side_lengths(seen.output.features)
    cells = seen.output.cells or standard_cells(size, grid)
    energy = averaged(seen.maps, grid, cells)
    known = shows_object(seen.batch.targets)
    object_share = averaged((seen.batch.targets == 1).float() * known[:, None, None], grid, cells)
    free = torch.where(object_share < ON_OBJECT, energy, 0).flatten(1)
    total = energy.sum(dim=(1, 2))
    found = []
    for pair, (image, class_index) in enumerate(seen.batch.pairs.tolist()):
        best = int(free[pair].argmax())
        if float(free[pair, best]) <= 0:
            continue
        row, column = divmod(best, grid[1])
        found.append(
            Patch(
                name=seen.batch.names[image],
                class_index=class_index,
                share=float(free[pair, best] / total[pair]),
                box=_box(row, column, size, cells),
                column=seen.output.features[image, :, row, column].detach().float().cpu(),
            )
        )
    return found


def _box(row: int, column: int, size: tuple[int, int], cells: Cells) -> tuple[int, int, int, int]:
    """The pixels around a cell, twice its stride wide and no less than a sixth of the image."""
    ends = []
    for place, side, stride, offset in ((column, size[1], *_of(cells, 1)), (row, size[0], *_of(cells, 0))):
        half = min(max(stride, side / 12), side / 2)
        centre = min(max(offset + place * stride, half), side - half)
        ends.append((int(centre - half), max(int(centre + half), 1)))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def _of(cells: Cells, axis: int) -> tuple[float, float]:
    return cells.stride[axis], cells.offset[axis]


def contexts(found: Sequence[Patch], mean: Float[Tensor, " channels"], images: int) -> list[Context]:
    """Clusters of a class's patches by the network's own features, those that most images share first.

    Args:
        found: the class's patches, at most one an image.
        mean: of the columns of all classes' patches, which is what any patch has in common with any other.
        images: how many the class has.

    Source: spherical k-means, Dhillon and Modha, Machine Learning 2001, started from the patches that are farthest
    apart.
    """
    if not found:
        return []
    columns = F.normalize(torch.stack([patch.column for patch in found]) - mean, dim=1)
    of = clusters(columns, min(CLUSTERS, len(found)))
    result = []
    for cluster in of.unique().tolist():
        members = (of == cluster).nonzero().flatten()
        likeness = columns[members] @ F.normalize(columns[members].mean(dim=0), dim=0)
        typical = [place for place in likeness.argsort(descending=True).tolist() if likeness[place] >= LEAST_LIKENESS]
        if len(typical) > 1:
            chosen = tuple(found[int(members[place])] for place in typical)
            result.append(Context(len(chosen), len(chosen) / images, float(likeness[typical].mean()), chosen))
    return sorted(result, key=lambda context: -context.images)


def clusters(columns: Float[Tensor, "patches channels"], count: int) -> Int[Tensor, " patches"]:
    """The cluster of each column, by spherical k-means.

    Args:
        columns: of length 1.
        count: how many clusters there are at most.

    Example:
        >>> clusters(F.normalize(torch.tensor([[1.0, 0.1], [0.0, 1.0], [1.0, 0.0]]), dim=1), 2).tolist()
        [0, 1, 0]
    """
    chosen = [0]
    for _ in range(1, count):
        nearest = (columns @ columns[chosen].T).amax(dim=1)
        chosen.append(int(nearest.argmin()))
    centres, of = columns[chosen], (columns @ columns[chosen].T).argmax(dim=1)
    for _ in range(ROUNDS):
        sums = torch.zeros_like(centres).index_add(0, of, columns)
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, F.normalize(sums, dim=1), centres)
        again = (columns @ centres.T).argmax(dim=1)
        if torch.equal(again, of):
            break
        of = again
    return of
