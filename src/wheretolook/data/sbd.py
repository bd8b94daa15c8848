"""The Semantic Boundaries data set (SBD), whose masks are often added to the training images of PASCAL VOC."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from wheretolook.data.names import files_by_name, require
from wheretolook.data.splits import read_split
from wheretolook.errors import DataError


class Listed(NamedTuple):
    """An image of SBD and its mask."""

    name: str
    image: Path
    mask: Path


def sbd_images(root: Path) -> list[Listed]:
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
    known = {name: folder / f"{name}.txt" for name in ("train", "val") if (folder / f"{name}.txt").is_file()}
    names = [name for split in known for name in read_split(split, known)]
    if not names:
        raise DataError(f"SBD in {folder} has neither train.txt nor val.txt; add the lists it comes with")
    images, masks = files_by_name(folder / "img", (".jpg",)), files_by_name(folder / "cls", (".mat",))
    require(names, images, "images", "SBD", folder / "img")
    require(names, masks, "masks", "SBD", folder / "cls")
    return [Listed(name, images[name], masks[name]) for name in names]


def read_sbd_values(path: Path) -> UInt8[np.ndarray, "height width"]:
    """Read a mask of SBD: `GTcls.Segmentation` in a MATLAB file. It has no void pixels.

    Args:
        path: the .mat file.

    Raises:
        DataError: the file is broken.
    """
    from scipy.io import loadmat  # an extra, imported on use

    try:
        values = loadmat(path, squeeze_me=True, struct_as_record=False)["GTcls"].Segmentation
    except Exception as error:  # scipy raises a dozen kinds for a broken file
        raise DataError(
            f"mask {path} is no MATLAB file with GTcls.Segmentation, or a broken one; replace it"
        ) from error
    return np.asarray(values, dtype=np.uint8)
