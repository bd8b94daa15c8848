"""What is each pixel? The cross-entropy of the mask scores."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.losses.reduce import average_images
from wheretolook.losses.step import Step
from wheretolook.options.objective import SegmentationOptions
from wheretolook.records import VOID


def segmentation_loss(
    mask_scores: Float[Tensor, "batch scores height width"], masks: Int[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """Cross-entropy of each pixel, the mean over an image's valid pixels: one value an image; 0 for an all-void mask.

    Args:
        mask_scores: logits; channel 0 is background.
        masks: 0 background, 1 + class index, VOID for pixels that do not count.
    """
    losses = F.cross_entropy(mask_scores, masks, ignore_index=VOID, reduction="none")
    return losses.sum(dim=(1, 2)) / (masks != VOID).sum(dim=(1, 2)).clamp(min=1)


def segmentation(step: Step, options: SegmentationOptions) -> Float[Tensor, ""]:
    """The loss of a step, over the images whose masks are exact and not all void."""
    scores, batch = step.output.mask_scores, step.batch
    assert scores is not None  # the stage makes sure that the network segments
    counted = batch.segmented & (batch.masks != VOID).any(dim=2).any(dim=1)
    return average_images(segmentation_loss(scores, batch.masks), counted)
