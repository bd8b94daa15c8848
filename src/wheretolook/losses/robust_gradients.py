"""Right for the right reasons in a neighbourhood: also after the pixels that do not matter have changed."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.input_gradients import input_gradients, input_gradients_loss, regions
from wheretolook.losses.reduce import average_images
from wheretolook.losses.step import Step
from wheretolook.networks.modes import evaluation_mode, second_order_attention
from wheretolook.options.objective import RobustGradientsOptions

Region = Bool[Tensor, "batch height width"]


def perturbed_loss(
    step: Step,
    changes: Float[Tensor, "batch 3 height width"],
    forbidden: Region,
    wanted: Region,
    options: RobustGradientsOptions,
    *,
    train: bool,
) -> Float[Tensor, " batch"]:
    """The loss on input gradients at changed images: one value an image.

    Args:
        step: with the images and the network; batch norm and dropout are as in evaluation.
        changes: what is added to the images, whose range is [0, 1].
        forbidden: where the images do not matter.
        wanted: where they do.
        options: how the gradients are added up.
        train: keep the graph of the gradients, to the network's weights and to the changes.
    """
    with evaluation_mode(step.network), second_order_attention():
        images = step.network.preprocessing(step.batch.images + changes).requires_grad_()
        scores = step.network(images, segment=False).class_scores
    exclusive, scale = step.batch.exclusive, step.loss_scale
    gradients = input_gradients(scores, images, exclusive=exclusive, create_graph=train, scale=scale)
    return input_gradients_loss(gradients, forbidden, wanted, options.share)


def candidates(
    step: Step, forbidden: Region, wanted: Region, options: RobustGradientsOptions
) -> Iterator[Float[Tensor, "batch 3 height width"]]:
    """The changes that are tried: from none and from some at random, steps along the sign of the loss's gradient."""
    images, allowed = step.batch.images, forbidden[:, None].to(step.batch.images) * options.epsilon
    for number in range(0 if options.ascent else 1, 1 + options.samples):
        changes = (2 * torch.rand_like(images) - 1 if number else torch.zeros_like(images)) * allowed
        for _ in range(options.ascent):
            changes.requires_grad_()
            loss = perturbed_loss(step, changes, forbidden, wanted, options, train=True)
            (uphill,) = torch.autograd.grad(loss.sum(), changes)
            changes = changes.detach() + 2 / options.ascent * allowed * uphill.sign()
            changes = torch.maximum(torch.minimum(changes, allowed), -allowed)
        yield changes


def worst_changes(
    step: Step, forbidden: Region, wanted: Region, options: RobustGradientsOptions
) -> Float[Tensor, "batch 3 height width"]:
    """Of all changes that are tried and none, for each image that with the largest loss."""
    worst = torch.zeros_like(step.batch.images)
    found = perturbed_loss(step, worst, forbidden, wanted, options, train=False).detach()
    for changes in candidates(step, forbidden, wanted, options):
        loss = perturbed_loss(step, changes, forbidden, wanted, options, train=False).detach()
        worse = loss > found
        worst = torch.where(worse[:, None, None, None], changes, worst)
        found = torch.where(worse, loss, found)
    return worst


def robust_gradients(step: Step, options: RobustGradientsOptions) -> Float[Tensor, ""]:
    """The loss of a step: max over |d| <= epsilon of the loss on input gradients at x + A d, A being what is forbidden.

    The maximum is that of the changes tried, for each image on its own, and a constant place in the gradient. Over the
    images of which it is known what does not matter.

    Source: after "R4" (Ghitu, Piratla and Wicker, Model Guidance via Robust Feature Attribution, TMLR 2025,
    arXiv:2506.19680), sampled and adversarial, not certified. In their public code the gradient is that of the label's
    cross-entropy; Adv-R4 weighs the sum of its absolute values at the end of ten steps of epsilon, Rand-R4 the norm of
    each pixel's largest change |g(x + d) - g(x)| among ten d drawn from [0, epsilon]. Here the gradient is that of
    `input_gradients`, which sure answers have too, both kinds of d are tried, between -epsilon and epsilon, and the
    largest squared loss counts. Theirs keeps changed images between the smallest and the largest pixel of the batch;
    here they may leave [0, 1] by epsilon.
    Projected ascent along the sign as in arXiv:1706.06083, within the forbidden region as in arXiv:2303.06419.
    """
    batch = step.batch
    forbidden, wanted = regions(batch.pairs, batch.targets, len(batch.images))
    worst = worst_changes(step, forbidden, wanted, options)
    losses = perturbed_loss(step, worst, forbidden, wanted, options, train=True)
    return average_images(losses, forbidden.any(dim=2).any(dim=1), batch.weights)
