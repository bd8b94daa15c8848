"""What a split holds and what is wrong with it: every image is looked at, and one that is broken stops nothing."""

import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wheretolook.data.dataset import ImageDataset
from wheretolook.errors import WhereToLookError
from wheretolook.records import VOID, Sample, side_lengths

NEARLY_ALL = 0.95  # of an image: an object that large is likely the background, or the mask inverted
SPECK = 12  # pixels: an object that small has likely been drawn by mistake, or lost by resizing
FEW = 5  # images
RARE = 20  # images of the commonest class for one of the rarest
SIDE = 360  # pixels of the longer side of an image that is kept for a picture
Progress = Callable[[Sequence[int], str], Iterable[int]]


class Survey(NamedTuple):
    """What was found in one split."""

    split: str
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], tuple[int, int]] | None  # the smallest and the largest image, height and width
    classes: Mapping[str, int]  # images that show each, in the order of the classes
    without: int  # images that show no class
    kinds: Mapping[str, int]  # images by what is known about them, of those that were read
    groups: Mapping[str, int]  # of those that were read
    problems: tuple[str, ...]  # one line each
    prints: Mapping[int, str]  # the name of the first image of each sum of pixels
    shown: tuple[Sample, ...]  # some of the annotated images, small

    @property
    def read(self) -> int:
        """How many images were read whole."""
        return sum(self.kinds.values())


def survey(dataset: ImageDataset, split: str, limit: int, pictures: int, progress: Progress) -> Survey:
    """Look at every image's size and classes, and read some images whole.

    Args:
        dataset: the images of the split.
        split: what it is called.
        limit: how many images are read whole at most, spread over the split.
        pictures: how many of the annotated ones are kept for a picture.
        progress: passes numbers of images through, and shows how many have passed; its second argument says what for.
    """
    found, problems = _Found(), dict[str, None]()
    for index in progress(range(len(dataset)), f"{split}: classes"):
        try:
            found.sizes.append(dataset.size(index))
            found.classes.append(dataset.classes_in(index))
        except WhereToLookError as error:
            problems[f"{split}: {error}"] = None
    for index in progress(spread(len(dataset), limit), f"{split}: images"):
        try:
            _look(dataset[index], found, pictures)
        except WhereToLookError as error:
            problems[f"{split}: {error}"] = None
    counts = Counter(index for shown in found.classes for index in shown)
    classes = {name: counts[index] for index, name in enumerate(dataset.class_names)}
    problems |= dict.fromkeys(f"{split}: {line}" for line in _oddities(found, classes))
    by_area = sorted(found.sizes, key=lambda size: size[0] * size[1])
    return Survey(
        split,
        dataset.names,
        (by_area[0], by_area[-1]) if by_area else None,
        classes,
        sum(not shown for shown in found.classes),
        found.kinds,
        found.groups,
        tuple(problems),
        found.prints,
        tuple(found.annotated[place] for place in spread(len(found.annotated), pictures)),
    )


class _Found:
    """What gathers while the images of a split pass."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.classes: list[frozenset[int]] = []
        self.kinds: Counter[str] = Counter()
        self.groups: Counter[str] = Counter()
        self.prints: dict[int, str] = {}
        self.twins: list[tuple[str, str]] = []
        self.large: list[str] = []
        self.small: list[str] = []
        self.unshown: list[str] = []
        self.annotated: list[Sample] = []  # every so many, and fewer of them the more there are
        self.every = 1


def spread(count: int, wanted: int) -> Sequence[int]:
    """At most so many of the numbers below a count, evenly spread.

    Example:
        >>> list(spread(10, 4)), list(spread(3, 5))
        ([0, 2, 5, 7], [0, 1, 2])
    """
    return range(count) if count <= wanted else [place * count // wanted for place in range(wanted)]


def kind_of(sample: Sample) -> str:
    """What is known about an image, in words.

    Args:
        sample: the image.
    """
    if sample.segmented:
        return "masks"
    if (sample.targets != VOID).any():
        return "boxes, marks or zones"
    return "labels only" if sample.labels.any() else "nothing"


def _look(sample: Sample, found: _Found, pictures: int) -> None:
    """Note what an image is and what looks wrong with it."""
    kind = kind_of(sample)
    found.kinds[kind] += 1
    if sample.group:
        found.groups[sample.group] += 1
    pixels = zlib.crc32((sample.image * 255).round().byte().numpy().tobytes())
    first = found.prints.setdefault(pixels, sample.name)
    if first != sample.name:
        found.twins.append((first, sample.name))
    if kind in ("masks", "boxes, marks or zones"):
        _look_at_objects(sample, found)
        if found.kinds["masks"] + found.kinds["boxes, marks or zones"] - 1 >= len(found.annotated) * found.every:
            found.annotated.append(_small(sample))
        if len(found.annotated) > 4 * pictures + 4:
            found.annotated, found.every = found.annotated[::2], 2 * found.every


def _look_at_objects(sample: Sample, found: _Found) -> None:
    counts = (sample.targets == 1).sum(dim=(1, 2)).tolist()
    area = sample.image[0].numel()
    if sample.segmented and any(count > NEARLY_ALL * area for count in counts):
        found.large.append(sample.name)
    if not all(counts):
        found.unshown.append(sample.name)
    if any(0 < count < SPECK for count in counts):
        found.small.append(sample.name)


def _small(sample: Sample) -> Sample:
    """The sample with so few pixels that many of them fit into memory."""
    step = max(1, -(-max(side_lengths(sample.image)) // SIDE))
    thin = np.s_[..., ::step, ::step]
    return sample._replace(
        image=sample.image[thin].clone(), mask=sample.mask[thin].clone(), targets=sample.targets[thin].clone()
    )


def _oddities(found: _Found, classes: Mapping[str, int]) -> Iterable[str]:
    """What is no error, and yet hardly meant."""
    if missing := [name for name, count in classes.items() if not count]:
        yield f"no image shows {', '.join(missing)}"
    shown = {name: count for name, count in classes.items() if count}
    if shown and max(shown.values()) > RARE * min(shown.values()):
        often, rarely = max(shown, key=shown.__getitem__), min(shown, key=shown.__getitem__)
        yield f"{_images(shown[rarely])} of {rarely} for {shown[often]} of {often}: it may never be learned"
    for what, images in (
        (f"an object covers more than {NEARLY_ALL:.0%} of the image: is its mask inverted?", found.large),
        (f"an object has fewer than {SPECK} pixels: was it drawn by mistake?", found.small),
        ("a class is labelled that the annotation beside it does not show.", found.unshown),
    ):
        if images:
            yield f"in {_images(len(images))} {what} First: {images[0]}"
    if found.twins:
        first, second = found.twins[0]
        yield f"{_images(len(found.twins))} twice under another name; first: {first} and {second}"
    for name, count in found.groups.items():
        if count < FEW:
            yield f"the group '{name}' has {_images(count)}: its figures will say little"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def overlaps(surveys: Collection[Survey]) -> Iterable[str]:
    """What two splits share, a line for each two: images by name, or the same pixels under other names.

    Args:
        surveys: what was found in each split.
    """
    found = list(surveys)
    for place, first in enumerate(found):
        for second in found[place + 1 :]:
            both = f"{first.split} and {second.split}"
            same = [sum_of for sum_of in first.prints if sum_of in second.prints]
            if same:
                names = first.prints[same[0]], second.prints[same[0]]
                yield f"{both} have {_images(len(same))} with the same pixels; first: {names[0]} and {names[1]}"
