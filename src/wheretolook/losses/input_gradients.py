"""Right for the right reasons: what the network says must not change with the pixels that do not matter."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from wheretolook.losses.reduce import average_images
from wheretolook.losses.step import Step
from wheretolook.options.objective import GradientShare, InputGradientsOptions
from wheretolook.records import shows_object


def summed_log_chances(
    class_scores: Float[Tensor, "batch classes"], *, exclusive: bool = False
) -> Float[Tensor, " batch"]:
    """The sum of the log-probabilities of all that the network may say of an image.

    Args:
        class_scores: logits.
        exclusive: each image shows exactly one class: those of a softmax. Otherwise of each class that it is there and
            that it is not, by its sigmoid.

    Source: arXiv:1703.03717 eq. 1, whose sum over outcomes has a gradient for confident answers too.

    Example:
        >>> summed_log_chances(torch.zeros(1, 2), exclusive=True), summed_log_chances(torch.zeros(1, 2))
        (tensor([-1.3863]), tensor([-2.7726]))
    """
    if exclusive:
        return class_scores.log_softmax(dim=1).sum(dim=1)
    return (F.logsigmoid(class_scores) + F.logsigmoid(-class_scores)).sum(dim=1)


def input_gradients(
    class_scores: Float[Tensor, "batch classes"],
    images: Float[Tensor, "batch 3 height width"],
    *,
    exclusive: bool = False,
    create_graph: bool = True,
    scale: float = 1.0,
) -> Float[Tensor, "batch 3 height width"]:
    """The gradient of an image's summed log-probabilities with respect to its pixels.

    Args:
        class_scores: logits, computed from `images`.
        images: the network's input, which wants a gradient.
        exclusive: each image shows exactly one class.
        create_graph: keep the graph, so that a loss on the gradient trains the network.
        scale: multiplies what is differentiated and divides the gradient, so that half precision keeps small ones.
    """
    explained = summed_log_chances(class_scores, exclusive=exclusive).sum() * scale
    (gradient,) = torch.autograd.grad(explained, images, create_graph=create_graph, retain_graph=True)
    return gradient / scale


def regions(
    pairs: Int[Tensor, "pairs 2"], targets: UInt8[Tensor, "pairs height width"], batch: int
) -> tuple[Bool[Tensor, "batch height width"], Bool[Tensor, "batch height width"]]:
    """Where an image matters to no class that it shows, and where it matters to some.

    An image with a class whose object nobody has annotated has no pixel that is known not to matter, and neither has
    one without any class.

    Args:
        pairs: (image, class) of every present class.
        targets: their planes: 1 look here, 0 not here, VOID says nothing.
        batch: how many images.

    Example:
        >>> planes = torch.tensor([[[1, 0, 0]], [[0, 1, 0]]], dtype=torch.uint8)
        >>> forbidden, wanted = regions(torch.tensor([[0, 0], [0, 2]]), planes, 1)
        >>> forbidden.tolist(), wanted.tolist()
        ([[[False, False, True]]], [[[True, True, False]]])
    """
    shown = shows_object(targets)
    counts = torch.zeros(2, batch, *targets.shape[1:], dtype=torch.long, device=targets.device)
    of_image = pairs[:, 0]
    counts[0].index_add_(0, of_image, ((targets == 0) & shown[:, None, None]).long())
    counts[1].index_add_(0, of_image, (targets == 1).long())
    classes = of_image.bincount(minlength=batch)[:, None, None]
    return (counts[0] == classes) & (classes > 0), counts[1] > 0


def input_gradients_loss(
    gradients: Float[Tensor, "batch 3 height width"],
    forbidden: Bool[Tensor, "batch height width"],
    wanted: Bool[Tensor, "batch height width"],
    share: GradientShare = "sum",
) -> Float[Tensor, " batch"]:
    """The squared input gradient where the image does not matter: sum of (A g)^2 over pixels and channels.

    Args:
        gradients: of an image's summed log-probabilities with respect to its pixels.
        forbidden: where the image does not matter (the paper's A).
        wanted: where it does.
        share: `"sum"`, as the paper has it: grows with the number of pixels and with the square of the scores' slope,
            in units of the network's input; `"share"` of the squared gradient of all pixels that something is known
            about, in [0, 1], blind to that scale.

    Returns:
        One value an image; 0 where no pixel is forbidden.

    Source: Ross et al., IJCAI 2017, arXiv:1703.03717 eq. 1 for the sum; the share is the energy loss of
    arXiv:2303.11932 on input gradients.

    Example:
        >>> gradients = torch.tensor([[[[1.0, 2.0]]]]).expand(1, 3, 1, 2)
        >>> where = torch.tensor([[[False, True]]])
        >>> input_gradients_loss(gradients, where, ~where), input_gradients_loss(gradients, where, ~where, "share")
        (tensor([12.]), tensor([0.8000]))
    """
    squares = gradients.square().sum(dim=1)
    outside = (squares * forbidden).sum(dim=(1, 2))
    if share == "sum":
        return outside
    total = (squares * (forbidden | wanted)).sum(dim=(1, 2))
    return outside / torch.where(total > 0, total, 1.0)


def of_right_reasons(step: Step, options: InputGradientsOptions) -> Float[Tensor, ""]:
    """The loss of a step, over the images of which it is known what does not matter."""
    batch = step.batch
    forbidden, wanted = regions(batch.pairs, batch.targets, len(batch.images))
    gradients = input_gradients(step.output.class_scores, step.images, exclusive=batch.exclusive, scale=step.loss_scale)
    counted = forbidden.any(dim=2).any(dim=1)
    values = input_gradients_loss(gradients, forbidden, wanted, options.share)
    return average_images(values, counted, batch.weights)
