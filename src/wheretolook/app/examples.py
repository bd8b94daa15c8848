"""The images that the page offers: those of a data set, or of any folder."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from wheretolook.app.annotate import flat_name
from wheretolook.app.views import Fit, Picture, made_picture, open_picture
from wheretolook.data import ImageDataset
from wheretolook.data.dataset import ImagesOf
from wheretolook.data.names import files_below
from wheretolook.data.stored import StoredImages
from wheretolook.errors import DataError
from wheretolook.images import IMAGE_SUFFIXES


class Examples:
    """Images by name.

    Args:
        names: of the images, in order.
        open_one: opens that of a number.
        is_annotated: whether that of a number was annotated when the page began.
        suggested: names with a reason for each, the most wanted first: they come before all others.
    """

    def __init__(
        self,
        names: Sequence[str],
        open_one: Callable[[int], Picture],
        is_annotated: Callable[[int], bool],
        suggested: Mapping[str, str] | None = None,
    ) -> None:
        self.names, self.reasons = tuple(names), dict(suggested or {})
        self._order = [*self.reasons, *(name for name in names if name not in self.reasons)]
        self._numbers = {name: number for number, name in enumerate(names)}
        self._open, self._is_annotated = open_one, is_annotated

    def picture(self, name: str) -> Picture:
        """The image of that name.

        Raises:
            DataError: there is none, or it is broken.
        """
        if name not in self._numbers:
            raise DataError(f"there is no example {name}; choose one of the list")
        return self._open(self._numbers[name])

    def after(self, name: str | None, drawn: Collection[str]) -> str | None:
        """The next image without annotation, round the end; None where all have one.

        Args:
            name: the image that is shown; None for none.
            drawn: the names, as files have them, of images that were drawn on since.
        """
        start = self._order.index(name) + 1 if name in self._numbers else 0
        return next((other for other in self._order[start:] + self._order[:start] if self._is_left(other, drawn)), None)

    def _is_left(self, name: str, drawn: Collection[str]) -> bool:
        return not (self._is_annotated(self._numbers[name]) or name in drawn or flat_name(name) in drawn)


def dataset_examples(dataset: ImageDataset, fit: Fit, suggested: Mapping[str, str] | None = None) -> Examples:
    """The images of a data set.

    Args:
        dataset: opened without resizing.
        fit: at which size networks take them.
        suggested: as of `Examples`.
    """

    def open_one(number: int) -> Picture:
        name, path = dataset.names[number], _path(dataset, number)
        picture = made_picture(dataset[number].image, name, fit) if path is None else open_picture(path, fit, name)
        return picture._replace(class_index=min(dataset.classes_in(number), default=None))

    return Examples(dataset.names, open_one, dataset.is_annotated, suggested)


def folder_examples(folder: Path, fit: Fit) -> Examples:
    """The image files of a folder and of all folders in it, of which nothing is known.

    Args:
        folder: where they are.
        fit: at which size networks take them.

    Raises:
        DataError: there are none.
    """
    files = files_below(folder, IMAGE_SUFFIXES)
    if not files:
        raise DataError(f"expected images ({', '.join(IMAGE_SUFFIXES)}) in {folder}, found none; check the path")
    names = list(files)
    return Examples(names, lambda number: open_picture(files[names[number]], fit, names[number]), lambda number: False)


def _path(dataset: ImageDataset, number: int) -> Path | None:
    """The file of an image; None where it is made."""
    while isinstance(dataset, ImagesOf):
        dataset = dataset.dataset
    return dataset.entries[number].image if isinstance(dataset, StoredImages) else None
