"""The table of losses, and the guided objective: their weighted sum."""

import math
from collections.abc import Mapping
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from wheretolook.errors import ConfigError
from wheretolook.losses.attention_distillation import attention_distillation
from wheretolook.losses.classification import classification
from wheretolook.losses.cross_entropy import cross_entropy
from wheretolook.losses.energy import energy
from wheretolook.losses.input_gradients import of_right_reasons
from wheretolook.losses.l1 import l1
from wheretolook.losses.layer_consistency import layer_consistency
from wheretolook.losses.mining import mining, mining_reaches
from wheretolook.losses.mixed_background import mixed_background
from wheretolook.losses.res import res
from wheretolook.losses.robust_gradients import robust_gradients
from wheretolook.losses.rrr_maps import rrr_maps
from wheretolook.losses.segmentation import segmentation
from wheretolook.losses.separability import separability
from wheretolook.losses.size_fair_energy import size_fair_energy
from wheretolook.losses.softmax_energy import softmax_energy
from wheretolook.losses.squared import squared
from wheretolook.losses.step import Loss, Need, Step
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import Part

SEGMENTATION = 1.5  # what segmentation weighs unless it is said; the predecessor's weight
GUIDING: frozenset[Need] = frozenset({"maps", "annotations"})
GRADIENTS: frozenset[Need] = frozenset({"input_gradients", "annotations"})
ATTENTION: frozenset[Need] = frozenset({"maps", "input_gradients"})
GUIDANCE: frozenset[Need] = ATTENTION | {"annotations"}  # what makes a loss one of guidance

# by name, which is that of its group of options
LOSSES: dict[str, Loss] = {
    "classification": Loss(classification, frozenset(), lambda options: {"trunk", "classifier"}),
    "mining": Loss(mining, frozenset({"maps"}), mining_reaches),
    "squared": Loss(squared, GUIDING, lambda options: {"trunk"}),
    "energy": Loss(energy, GUIDING, lambda options: {"trunk"}),
    "softmax_energy": Loss(softmax_energy, GUIDING, lambda options: {"trunk"}),
    "size_fair_energy": Loss(size_fair_energy, GUIDING, lambda options: {"trunk"}),
    "l1": Loss(l1, GUIDING, lambda options: {"trunk"}),
    "cross_entropy": Loss(cross_entropy, GUIDING, lambda options: {"trunk"}),
    "rrr_maps": Loss(rrr_maps, GUIDING, lambda options: {"trunk"}),
    "mixed_background": Loss(mixed_background, frozenset({"annotations"}), lambda options: {"trunk", "classifier"}),
    "input_gradients": Loss(of_right_reasons, GRADIENTS, lambda options: {"trunk", "classifier"}),
    "robust_gradients": Loss(robust_gradients, GRADIENTS, lambda options: {"trunk", "classifier"}),
    "res": Loss(res, GUIDING, lambda options: {"trunk"}),
    "separability": Loss(separability, frozenset({"maps", "rivals"}), lambda options: {"trunk"}),
    "layer_consistency": Loss(layer_consistency, frozenset({"maps"}), lambda options: {"trunk"}),
    "attention_distillation": Loss(
        attention_distillation, frozenset({"maps", "earlier_maps"}), lambda options: {"trunk"}
    ),
    "segmentation": Loss(segmentation, frozenset({"masks"}), lambda options: {"trunk", "segmenter"}),
}


def for_network(options: ObjectiveOptions, *, segments: bool, annotated: bool = False) -> ObjectiveOptions:
    """The objective with the weights that depend on network and data where none are given.

    Args:
        options: the objective.
        segments: whether the network gives mask scores.
        annotated: whether the data say where objects are, so that attention can be guided by it.

    Example:
        >>> loss_weights(for_network(ObjectiveOptions(), segments=False))
        {'classification': 1.0, 'mining': 1.0}
        >>> loss_weights(for_network(ObjectiveOptions(), segments=False, annotated=True))
        {'classification': 1.0, 'mixed_background': 1.0}
    """
    chosen: dict[str, float] = {}
    if options.segmentation.weight is None:
        chosen["segmentation"] = SEGMENTATION if segments else 0.0
    if options.mining.weight is None:
        chosen["mining"] = 0.0
        if not any(getattr(options, name).weight for name in LOSSES if LOSSES[name].needs & GUIDANCE):
            chosen[("energy" if segments else "mixed_background") if annotated else "mining"] = 1.0
    return replace(options, **{name: replace(getattr(options, name), weight=weight) for name, weight in chosen.items()})


def loss_weights(options: ObjectiveOptions) -> dict[str, float]:
    """The weight of every loss that is weighed at all, in the order of the table.

    Args:
        options: an objective `for_network`.

    Raises:
        ConfigError: a weight below 0 or not finite, or none above 0.

    Example:
        >>> loss_weights(for_network(ObjectiveOptions(), segments=True))
        {'classification': 1.0, 'mining': 1.0, 'segmentation': 1.5}
    """
    weights: dict[str, float] = {name: getattr(options, name).weight for name in LOSSES}
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ConfigError(f"expected {name}.weight of at least 0, got {weight}; 0 leaves the loss out")
    if not any(weights.values()):
        raise ConfigError(f"expected a weight above 0, got 0 for all of {', '.join(weights)}: nothing would be learned")
    return {name: weight for name, weight in weights.items() if weight}


def needs(options: ObjectiveOptions) -> set[Need]:
    """What the losses that are weighed need."""
    return {need for name in loss_weights(options) for need in LOSSES[name].needs}


def trained_parts(options: ObjectiveOptions) -> set[Part]:
    """The parts of the network that the losses reach and that are not frozen.

    A part that no loss reaches must not count as trained: processes that train together would wait for its gradient.
    """
    parts = {part for name in loss_weights(options) for part in LOSSES[name].reaches(getattr(options, name))}
    if options.channel_weights == "second_order" and "maps" in needs(options):
        parts.add("classifier")
    return parts - {"classifier"} if options.freeze_classifier else parts


def scheduled(
    weights: Mapping[str, float], progress: float, *, warmup: float = 0.0, off_after: float = 1.0
) -> dict[str, float]:
    """The weights at one step of a stage: those of losses that look at attention rise linearly from 0, and may end.

    Args:
        weights: of the losses, by name.
        progress: share of the stage that is done.
        warmup: share of the stage over which they rise; 0 for weights that are what they are from the first step.
        off_after: share of the stage after which they are 0; 1 for never.

    Example:
        >>> scheduled({"classification": 1.0, "energy": 4.0}, 0.125, warmup=0.5)
        {'classification': 1.0, 'energy': 1.0}
        >>> scheduled({"classification": 1.0, "energy": 4.0}, 0.75, off_after=0.75)
        {'classification': 1.0, 'energy': 0.0}
    """
    factor = min(1.0, progress / warmup) if warmup else 1.0
    factor = factor if progress < off_after or off_after == 1 else 0.0
    return {name: weight * factor if LOSSES[name].needs & ATTENTION else weight for name, weight in weights.items()}


def weighted_losses(
    step: Step, options: ObjectiveOptions, progress: float = 1.0
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum of the losses that are weighed, and each of them by name before weighing.

    Args:
        step: what they look at.
        options: an objective `for_network`.
        progress: share of the stage that is done, for weights that warm up or end.

    Source: arXiv:1802.10171 eq. 6 and 8, with the segmentation loss and those of others beside them.
    """
    weights = loss_weights(options)
    values = {name: LOSSES[name].compute(step, getattr(options, name)) for name in weights}
    schedule = scheduled(weights, progress, warmup=options.warmup, off_after=options.off_after)
    return weighted_sum(values, schedule), values


def weighted_sum(values: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The sum of weight times value.

    Example:
        >>> import torch
        >>> weighted_sum({"energy": torch.tensor(2.0), "mining": torch.tensor(3.0)}, {"energy": 5.0, "mining": 7.0})
        tensor(31.)
    """
    total, *others = (weights[name] * value for name, value in values.items())
    for other in others:
        total = total + other
    return total


def check_options_of_losses(options: ObjectiveOptions) -> None:
    """Make sure that the numbers of each loss's own options can work.

    Raises:
        ConfigError: one out of its range.
    """
    robust = options.robust_gradients
    ranges: dict[str, tuple[float, float, str]] = {
        "res.slack": (0, 2, "between 0 and 2"),
        "res.blur": (0, 1e3, "of at least 0"),
        "separability.threshold": (0, 1, "between 0 and 1"),
        "layer_consistency.threshold": (0, 1, "between 0 and 1"),
        "attention_distillation.least_inside": (0, 1, "between 0 and 1, a share"),
        "softmax_energy.temperature": (1e-6, 1e6, "above 0"),
        "robust_gradients.epsilon": (1e-9, 1e6, "above 0"),
        "mining.least_score": (0, 1, "between 0 and 1, a probability"),
        "mining.chunk": (1, math.inf, "of at least 1"),
    }
    for name, (low, high, what) in ranges.items():
        group, _, option = name.partition(".")
        value = getattr(getattr(options, group), option)
        if not low <= value <= high:
            raise ConfigError(f"expected {name} {what}, got {value}")
    if min(robust.samples, robust.ascent) < 0 or robust.samples + robust.ascent < 1:
        raise ConfigError(
            "expected robust_gradients.samples and robust_gradients.ascent of at least 0, and one of them above, got "
            f"{robust.samples} and {robust.ascent}; weigh input_gradients for no change at all"
        )


def check_objective(options: ObjectiveOptions) -> None:
    """Make sure that an objective can work.

    Raises:
        ConfigError: a number out of its range, or nothing that is weighed.
    """
    loss_weights(options)
    check_options_of_losses(options)
    if not 0 <= options.warmup <= 1:
        raise ConfigError(f"expected warmup between 0 and 1, a share of the steps, got {options.warmup}")
    if not options.warmup <= options.off_after <= 1 or options.off_after == 0:
        raise ConfigError(
            f"expected off_after above 0, no less than warmup ({options.warmup:g}) and at most 1, a share of the steps,"
            f" got {options.off_after:g}"
        )
    if options.classes_per_image is not None and options.classes_per_image < 1:
        raise ConfigError(f"expected classes_per_image of at least 1, got {options.classes_per_image}; none takes all")
