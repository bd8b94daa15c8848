"""Stage 2: fine-tune a segmenter such that its attention covers what it recognises."""

import logging
import math
from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from wheretolook.attention.maps import image_maps, normalised, pair_maps
from wheretolook.errors import ConfigError
from wheretolook.losses.external import at_resolution, energy_loss, external_loss, squared_sum
from wheretolook.losses.mining import Run, masked_images, mining_loss, soft_mask, sum_in_chunks
from wheretolook.losses.objective import (
    average_images,
    average_pairs,
    classification_loss,
    pair_shares,
    pair_targets,
    present_pairs,
    visible,
    weighted,
)
from wheretolook.networks.modes import evaluation_mode
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import Batch, GuidedNetwork, GuidedOutput, ObjectiveTerms, side_lengths
from wheretolook.training.collapse import CollapseWatch
from wheretolook.training.stage import Stage, segmentation_term

log = logging.getLogger("wheretolook")


class GainStage(Stage):
    """Trunk and segmenter learn under the guided objective; the classifier stays as stage 1 left it, or trains along.

    Args:
        network: with a classifier that classifies; guidance by one that does not is noise.
        training: budget and optimiser.
        objective: weights of the terms, and the options that the paper leaves open.

    Raises:
        ConfigError: an option of the objective out of its range, or nothing that is weighed.

    Source: arXiv:1802.10171 eq. 1 to 8.
    """

    shown = ("accuracy", "mean_iu", "map", "f1", "energy_pointing", "attention_iou")
    score = ("mean_iu", "attention_iou")

    def __init__(self, network: GuidedNetwork, training: TrainingOptions, objective: ObjectiveOptions) -> None:
        super().__init__(network, training)
        _check(objective)
        self.objective = objective
        self.collapse = CollapseWatch()
        self.wants_masks = objective.segmentation_weight > 0
        self.wants_annotations = objective.external_weight > 0

    def trained_modules(self) -> list[nn.Module]:
        """The trunk; the segmenter where it is weighed; the classifier where it is not frozen."""
        modules = [self.network.trunk]
        if self.objective.segmentation_weight and self.network.segmenter is not None:
            modules.append(self.network.segmenter)
        if not self.objective.freeze_classifier:
            modules.append(self.network.classifier)
        return modules

    def terms(self, batch: Batch) -> ObjectiveTerms:
        """One forward, the maps of every present class, and a loss for each weight that is not 0."""
        objective = self.objective
        images = self.network.preprocessing(batch.images)
        output = self.network(images, segment=objective.segmentation_weight > 0)
        pairs = present_pairs(batch.labels, objective.classes_per_image)
        if not (objective.mining_weight or objective.external_weight):
            pairs = pairs[:0]  # nothing is guided, so no map is needed
        maps = self.maps(output, pairs)
        self.watch(output, batch, maps)
        zero = output.class_scores.new_zeros(())
        return weighted(
            objective,
            classification=average_images(classification_loss(output.class_scores, batch.labels)),
            mining=self.mining(images, maps, pairs) if objective.mining_weight else zero,
            external=self.external(batch, maps, pairs) if objective.external_weight else zero,
            segmentation=segmentation_term(output, batch) if objective.segmentation_weight else zero,
        )

    def maps(self, output: GuidedOutput, pairs: Int[Tensor, "pairs 2"]) -> Float[Tensor, "pairs h w"]:
        """The attention maps of the pairs, at feature resolution, as they come."""
        weights = self.objective.channel_weights
        return pair_maps(output, pairs, differentiable=output.differentiable, channel_weights=weights)

    def soft_masks(
        self, maps: Float[Tensor, "pairs h w"], size: tuple[int, int]
    ) -> Float[Tensor, "pairs height width"]:
        """What is erased of each pair's image (eq. 4)."""
        objective = self.objective
        attention = image_maps(maps, size, upsampling=objective.upsampling, normalising=objective.normalising)
        return soft_mask(attention, objective.mask_threshold, objective.mask_slope)

    @torch.no_grad()
    def watch(self, output: GuidedOutput, batch: Batch, maps: Float[Tensor, "pairs h w"]) -> None:
        """Warn where guidance wins by giving up."""
        if not batch.labels.any():
            return
        recall = (output.class_scores[batch.labels] > 0).float().mean().item()
        mined = self.objective.mining_weight and len(maps)
        coverage = (self.soft_masks(maps, side_lengths(maps)) > 0.5).float().mean().item() if mined else None
        self.collapse.see(self.global_step, coverage=coverage, recall=recall)

    def mining(
        self, images: Float[Tensor, "batch 3 height width"], maps: Tensor, pairs: Int[Tensor, "pairs 2"]
    ) -> Float[Tensor, ""]:
        """What the classifier still recognises once the attended region is erased (eq. 3 to 5)."""
        objective = self.objective
        masks = self.soft_masks(maps, side_lengths(images))
        shares = pair_shares(pairs, len(images)).to(images)

        def loss(run: Run, masks: Tensor, part: slice) -> Tensor:
            erased = masked_images(images[pairs[part, 0]], masks)
            scores = run(erased, segment=False).class_scores
            return (mining_loss(scores, pairs[part, 1], objective.mining_score) * shares[part]).sum()

        train_network = objective.mining_updates == "all"
        with evaluation_mode(self.network) if objective.masked_pass == "eval" else nullcontext():
            return sum_in_chunks(
                self.network,
                loss,
                masks,
                objective.mining_chunk,
                train_network=train_network,
                scale=self.loss_scale(),
            )

    def loss_scale(self) -> float:
        """What the trainer multiplies losses by in half precision; 1 otherwise."""
        trainer = self._trainer
        scaler = None if trainer is None else getattr(trainer.precision_plugin, "scaler", None)
        return 1.0 if scaler is None else float(scaler.get_scale())

    def external(self, batch: Batch, maps: Tensor, pairs: Int[Tensor, "pairs 2"]) -> Float[Tensor, ""]:
        """How far attention and annotation differ, over the annotated images (eq. 7)."""
        objective = self.objective
        target, valid = pair_targets(batch.masks, pairs)
        shown = visible(target)
        maps, pairs, target, valid = maps[shown], pairs[shown], target[shown], valid[shown]
        cover = target.to(maps.dtype)
        if objective.external_resolution == "features":
            cover, valid = at_resolution(cover, valid, side_lengths(maps))
        compared = self.compared(maps, side_lengths(batch.masks))
        loss = {"energy": energy_loss, "squared": external_loss, "sum": squared_sum}[objective.external]
        counted = pairs[:, 0].bincount(minlength=len(batch.masks)) > 0
        return average_images(average_pairs(loss(compared, cover, valid), pairs, len(batch.masks)), counted)

    def compared(self, maps: Float[Tensor, "pairs h w"], size: tuple[int, int]) -> Float[Tensor, "pairs height width"]:
        """The maps as the external loss wants them: at its resolution, and normalised unless energy is compared."""
        objective = self.objective
        normalising = "none" if objective.external == "energy" else objective.normalising
        if objective.external_resolution == "features":
            return normalised(maps, normalising)
        return image_maps(maps, size, upsampling=objective.upsampling, normalising=normalising)


def _check(objective: ObjectiveOptions) -> None:
    losses = ("classification", "mining", "external", "segmentation")
    weights = {f"{loss}_weight": getattr(objective, f"{loss}_weight") for loss in losses}
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ConfigError(f"expected {name} of at least 0, got {weight}; 0 leaves the loss out")
    if not any(weights.values()):
        raise ConfigError(f"expected a weight above 0, got 0 for all of {', '.join(weights)}: nothing would be learned")
    if objective.external != "squared" and not objective.external_weight:
        log.warning("external %s has no effect: external_weight is 0", objective.external)
    if objective.mining_chunk < 1:
        raise ConfigError(f"expected mining_chunk of at least 1, got {objective.mining_chunk}")
    if objective.classes_per_image is not None and objective.classes_per_image < 1:
        raise ConfigError(
            f"expected classes_per_image of at least 1, got {objective.classes_per_image}; none takes all"
        )
