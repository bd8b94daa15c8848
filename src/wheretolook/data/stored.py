"""Images on disk with what is known about them: masks, boxes, labels, a group. All layouts serve theirs by this."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.data.boxes import Box, paint_boxes, scaled, upright_box
from wheretolook.data.dataset import ImageDataset
from wheretolook.data.drawings import Drawing
from wheretolook.data.images import read_image, say_of_turns
from wheretolook.data.masks import (
    Palette,
    Values,
    index_mask,
    mask_labels,
    read_values,
    require_palette,
    require_values,
    upright_values,
    usual_palette,
    values_in,
)
from wheretolook.data.sbd import read_sbd_values
from wheretolook.data.targets import box_planes, mask_planes
from wheretolook.errors import DataError
from wheretolook.images import image_size
from wheretolook.records import VOID, Sample, side_lengths

_FOUND: dict[tuple[object, ...], list[int]] = {}  # the values of masks: each stage of a run asks for them again
LOOKED_AT = 16  # of a data set's images, when it is opened


class Entry(NamedTuple):
    """One image and what is known about it."""

    name: str
    image: Path
    mask: Path | None = None  # an image of indices, or the .mat of SBD
    class_indices: frozenset[int] = frozenset()  # what tables say
    boxes: tuple[Box, ...] = ()
    group: str = ""  # what a table of attributes says
    drawing: Drawing | None = None  # in place of mask and boxes
    drawn_on: tuple[int, int] | None = None  # height and width that the boxes are in pixels of; None: the upright image


class StoredImages(ImageDataset):
    """Images on disk.

    The classes of an image are those of its mask; without one they are those of the tables.

    Args:
        entries: what is known.
        class_names: the foreground classes.
        resize: length of the longer side in pixels; None keeps each image's size.
        palette: the colours that the masks should have; None for those that most of them have.
        several: images may show several classes, though each of these may show one.

    Raises:
        DataError: void in the masks, and a class in none of them.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        class_names: tuple[str, ...],
        resize: int | None = None,
        palette: Palette | None = None,
        several: bool = False,
    ) -> None:
        self.entries = tuple(entries)
        self.names = tuple(entry.name for entry in self.entries)
        self.class_names = class_names
        self.resize = resize
        self.colours = palette  # masks in colours are read by known ones alone
        self.palette = palette or usual_palette(_palettes(self.entries[:: max(1, len(self.entries) // LOOKED_AT)]))
        self._require_classes()
        # masks alone, which may show any number of classes, say nothing of it, but they may contradict
        labelled = not several and all(len(entry.class_indices) == 1 for entry in self.entries)
        self.one_class = labelled and (not self.has_masks or all(len(shown) == 1 for shown in self._readable_classes()))

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask, or a drawing that is as good."""
        return any(entry.mask is not None or (entry.drawing and entry.drawing.exact) for entry in self.entries)

    @property
    def has_annotations(self) -> bool:
        """Whether any image has a mask, a box or a drawing."""
        return any(map(self.is_annotated, range(len(self))))

    def is_annotated(self, index: int) -> bool:
        """Whether an image has a mask, a box or a drawing."""
        entry = self.entries[index]
        return entry.mask is not None or entry.drawing is not None or bool(entry.boxes)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width as served."""
        return image_size(self.entries[index].image, self.resize)

    def classes_in(self, index: int) -> frozenset[int]:
        """The classes of an image, from its mask at full size or else from the tables, without reading its pixels."""
        entry = self.entries[index]
        if entry.mask is None:
            return entry.class_indices
        key = (entry, _changed(entry.mask), self.class_names, self.palette)
        if key not in _FOUND:
            say_of_turns(entry.image)
            _FOUND[key] = self._values(entry, entry.mask)[1]
        return entry.class_indices if _FOUND[key] == [VOID] else _classes(_FOUND[key])

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        image = read_image(entry.image, self.resize)
        mask = None if entry.mask is None else index_mask(self._values(entry, entry.mask)[0], self.resize)
        if entry.drawing is not None:
            known = self._drawn(entry, entry.drawing, image)
        elif mask is not None and (mask != VOID).any():  # an all-void mask says nothing
            # at full size where one class is all that there is: a small object may have no pixel left
            shown = self.classes_in(index) if self.one_class else None
            labels = mask_labels(mask, len(self.class_names)) if shown is None else self._labels(shown)
            known = Sample(image, mask, labels, mask_planes(mask, labels), True, entry.name)
        else:
            known = self._boxed(entry, image)
        return known._replace(group=self._group(index), exclusive=self.one_class)

    def _readable_classes(self) -> Collection[frozenset[int]]:
        """The classes of every image whose mask can be read: what is wrong with the others is said when they are."""
        try:
            return self.classes_of_images
        except DataError:
            found = []
            for index in range(len(self)):
                with suppress(DataError):
                    found.append(self.classes_in(index))
            return found

    def _labels(self, indices: Collection[int]) -> Bool[Tensor, " classes"]:
        return torch.tensor([index in indices for index in range(len(self.class_names))])

    def _boxed(self, entry: Entry, image: Float[Tensor, "3 height width"]) -> Sample:
        """An image of which only labels and boxes are known, if any."""
        full_size, size = image_size(entry.image), side_lengths(image)
        what = f"the annotation of {entry.name}"
        full = [upright_box(box, entry.drawn_on or full_size, entry.image, what) for box in entry.boxes]
        if full:
            say_of_turns(entry.image)
        boxes = [scaled(box, full_size, size) for box in full]
        labels = self._labels(entry.class_indices)
        painted = paint_boxes(boxes, size) if boxes else np.full(size, VOID, np.uint8)
        mask = torch.from_numpy(painted.astype(np.int64))
        return Sample(image, mask, labels, box_planes(boxes, labels, size), False, entry.name)

    def _drawn(self, entry: Entry, drawing: Drawing, image: Float[Tensor, "3 height width"]) -> Sample:
        """An image with what a tool has drawn; a class of which no pixel is left is only labelled."""
        planes = drawing.planes(entry.image)
        mask = index_mask(planes.mask, self.resize)
        targets = torch.full((len(entry.class_indices), *mask.shape), VOID, dtype=torch.uint8)
        for target, index in zip(targets, sorted(entry.class_indices), strict=True):
            if index in planes.classes and (plane := index_mask(planes.classes[index], self.resize)).eq(1).any():
                target.copy_(plane)
        segmented = drawing.exact and bool((mask != VOID).any())
        return Sample(image, mask, self._labels(entry.class_indices), targets, segmented, entry.name)

    def _group(self, index: int) -> str:
        """Class and attribute, or the attribute alone where images may show several classes."""
        group, shown = self.entries[index].group, self.classes_in(index) if self.one_class else ()
        return f"{self.class_names[min(shown)]}, {group}" if group and len(shown) == 1 else group

    def _values(self, entry: Entry, path: Path) -> tuple[Values, list[int]]:
        """The mask of an image at full size and the values in it, found to be in order."""
        values, palette = (read_sbd_values(path), None) if path.suffix == ".mat" else read_values(path, self.colours)
        values = upright_values(values, path, entry.image)
        found = values_in(values)
        require_values(found, path, len(self.class_names))
        if palette is not None and self.palette is not None:
            require_palette(found, palette, self.palette, path, self.class_names)
        self._require_sense(entry, path, found)
        return values, found

    def _require_sense(self, entry: Entry, path: Path, found: list[int]) -> None:
        """A mask must say something, and not that nothing is where the tables say that something is."""
        if found == [VOID] and not entry.class_indices:  # taken for an image without objects, it would teach so
            raise DataError(
                f"mask {path} says nothing: expected a pixel that is not void ({VOID}); mend it or leave it out"
            )
        if found != [VOID] and entry.class_indices and not _classes(found):
            name = self.class_names[min(entry.class_indices)]
            only = " and ".join(map(str, found))
            raise DataError(f"mask {path} has no class, only {only}, but its image is labelled '{name}'; {_MARKED}")

    def _require_classes(self) -> None:
        """A split whose masks have void but no class was saved with 255 for its objects: most drawing tools do.

        A mask that is broken is no reason to look at none of the others; where all are, the first one is told.
        """
        void, broken, read = None, None, False
        for entry in self.entries:
            if entry.mask is None:
                continue
            try:
                found = self._values(entry, entry.mask)[1]
            except DataError as error:
                broken = broken or error
                continue
            if _classes(found):
                return
            read, void = True, entry.mask if VOID in found else void
        if broken is not None and not read:
            raise broken
        if void is not None:
            raise DataError(f"the masks mark no class, only 0 and {VOID}, such as {void}; {_MARKED}")


def _changed(path: Path) -> int:
    """When a file was last written; 0 where it is not there, which is said when it is read."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _classes(values: list[int]) -> frozenset[int]:
    return frozenset(value - 1 for value in values if 0 < value < VOID)


_MARKED = f"{VOID} means void, so give the objects the value of their class: 1 for the first, 2 for the second"


def _palettes(entries: Sequence[Entry]) -> list[Palette]:
    """The palettes of the masks that can be read."""
    found = []
    for entry in entries:
        if entry.mask is not None and entry.mask.suffix != ".mat":
            with suppress(DataError):
                found.append(read_values(entry.mask)[1])
    return [palette for palette in found if palette is not None]
