"""Where to look by masks, boxes, marks or neither, and where not: zones of a folder of masks, or of avoided classes.

Only the planes that say where to look change, and the avoided classes are none any more. In an image with such a zone
the plane of every class is 0 there, and where nobody has annotated the class's object, 1 everywhere else. Zones hold in
every image, whether or not its objects' annotation counts, and propagated masks have the form that others have.
"""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from wheretolook.data.annotated import (
    annotated_images,
    boxed,
    dilated,
    propagated_folder,
    propagated_planes,
    silent,
)
from wheretolook.data.dataset import ImageDataset, ImagesOf
from wheretolook.data.keys import generator
from wheretolook.data.marks import pointed, scribbled
from wheretolook.data.masks import MASK_SUFFIXES, index_mask, read_values
from wheretolook.data.names import files_below
from wheretolook.data.noise import noisy
from wheretolook.errors import ConfigError, DataError, nearest
from wheretolook.options.data import DataOptions
from wheretolook.records import VOID, Sample, side_lengths


class Form(NamedTuple):
    """What is made of an image's annotation before it guides; nothing at the defaults.

    Attributes:
        annotations: guide by masks, boxes, points, scribbles or none of it.
        dilate: pixels by which the objects grow; zones do not.
        noise: share of an object's size by which it is made wrong.
        radius: of points and strokes, as a share of the image's longer side.
        seed: of noise, points and strokes; each image has its own.
    """

    annotations: str = "masks"
    dilate: int = 0
    noise: float = 0.0
    radius: float = 0.0
    seed: int = 0

    @property
    def changes(self) -> bool:
        """Whether it makes anything else of an annotation."""
        return self.annotations != "masks" or bool(self.dilate or self.noise)

    def __call__(
        self, targets: UInt8[Tensor, "present height width"], name: str
    ) -> UInt8[Tensor, "present height width"]:
        """The planes of the image of that name in this form."""
        if self.annotations == "none":
            return silent(targets)
        random = generator("form", self.seed, crc32(name.encode()))
        targets = noisy(targets, self.noise, random)
        if self.annotations == "boxes":
            targets = boxed(targets)
        elif self.annotations != "masks":
            draw = pointed if self.annotations == "points" else scribbled
            targets = draw(targets, self.radius, random)
        return dilated(targets, self.dilate)


class GuidingImages(ImagesOf):
    """Images whose planes say where to look in another form than their annotation, and where not to.

    Args:
        dataset: the images.
        form: what is made of it.
        avoided: the numbers of its classes that mark such zones.
        zones: masks of such zones by the image's number; every value but 0 marks.
        measured: masks of zones that guide nothing; given, samples say where all zones are. None where that is not
            asked for.
        resize: length of the longer side in pixels that the images are served with; None keeps their size.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        form: Form,
        avoided: frozenset[int] = frozenset(),
        zones: Mapping[int, Path] | None = None,
        measured: Mapping[int, Path] | None = None,
        resize: int | None = None,
    ) -> None:
        super().__init__(dataset)
        self.form = form
        self.avoided, self.zones, self.measured, self.resize = avoided, dict(zones or {}), measured, resize
        self.annotated: frozenset[int] | None = None
        self.propagated: Path | None = None
        self.kept = [index for index in range(len(dataset.class_names)) if index not in avoided]
        self.class_names = tuple(dataset.class_names[index] for index in self.kept)

    def limited(self, annotated: frozenset[int] | None, propagated: Path | None) -> "GuidingImages":
        """The same images, of which fewer are annotated; zones hold in all of them.

        Args:
            annotated: the numbers of those whose annotation still says where their objects are; None for all.
            propagated: a folder of masks that say it of the others; None for none.
        """
        limited = copy(self)
        limited.annotated, limited.propagated = annotated, propagated
        return limited

    @property
    def has_annotations(self) -> bool:
        """Whether any image says where to look, or where not to."""
        told = self.propagated is not None or any(map(self.is_annotated, range(len(self))))
        return bool(self.zones) or told or (bool(self.avoided) and self.dataset.has_annotations)

    def is_annotated(self, index: int) -> bool:
        """Whether an image's annotation says where its objects are."""
        kept = self.annotated is None or index in self.annotated
        return kept and self.form.annotations != "none" and self.dataset.is_annotated(index)

    def classes_in(self, index: int) -> frozenset[int]:
        """The classes that an image shows, without those that are avoided."""
        shown = self.dataset.classes_in(index)
        return frozenset(number for number, former in enumerate(self.kept) if former in shown)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        zone = self._zone(self.zones, index, sample)
        if self.avoided:
            sample, marked = self._without_avoided(sample)
            zone = zone | marked
        if self.measured is not None:
            sample = sample._replace(zone=zone | self._zone(self.measured, index, sample))
        known = self.annotated is None or index in self.annotated
        targets = sample.targets if known else propagated_planes(self.propagated, sample)
        return sample._replace(targets=avoiding(self.form(targets, sample.name), zone))

    def _zone(self, zones: Mapping[int, Path], index: int, sample: Sample) -> Bool[Tensor, "height width"]:
        """What the mask of an image marks; nothing where there is none."""
        if index not in zones:
            return torch.zeros(sample.mask.shape, dtype=torch.bool)
        return _read_zone(zones[index], side_lengths(sample.image), self.resize)

    def _without_avoided(self, sample: Sample) -> tuple[Sample, Bool[Tensor, "height width"]]:
        """The sample without the classes that mark zones, and what they mark; to segmentation that is background."""
        stays = torch.tensor([index in self.kept for index in sample.labels.nonzero().flatten().tolist()]).bool()
        marked = (sample.targets[~stays] == 1).any(dim=0)
        values = torch.zeros(VOID + 1, dtype=sample.mask.dtype)
        values[VOID] = VOID
        for number, former in enumerate(self.kept):
            values[1 + former] = 1 + number
        left = sample._replace(mask=values[sample.mask], labels=sample.labels[self.kept], targets=sample.targets[stays])
        return left, marked


def avoiding(
    targets: UInt8[Tensor, "present height width"], zone: Bool[Tensor, "height width"]
) -> UInt8[Tensor, "present height width"]:
    """The planes with nothing to look at in a zone; one that said nothing says to look everywhere else.

    Args:
        targets: 1 look here, 0 not here, VOID says nothing.
        zone: where not to look; without any pixel the planes stay as they are.

    Example:
        >>> planes = torch.tensor([[[1, 1, 0, 255]], [[255, 255, 255, 255]]], dtype=torch.uint8)
        >>> avoiding(planes, torch.tensor([[True, False, False, False]])).tolist()
        [[[0, 1, 0, 255]], [[0, 1, 1, 1]]]
    """
    if not zone.any():
        return targets
    unknown = (targets == VOID).all(dim=2).all(dim=1)
    return targets.masked_fill(unknown[:, None, None], 1).masked_fill(zone, 0)


def guiding(dataset: ImageDataset, config: DataOptions, split: str, training: bool) -> ImageDataset:
    """The images with the annotations' form and the zones that the options name: the very same ones at their defaults.

    What is measured keeps its annotations as they are, but for the zones.

    Args:
        dataset: the images of one split.
        config: the options.
        split: what it is called.
        training: it is to be trained on.

    Raises:
        ConfigError: a dilation, noise or radius out of its range, an avoided class that there is not, no other class
            left, or a folder without a root.
        DataError: no such folder, or no mask in it; images of one class each that would have none.
    """
    _check(config)
    if unknown := [name for name in config.avoid if name not in dataset.class_names]:
        raise ConfigError(
            f"avoid: there is no class '{unknown[0]}'{nearest(unknown[0], dataset.class_names)};"
            f" known: {', '.join(dataset.class_names)}"
        )
    avoided = frozenset(dataset.class_names.index(name) for name in config.avoid)
    if len(avoided) == len(dataset.class_names):
        raise ConfigError("expected a class that is not to be avoided, got none; leave one out of avoid")
    zones = _zones(dataset, config, config.avoid_zones, split, "avoid_zones")
    measured = None if training else _zones(dataset, config, config.measured_zones, split, "measured_zones")
    if avoided:
        _require_classes(dataset, avoided, split)
    form = Form()
    if training:
        form = Form(config.annotations, config.dilate, config.noise, config.mark_radius, config.annotated_seed)
    images = GuidingImages(dataset, form, avoided, zones, measured, config.resize)
    propagated = propagated_folder(config) if training else None
    annotated = annotated_images(images, config) if training else None
    if annotated is None and not (form.changes or avoided or zones or measured or propagated):
        return dataset
    return images.limited(annotated, propagated)


def _require_classes(dataset: ImageDataset, avoided: frozenset[int], split: str) -> None:
    """Where every image shows exactly one class, one that shows an avoided class would be taught as the first."""
    if not dataset.one_class:
        return
    alone = [name for name, shown in zip(dataset.names, dataset.classes_of_images, strict=True) if shown <= avoided]
    if alone:
        names = ", ".join(dataset.class_names[index] for index in sorted(avoided))
        raise DataError(
            f"avoid: each image of {split} has one class, and {len(alone)} have none but {names}, first '{alone[0]}';"
            " leave these images out, or leave avoid out"
        )


def _check(config: DataOptions) -> None:
    if config.dilate < 0:
        raise ConfigError(f"expected to dilate by at least 0 pixels, got {config.dilate}")
    if not 0 <= config.noise <= 1:
        raise ConfigError(f"expected noise from 0 to 1, a share of each object's size, got {config.noise}")
    if not 0 <= config.mark_radius <= 1:
        raise ConfigError(
            f"expected a mark_radius from 0 to 1, a share of the image's longer side, got {config.mark_radius}"
        )


def _zones(dataset: ImageDataset, config: DataOptions, folder: str | None, split: str, option: str) -> dict[int, Path]:
    """The masks of a folder, NAME.png or SPLIT/NAME.png, by their images' numbers; none without a folder."""
    if folder is None:
        return {}
    if config.root is None:
        raise ConfigError(f"{option} is a folder beside images on disk, and there is no root; give one or leave it")
    path = Path(config.root) / folder
    if not path.is_dir():
        raise DataError(f"there is no folder {path}; expected masks of the zones to avoid, NAME.png for an image NAME")
    masks = files_below(path, MASK_SUFFIXES)
    if not masks:
        raise DataError(f"{path} holds no mask of a zone to avoid; expected NAME.png for an image NAME")
    found = {index: masks.get(f"{split}/{name}", masks.get(name)) for index, name in enumerate(dataset.names)}
    return {index: mask for index, mask in found.items() if mask is not None}


def _read_zone(path: Path, size: tuple[int, int], resize: int | None) -> Bool[Tensor, "height width"]:
    values = read_values(path)[0]
    zone = index_mask((values != 0).astype(np.uint8), resize) != 0
    if side_lengths(zone) != size:
        height, width = values.shape
        full = "" if resize is None else f" once resized to {resize} pixels"
        raise DataError(f"mask {path} is {width}x{height}, but its image is {size[1]}x{size[0]}{full}; make them equal")
    return zone
