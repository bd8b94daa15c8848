"""What every data set is, and the line that says which classes it shows."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from time import monotonic

from torch.utils.data import Dataset

from wheretolook.records import Sample

log = logging.getLogger("wheretolook")
PATIENCE = 2  # seconds of silence
AT_ONCE = 40  # names in a line


class ImageDataset(Dataset[Sample], ABC):
    """Images with what is known about them, by number.

    Attributes:
        class_names: the foreground classes; mask value 1 is the first.
        names: the images' names, in order.
        one_class: whether every image is said to show exactly one class, as data for classification do.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    one_class: bool = False

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask that is exact to the pixel."""
        return True

    @property
    def has_annotations(self) -> bool:
        """Whether any image says where its objects are, if only by boxes."""
        return True

    def is_annotated(self, index: int) -> bool:
        """Whether an image says where its objects are, if only by boxes."""
        return True

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image, without reading its pixels."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def classes_in(self, index: int) -> frozenset[int]:
        """The classes that an image shows."""
        return frozenset(self[index].labels.nonzero().flatten().tolist())

    @cached_property
    def classes_of_images(self) -> tuple[frozenset[int], ...]:
        """The classes of every image, in order: every mask is read once."""
        start, said, found = monotonic(), False, []
        for index in range(len(self)):
            found.append(self.classes_in(index))
            if not said and monotonic() - start > PATIENCE:
                log.warning("counting the classes of %d images, once ...", len(self))
                said = True
        return tuple(found)


class ImagesOf(ImageDataset):
    """Images of another data set, of which something is served otherwise.

    Args:
        dataset: whose images they are.
    """

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset
        self.class_names, self.names, self.one_class = dataset.class_names, dataset.names, dataset.one_class

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask that is exact to the pixel."""
        return self.dataset.has_masks

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image, without reading its pixels."""
        return self.dataset.size(index)


def describe_classes(dataset: ImageDataset) -> str:
    """The classes of a data set and how many of its images show each, in one line; says what looks wrong.

    Every mask is read, so whatever is wrong with one of them comes out here.

    Args:
        dataset: the images.

    Raises:
        DataError: a mask that is broken or contradicts what else is known.

    Example:
        >>> from wheretolook.data import open_dataset
        >>> from wheretolook.options.data import DataOptions, ScenesOptions
        >>> describe_classes(open_dataset(DataOptions(scenes=ScenesOptions(images=4, classes=2)), "train"))
        '4 images: striped_disc 2, dotted_square 3'
    """
    shown, names = dataset.classes_of_images, dataset.class_names
    found = Counter(index for classes in shown for index in classes)
    words = [f"{name} {found[index]}" for index, name in enumerate(names)]
    empty = sum(not classes for classes in shown)
    line = f"{len(dataset)} images: {_some(words)}" + (f", none of them {empty}" if empty else "")
    missing = [name for index, name in enumerate(names) if not found[index]]
    if not missing:
        return line
    hint = ": are classes counted from 0? a mask's value 1 is the first" if missing == [names[-1]] else ""
    return f"{line} (no image shows {_some(missing)}{hint if dataset.has_masks else ''})"


def say_of_several(dataset: ImageDataset) -> str:
    """What to know where every image shows one class and yet could show several; empty otherwise.

    Args:
        dataset: the images.
    """
    one_each = len(dataset.class_names) > 1 and all(len(shown) == 1 for shown in dataset.classes_of_images)
    if dataset.one_class or not one_each:
        return ""
    return (
        "each image shows one class, but could show several: a class is recognised where its score is above 0 (was the "
        "network trained by softmax? then give --data.one_class true, and the highest score decides)"
    )


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - AT_ONCE} more" if len(words) > AT_ONCE else ""
    return ", ".join(words[:AT_ONCE]) + more
