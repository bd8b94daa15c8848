"""From pairs to images to the batch to all processes: every average of guidance is taken here."""

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor


def present_pairs(labels: Bool[Tensor, "batch classes"], at_most: int | None = None) -> Int[Tensor, "pairs 2"]:
    """Every (image, class) pair that the labels name, image by image: the unit of all guidance.

    Args:
        labels: which classes are in which image.
        at_most: draw that many of an image's classes at random (torch's global state); None takes all.

    Example:
        >>> present_pairs(torch.tensor([[True, False, True], [False, True, False]])).tolist()
        [[0, 0], [0, 2], [1, 1]]
    """
    if at_most is not None:
        lottery = torch.rand(labels.shape, device=labels.device).masked_fill(~labels, -1.0)
        winners = lottery.topk(min(at_most, labels.shape[1]), dim=1).indices
        labels = labels & torch.zeros_like(labels).scatter(1, winners, True)
    return labels.nonzero()


def pair_shares(
    pairs: Int[Tensor, "pairs 2"], batch: int, weights: Float[Tensor, " batch"] | None = None
) -> Float[Tensor, " pairs"]:
    """What each pair weighs in the mean over an image's pairs, then over the batch's images: 1 / (n batch).

    An image without pairs counts as 0 in the mean over images, so the weights do not depend on how a batch is divided
    among processes. (A mean over all pairs of a batch would.)

    Args:
        pairs: (image, class).
        batch: how many images there are.
        weights: how much each image counts; None for all alike.

    Source: arXiv:1802.10171 eq. 5, whose 1/n is the mean over an image's classes.

    Example:
        >>> pair_shares(torch.tensor([[0, 0], [0, 2], [1, 1]]), batch=2)
        tensor([0.2500, 0.2500, 0.5000])
    """
    counts = pairs[:, 0].bincount(minlength=batch)
    if weights is None:
        return 1 / (counts[pairs[:, 0]] * batch).to(torch.get_default_dtype())
    total = _of_a_process(weights.sum())
    return weights[pairs[:, 0]] / (counts[pairs[:, 0]] * torch.where(total > 0, total, 1.0))


def average_pairs(
    values: Float[Tensor, " pairs"], pairs: Int[Tensor, "pairs 2"], batch: int
) -> Float[Tensor, " batch"]:
    """Mean of an image's pairs, image by image; 0 for an image without pairs.

    Example:
        >>> average_pairs(torch.tensor([1.0, 3.0]), torch.tensor([[1, 0], [1, 2]]), batch=2)
        tensor([0., 2.])
    """
    counts = pairs[:, 0].bincount(minlength=batch)
    return values.new_zeros(batch).index_add(0, pairs[:, 0], values) / counts.clamp(min=1)


def average_images(
    values: Float[Tensor, " batch"],
    counted: Bool[Tensor, " batch"] | None = None,
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over the batch's images, or over those counted.

    How many images are counted can differ between processes, so the count is summed over them and scaled such that
    the processes' averaged gradients are those of one process on the whole batch.

    Args:
        values: one value an image.
        counted: False for images that do not take part (no annotation, say); None counts all.
        weights: how much each image counts, at least 0; None for all alike. One of 0 is as good as left out.

    Example:
        >>> average_images(torch.tensor([1.0, 5.0, 9.0]), weights=torch.tensor([1.0, 3.0, 0.0]))
        tensor(4.)
    """
    if counted is None and weights is None:
        return values.mean()
    parts = [part for part in (counted, weights) if part is not None]
    share = parts[0] if len(parts) == 1 else parts[0] * parts[1]
    count = _of_a_process(share.sum().to(values.dtype))
    return (values * share).sum() / torch.where(count > 0, count, 1.0)


def _of_a_process(count: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The mean of a count over all processes."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count
