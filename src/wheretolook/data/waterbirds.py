"""Waterbirds as it is published: birds on places that are not theirs, in groups of bird and place."""

from pathlib import Path

from wheretolook.data.drawings import Drawing, Shape
from wheretolook.data.exports import ImagesBelow, open_export
from wheretolook.data.layout import Layout
from wheretolook.data.masks import MASK_SUFFIXES
from wheretolook.data.names import files_below
from wheretolook.data.stored import Entry, StoredImages
from wheretolook.data.tables import rows
from wheretolook.errors import DataError
from wheretolook.options.data import DataOptions

TABLE = "metadata.csv"
COLUMNS = ("img_id", "img_filename", "y", "split", "place", "place_filename")
CLASSES, PLACES, SPLITS = ("landbird", "waterbird"), ("land", "water"), ("train", "val", "test")
MASKS = ("masks", "segmentations")  # the second is what the birds' own data set, CUB-200-2011, calls them


def open_waterbirds(config: DataOptions, split: str, training: bool = False) -> StoredImages:
    """Open one split of Waterbirds; its groups are bird and place unless the options name others.

    Args:
        config: its root holds `metadata.csv` and the images where that says; masks of the birds (grey, bright on the
            bird) may lie in `segmentations/` (those of CUB-200-2011) or `masks/`, in the images' folders.
        split: train, val, test, or the path of a file of names.
        training: leave out what validates or tests.

    Raises:
        DataError: a table that is broken, or an image that is not there.

    Source: arXiv:1911.08731; `waterbird_complete95_forest2water2`.
    """
    root = Path(str(config.root))
    images = ImagesBelow(root)
    masks = _masks(root)
    entries: dict[str, Entry] = {}
    splits: dict[str, list[str]] = {}
    for where, row in rows(root / TABLE, COLUMNS):
        name = images.find(row["img_filename"], root, where)
        if name in entries:
            raise DataError(f"{where}: '{name}' has a row already; each image has one")
        label = _one_of(row["y"], CLASSES, f"{where}, y")
        place = PLACES[_one_of(row["place"], PLACES, f"{where}, place")]
        entries[name] = _entry(name, images.paths[name], label, masks.get(name), place)
        splits.setdefault(SPLITS[_one_of(row["split"], SPLITS, f"{where}, split")], []).append(name)
    if not entries:
        raise DataError(f"{root / TABLE} lists no image")
    return open_export(config, split, training, images, splits, CLASSES, entries, several=False)


def _masks(root: Path) -> dict[str, Path]:
    """The masks by their images' names, below any of their folders."""
    return {name: path for folder in MASKS for name, path in files_below(root / folder, MASK_SUFFIXES).items()}


def _entry(name: str, image: Path, label: int, mask: Path | None, place: str) -> Entry:
    drawing = None if mask is None else Drawing((Shape(label, file=mask),), str(mask))
    return Entry(name, image, class_indices=frozenset({label}), group=place, drawing=drawing)


def _one_of(written: str, known: tuple[str, ...], where: str) -> int:
    numbers = [str(number) for number in range(len(known))]
    if written not in numbers:
        raise DataError(f"{where}: expected {' or '.join(numbers)} ({', '.join(known)}), got '{written[:20]}'")
    return int(written)


WATERBIRDS = Layout(TABLE, open_waterbirds, (TABLE,))
