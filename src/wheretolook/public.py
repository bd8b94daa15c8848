"""Public weights and data that users have or fetch: names, addresses, checksums; and fetching them by name."""

import hashlib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from wheretolook.errors import ConfigError, DataError, nearest
from wheretolook.files import replacing

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
BLOCK = 1 << 20  # bytes read at a time


@dataclass(frozen=True)
class PublicFile:
    """A file that others publish.

    Args:
        address: where it is fetched from.
        md5: its checksum, as published.
        about: what it is.
        scales: factors that its network puts on the scores of some layers, folded into the weights when loaded.
        hint: what to do with it, for the line that says that it has come.
    """

    address: str
    md5: str
    about: str
    scales: dict[str, float] = field(default_factory=dict)
    hint: str = ""


def _drive(identifier: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={identifier}&export=download&confirm=t"


AT_ONCE = {"score_pool4": 0.01, "score_pool3": 0.0001}
AT_ONCE_ARCH = "FCN8sAtOnce"  # what pytorch-fcn's checkpoints call the network that has those factors

PUBLIC_FILES = {
    "fcn8s_from_caffe.npz": PublicFile(
        _drive("0B9P1L--7Wd2vb0cxV0VhcG1Lb28"), "256c2a8235c1c65e62e48d3284fbd384", "FCN8s trained on VOC, Chainer"
    ),
    "fcn8s-atonce_from_caffe.npz": PublicFile(
        _drive("0B9P1L--7Wd2vZ1RJdXotZkNhSEk"), "5f3ffdc7fae1066606e1ef45cfda548f", "FCN8s trained at once", AT_ONCE
    ),
    "fcn16s_from_caffe.npz": PublicFile(
        _drive("0B9P1L--7Wd2vcnBiXzZTcG9FU3c"), "7c9b50a1a8c6c20d3855d4823bbea61e", "FCN16s trained on VOC, Chainer"
    ),
    "fcn32s_from_caffe.npz": PublicFile(
        _drive("0B9P1L--7Wd2vTElpa1p3WFNDczQ"), "b7f0a2e66229ccdb099c0a60b432e8cf", "FCN32s trained on VOC, Chainer"
    ),
    "vgg16_from_caffe.npz": PublicFile(
        _drive("0B9P1L--7Wd2vRy1XYnRSa1hNSW8"), "54a0cddc1392ccc4056bbeecbb30f3d4", "VGG16 of ImageNet, Chainer"
    ),
    "fcn8s_from_caffe.pth": PublicFile(
        _drive("1ieXWyoG68xqoHJPWdyrDyaIaaWlfmUxI"), "de93e540ec79512f8770033849c8ae89", "FCN8s trained on VOC, PyTorch"
    ),
    "fcn16s_from_caffe.pth": PublicFile(
        _drive("1bctu58B6YH9bu6lBBSBB2rUeGlGhYLoP"),
        "a2d4035f669f09483b39c9a14a0d6670",
        "FCN16s trained on VOC, PyTorch",
    ),
    "fcn32s_from_caffe.pth": PublicFile(
        _drive("11k2Q0bvRQgQbT6-jYWeh6nmAsWlSCY3f"),
        "d3eb467a80e7da0468a20dfcbc13e6c8",
        "FCN32s trained on VOC, PyTorch",
    ),
    "vgg16_from_caffe.pth": PublicFile(
        _drive("1adDBTGY3GcEB_47dvcibajyzi872RAs3"), "aa75b158f4181e7f6230029eb96c1b13", "VGG16 of ImageNet, PyTorch"
    ),
    "VOCtrainval_11-May-2012.tar": PublicFile(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "6cd6e144f989b92b3379bac3b3de84fd",
        "VOC2012: images, masks, splits",
        hint="; unpack it (tar xf) and give --data.root VOCdevkit/VOC2012",
    ),
    "benchmark.tgz": PublicFile(
        "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        "2b2af8a6cff7365684e002c08be823a6",
        "SBD: extra training masks",
        hint="; unpack it (tar xf) and give --data.sbd benchmark_RELEASE",
    ),
}


def fetch(
    name: str,
    folder: Path,
    *,
    files: dict[str, PublicFile] = PUBLIC_FILES,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Path:
    """Fetch a public file by its name, unless it is there already, and check it.

    Args:
        name: one of `PUBLIC_FILES`.
        folder: where to put it.
        files: the known files.
        progress: called with the bytes that have come and the bytes in all (None where the server does not say).

    Returns:
        The file's path.

    Raises:
        ConfigError: no file of that name is known.
        DataError: it cannot be fetched, or what came has another checksum; nothing is left behind.
    """
    if name not in files:
        raise ConfigError(f"expected one of {', '.join(files)}, got {name}{nearest(name, files)}")
    known, path = files[name], folder / name
    if path.is_file():
        if (digest := _checksum(path)) != known.md5:
            raise DataError(
                f"{path}: expected MD5 {known.md5}, got {digest}; remove it and fetch it again from {known.address}"
            )
        return path
    by_hand = f"fetch it by hand from {known.address} and put it at {path}"
    with replacing(path) as temporary:
        try:
            _download(known.address, temporary, progress)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            why = " ".join(str(getattr(error, "reason", error)).split())  # a server may answer in several lines
            raise DataError(f"cannot fetch {name} ({why}); {by_hand}") from error
        if (digest := _checksum(temporary)) != known.md5:
            raise DataError(f"cannot fetch {name}: expected MD5 {known.md5}, got {digest}; {by_hand}")
    return path


def _download(address: str, path: Path, progress: Callable[[int, int | None], None]) -> None:
    with urllib.request.urlopen(address, timeout=30) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        done = 0
        while block := answer.read(BLOCK):
            file.write(block)
            done += len(block)
            progress(done, total)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
