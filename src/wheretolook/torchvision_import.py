"""Import torchvision beside a torch that its compiled half does not fit, such as the CPU build of torch.

PyPI's torchvision is built for the CUDA build of torch. Beside a CPU build its `_C` library does not load, and then its
Python half fails on import ("operator torchvision::nms does not exist"), and with it everything that imports it when
it is there: torchmetrics, lightning, timm, segmentation_models_pytorch, transformers. Its networks need none of those
operators, so declaring them is enough. Nothing is imported until somebody imports torchvision.
"""

import sys
from collections.abc import Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[object] = []  # torch forgets the declarations of a library that is collected


class TorchvisionFinder(MetaPathFinder):
    """Finds torchvision where it always is, once its operators are there: compiled, or else declared."""

    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the import system asks for each module; answers for torchvision itself only."""
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname)
        if spec is not None and spec.origin is not None:
            declare_missing_operators(Path(spec.origin).parent)
        return spec


def declare_missing_operators(package: Path) -> None:
    """Declare the operators that torchvision's Python half registers shapes for, unless its library brings them.

    Args:
        package: the folder of torchvision.
    """
    import torch  # here: whoever imports torchvision imports torch anyway, and `--help` must not

    libraries = [*package.glob("_C*.so"), *package.glob("_C*.pyd")]
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        libraries = []
    if libraries or _declared:
        return
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        declared.define(schema)
    _declared.append(declared)


def install_finder() -> None:
    """Stand before the import system's own finders; does nothing where torchvision is already imported."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionFinder())
