"""Make a network's attention part of its training, and measure the difference.

The public names are imported on first use, so that `import wheretolook` costs nothing and loads no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from wheretolook.torchvision_import import install_finder

if TYPE_CHECKING:
    from wheretolook.attention.maps import attention_maps, channel_weights, pair_maps
    from wheretolook.errors import WhereToLookError
    from wheretolook.evaluation.evaluate import evaluate
    from wheretolook.evaluation.explain import explain
    from wheretolook.losses.external import energy_loss, external_loss
    from wheretolook.losses.mining import masked_images, mining_loss, soft_mask
    from wheretolook.losses.objective import present_pairs
    from wheretolook.networks.fcn.network import FCN8s, FCN16s, FCN32s
    from wheretolook.networks.files import load_network, save_network
    from wheretolook.records import Batch, GuidedOutput, Preprocessing
    from wheretolook.training.classifier import ClassifierStage
    from wheretolook.training.gain import GainStage
    from wheretolook.training.segmenter import SegmenterStage

__version__ = version("wheretolook")

install_finder()

__all__ = [
    "Batch",
    "ClassifierStage",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "GainStage",
    "GuidedOutput",
    "Preprocessing",
    "SegmenterStage",
    "WhereToLookError",
    "attention_maps",
    "channel_weights",
    "energy_loss",
    "evaluate",
    "explain",
    "external_loss",
    "load_network",
    "masked_images",
    "mining_loss",
    "pair_maps",
    "present_pairs",
    "save_network",
    "soft_mask",
]

_HOMES = {
    "attention.maps": ("attention_maps", "channel_weights", "pair_maps"),
    "errors": ("WhereToLookError",),
    "losses.external": ("energy_loss", "external_loss"),
    "losses.mining": ("masked_images", "mining_loss", "soft_mask"),
    "losses.objective": ("present_pairs",),
    "networks.fcn.network": ("FCN8s", "FCN16s", "FCN32s"),
    "networks.files": ("load_network", "save_network"),
    "records": ("Batch", "GuidedOutput", "Preprocessing"),
    "training.classifier": ("ClassifierStage",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.explain": ("explain",),
    "training.gain": ("GainStage",),
    "training.segmenter": ("SegmenterStage",),
}


def __getattr__(name: str) -> object:
    """Import a public name's module the first time that the name is asked for."""
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(name for name in __all__ if name not in globals())])
