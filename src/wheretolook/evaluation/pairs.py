"""One record for each (image, class) pair: what a network says of a class that an image shows, and where it looks."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from wheretolook.errors import naming
from wheretolook.evaluation.maps import other_looks, shown_maps
from wheretolook.metrics.attention import (
    PairFigure,
    energy_chance,
    energy_inside,
    grid_ceiling,
    iou_at,
    pointing_hit,
    precision_at,
    recall_at,
)
from wheretolook.networks.modes import evaluation_mode
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, shows_object, side_lengths

SHARE = 0.2  # of a map's maximum: what is attended, for IoU, recall and precision
BORDER = 0.1  # of the shorter side: how wide the border is
ON_OBJECT: dict[str, PairFigure] = {
    "energy": energy_inside,
    "chance": lambda maps, target, valid: energy_chance(target, valid),
    "iou": lambda maps, target, valid: iou_at(maps, target, valid, SHARE),
    "recall": recall_at,
    "precision": precision_at,
    "pointing": pointing_hit,
}


class PairFigures(NamedTuple):
    """A class that an image shows, as one network sees it.

    Where nobody said where the object is, the figures that ask for it are NaN.
    """

    name: str  # of the image
    class_index: int
    class_name: str
    group: str
    score: float  # the class's logit
    probability: float  # of a softmax where every image shows one class, else of a sigmoid
    right: bool  # the class has the highest score where every image shows one, else a score above 0
    predicted: str  # the class of the highest score
    empty: bool  # the map is zero everywhere
    border: float  # share of the map's energy near the edges of the image; 0 of an empty map
    border_chance: float  # that of a uniform map
    energy: float  # share of the map's energy on the object
    border_beside: float  # share of the map's energy near the edges of the image and not on the object
    chance: float  # that of a uniform map: the object's share of the image
    ceiling: float  # that of a perfect map on the network's grid of features
    iou: float  # of the object and what is attended, at 20 % of the map's maximum
    recall: float  # share of the object that is attended
    precision: float  # share of what is attended that lies on the object
    pointing: float  # 1 where the map's maximum lies on the object

    @property
    def annotated(self) -> bool:
        """Whether it is known where the object is."""
        return not math.isnan(self.energy)


class Seen(NamedTuple):
    """A batch, what a network gave for it, and its maps of every present class."""

    batch: Batch
    images: Float[Tensor, "batch 3 height width"]  # the network's input
    output: GuidedOutput
    maps: Float[Tensor, "pairs height width"]  # after their ReLU, not normalised


def seen_batches(
    network: GuidedNetwork, batches: Iterable[Batch], *, flip: bool = False, scales: Sequence[float] = ()
) -> Iterator[Seen]:
    """Run a network over batches, in evaluation mode, which ends with the last one.

    Args:
        network: any guided network; left as it was.
        batches: images with what is known of them.
        flip: maps are means of the image's and of the mirrored image's, mirrored back.
        scales: maps are means of those of the image in these sizes as well, of its sides; 1 is its own.
    """
    device = next(network.parameters()).device
    for batch in batches:
        batch = move_data_to_device(batch, device)
        with evaluation_mode(network), torch.inference_mode(), naming(batch.names):
            images = network.preprocessing(batch.images)
            output = network(images)
            others = other_looks(network, images, flip=flip, scales=scales)
            maps = shown_maps(output, batch.pairs, side_lengths(batch.masks), network.attention, others).float()
        yield Seen(batch, images, output, maps)


def measure_pairs(network: GuidedNetwork, batches: Iterable[Batch], *, flip: bool = False) -> list[PairFigures]:
    """Measure every class that every image shows, one record each, in the order of the batches.

    Their means are the figures of `evaluate`: `energy` over annotated pairs is energy pointing, `iou` is attention IoU
    at 20 %, `recall`, `precision` and `pointing` are theirs, and `right`, where every image shows one class, is image
    accuracy.

    Args:
        network: any guided network; left as it was.
        batches: images with what is known of them.
        flip: maps are means of the image's and of the mirrored image's, mirrored back.
    """
    return [pair for seen in seen_batches(network, batches, flip=flip) for pair in batch_pairs(network, seen)]


def batch_pairs(network: GuidedNetwork, seen: Seen) -> list[PairFigures]:
    """The records of one batch.

    Args:
        network: whose classes these are.
        seen: what it gave.
    """
    batch, scores, maps = seen.batch, seen.output.class_scores.detach().float(), seen.maps
    if not len(batch.pairs):
        return []
    images, classes = batch.pairs.T
    annotated = shows_object(batch.targets)
    valid = (batch.targets != VOID) | ~annotated[:, None, None]  # without annotation all pixels of the map count
    border = border_band(side_lengths(maps)).to(maps.device).expand_as(valid)
    target = batch.targets == 1
    perfect = grid_ceiling(target, side_lengths(seen.output.features), seen.output.cells)
    on_object = {name: figure(maps, target, valid) for name, figure in ON_OBJECT.items()}
    on_object["ceiling"] = energy_inside(perfect, target, valid)
    on_object["border_beside"] = energy_inside(maps, border & ~target, valid)
    columns = {
        **said(scores, batch.pairs, batch.exclusive),
        "empty": torch.where(valid, maps, 0).amax(dim=(1, 2)) == 0,
        "border": energy_inside(maps, border, valid),
        "border_chance": energy_chance(border, valid),
        **{name: values.where(annotated, math.nan) for name, values in on_object.items()},
    }
    highest = scores[images].argmax(dim=1).tolist()
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        PairFigures(
            name=batch.names[image],
            class_index=class_index,
            class_name=network.class_names[class_index],
            group=batch.groups[image],
            predicted=network.class_names[predicted],
            **dict(zip(columns, row, strict=True)),
        )
        for image, class_index, predicted, row in zip(images.tolist(), classes.tolist(), highest, rows, strict=True)
    ]


def said(scores: Float[Tensor, "batch classes"], pairs: Int[Tensor, "pairs 2"], exclusive: bool) -> dict[str, Tensor]:
    """What scores say of pairs: `score`, `probability`, and whether that is `right`.

    Args:
        scores: logits.
        pairs: (image, class), of classes that the images show.
        exclusive: every image shows exactly one class, so that the highest score decides.
    """
    images, classes = pairs.T
    score = scores[images, classes]
    chances = scores.softmax(dim=1) if exclusive else scores.sigmoid()
    right = scores.argmax(dim=1)[images] == classes if exclusive else score > 0
    return {"score": score, "probability": chances[images, classes], "right": right}


def border_band(size: tuple[int, int], share: float = BORDER) -> Bool[Tensor, "height width"]:
    """The pixels near the edges of an image.

    Args:
        size: height and width.
        share: how wide the band is, of the shorter side; at least a pixel.

    Example:
        >>> border_band((3, 4)).int().tolist()
        [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    width = max(round(share * min(size)), 1)
    band = torch.ones(size, dtype=torch.bool)
    band[width:-width, width:-width] = False
    return band
