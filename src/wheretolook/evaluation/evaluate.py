"""What a network is worth: segmentation, classification and attention, measured in one pass over the images."""

import warnings
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from wheretolook.errors import naming
from wheretolook.evaluation.erasing import erasing_curves
from wheretolook.evaluation.maps import OtherLook, other_looks, shown_maps
from wheretolook.metrics.attention import AttentionMetric, PairMeans, grid_ceiling
from wheretolook.metrics.classification import ClassificationMetric
from wheretolook.metrics.figures import FIGURES, Gathered
from wheretolook.metrics.marks import MarkMetric
from wheretolook.metrics.segmentation import SegmentationMetric
from wheretolook.networks.modes import evaluation_mode
from wheretolook.options.objective import Method
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, shows_object, side_lengths

Figures = dict[str, object]


class ImageCounts(Metric):
    """How many images there are, and how many of them have an exact mask."""

    full_state_update = False
    images: Tensor
    masks: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("images", "masks"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, segmented: Bool[Tensor, " batch"]) -> None:
        """Take in a batch: for each image, whether its mask is exact."""
        self.images += len(segmented)
        self.masks += segmented.sum()

    def compute(self) -> tuple[int, int]:
        """The counts of all processes."""
        return int(self.images), int(self.masks)


class Evaluator(nn.Module):
    """Gathers the figures batch by batch; `compute` sums over processes, unless each of them sees all images.

    Segmentation counts images whose masks are exact; attention counts every pair whose plane shows an object.

    Args:
        classes: how many foreground classes.
        method: how attention maps are made.
        shared: whether every process sees images of its own.
    """

    def __init__(self, classes: int, *, method: Method = "grad_cam", shared: bool = True) -> None:
        super().__init__()
        self.method = method
        of_pairs = {key: figure.of_pairs for key, figure in FIGURES.items() if figure.of_pairs is not None}
        self.segmentation = SegmentationMetric(classes)
        self.classification = ClassificationMetric(classes)
        self.attention, self.ceiling = AttentionMetric(), AttentionMetric()
        self.marks = MarkMetric(classes)
        self.means = PairMeans(of_pairs)
        self.deletion, self.insertion = MeanMetric(), MeanMetric()
        self.counts = ImageCounts()
        if not shared:
            for metric in self.children():
                metric.distributed_available_fn = _alone  # type: ignore[assignment]

    @torch.no_grad()
    def update(self, output: GuidedOutput, batch: Batch, others: Sequence[OtherLook] = ()) -> None:
        """Take in what the network gave for a batch, and for other looks at it where their maps count as well."""
        self.counts.update(batch.segmented)
        self.classification.update(output.class_scores, batch.labels, batch.groups, exclusive=batch.exclusive)
        if output.mask_scores is not None and batch.segmented.any():
            exact = batch.segmented
            self.segmentation.update(output.mask_scores[exact].argmax(dim=1), batch.masks[exact])
        annotated = shows_object(batch.targets)
        zones = None if batch.zones is None else batch.zones[batch.pairs[:, 0]]
        looked_at = annotated if zones is None else annotated | zones.flatten(1).any(dim=1)
        pairs = batch.pairs[looked_at]
        maps = shown_maps(output, pairs, side_lengths(batch.masks), self.method, others).float()
        if zones is not None:
            self.marks.update(maps, zones[looked_at], pairs[:, 1])
        maps, targets = maps[annotated[looked_at]], batch.targets[annotated]
        target, valid = targets == 1, targets != VOID
        for metric in (self.attention, self.means):
            metric.update(maps, target, valid)
        self.ceiling.update(grid_ceiling(target, side_lengths(output.features), output.cells), target, valid)

    @torch.no_grad()
    def update_erased(
        self,
        network: GuidedNetwork,
        images: Tensor,
        output: GuidedOutput,
        batch: Batch,
        others: Sequence[OtherLook] = (),
    ) -> None:
        """Take in what the network says of a batch's images while they are erased, for every class that they show."""
        if not len(batch.pairs):
            return
        maps = shown_maps(output, batch.pairs, side_lengths(batch.masks), self.method, others).float()
        areas = erasing_curves(network, images, batch.pairs, maps, exclusive=batch.exclusive).areas()
        for metric, area in zip((self.deletion, self.insertion), areas, strict=True):
            metric.update(area)

    def compute(self) -> Figures:
        """All figures by name: shares of 1, NaN where nothing was there to measure; lists are of the classes."""
        with warnings.catch_warnings():  # torchmetrics warns where nothing was there to measure; NaN says as much
            warnings.filterwarnings("ignore", message=".*compute.* method .*was called before")
            segmentation, classification = self.segmentation.compute(), self.classification.compute()
            attention, ceiling, means = self.attention.compute(), self.ceiling.compute(), self.means.compute()
            marks = self.marks.compute()
            means |= {"deletion": float(self.deletion.compute()), "insertion": float(self.insertion.compute())}
            images, masks = self.counts.compute()
        gathered = Gathered(segmentation, classification, attention, ceiling, marks, means, images, masks)
        return {
            **{key: figure.measured(gathered) for key, figure in FIGURES.items()},
            "iu_per_class": segmentation.iu_per_class,
            "accuracy_per_class": classification.accuracy_per_class,
            "average_precision_per_class": classification.average_precision_per_class,
            "accuracy_per_group": classification.accuracy_per_group,
            "energy_on_mark_per_class": marks.energy_on_mark_per_class,
        }

    def reset(self) -> None:
        """Forget everything gathered."""
        for metric in self.children():
            metric.reset()  # type: ignore[operator]


def _alone() -> bool:
    return False


def evaluate(
    network: GuidedNetwork,
    batches: Iterable[Batch],
    *,
    deletion: bool = False,
    flip: bool = False,
    scales: Sequence[float] = (),
) -> Figures:
    """Measure a network on batches of images.

    Args:
        network: any guided network; left as it was.
        batches: all images of a split, each once; the sizes may differ between batches.
        deletion: measure deletion and insertion too, which takes 22 forwards for each class of each image.
        flip: maps are means of the image's and of the mirrored image's, mirrored back; scores are the image's alone.
        scales: maps are means of those of the image in these sizes as well, of its sides; 1 is its own.

    Returns:
        Every one of `metrics.figures.FIGURES` by its key, NaN where there was nothing to measure (segmentation, of a
        network that only classifies); then what single classes and groups have: `iu_per_class` (background first),
        `accuracy_per_class`, `average_precision_per_class`, `accuracy_per_group`, `energy_on_mark_per_class`.
    """
    device = next(network.parameters()).device
    evaluator = Evaluator(len(network.class_names), method=network.attention, shared=False).to(device)
    with evaluation_mode(network), torch.inference_mode():
        for batch in batches:
            batch = move_data_to_device(batch, device)
            with naming(batch.names):
                images = network.preprocessing(batch.images)
                output = network(images)
                others = other_looks(network, images, flip=flip, scales=scales)
                evaluator.update(output, batch, others)
                if deletion:
                    evaluator.update_erased(network, images, output, batch, others)
    return evaluator.compute()
