"""Which images' annotations guide attention, and in what form: a fraction of them, boxes in place of masks, dilation.

Only the planes that say where to look change. Masks stay what they are for segmentation, and labels for classification.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor

from wheretolook.data.dataset import ImageDataset
from wheretolook.data.masks import read_values
from wheretolook.data.names import image_name, read_lines
from wheretolook.data.targets import mask_planes
from wheretolook.errors import ConfigError, DataError, nearest
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID, Sample


def annotated_images(dataset: ImageDataset, config: DataOptions) -> frozenset[int] | None:
    """The numbers of the training images whose annotation guides attention; None for all of them.

    Args:
        dataset: the training images.
        config: the options.

    Raises:
        ConfigError: a fraction out of its range, or beside a list.
        DataError: a list that cannot be read, or names images that are not there.
    """
    if not 0 <= config.annotated_fraction <= 1:
        raise ConfigError(f"expected an annotated_fraction from 0 to 1, got {config.annotated_fraction}")
    if config.annotated is not None and config.annotated_fraction < 1:
        raise ConfigError("expected annotated or annotated_fraction, got both; leave one out")
    if config.annotated is None and config.annotated_fraction == 1:
        return None
    known = [index for index in range(len(dataset)) if dataset.is_annotated(index)]
    if config.annotated is not None:
        return _listed(Path(config.annotated), dataset.names) & frozenset(known)
    return drawn(known, dataset.classes_of_images, config.annotated_fraction, config.annotated_seed)


def propagated_folder(config: DataOptions) -> Path | None:
    """The folder of propagated masks, where the options name one.

    Raises:
        ConfigError: nothing of the annotation is to guide.
        DataError: there is no such folder.
    """
    if config.propagated is None:
        return None
    if config.annotations == "none":
        raise ConfigError("propagated masks guide nothing where annotations is none; leave one of them out")
    folder = Path(config.propagated)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected the masks that the command propagate writes")
    return folder


def propagated_planes(folder: Path | None, sample: Sample) -> UInt8[Tensor, "present height width"]:
    """The planes of a sample by its propagated mask; without one they say nothing.

    Args:
        folder: of propagated masks; None for none.
        sample: the image, with the classes that these masks are of.

    Raises:
        DataError: the mask is of another size.
    """
    path = None if folder is None else folder / f"{sample.name}.png"
    if path is None or not path.exists():
        return silent(sample.targets)
    values = torch.from_numpy(read_values(path)[0].astype(np.int64))
    if values.shape != sample.mask.shape:
        sizes = [f"{mask.shape[1]}x{mask.shape[0]}" for mask in (sample.mask, values)]
        raise DataError(f"{path}: expected a mask of {sizes[0]}, got {sizes[1]}; propagate again with this data.resize")
    return mask_planes(values, sample.labels)


def drawn(
    known: list[int], classes_of_images: tuple[frozenset[int], ...], fraction: float, seed: int
) -> frozenset[int]:
    """A share of the annotated images, drawn class by class in turn, so that a few show every class.

    Larger shares of the same seed hold the smaller ones.

    Args:
        known: the numbers of the annotated images.
        classes_of_images: the classes of each image.
        fraction: their share, from 0 to 1; rounded, but no class is left out while there are images to draw.
        seed: of the draw.

    Example:
        >>> classes = (frozenset({0}),) * 6 + (frozenset({1}),) * 2
        >>> [sorted(drawn(list(range(8)), classes, share, 0)) for share in (0.0, 0.25, 0.5)]
        [[], [2, 6], [2, 4, 6, 7]]
    """
    order = [known[place] for place in np.random.default_rng(seed).permutation(len(known))]
    queues = {
        index: [image for image in order if index in classes_of_images[image]]
        for index in sorted(frozenset().union(*(classes_of_images[image] for image in known)))
    }
    count = max(round(fraction * len(known)), len(queues)) if fraction > 0 else 0
    chosen: dict[int, None] = {}  # in the order in which they are drawn
    while any(queues.values()):
        for queue in queues.values():
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue:
                chosen[queue.pop(0)] = None
    rest = dict.fromkeys(image for image in order if image not in chosen)  # without any class
    return frozenset(list({**chosen, **rest})[:count])


def silent(targets: UInt8[Tensor, "present height width"]) -> UInt8[Tensor, "present height width"]:
    """Planes that say nothing."""
    return torch.full_like(targets, VOID)


def boxed(targets: UInt8[Tensor, "present height width"]) -> UInt8[Tensor, "present height width"]:
    """Each plane with the smallest box around its object in place of the object; nothing is left unsaid around it.

    Example:
        >>> boxed(torch.tensor([[[0, 1, 255], [1, 0, 255], [0, 0, 0]]], dtype=torch.uint8)).tolist()
        [[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]
    """
    shown = targets == 1
    rows, columns = (_between(shown.any(dim=axis)) for axis in (2, 1))
    boxes = (rows[:, :, None] & columns[:, None, :]).to(torch.uint8)
    return torch.where(shown.any(dim=2).any(dim=1)[:, None, None], boxes, targets)


def _between(found: Bool[Tensor, "present side"]) -> Bool[Tensor, "present side"]:
    """From the first to the last that is found."""
    counts = found.int()
    return (counts.cumsum(dim=1) > 0) & (counts.flip(1).cumsum(dim=1).flip(1) > 0)


def dilated(targets: UInt8[Tensor, "present height width"], pixels: int) -> UInt8[Tensor, "present height width"]:
    """Each plane with its object grown by so many pixels to every side, over whatever lies there.

    Example:
        >>> dilated(torch.tensor([[[0, 0, 255, 1]]], dtype=torch.uint8), 2).tolist()
        [[[0, 1, 1, 1]]]
    """
    if not pixels or not len(targets):
        return targets
    grown = F.max_pool2d((targets == 1).float()[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0]
    return torch.where(grown > 0, 1, targets).to(torch.uint8)


def _listed(path: Path, names: tuple[str, ...]) -> frozenset[int]:
    """The numbers of the images that a list names."""
    numbers = {name: number for number, name in enumerate(names)}
    found = set()
    for line in read_lines(path, "list of annotated images"):
        name = image_name(line, names)
        if name not in numbers:
            raise DataError(f"{path}: '{line}' is no image of the training split{nearest(line, names)}")
        found.add(numbers[name])
    return frozenset(found)
