"""Which classes does the image show? The cross-entropy of the class scores."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.reduce import average_images
from wheretolook.losses.step import Step
from wheretolook.options.objective import ClassificationOptions


def classification_loss(
    class_scores: Float[Tensor, "batch classes"], labels: Bool[Tensor, "batch classes"], *, exclusive: bool = False
) -> Float[Tensor, " batch"]:
    """Cross-entropy of the logits: one value an image.

    Args:
        class_scores: logits.
        labels: which classes each image shows.
        exclusive: each image shows exactly one class: cross-entropy of the softmax. Otherwise that of each class's
            sigmoid, the mean over classes.

    Source: arXiv:1802.10171 section 3.1, L_cl, for several classes an image.

    Example:
        >>> import torch
        >>> classification_loss(torch.zeros(1, 4), torch.tensor([[True, False, False, False]]), exclusive=True).exp()
        tensor([4.])
    """
    if exclusive:
        return F.cross_entropy(class_scores, labels.int().argmax(dim=1), reduction="none")
    targets = labels.to(class_scores.dtype)
    return F.binary_cross_entropy_with_logits(class_scores, targets, reduction="none").mean(dim=1)


def classification(step: Step, options: ClassificationOptions) -> Float[Tensor, ""]:
    """The loss of a step: the mean over its images."""
    scores, batch = step.output.class_scores, step.batch
    values = classification_loss(scores, batch.labels, exclusive=batch.exclusive)
    return average_images(values, weights=batch.weights)
