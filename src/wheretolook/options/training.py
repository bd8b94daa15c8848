"""Budget, optimiser and hardware."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingOptions:
    """One stage's budget and optimiser.

    Args:
        steps: optimiser steps.
        optimiser: adam, adamw or sgd (with momentum 0.9).
        learning_rate: of everything that trains and has no rate of its own, as trunk and classifier may.
        trunk_learning_rate: of the trunk's convolutions; none for learning_rate.
        classifier_learning_rate: of the classifier; none for learning_rate. In stage 2 a classifier that is not frozen
            may learn faster than a segmenter that is already trained.
        weight_decay: L2 penalty, decoupled with adamw.
        schedule: constant; one_cycle warms up and anneals to zero; poly falls as (1 - step / steps) ** 0.9.
        accumulate: batches whose gradients make one step.
        clip: largest norm of the gradient; none for no limit.
        validate_every: steps between two validations (and checkpoints); none for about ten a stage. The last step is
            always validated.
        seed: of the fresh weights, the order of images, their augmentation and dropout.
    """

    steps: int = 1000
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    trunk_learning_rate: float | None = None
    classifier_learning_rate: float | None = None
    weight_decay: float = 0.0
    schedule: Literal["constant", "one_cycle", "poly"] = "one_cycle"
    accumulate: int = 1
    clip: float | None = None
    validate_every: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class HardwareOptions:
    """What to run on; the names are Lightning's.

    Args:
        accelerator: cpu, gpu, mps, ... or auto.
        devices: how many devices of each machine.
        nodes: how many machines.
        precision: of the arithmetic; bf16-mixed halves the time on recent machines.
        strategy: auto, ddp, ... but none that shares the network out (fsdp, deepspeed).
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Literal["32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    strategy: str = "auto"
