"""The optimiser of what trains, with its schedule, and the numbers that it takes."""

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from wheretolook.errors import ConfigError
from wheretolook.options.training import TrainingOptions
from wheretolook.records import GuidedNetwork, Part

LARGEST_SEED = 2**63 - 1


def make_optimiser(network: GuidedNetwork, config: TrainingOptions, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser of every parameter that requires a gradient, each part of the network in a group of its own.

    Fused: one pass over 134 million parameters instead of a dozen.
    """
    rates: dict[Part, float | None] = {
        "segmenter": None,
        "classifier": config.classifier_learning_rate,
        "trunk": config.trunk_learning_rate,
    }
    groups: list[dict[str, Any]] = [
        {
            "params": [
                parameter
                for module in network.part(part)
                for parameter in module.parameters()
                if parameter.requires_grad
            ],
            "lr": config.learning_rate if rate is None else rate,
        }
        for part, rate in rates.items()
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=config.weight_decay, fused=fused)
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=config.weight_decay, fused=fused)


def make_schedule(optimiser: torch.optim.Optimizer, config: TrainingOptions) -> LRScheduler | None:
    """The schedule over all steps, or None where the rate is constant.

    Source: one_cycle arXiv:1708.07120; poly as in DeepLab, arXiv:1606.00915.
    """
    if config.schedule == "one_cycle":
        rates = [group["lr"] for group in optimiser.param_groups]
        steps = config.steps + 1
        rise = max(0.2, 2 / steps)  # one step at least: a rise of none divides by zero
        return OneCycleLR(optimiser, rates, total_steps=steps, pct_start=rise, cycle_momentum=False)
    if config.schedule == "poly":
        return LambdaLR(optimiser, lambda step: max(0.0, 1 - step / config.steps) ** 0.9)
    return None


def check_budget(config: TrainingOptions) -> None:
    """Make sure that a budget can work.

    Raises:
        ConfigError: a number out of its range.
    """
    for name in ("steps", "accumulate", "validate_every"):
        count = getattr(config, name)
        if count is not None and count < 1:
            raise ConfigError(f"expected {name} of at least 1, got {count}")
    for name in ("learning_rate", "trunk_learning_rate", "classifier_learning_rate", "weight_decay"):
        amount = getattr(config, name)
        if amount is not None and not 0 <= amount < math.inf:
            raise ConfigError(f"expected {name} of at least 0, got {amount}")
    if not 0 <= config.seed <= LARGEST_SEED:
        raise ConfigError(f"expected seed of 0 to {LARGEST_SEED}, got {config.seed}")
    if config.clip is not None and not config.clip > 0:
        raise ConfigError(f"expected clip above 0, got {config.clip}; none sets no limit")
