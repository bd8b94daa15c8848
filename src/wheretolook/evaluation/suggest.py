"""Which images to annotate next: those that teach most about where to look, class by class.

The class with the fewest images that are annotated or suggested has the next one, by one of three rules. What a network
attends to is compared between images by the features there: the mean of its attention layer's columns, weighed by the
map.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wheretolook.attention.methods import pair_maps
from wheretolook.data.dataset import ImageDataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.errors import ConfigError, DataError, naming
from wheretolook.evaluation.maps import shown_maps
from wheretolook.metrics.attention import energy_inside
from wheretolook.networks.modes import evaluation_mode
from wheretolook.options.commands import SuggestRule
from wheretolook.records import VOID, Batch, GuidedNetwork, shows_object, side_lengths

NEIGHBOURS = 5  # images of a class with which one is compared
ROWS = 1024  # that are compared at a time
BATCH = 8  # images a forward, where no batches are given
THIRDS = (
    ("at the top left", "at the top", "at the top right"),
    ("at the left", "in the middle", "at the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


class Suggestion(NamedTuple):
    """One image to annotate next."""

    name: str
    number: int  # of the image in its data set
    class_index: int  # of the class that it is suggested for
    reason: str  # in words
    score: float  # how much the rule wants it, in [0, 1]; 0 where it is drawn at random


class Looks(NamedTuple):
    """What a network says of (image, class) pairs, a row each: the classes are those that the images show."""

    images: Int[Tensor, " pairs"]
    classes: Int[Tensor, " pairs"]
    sure: Float[Tensor, " pairs"]  # the class's probability
    beside: Float[Tensor, " pairs"]  # share of the map's energy beside the object; NaN where nobody knows where it is
    places: Float[Tensor, "pairs 2"]  # where the map is largest, down and across, in [0, 1); NaN of an empty one
    attended: Float[Tensor, "pairs channels"]  # mean column of features, weighed by the map
    pooled: Float[Tensor, "pairs channels"]  # mean column of features


# of the rows of one class, those that may be chosen and those that are taken: one of the first, how much it is wanted
Pick = Callable[[Tensor, Tensor], tuple[int, float]]


def suggest(
    network: GuidedNetwork,
    dataset: ImageDataset,
    count: int = 25,
    rule: SuggestRule = "confident_elsewhere",
    seed: int = 0,
    *,
    batches: Iterable[Batch] | None = None,
) -> list[Suggestion]:
    """The images to annotate next, the most wanted of each class first.

    Args:
        network: a trained guided network; left as it was.
        dataset: images with labels; those that are annotated already are not suggested.
        count: how many; all where there are fewer.
        rule: `"confident_elsewhere"`: the network is sure of the class, with its attention beside the object (where
            `data.propagated` says where that probably is) or on something that recurs in other images of the class;
            and it attends to something else than in those that are taken. `"diverse"`: images unlike those that are
            taken, drawn with a chance that grows with the square of the distance. `"random"`: drawn evenly.
        seed: of what is drawn.
        batches: all images of the data set, each once, for a bar that shows how many have passed; None loads them.

    Raises:
        ConfigError: a count below 1.
        DataError: no image has a class, or all that have one are annotated.

    Source: `"diverse"` draws as k-means++ does (Arthur and Vassilvitskii, 2007; BADGE, arXiv:1906.03671, for active
    learning), starting from what is annotated as the core set of arXiv:1708.00489 does. That few annotations should
    begin with what is typical, not with what is unusual: arXiv:2202.02794.
    """
    if count < 1:
        raise ConfigError(f"expected at least 1 image to suggest, got {count}")
    annotated = frozenset(index for index in range(len(dataset)) if dataset.is_annotated(index))
    if len(annotated) == len(dataset):
        raise DataError(
            f"expected an image that is not annotated yet, got {len(annotated)} that all are; data.annotated FILE or "
            "data.annotated_fraction 0 says whose annotation is used"
        )
    looks = look(network, dataset.names, evaluation_loader(dataset, BATCH, 0) if batches is None else batches)
    free = torch.tensor([index not in annotated for index in looks.images.tolist()], dtype=torch.bool)
    if not free.any():
        raise DataError("expected an image with a class that is not annotated yet, got none; label images first")
    picks = {"confident_elsewhere": _confident, "diverse": _diverse, "random": _random}
    chosen = in_turn(looks, free, count, picks[rule](looks, seed))
    names = [network.class_names[int(looks.classes[row])] for row, _ in chosen]
    return [
        Suggestion(
            dataset.names[int(looks.images[row])],
            int(looks.images[row]),
            int(looks.classes[row]),
            _reason(rule, looks, row, name, score),
            score,
        )
        for (row, score), name in zip(chosen, names, strict=True)
    ]


def look(network: GuidedNetwork, names: tuple[str, ...], batches: Iterable[Batch]) -> Looks:
    """What a network says of every class of every image.

    Args:
        network: any guided network; left as it was.
        names: of the images, in the order of their numbers.
        batches: the images, in any order.
    """
    numbers = {name: number for number, name in enumerate(names)}
    device = next(network.parameters()).device
    found = []
    for batch in batches:
        with evaluation_mode(network), torch.inference_mode(), naming(batch.names):
            rows = _look_at(network, batch, batch.images.to(device))
        images = torch.tensor([numbers[name] for name in batch.names])[batch.pairs[:, 0]]
        found.append(rows._replace(images=images))
    rows = Looks(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    order = rows.images.argsort(stable=True)
    return Looks(*(part[order] for part in rows))


def _look_at(network: GuidedNetwork, batch: Batch, images: Tensor) -> Looks:
    """What it says of one batch; the numbers of the images are those in the batch."""
    output = network(network.preprocessing(images), segment=False)
    pairs = batch.pairs.to(images.device)
    of, classes = pairs.unbind(dim=1)
    scores = output.class_scores.softmax(dim=1) if batch.exclusive else output.class_scores.sigmoid()
    maps = pair_maps(output, pairs, method=network.attention).float()
    weights = maps + (maps.sum(dim=(1, 2), keepdim=True) == 0)  # an empty map looks at everything alike
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    features = output.features.float()
    attended = torch.einsum("pchw,phw->pc", features[of], weights)
    targets = batch.targets.to(images.device)
    full = shown_maps(output, pairs, side_lengths(batch.masks), network.attention).float()
    inside = energy_inside(full, targets == 1, targets != VOID)
    beside = (1 - inside).where(shows_object(targets), math.nan)
    found = Looks(of, classes, scores[of, classes], beside, _peaks(full), attended, features.mean(dim=(2, 3))[of])
    return Looks(*(part.cpu() for part in found))


def _peaks(maps: Float[Tensor, "pairs height width"]) -> Float[Tensor, "pairs 2"]:
    """Where each map is largest, down and across in [0, 1); NaN of an empty one."""
    height, width = side_lengths(maps)
    largest, at = maps.flatten(1).max(dim=1) if len(maps) else (maps.new_zeros(0), maps.new_zeros(0))
    peaks = torch.stack([at // width / height, at % width / width], dim=1)
    return peaks.where(largest[:, None] > 0, math.nan)


def in_turn(looks: Looks, free: Bool[Tensor, " pairs"], count: int, pick: Pick) -> list[tuple[int, float]]:
    """Rows of images and how much they are wanted: each time the class with the fewest images has the next one.

    Args:
        looks: a row for each class of each image, in the order of the images.
        free: the rows of the images that may be chosen; those of the others are taken from the start.
        count: how many images.
        pick: chooses a row of the class whose turn it is.
    """
    free, taken = free.clone(), ~free
    have = Counter(looks.classes[taken].tolist())
    chosen: list[tuple[int, float]] = []
    while len(chosen) < count and free.any():
        turn = min(looks.classes[free].unique().tolist(), key=lambda index: (have[index], index))
        of_class = looks.classes == turn
        row, score = pick((free & of_class).nonzero().flatten(), (taken & of_class).nonzero().flatten())
        same = looks.images == looks.images[row]  # the image is chosen with all that it shows
        free, taken = free & ~same, taken | same
        have.update(looks.classes[same].tolist())
        chosen.append((row, score))
    return chosen


def likeness(columns: Float[Tensor, "pairs channels"]) -> Float[Tensor, "pairs channels"]:
    """Columns whose inner products are cosines, after what all have in common is taken away."""
    return F.normalize(columns - columns.mean(dim=0), dim=1)


def recurrence(looks: Looks) -> Float[Tensor, " pairs"]:
    """How much what is attended to is found again: the mean cosine to the nearest other images of the class.

    Returns:
        In [0, 1]; 0 for the only image of a class.
    """
    units, found = likeness(looks.attended), torch.zeros(len(looks.images))
    for index in looks.classes.unique():
        (rows,) = (looks.classes == index).nonzero(as_tuple=True)
        for some in rows.split(ROWS) if len(rows) > 1 else ():
            cosines = (units[some] @ units[rows].T).masked_fill(some[:, None] == rows, -math.inf)
            found[some] = cosines.topk(min(NEIGHBOURS, len(rows) - 1), dim=1).values.mean(dim=1)
    return found.clamp(0, 1)


def _distances(units: Tensor, free: Tensor, taken: Tensor) -> Float[Tensor, " free"]:
    """From each free row to the nearest that is taken, from 0 to 1: half of 1 - cosine; 1 where none is taken."""
    if not len(taken):
        return torch.ones(len(free))
    return ((1 - (units[free] @ units[taken].T).amax(dim=1)) / 2).clamp(0, 1)


def _confident(looks: Looks, seed: int) -> Pick:
    wanted = looks.sure * looks.beside.where(looks.beside.isfinite(), recurrence(looks))
    units = likeness(looks.attended)

    def pick(free: Tensor, taken: Tensor) -> tuple[int, float]:
        best = int((wanted[free] * _distances(units, free, taken)).argmax())
        return int(free[best]), float(wanted[free[best]])

    return pick


def _diverse(looks: Looks, seed: int) -> Pick:
    units, random = likeness(looks.pooled), torch.Generator().manual_seed(seed)

    def pick(free: Tensor, taken: Tensor) -> tuple[int, float]:
        if not len(taken):  # the first is the most typical one
            middle = F.normalize(units[free].mean(dim=0), dim=0)
            return int(free[int((units[free] @ middle).argmax())]), 1.0
        distances = _distances(units, free, taken)  # of unit columns half of 1 - cosine is a quarter of the square
        drawn = int(torch.multinomial(distances + 1e-9, 1, generator=random))
        return int(free[drawn]), float(distances[drawn])

    return pick


def _random(looks: Looks, seed: int) -> Pick:
    place = torch.randperm(len(looks.images), generator=torch.Generator().manual_seed(seed))

    def pick(free: Tensor, taken: Tensor) -> tuple[int, float]:
        return int(free[int(place[free].argmin())]), 0.0

    return pick


def _reason(rule: SuggestRule, looks: Looks, row: int, name: str, score: float) -> str:
    """Why an image is suggested, in words."""
    if rule == "random":
        return f"drawn at random of the images of {name}"
    if rule == "diverse":
        first = score == 1.0
        return (
            f"the most typical image of {name}"
            if first
            else (f"unlike the images of {name} that are annotated or listed before (distance {score:.2f} of 1)")
        )
    sure, beside = f"{100 * looks.sure[row]:.0f} % sure of {name}", float(looks.beside[row])
    if looks.places[row].isnan().any():
        return f"{sure}, with an empty map"
    down, across = (min(2, int(3 * place)) for place in looks.places[row].tolist())
    where = THIRDS[down][across]
    if math.isnan(beside):
        return f"{sure}; what it attends to, {where}, recurs in other images of {name}"
    return f"{sure}; {100 * beside:.0f} % of its attention is beside the object, most {where}"
