"""One stage of training: what trains, its losses, one step, validation, and the stop at a loss that is not finite.

The three stages are presets of it: `Stage.segmenter`, `Stage.classifier` and `Stage.guidance`.
"""

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Int
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from wheretolook.attention.fusion import fused
from wheretolook.attention.methods import layer_maps
from wheretolook.errors import ConfigError, TrainingError, naming
from wheretolook.evaluation.evaluate import Evaluator
from wheretolook.losses.objective import LOSSES, check_objective, for_network, needs, trained_parts, weighted_losses
from wheretolook.losses.reduce import present_pairs
from wheretolook.losses.step import Rivals, Step
from wheretolook.metrics.figures import validated
from wheretolook.networks.modes import second_order_attention
from wheretolook.options.objective import OF_PIXELS, ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import Batch, GuidedNetwork, GuidedOutput, Part
from wheretolook.training.collapse import CollapseWatch, coverage, recall
from wheretolook.training.optimiser import check_budget, make_optimiser, make_schedule


def objective_of(**weights: float) -> ObjectiveOptions:
    """An objective that weighs these losses and no other.

    Example:
        >>> objective_of(segmentation=1.0).mining.weight
        0.0
    """
    default = ObjectiveOptions()
    return replace(default, **{name: replace(getattr(default, name), weight=weights.get(name, 0.0)) for name in LOSSES})


class Stage(L.LightningModule):
    """One stage of training.

    While a stage runs, `networks.modes.training_only` keeps everything else frozen and in evaluation mode.

    Args:
        network: trained in place.
        training: budget and optimiser.
        objective: the losses that are weighed.
        trains: the parts of the network whose parameters change.
        shown: the figures worth validating.
        score: those whose mean, val/score, picks the best checkpoint.

    Raises:
        ConfigError: a number out of its range, nothing that is weighed, or nothing that trains.
    """

    def __init__(
        self,
        network: GuidedNetwork,
        training: TrainingOptions,
        objective: ObjectiveOptions,
        *,
        trains: set[Part],
        shown: tuple[str, ...],
        score: tuple[str, ...],
    ) -> None:
        super().__init__()
        check_budget(training)
        check_objective(objective)
        self.network, self.budget, self.objective = network, training, objective
        self.trains, self.shown, self.score = trains, shown, score
        self.needs = needs(objective)
        if "masks" in self.needs and not network.segments:
            raise ConfigError(
                "expected a network with a segmenter, for the segmentation loss, got one without; weigh 0"
            )
        trained = (weight for module in self.trained_modules() for weight in module.parameters())
        if not any(weight.requires_grad and weight.numel() for weight in trained):
            raise ConfigError(
                f"expected weights to train in {' and '.join(sorted(trains))}, got none or frozen ones; "
                "--scores classifier adds a classifier to train, and a recipe's --classifier none leaves its stage out"
            )
        if "maps" in self.needs and network.attention == "integrated_gradients":
            raise ConfigError(
                "integrated_gradients is for looking, not for training; train with --attention input_x_gradient or "
                "grad_cam, and choose it for figures and pictures"
            )
        self.require_reached()
        # in a tuple, so that it is no part of the stage: neither trained nor stored
        self.earlier: tuple[GuidedNetwork, ...] = ()
        if "earlier_maps" in self.needs:
            self.earlier = (deepcopy(network).requires_grad_(False).eval(),)
        self.evaluator = Evaluator(len(network.class_names), method=network.attention)
        self.collapse = CollapseWatch()
        self.seen: tuple[str, ...] = ()  # the images of the step under way

    @classmethod
    def segmenter(cls, network: GuidedNetwork, training: TrainingOptions) -> "Stage":
        """Stage 0: trunk and segmenter learn the masks; the classifier is left alone."""
        if not network.segments:
            raise ConfigError("expected a network with a segmenter, got one that only classifies; run train-classifier")
        shown = validated("segmentation")
        objective = objective_of(segmentation=1.0)
        return cls(network, training, objective, trains={"trunk", "segmenter"}, shown=shown, score=("mean_iu",))

    @classmethod
    def classifier(cls, network: GuidedNetwork, training: TrainingOptions) -> "Stage":
        """Stage 1: the classifier's parameters and only they change; the trunk is frozen."""
        shown, score = validated("classification", "attention"), ("mean_average_precision",)
        objective = objective_of(classification=1.0)
        return cls(network, training, objective, trains={"classifier"}, shown=shown, score=score)

    @classmethod
    def guidance(cls, network: GuidedNetwork, training: TrainingOptions, objective: ObjectiveOptions) -> "Stage":
        """Stage 2: the network learns under the guided objective; its classifier stays as it is, or trains along.

        Args:
            network: with a classifier that classifies; guidance by one that does not is noise.
            training: budget and optimiser.
            objective: the losses that are weighed.

        Source: arXiv:1802.10171 eq. 1 to 8.
        """
        objective = for_network(objective, segments=network.segments)
        check_objective(objective)
        shown, score = validated("classification", "attention"), ("mean_average_precision", "attention_iou")
        if network.segments:
            shown, score = (*validated("segmentation"), *shown), ("mean_iu", "attention_iou")
        return cls(network, training, objective, trains=trained_parts(objective), shown=shown, score=score)

    @property
    def losses(self) -> tuple[str, ...]:
        """The names of the losses that are weighed."""
        return tuple(name for name in LOSSES if getattr(self.objective, name).weight)

    def trained_modules(self) -> list[nn.Module]:
        """The modules of the network whose parameters this stage changes."""
        return [module for part in sorted(self.trains) for module in self.network.part(part)]

    def require_reached(self, differentiable: bool = True) -> None:
        """A loss on maps trains what makes them; it would train nothing, and say so nowhere, where that is fixed.

        Args:
            differentiable: whether a gradient leads from the maps to the weights before them, as the forward shows.

        Raises:
            ConfigError: a loss on maps reaches no weight that trains.
        """
        trunk = (weight for module in self.network.part("trunk") for weight in module.parameters())
        moves = differentiable and any(weight.requires_grad for weight in trunk)
        for name in self.losses:
            reached = LOSSES[name].reaches(getattr(self.objective, name)) & self.trains
            if "maps" in LOSSES[name].needs and reached <= {"trunk"} and not moves:
                raise ConfigError(
                    f"expected a trunk that trains, for the loss {name} on maps, got one that is frozen or runs "
                    "without gradients; unfreeze it up to the attention layer (requires_grad_(), and no no_grad() or "
                    f"detach() there), or weigh {name} 0"
                )

    def forward_step(self, batch: Batch) -> Step:
        """One forward, and the maps of every present class where a loss needs them."""
        objective = self.objective
        images = self.network.preprocessing(batch.images)
        twice = objective.channel_weights == "second_order" or self.network.attention in OF_PIXELS
        twice = twice and "maps" in self.needs
        if "input_gradients" in self.needs:
            images, twice = images.detach().requires_grad_(), True
        with second_order_attention() if twice else nullcontext():
            output = self.network(images, segment="masks" in self.needs)
        if torch.is_grad_enabled():
            self.require_reached(output.differentiable)
        drawn = torch.zeros_like(batch.labels)
        if "maps" in self.needs:
            drawn[*present_pairs(batch.labels, objective.classes_per_image).unbind(dim=1)] = True
        guided = drawn[*batch.pairs.unbind(dim=1)]
        pairs = batch.pairs[guided]
        layers = self.layer_maps(output, pairs)
        return Step(
            self.network,
            batch,
            images,
            output,
            pairs,
            fused(layers, output),
            batch.targets[guided],
            self.loss_scale(),
            self.rivals(batch, output, pairs) if "rivals" in self.needs else None,
            self.earlier_maps(images, pairs) if self.earlier else None,
            layers,
        )

    def layer_maps(self, output: GuidedOutput, pairs: Int[Tensor, "pairs 2"]) -> tuple[Float[Tensor, "pairs _ _"], ...]:
        """The attention maps of pairs before their ReLU, layer by layer, in the graph where there is one."""
        return tuple(
            layer_maps(
                output,
                pairs,
                method=self.network.attention,
                differentiable=output.differentiable,
                channel_weights=self.objective.channel_weights,
            )
        )

    def rivals(self, batch: Batch, output: GuidedOutput, pairs: Int[Tensor, "pairs 2"]) -> Rivals:
        """The class with the largest score that each pair's image does not show."""
        images, place = pairs[:, 0].unique(return_inverse=True)
        rival = output.class_scores.masked_fill(batch.labels, -torch.inf).argmax(dim=1)[images]
        layers = self.layer_maps(output, torch.stack([images, rival], dim=1))
        return Rivals(tuple(maps.relu()[place] for maps in layers), ~batch.labels.all(dim=1)[pairs[:, 0]])

    @torch.no_grad()
    def earlier_maps(self, images: Tensor, pairs: Int[Tensor, "pairs 2"]) -> Float[Tensor, "pairs h w"]:
        """The attention maps of pairs by the network as it was when the stage began, after their ReLU."""
        network = self.earlier[0].to(images.device, images.dtype)
        output = network(images.detach(), segment=False)
        return fused(self.layer_maps(output, pairs), output).relu()

    def terms(self, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total of a batch, and each loss that is weighed, before weighing."""
        step = self.forward_step(batch)
        if "maps" in self.needs and batch.labels.any():
            self.collapse.see(self.global_step, coverage=coverage(step, self.objective), recall=recall(step))
        return weighted_losses(step, self.objective, self.global_step / self.budget.steps)

    def loss_scale(self) -> float:
        """What the trainer multiplies losses by in half precision; 1 otherwise."""
        trainer = self._trainer
        scaler = None if trainer is None else getattr(trainer.precision_plugin, "scaler", None)
        return 1.0 if scaler is None else float(scaler.get_scale())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and draws from seed, batch and process alone, so that a resumed run repeats them."""
        key = np.random.SeedSequence((self.budget.seed, batch_idx, self.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum of a batch's losses, all of them logged."""
        with naming(batch.names):
            total, losses = self.terms(batch)
        self.seen += batch.names
        self.require_finite(total, losses)
        for name, value in {"total": total, **losses}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=True, sync_dist=True)
        return total

    def require_finite(self, total: Float[Tensor, ""], losses: dict[str, Float[Tensor, ""]]) -> None:
        """Stop before a broken loss reaches the weights; the checkpoints on disk stay as they are."""
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in {"total": total, **losses}.items())
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the network's cells were found: looked for again, with other weights, they might lie elsewhere."""
        checkpoint["cells"] = self.network.cells_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the cells that the run has had so far."""
        if checkpoint.get("cells"):
            self.network.load_cells_state(checkpoint["cells"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather the figures of a batch."""
        with naming(batch.names):
            self.evaluator.update(self.network(self.network.preprocessing(batch.images)), batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures, and the score that picks the best checkpoint; NaN where nothing was there to measure."""
        figures = self.evaluator.compute()
        self.evaluator.reset()
        values = {f"val/{name}": torch.tensor(figures[name], dtype=torch.float32) for name in self.shown}
        values["val/score"] = torch.stack([values[f"val/{name}"] for name in self.score]).nanmean()
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
