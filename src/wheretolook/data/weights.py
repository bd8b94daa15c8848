"""How much each training image counts, as a table says."""

from functools import cached_property
from math import isfinite
from pathlib import Path

from wheretolook.data.dataset import ImageDataset, ImagesOf
from wheretolook.data.groups import IMAGE_COLUMNS
from wheretolook.data.names import image_name
from wheretolook.data.tables import rows
from wheretolook.errors import DataError
from wheretolook.records import Sample

COLUMN = "weight"


class WeightedImages(ImagesOf):
    """Images that count more or less.

    Args:
        dataset: the images.
        weights: of each of them, in order.
    """

    def __init__(self, dataset: ImageDataset, weights: tuple[float, ...]) -> None:
        super().__init__(dataset)
        self.weights = weights

    @property
    def has_annotations(self) -> bool:
        """Whether any image says where its objects are, if only by boxes."""
        return self.dataset.has_annotations

    def is_annotated(self, index: int) -> bool:
        """Whether an image says where its objects are, if only by boxes."""
        return self.dataset.is_annotated(index)

    def classes_in(self, index: int) -> frozenset[int]:
        """The classes that an image shows."""
        return self.dataset.classes_in(index)

    @cached_property
    def classes_of_images(self) -> tuple[frozenset[int], ...]:
        """The classes of every image, in order: counted already, where a fraction was drawn by them."""
        return self.dataset.classes_of_images

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index]._replace(weight=self.weights[index])


def weighted(dataset: ImageDataset, table: str | None) -> ImageDataset:
    """The images with the weights of a table; the very same ones without a table.

    Args:
        dataset: the training images.
        table: a file with a column of images, called as in the table of groups, and a column `weight`; rows of other
            images change nothing.

    Raises:
        DataError: the table cannot be read, has no row for an image or two, or a weight that is none, or all are 0.
    """
    if table is None:
        return dataset
    path, found = Path(table), dict[str, float]()
    for where, row in rows(path, (COLUMN,)):
        column = next((name for name in IMAGE_COLUMNS if name in row), None)
        if column is None:
            raise DataError(f"{path} has no column of images; expected a row an image and a column {IMAGE_COLUMNS[0]}")
        name = image_name(row[column], dataset.names)
        if name in found:
            raise DataError(f"{where}: expected one row an image, got another for '{name}'; leave one of them")
        found[name] = _weight(row[COLUMN], where)
    if missing := [name for name in dataset.names if name not in found]:
        raise DataError(
            f"{path} has no row for {len(missing)} of {len(dataset)} images, first '{missing[0]}'; add them, with the "
            "weight 1 where nothing is special"
        )
    weights = tuple(found[name] for name in dataset.names)
    if not any(weights):
        raise DataError(f"{path}: expected an image with a weight above 0, got none: nothing would be learned")
    return WeightedImages(dataset, weights)


def _weight(written: str, where: str) -> float:
    try:
        weight = float(written)
    except ValueError:
        weight = -1.0
    if weight < 0 or not isfinite(weight):
        raise DataError(f"{where}: expected a weight of at least 0, got '{written}'")
    return weight
