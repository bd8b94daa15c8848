"""What a network is worth: segmentation, classification and attention, measured in one pass over the images."""

import warnings
from collections.abc import Iterable

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import nn

from wheretolook.attention.maps import upsampled
from wheretolook.attention.methods import pair_maps
from wheretolook.errors import naming
from wheretolook.metrics.attention import AttentionMetric, grid_ceiling
from wheretolook.metrics.classification import ClassificationMetric
from wheretolook.metrics.segmentation import SegmentationMetric
from wheretolook.networks.modes import evaluation_mode
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, side_lengths

Figures = dict[str, object]


class Evaluator(nn.Module):
    """Gathers the figures batch by batch; `compute` sums over processes, unless each of them sees all images.

    Segmentation counts images whose masks are exact; attention counts every pair whose plane shows an object.
    """

    def __init__(self, classes: int, *, shared: bool = True) -> None:
        super().__init__()
        self.segmentation = SegmentationMetric(classes)
        self.classification = ClassificationMetric(classes)
        self.attention = AttentionMetric()
        self.ceiling = AttentionMetric()
        self.images = self.masks = 0
        if not shared:
            for metric in (self.segmentation, self.classification, self.attention, self.ceiling):
                metric.distributed_available_fn = _alone

    @torch.no_grad()
    def update(self, output: GuidedOutput, batch: Batch) -> None:
        """Take in what the network gave for a batch."""
        self.images += len(batch.images)
        self.masks += int(batch.segmented.sum())
        self.classification.update(output.class_scores, batch.labels)
        if output.mask_scores is not None and batch.segmented.any():
            exact = batch.segmented
            self.segmentation.update(output.mask_scores[exact].argmax(dim=1), batch.masks[exact])
        annotated = (batch.targets == 1).any(dim=2).any(dim=1)
        pairs, targets = batch.pairs[annotated], batch.targets[annotated]
        target, valid = targets == 1, targets != VOID
        maps = upsampled(pair_maps(output, pairs).float(), side_lengths(batch.masks))
        self.attention.update(maps, target, valid)
        self.ceiling.update(grid_ceiling(target, side_lengths(output.features)), target, valid)

    def compute(self) -> Figures:
        """All figures by name: shares of 1, NaN where nothing was there to measure."""
        with warnings.catch_warnings():  # torchmetrics warns where nothing was there to measure; NaN says as much
            warnings.filterwarnings("ignore", message=".*compute.* method .*was called before")
            segmentation, classification = self.segmentation.compute(), self.classification.compute()
            attention = self.attention.compute()
            ceiling = self.ceiling.compute()
        return {
            **segmentation._asdict(),
            "map": classification.map,
            "f1": classification.f1,
            "energy_pointing": attention.energy_pointing,
            "energy_pointing_over_chance": attention.energy_pointing_over_chance,
            "attention_iou": attention.attention_iou,
            "attention_iou_20": attention.attention_iou_20,
            "attention_iou_ceiling": ceiling.attention_iou,
            "pointing_game": attention.pointing_game,
            "empty_maps": attention.empty_maps,
            "images": self.images,
            "masks": self.masks,
            "pairs": attention.pairs,
        }

    def reset(self) -> None:
        """Forget everything gathered."""
        self.images = self.masks = 0
        for metric in (self.segmentation, self.classification, self.attention, self.ceiling):
            metric.reset()


def _alone() -> bool:
    return False


def evaluate(network: GuidedNetwork, batches: Iterable[Batch]) -> Figures:
    """Measure a network on batches of images.

    Args:
        network: any guided network; left as it was.
        batches: all images of a split, each once; the sizes may differ between batches.

    Returns:
        `accuracy`, `accuracy_class`, `mean_iu`, `fwavacc`, `iu_per_class`, `map`, `f1`, the attention figures,
        `images`, `masks` (how many of them have one that is exact) and `pairs`.
    """
    device = next(network.parameters()).device
    evaluator = Evaluator(len(network.class_names), shared=False).to(device)
    with evaluation_mode(network), torch.inference_mode():
        for batch in batches:
            batch = move_data_to_device(batch, device)
            with naming(batch.names):
                evaluator.update(network(network.preprocessing(batch.images)), batch)
    return evaluator.compute()
