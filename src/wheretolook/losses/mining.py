"""Attention mining: erase where the network looks; what is left of the score says what attention missed."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from wheretolook.attention.maps import image_maps, normalised
from wheretolook.losses.blur import blurred
from wheretolook.losses.reduce import pair_shares
from wheretolook.losses.step import Step
from wheretolook.networks.modes import evaluation_mode
from wheretolook.options.objective import Erase, MiningOptions, MiningScore
from wheretolook.records import Part, side_lengths

Run = Callable[..., Any]  # the network, or a stand-in for it


def soft_mask(
    maps: Float[Tensor, "pairs height width"], threshold: float = 0.5, slope: float = 10.0
) -> Float[Tensor, "pairs height width"]:
    """A threshold that lets gradients through: T(A) = sigmoid(slope * (A - threshold)).

    Args:
        maps: normalised attention, in [0, 1], at image size.
        threshold: attention at which the mask is one half.
        slope: steepness there.

    Source: arXiv:1802.10171 eq. 4.

    Example:
        >>> soft_mask(torch.tensor([[[0.0, 0.5, 1.0]]]))
        tensor([[[0.0067, 0.5000, 0.9933]]])
    """
    return torch.sigmoid(slope * (maps - threshold))


def masked_images(
    images: Float[Tensor, "pairs 3 height width"],
    masks: Float[Tensor, "pairs height width"],
    filling: Float[Tensor, "pairs 3 height width"] | None = None,
) -> Float[Tensor, "pairs 3 height width"]:
    """Erase the attended region: I* = I - T(A) I + T(A) F, in the network's own space, where 0 is the mean colour.

    Args:
        images: in the network's own space.
        masks: what is erased, in [0, 1].
        filling: what is there instead (F); None for the mean colour.

    Source: arXiv:1802.10171 eq. 3, without a filling.
    """
    erased = images * (1 - masks[:, None])
    return erased if filling is None else erased + filling * masks[:, None]


def mining_loss(
    class_scores: Float[Tensor, "pairs classes"], classes: Int[Tensor, " pairs"], score: MiningScore = "sigmoid"
) -> Float[Tensor, " pairs"]:
    """How strongly the class is still recognised once its attended region is erased.

    Args:
        class_scores: logits of each pair's masked image.
        classes: each pair's class.
        score: what of the logit is minimised: its `"sigmoid"` (the predecessor), the `"logit"` or its `"softplus"`.

    Returns:
        One value a pair.

    Source: arXiv:1802.10171 eq. 5, which takes the mean over classes and leaves the score open.

    Example:
        >>> mining_loss(torch.tensor([[0.0, 5.0]]), torch.tensor([0]))
        tensor([0.5000])
    """
    logits = class_scores.gather(1, classes[:, None])[:, 0]
    if score == "logit":
        return logits
    return torch.sigmoid(logits) if score == "sigmoid" else F.softplus(logits)


def sum_in_chunks(
    network: nn.Module,
    loss: Callable[[Run, Tensor, slice], Float[Tensor, ""]],
    masks: Float[Tensor, "pairs height width"],
    chunk: int,
    *,
    train_network: bool = True,
    scale: float = 1.0,
) -> Float[Tensor, ""]:
    """The sum of `loss(run, masks[part], part)` over parts of `chunk` pairs, in the memory of a single part.

    Each part's gradient is taken as soon as its loss is known, so its activations are gone before the next part comes;
    the result joins the caller's graph like any other tensor, to the masks and to the network's parameters.
    (Checkpointing would run each part forward twice.)

    Args:
        network: what the loss runs.
        loss: gives a part's share of the sum; it calls `run`, not the network, with the arguments of its forward.
        masks: what the parts are cut from; their gradient goes on to what made them.
        chunk: pairs a part.
        train_network: False stops the gradient at the masks.
        scale: what the parts' gradients are multiplied by on their way through the network, so that half precision
            does not lose the small ones; the result's gradient is without it.
    """
    parts = [slice(start, start + chunk) for start in range(0, len(masks), chunk)]
    if not torch.is_grad_enabled():
        return sum((loss(network, masks[part], part) for part in parts), masks.new_zeros(()))
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad and train_network}
    result: Tensor = _SumInChunks.apply(network, loss, parts, masks, scale, list(trained), *trained.values())
    return result


class _SumInChunks(torch.autograd.Function):
    """Forward takes every part's gradient at once; backward only scales what was found.

    The parts run on stand-ins that share the parameters' memory: their `.grad` sums the parts layer by layer, in one
    buffer, and no hook of the parameters themselves (a DDP reducer's, say) is woken.
    """

    @staticmethod
    def forward(
        ctx: Any,
        network: nn.Module,
        loss: Callable[..., Tensor],
        parts: list[slice],
        masks: Tensor,
        scale: float,
        names: list[str],
        *weights: Tensor,
    ) -> Tensor:
        leaf = masks.detach().requires_grad_()
        frozen = {name: weight.detach() for name, weight in network.named_parameters()}
        stand_ins = {name: weight.detach().requires_grad_() for name, weight in zip(names, weights, strict=True)}

        def run(*inputs: Any, **options: Any) -> Any:
            return functional_call(network, {**frozen, **stand_ins}, inputs, options)

        total = masks.new_zeros(())
        for part in parts:
            with torch.enable_grad():
                value = loss(run, leaf[part], part)
            total += value.detach()
            if value.requires_grad:
                value.backward(torch.full_like(value, scale), inputs=[leaf, *stand_ins.values()])
        ctx.scale = scale
        # without any part the graph goes on all the same, so that no process waits for a gradient that never comes
        of_masks = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        ctx.gradients = [of_masks, *(stand_in.grad for stand_in in stand_ins.values())]
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        factor = outer / ctx.scale
        masks, *weights = (None if gradient is None else gradient * factor for gradient in ctx.gradients)
        return (None, None, None, masks, None, None, *weights)


def soft_masks(
    step: Step, options: MiningOptions, size: tuple[int, int] | None = None
) -> Float[Tensor, "pairs height width"]:
    """What is erased of each pair's image, of that size (height, width); at feature resolution without a size.

    Source: arXiv:1802.10171 eq. 4.
    """
    if size is None:
        attention = normalised(step.maps, options.normalising, extremes=options.extremes)
    else:
        attention = image_maps(
            step.maps,
            size,
            upsampling=options.upsampling,
            normalising=options.normalising,
            cells=step.output.cells,
            extremes=options.extremes,
        )
    return soft_mask(attention, options.threshold, options.slope)


def sure_pairs(step: Step, least_score: float) -> Bool[Tensor, " pairs"]:
    """Which classes of a step's pairs the network recognises in the whole image with at least that probability."""
    scores = step.output.class_scores.detach()
    chances = scores.softmax(dim=1) if step.batch.exclusive else scores.sigmoid()
    return chances[*step.pairs.unbind(dim=1)] >= least_score


def unions(
    masks: Float[Tensor, "pairs height width"], place: Int[Tensor, " pairs"]
) -> Float[Tensor, "images height width"]:
    """The union of all masks of the same image: 1 - product of (1 - mask).

    Args:
        masks: in [0, 1].
        place: which image of those that have any each mask belongs to, from 0 without gaps.

    Example:
        >>> unions(torch.tensor([[[0.5]], [[0.5]], [[0.2]]]), torch.tensor([0, 0, 1])).flatten()
        tensor([0.7500, 0.2000])
    """
    count = int(place.max()) + 1 if len(place) else 0
    found = [1 - (1 - masks[place == index]).prod(dim=0) for index in range(count)]
    return torch.stack(found) if found else masks


def donors(labels: Bool[Tensor, "batch classes"]) -> Int[Tensor, " batch"]:
    """For each image the next one of the batch, round it, that shows none of its classes; -1 where there is none.

    Example:
        >>> donors(torch.tensor([[True, False], [True, False], [False, True]]))
        tensor([2, 2, 0])
    """
    counts = labels.to(torch.float32)
    images = torch.arange(len(labels), device=labels.device)
    distance = (images - images[:, None]) % len(labels)  # of each image (down) to each other (across)
    distance = distance.masked_fill(counts @ counts.T + torch.eye(len(labels), device=labels.device) > 0, len(labels))
    nearest = distance.min(dim=1)
    return torch.where(nearest.values < len(labels), nearest.indices, -1)


def fillings(step: Step, erase: Erase) -> Float[Tensor, "batch 3 height width"] | None:
    """What stands in each image in place of what is erased; None for the mean colour.

    `"blur"` is the image itself, blurred by a sixteenth of its shorter side; `"shuffle"` is another image of the batch
    that shows none of its classes, and the mean colour where there is none.
    """
    if erase == "mean":
        return None
    images = step.images.detach()
    if erase == "blur":
        return blurred(images, min(side_lengths(images)) / 16)
    others = donors(step.batch.labels)
    return images[others] * (others >= 0)[:, None, None, None]


def mining(step: Step, options: MiningOptions) -> Float[Tensor, ""]:
    """The loss of a step: the mean over an image's pairs, then over the images.

    Source: arXiv:1802.10171 eq. 3 to 5.
    """
    masks, pairs = soft_masks(step, options, side_lengths(step.images)), step.pairs
    if options.least_score:
        sure = sure_pairs(step, options.least_score)
        masks, pairs = masks[sure], pairs[sure]
    shown, place = pairs[:, 0], torch.arange(len(pairs), device=pairs.device)  # the image of each mask, and its pairs
    if options.union:
        shown, place = shown.unique(return_inverse=True)
        masks = unions(masks, place)
    shares = pair_shares(pairs, len(step.images), step.batch.weights).to(step.images)
    filling = fillings(step, options.erase)

    def loss(run: Run, masks: Tensor, part: slice) -> Tensor:
        images = shown[part]
        erased = masked_images(step.images[images], masks, None if filling is None else filling[images])
        scores = run(F.avg_pool2d(erased, 2) if options.half_size else erased, segment=False).class_scores
        inside = (place >= part.start) & (place < part.stop)
        values = mining_loss(scores[place[inside] - part.start], pairs[inside, 1], options.score)
        return (values * shares[inside]).sum()

    with evaluation_mode(step.network) if options.masked_pass == "eval" else nullcontext():
        return sum_in_chunks(
            step.network,
            loss,
            masks,
            options.chunk,
            train_network=options.updates == "all",
            scale=step.loss_scale,
        )


def mining_reaches(options: MiningOptions) -> set[Part]:
    """The parts of the network that the loss trains: with `"attention"` only what makes the maps."""
    return {"trunk", "classifier"} if options.updates == "all" else {"trunk"}
