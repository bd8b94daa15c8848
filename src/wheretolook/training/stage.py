"""What the three stages share: optimiser, schedule, one step, validation, and the stop at a loss that is not finite."""

import math
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from wheretolook.errors import ConfigError, TrainingError, naming
from wheretolook.evaluation.evaluate import Evaluator
from wheretolook.losses.objective import average_images, segmentation_loss
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, ObjectiveTerms

LARGEST_SEED = 2**63 - 1


class Stage(L.LightningModule):
    """One stage of training; the stages differ in `terms`, in what trains and in the figures that pick the best.

    While a stage runs, `modes.training_only` keeps everything else frozen and in evaluation mode.

    Args:
        network: trained in place.
        training: budget and optimiser.

    Raises:
        ConfigError: a number of the budget out of its range.
    """

    shown: ClassVar[tuple[str, ...]]  # the figures worth validating in this stage
    score: ClassVar[tuple[str, ...]]  # those whose mean, val/score, picks the best checkpoint

    wants_masks = False  # whether a loss needs images with masks, or with any annotation
    wants_annotations = False

    def __init__(self, network: GuidedNetwork, training: TrainingOptions) -> None:
        super().__init__()
        check_budget(training)
        self.network, self.budget = network, training
        self.evaluator = Evaluator(len(network.class_names))
        self.seen: tuple[str, ...] = ()  # the images of the step under way

    def trained_modules(self) -> list[nn.Module]:
        """The parts of the network whose parameters this stage changes."""
        raise NotImplementedError

    def terms(self, batch: Batch) -> ObjectiveTerms:
        """The losses of one batch."""
        raise NotImplementedError

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and draws from seed, batch and process alone, so that a resumed run repeats them."""
        key = np.random.SeedSequence((self.budget.seed, batch_idx, self.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum of a batch's losses, all of them logged."""
        with naming(batch.names):
            terms = self.terms(batch)
        self.seen += batch.names
        self.require_finite(terms)
        for name, value in terms._asdict().items():
            self.log(f"train/{name}", value.detach(), prog_bar=True, sync_dist=True)
        return terms.total

    def require_finite(self, terms: ObjectiveTerms) -> None:
        """Stop before a broken loss reaches the weights; the checkpoints on disk stay as they are."""
        if not torch.isfinite(terms.total):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in terms._asdict().items())
            raise self.broken(f"expected a finite loss, got {values}")

    def broken(self, what: str) -> TrainingError:
        """What to say of a step that cannot be taken."""
        return TrainingError(
            f"{what} at step {self.global_step}, images {', '.join(self.seen)}; the last good checkpoint is kept: look "
            "at these images, or start again in another folder with a lower learning rate or a clip"
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before a broken gradient reaches the weights."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        # the scaler of 16-mixed expects overflows now and then, and skips those steps
        if self.trainer.precision != "16-mixed" and not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise self.broken("expected finite gradients, got NaN or infinity")
        self.seen = ()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather the figures of a batch."""
        with naming(batch.names):
            self.evaluator.update(self.network(self.network.preprocessing(batch.images)), batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures, and the score that picks the best checkpoint."""
        figures = self.evaluator.compute()
        self.evaluator.reset()
        values = {f"val/{name}": torch.tensor(figures[name], dtype=torch.float32) for name in self.shown}
        values["val/score"] = torch.stack([values[f"val/{name}"] for name in self.score]).nanmean().nan_to_num()
        self.log_dict(values)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser of what trains, with its schedule."""
        config = self.budget
        # in mixed precision Lightning refuses to clip for a fused optimiser; 16-mixed has its scaler besides
        plain = self.trainer.precision == "16-mixed" or (
            self.trainer.precision == "bf16-mixed" and config.clip is not None
        )
        optimiser = make_optimiser(self.network, config, fused=not plain)
        schedule = make_schedule(optimiser, config)
        if schedule is None:
            return optimiser
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def segmentation_term(output: GuidedOutput, batch: Batch) -> Float[Tensor, ""]:
    """The per-pixel cross-entropy, over the images whose masks are exact and not all void."""
    assert output.mask_scores is not None
    counted = batch.segmented & (batch.masks != VOID).any(dim=2).any(dim=1)
    return average_images(segmentation_loss(output.mask_scores, batch.masks), counted)


def make_optimiser(network: GuidedNetwork, config: TrainingOptions, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser of every parameter that requires a gradient, each part of the network in a group of its own.

    Fused: one pass over 134 million parameters instead of a dozen.
    """
    parts = (
        (network.segmenter, None),
        (network.classifier, config.classifier_learning_rate),
        (network.trunk, config.trunk_learning_rate),
    )
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter for parameter in module.parameters() if parameter.requires_grad],
            "lr": config.learning_rate if rate is None else rate,
        }
        for module, rate in parts
        if module is not None
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
