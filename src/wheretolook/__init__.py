"""Make a network's attention part of its training, and measure the difference.

The public names are imported on first use, so that `import wheretolook` costs nothing and loads no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from wheretolook.torchvision_import import install_finder

if TYPE_CHECKING:
    from wheretolook.attention.grad_cam import channel_weights
    from wheretolook.attention.maps import image_maps, normalised, upsampled
    from wheretolook.attention.methods import attention_maps, pair_maps
    from wheretolook.data import open_dataset
    from wheretolook.data.dataset import ImageDataset
    from wheretolook.errors import WhereToLookError
    from wheretolook.evaluation.evaluate import evaluate
    from wheretolook.evaluation.explain import explain
    from wheretolook.evaluation.pairs import PairFigures, measure_pairs
    from wheretolook.evaluation.suggest import Suggestion, suggest
    from wheretolook.export.network import Exported, export_network
    from wheretolook.losses.attention_distillation import attention_distillation_loss
    from wheretolook.losses.classification import classification_loss
    from wheretolook.losses.cross_entropy import cross_entropy_loss
    from wheretolook.losses.energy import energy_loss
    from wheretolook.losses.input_gradients import input_gradients, input_gradients_loss
    from wheretolook.losses.l1 import l1_loss
    from wheretolook.losses.layer_consistency import layer_consistency_loss
    from wheretolook.losses.mining import masked_images, mining_loss, soft_mask
    from wheretolook.losses.reduce import average_images, average_pairs, present_pairs
    from wheretolook.losses.res import res_loss
    from wheretolook.losses.rrr_maps import rrr_maps_loss
    from wheretolook.losses.segmentation import segmentation_loss
    from wheretolook.losses.separability import separability_loss
    from wheretolook.losses.size_fair_energy import size_fair_energy_loss
    from wheretolook.losses.softmax_energy import softmax_energy_loss
    from wheretolook.losses.squared import external_loss
    from wheretolook.networks.fcn.network import FCN8s, FCN16s, FCN32s
    from wheretolook.networks.files import load_network, save_network
    from wheretolook.networks.guide import GuidedModule, guide
    from wheretolook.networks.modes import dry_run, second_order_attention
    from wheretolook.options.data import DataOptions, ScenesOptions
    from wheretolook.options.network import NetworkOptions
    from wheretolook.options.objective import (
        AttentionDistillationOptions,
        ClassificationOptions,
        CrossEntropyOptions,
        EnergyOptions,
        InputGradientsOptions,
        L1Options,
        LayerConsistencyOptions,
        MiningOptions,
        MixedBackgroundOptions,
        ObjectiveOptions,
        ResOptions,
        RobustGradientsOptions,
        RRRMapsOptions,
        SegmentationOptions,
        SeparabilityOptions,
        SizeFairEnergyOptions,
        SoftmaxEnergyOptions,
        SquaredOptions,
    )
    from wheretolook.options.training import TrainingOptions
    from wheretolook.predict.network import ExportedNetwork
    from wheretolook.records import (
        Batch,
        Cells,
        Explanation,
        GuidedNetwork,
        GuidedOutput,
        LayerGrid,
        Preprocessing,
        Sample,
        collate,
    )
    from wheretolook.report.overlay import overlay
    from wheretolook.training.stage import Stage

__version__ = version("wheretolook")

install_finder()

__all__ = [
    "AttentionDistillationOptions",
    "Batch",
    "Cells",
    "ClassificationOptions",
    "CrossEntropyOptions",
    "DataOptions",
    "EnergyOptions",
    "Explanation",
    "Exported",
    "ExportedNetwork",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "GuidedModule",
    "GuidedNetwork",
    "GuidedOutput",
    "ImageDataset",
    "InputGradientsOptions",
    "L1Options",
    "LayerConsistencyOptions",
    "LayerGrid",
    "MiningOptions",
    "MixedBackgroundOptions",
    "NetworkOptions",
    "ObjectiveOptions",
    "PairFigures",
    "Preprocessing",
    "RRRMapsOptions",
    "ResOptions",
    "RobustGradientsOptions",
    "Sample",
    "ScenesOptions",
    "SegmentationOptions",
    "SeparabilityOptions",
    "SizeFairEnergyOptions",
    "SoftmaxEnergyOptions",
    "SquaredOptions",
    "Stage",
    "Suggestion",
    "TrainingOptions",
    "WhereToLookError",
    "attention_distillation_loss",
    "attention_maps",
    "average_images",
    "average_pairs",
    "channel_weights",
    "classification_loss",
    "collate",
    "cross_entropy_loss",
    "dry_run",
    "energy_loss",
    "evaluate",
    "explain",
    "export_network",
    "external_loss",
    "guide",
    "image_maps",
    "input_gradients",
    "input_gradients_loss",
    "l1_loss",
    "layer_consistency_loss",
    "load_network",
    "masked_images",
    "measure_pairs",
    "mining_loss",
    "normalised",
    "open_dataset",
    "overlay",
    "pair_maps",
    "present_pairs",
    "res_loss",
    "rrr_maps_loss",
    "save_network",
    "second_order_attention",
    "segmentation_loss",
    "separability_loss",
    "size_fair_energy_loss",
    "soft_mask",
    "softmax_energy_loss",
    "suggest",
    "upsampled",
]

_HOMES = {
    "attention.grad_cam": ("channel_weights",),
    "attention.maps": (
        "image_maps",
        "normalised",
        "upsampled",
    ),
    "attention.methods": (
        "attention_maps",
        "pair_maps",
    ),
    "data": ("open_dataset",),
    "data.dataset": ("ImageDataset",),
    "errors": ("WhereToLookError",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.explain": ("explain",),
    "evaluation.pairs": ("PairFigures", "measure_pairs"),
    "evaluation.suggest": ("Suggestion", "suggest"),
    "export.network": ("Exported", "export_network"),
    "predict.network": ("ExportedNetwork",),
    "losses.attention_distillation": ("attention_distillation_loss",),
    "losses.res": ("res_loss",),
    "losses.separability": ("separability_loss",),
    "losses.classification": ("classification_loss",),
    "losses.energy": ("energy_loss",),
    "losses.mining": (
        "masked_images",
        "mining_loss",
        "soft_mask",
    ),
    "losses.reduce": (
        "average_images",
        "average_pairs",
        "present_pairs",
    ),
    "losses.segmentation": ("segmentation_loss",),
    "losses.cross_entropy": ("cross_entropy_loss",),
    "losses.input_gradients": ("input_gradients", "input_gradients_loss"),
    "losses.l1": ("l1_loss",),
    "losses.layer_consistency": ("layer_consistency_loss",),
    "losses.rrr_maps": ("rrr_maps_loss",),
    "losses.size_fair_energy": ("size_fair_energy_loss",),
    "losses.softmax_energy": ("softmax_energy_loss",),
    "losses.squared": ("external_loss",),
    "networks.fcn.network": (
        "FCN16s",
        "FCN32s",
        "FCN8s",
    ),
    "networks.files": (
        "load_network",
        "save_network",
    ),
    "networks.guide": (
        "GuidedModule",
        "guide",
    ),
    "networks.modes": ("dry_run", "second_order_attention"),
    "options.data": ("DataOptions", "ScenesOptions"),
    "options.network": ("NetworkOptions",),
    "options.objective": (
        "AttentionDistillationOptions",
        "ResOptions",
        "SeparabilityOptions",
        "ClassificationOptions",
        "CrossEntropyOptions",
        "EnergyOptions",
        "InputGradientsOptions",
        "L1Options",
        "LayerConsistencyOptions",
        "MiningOptions",
        "MixedBackgroundOptions",
        "ObjectiveOptions",
        "RRRMapsOptions",
        "RobustGradientsOptions",
        "SegmentationOptions",
        "SizeFairEnergyOptions",
        "SoftmaxEnergyOptions",
        "SquaredOptions",
    ),
    "options.training": ("TrainingOptions",),
    "records": (
        "Batch",
        "Cells",
        "Explanation",
        "GuidedNetwork",
        "GuidedOutput",
        "LayerGrid",
        "Preprocessing",
        "Sample",
        "collate",
    ),
    "report.overlay": ("overlay",),
    "training.stage": ("Stage",),
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
