"""What is weighed in stage 2, and what the paper leaves open."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ObjectiveOptions:
    """The guided objective of stage 2: what is weighed, and what the paper leaves open.

    Args:
        classification_weight: of the multi-label cross-entropy of the class scores.
        mining_weight: alpha: of the score left when the attended region is erased.
        external_weight: of the agreement of attention and masks or boxes.
        segmentation_weight: of the per-pixel cross-entropy.
        freeze_classifier: keep the classifier as stage 1 left it (the predecessor), or let it train along.
        external: squared difference (mean over pixels), its sum, or energy: 1 - energy inside / all energy.
        external_resolution: where map and mask are compared.
        mask_threshold: attention, normalised to [0, 1], at which the soft mask is one half.
        mask_slope: steepness of the soft mask.
        normalising: of a map before it is thresholded or compared: min_max, max only, or none.
        upsampling: bilinear, the same with corners aligned, or features: normalise first, then upsample.
        mining_score: what is minimised of the erased image's logit.
        channel_weights: constants in the graph, or differentiated too (second order).
        mining_updates: all weights of the masked pass, or attention: only the path through the mask.
        masked_pass: mode of batch norm and dropout while the masked images pass.
        classes_per_image: how many present classes of an image to guide, drawn at random; none for all.
        mining_chunk: masked images at a time; memory grows with it, the result does not change (but for what dropout
            draws where masked_pass is train).
    """

    classification_weight: float = 1.0
    mining_weight: float = 1.0
    external_weight: float = 0.0
    segmentation_weight: float = 1.5
    freeze_classifier: bool = True
    external: Literal["squared", "sum", "energy"] = "squared"
    external_resolution: Literal["image", "features"] = "image"
    mask_threshold: float = 0.5
    mask_slope: float = 10.0
    normalising: Literal["min_max", "max", "none"] = "min_max"
    upsampling: Literal["bilinear", "aligned", "features"] = "bilinear"
    mining_score: Literal["sigmoid", "logit", "softplus"] = "sigmoid"
    channel_weights: Literal["constant", "second_order"] = "constant"
    mining_updates: Literal["all", "attention"] = "all"
    masked_pass: Literal["eval", "train"] = "eval"
    classes_per_image: int | None = None
    mining_chunk: int = 2
