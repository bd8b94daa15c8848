"""Does what surrounds an object matter? What the network says once object or background is erased or exchanged."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.data.annotated import boxed
from wheretolook.data.dataset import ImageDataset
from wheretolook.data.shortcuts import drawn_class, injected
from wheretolook.evaluation.pairs import said
from wheretolook.networks.modes import evaluation_mode
from wheretolook.options.commands import Shortcut
from wheretolook.records import Batch, GuidedNetwork, Preprocessing, Sample, shows_object, side_lengths, where_objects

CHANGES = ("as_it_is", "object_erased", "background_erased", "own_background", "other_background", "marked")
LEAST_BACKGROUND = 0.1  # of an image: less is no background to lend


class Wanted(NamedTuple):
    """A class in an image, of a data set, that is looked at."""

    image: int
    class_index: int


class Trial(NamedTuple):
    """What the network says of a class in an image, for each change of that image that could be made."""

    name: str
    class_index: int
    right: dict[str, bool]
    probability: dict[str, float]
    lent: tuple[int, ...]  # the classes of the image that lent its background
    predicted: int | None  # in front of that background


@dataclass(frozen=True)
class Lenders:
    """The images that can lend their background: all their objects are annotated, and enough is left beside them.

    Args:
        classes: of each of them, by the number of the image.
    """

    classes: Mapping[int, frozenset[int]]

    def draw(self, wanted: Wanted, own: bool, random: np.random.Generator) -> int | None:
        """The number of another image that shows the class, or of one that shows others only; None for none.

        Args:
            wanted: the class, and the image that shows it.
            own: whether it shows the class.
            random: what is drawn from.
        """
        fitting = [
            image
            for image, classes in self.classes.items()
            if classes and image != wanted.image and (wanted.class_index in classes) == own
        ]
        return fitting[int(random.integers(len(fitting)))] if fitting else None


def lending(batch: Batch) -> Bool[Tensor, " batch"]:
    """Which images can lend their background.

    Args:
        batch: images with what is known of them.
    """
    images = batch.pairs[:, 0]
    silent = images[~shows_object(batch.targets)].bincount(minlength=len(batch.images))
    objects = where_objects(batch.targets, images, len(batch.images))
    return (silent == 0) & ((~objects).float().mean(dim=(1, 2)) >= LEAST_BACKGROUND)


def objects_of(sample: Sample) -> Bool[Tensor, "height width"]:
    """Where an image shows an object or may show one."""
    return where_objects(sample.targets, torch.zeros(len(sample.targets), dtype=torch.long), 1)[0]


def tried(
    network: GuidedNetwork,
    dataset: ImageDataset,
    wanted: Sequence[Wanted],
    lenders: Lenders,
    *,
    mark: Shortcut = "tag",
    batch_size: int = 8,
    seed: int = 0,
) -> Iterator[Trial]:
    """Change images and say what the network says of them.

    Erased objects are the box around them in the mean colour of their background, so that the hole has not their shape;
    an erased background is the mean colour. A background that is lent has the mean colour of itself where that
    image's objects are.

    Args:
        network: any guided network; left as it was.
        dataset: the images.
        wanted: which classes of which images; each is annotated.
        lenders: who lends backgrounds.
        mark: of another class, put into the image.
        batch_size: most images a forward.
        seed: of what is drawn.

    Source: Xiao et al., arXiv:2006.09994 ("Noise or Signal"): Only-BG-B, Only-FG, Mixed-Same and Mixed-Rand.
    """
    by_size: dict[tuple[int, int], list[Wanted]] = {}
    for one in wanted:
        by_size.setdefault(dataset.size(one.image), []).append(one)
    for group in by_size.values():
        for start in range(0, len(group), batch_size):
            yield from _tried(network, dataset, group[start : start + batch_size], lenders, mark, seed)


def _tried(
    network: GuidedNetwork, dataset: ImageDataset, wanted: Sequence[Wanted], lenders: Lenders, mark: Shortcut, seed: int
) -> list[Trial]:
    found = [_Changed.of(dataset, one, lenders, network.preprocessing, mark, seed) for one in wanted]
    trials = [
        Trial(one.name, pair.class_index, {}, {}, one.lent, None) for one, pair in zip(found, wanted, strict=True)
    ]
    device = next(network.parameters()).device
    for change in CHANGES:
        those = [place for place, one in enumerate(found) if change in one.images]
        if not those:
            continue
        images = torch.stack([found[place].images[change] for place in those]).to(device)
        with evaluation_mode(network), torch.inference_mode():
            scores = network(network.preprocessing(images), segment=False).class_scores.detach().float().cpu()
        pairs = torch.tensor([[row, wanted[place].class_index] for row, place in enumerate(those)])
        told = said(scores, pairs, found[0].exclusive)
        for row, place in enumerate(those):
            trials[place].right[change] = bool(told["right"][row])
            trials[place].probability[change] = float(told["probability"][row])
            if change == "other_background":
                trials[place] = trials[place]._replace(predicted=int(scores[row].argmax()))
    return trials


class _Changed(NamedTuple):
    """An image in all its changes."""

    name: str
    images: dict[str, Float[Tensor, "3 height width"]]
    lent: tuple[int, ...]
    exclusive: bool

    @classmethod
    def of(
        cls,
        dataset: ImageDataset,
        wanted: Wanted,
        lenders: Lenders,
        preprocessing: Preprocessing,
        mark: Shortcut,
        seed: int,
    ) -> "_Changed":
        sample = dataset[wanted.image]
        random = np.random.default_rng((seed, zlib.crc32(f"{sample.name}/{wanted.class_index}".encode())))
        place = int(sample.labels[: wanted.class_index].sum())
        plane = sample.targets[place]
        images = erased(sample.image, plane, mean_colour(preprocessing))
        lent: tuple[int, ...] = ()
        for change, own in (("own_background", True), ("other_background", False)):
            lender = lenders.draw(wanted, own, random)
            if lender is not None:
                images[change] = in_front_of(sample.image, plane != 0, dataset[lender])
                lent = lent if own else tuple(sorted(lenders.classes[lender]))
        marked = _marked(sample, wanted.class_index, mark, random)
        if marked is not None:
            images["marked"] = marked
        return cls(sample.name, {"as_it_is": sample.image, **images}, lent, sample.exclusive)


def erased(
    image: Float[Tensor, "3 height width"], plane: Tensor, colour: Float[Tensor, " 3"]
) -> dict[str, Float[Tensor, "3 height width"]]:
    """The image without its object, and the object without its background.

    Args:
        image: RGB in [0, 1].
        plane: where the object is: 1 there, 0 elsewhere, void where that is not known, which goes with the object.
        colour: of nothing.
    """
    shown = plane != 0
    box = boxed(shown[None].to(torch.uint8))[0] == 1
    return {
        "object_erased": torch.where(box, background_colour(image, ~shown, colour)[:, None, None], image),
        "background_erased": torch.where(shown, image, colour.to(image)[:, None, None]),
    }


def in_front_of(
    image: Float[Tensor, "3 height width"], shown: Bool[Tensor, "height width"], lender: Sample
) -> Float[Tensor, "3 height width"]:
    """An object in front of another image's background, which is stretched to the size of its own.

    Args:
        image: RGB in [0, 1].
        shown: where the object is.
        lender: the other image; where its own objects are it has the mean colour of its background.
    """
    objects = objects_of(lender) if len(lender.targets) else torch.zeros_like(lender.mask, dtype=torch.bool)
    colour = background_colour(lender.image, ~objects, lender.image.new_full((3,), 0.5))
    background = torch.where(objects, colour[:, None, None], lender.image)[None]
    if background.shape[2:] != image.shape[1:]:
        background = F.interpolate(
            background, size=side_lengths(image), mode="bilinear", align_corners=False, antialias=True
        )
    return torch.where(shown, image, background[0])


def background_colour(
    image: Float[Tensor, "3 height width"], where: Bool[Tensor, "height width"], otherwise: Float[Tensor, " 3"]
) -> Float[Tensor, " 3"]:
    """The mean colour of a part of an image.

    Args:
        image: RGB in [0, 1].
        where: the part.
        otherwise: the colour of no part at all.
    """
    return image[:, where].mean(dim=1) if bool(where.any()) else otherwise.to(image)


def mean_colour(preprocessing: Preprocessing) -> Float[Tensor, " 3"]:
    """The RGB colour, in [0, 1], that is 0 in the network's input.

    Example:
        >>> from wheretolook.records import CAFFE
        >>> [round(value, 2) for value in mean_colour(CAFFE).tolist()]
        [0.49, 0.46, 0.41]
    """
    colour = torch.tensor(preprocessing.mean) / preprocessing.scale
    return (colour.flip(0) if preprocessing.channels == "BGR" else colour).clamp(0, 1)


def _marked(
    sample: Sample, class_index: int, mark: Shortcut, random: np.random.Generator
) -> Float[Tensor, "3 height width"] | None:
    """The image with the mark of another class; None where there is none."""
    classes = len(sample.labels)
    if classes < 2:
        return None
    objects = np.where(objects_of(sample).numpy(), 1, 0)
    other = drawn_class(class_index, classes, 0.0, random)
    pixels, _ = injected(sample.image.permute(1, 2, 0).float().numpy(), objects, mark, other, classes, random)
    return torch.from_numpy(pixels).permute(2, 0, 1).to(sample.image)
