"""Shapes and types in signatures are checked while the tests run; what is slow to make is made once."""

import logging
import os
import signal

from jaxtyping import install_import_hook

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is started deaf to it
install_import_hook("wheretolook", "beartype.beartype")

from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

import wheretolook  # noqa: E402, F401 (first of all: whoever imports torchvision imports it through its finder)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What a test does to the level of our own messages ends with it."""
    logger = logging.getLogger("wheretolook")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def exported_fcn(tmp_path_factory: pytest.TempPathFactory):
    """What `narrow()` is exported to, in ONNX."""
    from wheretolook.export.network import export_network

    from .networks.narrow import narrow

    return export_network(narrow(), tmp_path_factory.mktemp("exported") / "net.onnx")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The predecessor's golden values, copied into the repository."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def photoscenes() -> Path:
    """A real photographic data set in VOC layout."""
    folder = SHARED / "data" / "photoscenes"
    if not folder.exists():
        pytest.skip(f"the photographic data set is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def vgg16_trunk() -> Path:
    """A real pretrained VGG16 trunk."""
    file = SHARED / "weights" / "vgg16_conv_caffe.npz"
    if not file.exists():
        pytest.skip(f"the pretrained trunk is not at {file}")
    return file
