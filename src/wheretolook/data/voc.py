"""Folders in the layout of PASCAL VOC, and the Semantic Boundaries masks (SBD) that are often added to its training."""

from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from wheretolook.data.dataset import ImageDataset, files_by_name, read_class_names, read_split, require
from wheretolook.data.images import all_void, image_size, index_mask, mask_labels, read_image, read_mask
from wheretolook.data.targets import mask_planes
from wheretolook.errors import DataError
from wheretolook.public import VOC_CLASSES
from wheretolook.records import VOID, Sample

IMAGES, MASKS, SPLITS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"


class Entry(NamedTuple):
    """One image and its mask."""

    name: str
    image: Path
    mask: Path  # PNG, or the .mat of SBD


class MaskedImages(ImageDataset):
    """Images of which each has a mask that is exact to the pixel.

    Args:
        entries: the files.
        class_names: the foreground classes.
        resize: length of the longer side in pixels; None keeps each image's size.
    """

    def __init__(self, entries: Collection[Entry], class_names: tuple[str, ...], resize: int | None) -> None:
        self.entries = tuple(entries)
        self.names = tuple(entry.name for entry in self.entries)
        self.class_names = class_names
        self.resize = resize

    def size(self, index: int) -> tuple[int, int]:
        """Height and width as served."""
        return image_size(self.entries[index].image, self.resize)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        read = read_sbd_mask if entry.mask.suffix == ".mat" else read_mask
        mask = read(entry.mask, len(self.class_names), self.resize, of=entry.image)
        if not (mask != VOID).any():  # taken for an image without objects, it would teach that none are there
            raise all_void(entry.mask)
        labels = mask_labels(mask, len(self.class_names))
        return Sample(read_image(entry.image, self.resize), mask, labels, mask_planes(mask, labels), True, entry.name)


def open_voc(
    root: Path, split: str, resize: int | None = None, *, sbd: Path | None = None, held_out: Sequence[str] = ()
) -> MaskedImages:
    """Open a folder in VOC layout.

    Args:
        root: holds `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation` and, where the classes are not VOC's
            20, `classes.txt`.
        split: a name, or the path of a file of names.
        resize: length of the longer side in pixels; None keeps each image's size.
        sbd: root of the Semantic Boundaries data set, to add its images that the split does not hold yet.
        held_out: splits whose images must not come in with them, beside all other splits of the root that do not hold
            the whole of this one.

    Raises:
        DataError: no such split, files missing, or SBD added to classes that are not VOC's.
    """
    class_names = read_class_names(root) or VOC_CLASSES
    images = files_by_name(root / IMAGES, (".jpg", ".jpeg", ".png"))
    names = _split_names(root, split, images)
    masks = files_by_name(root / MASKS, (".png",))
    require(names, images, "images", split, root / IMAGES)
    require(names, masks, "masks", split, root / MASKS)
    entries = [Entry(name, images[name], masks[name]) for name in names]
    if sbd is not None:
        if class_names != VOC_CLASSES:
            raise DataError(f"the masks of SBD ({sbd}) have VOC's 20 classes, but {root} has others; leave sbd out")
        own = set(names)
        lists = [set(_split_names(root, other, images)) for other in files_by_name(root / SPLITS, (".txt",))]
        # one that holds all of this split is a larger list to train on, such as trainval or trainaug
        measured = [listed for listed in lists if not listed >= own]
        unwanted = own.union(*measured, *(_split_names(root, other, images) for other in held_out))
        entries += [entry for entry in sbd_entries(sbd) if entry.name not in unwanted]
    return MaskedImages(entries, class_names, resize)


def _split_names(root: Path, split: str, images: Collection[str]) -> tuple[str, ...]:
    known = files_by_name(root / SPLITS, (".txt",))
    if not known and not Path(split).is_file():
        raise DataError(
            f"{root / SPLITS} holds no split; expected lists of names there ({split}.txt), or a list's path"
        )
    return read_split(split, known, images)


def sbd_entries(root: Path) -> list[Entry]:
    """All images of the Semantic Boundaries data set.

    Args:
        root: the folder with `img`, `cls`, `train.txt` and `val.txt`, or one above it.

    Raises:
        DataError: the folder is not SBD, files are missing, or scipy, which reads its masks, is not installed.
    """
    if find_spec("scipy") is None:
        raise DataError("the masks of SBD need scipy; install it: pip install 'wheretolook[sbd]'")
    folders = [root, root / "dataset", root / "benchmark_RELEASE" / "dataset"]
    folder = next((folder for folder in folders if (folder / "img").is_dir() and (folder / "cls").is_dir()), None)
    if folder is None:
        raise DataError(f"no SBD in {root}: expected the folders img and cls in it, in dataset or benchmark_RELEASE")
    known = files_by_name(folder, (".txt",))
    names = [name for split in ("train", "val") if split in known for name in read_split(split, known)]
    if not names:
        raise DataError(f"SBD in {folder} has neither train.txt nor val.txt; add the lists it comes with")
    images, masks = files_by_name(folder / "img", (".jpg",)), files_by_name(folder / "cls", (".mat",))
    require(names, images, "images", "SBD", folder / "img")
    require(names, masks, "masks", "SBD", folder / "cls")
    return [Entry(name, images[name], masks[name]) for name in names]


def read_sbd_mask(path: Path, classes: int, resize: int | None, *, of: Path) -> Int[Tensor, "height width"]:
    """Read a mask of SBD: `GTcls.Segmentation` in a MATLAB file. It has no void pixels.

    Args:
        path: the .mat file.
        classes: how many foreground classes there are.
        resize: length of the longer side in pixels (nearest neighbour); None keeps the size.
        of: the image that the mask belongs to.

    Returns:
        The mask, int64.

    Raises:
        DataError: the file is broken or does not fit its image.
    """
    return index_mask(_segmentation(path), path, classes, resize, of=of)


def _segmentation(path: Path) -> UInt8[np.ndarray, "height width"]:
    from scipy.io import loadmat  # an extra, imported on use

    try:
        values = loadmat(path, squeeze_me=True, struct_as_record=False)["GTcls"].Segmentation
    except Exception as error:  # scipy raises a dozen kinds for a broken file
        raise DataError(
            f"mask {path} is no MATLAB file with GTcls.Segmentation, or a broken one; replace it"
        ) from error
    return np.asarray(values, dtype=np.uint8)
