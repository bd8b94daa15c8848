"""Grad-CAM maps from the record of one forward: channel weights, maps, normalising, upsampling."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.cells import aligned_cells, stretched
from wheretolook.records import Cells, GuidedOutput, side_lengths

ChannelWeights = Literal["constant", "second_order"]
Normalising = Literal["min_max", "max", "none"]
Upsampling = Literal["bilinear", "aligned", "features"]


def channel_weights(
    class_scores: Float[Tensor, "batch classes"],
    features: Float[Tensor, "batch channels h w"],
    classes: Int[Tensor, "batch k"],
    *,
    create_graph: bool = False,
) -> Float[Tensor, "batch k channels"]:
    """How much each channel moves a class's score: w = mean over positions of d s / d f.

    The gradient is taken with respect to the features only, so nothing runs back through the trunk, no `.grad` is
    touched, and all k columns share one vectorised call: the classifier's weights are read once, not k times.

    Args:
        class_scores: logits, computed from `features`.
        features: activations of the attention layer, which the scores' graph contains.
        classes: class indices of each image, in [0, classes).
        create_graph: keep the graph of the weights themselves (second order).

    Source: arXiv:1802.10171 eq. 1; arXiv:1610.02391 eq. 1.
    """
    selected = class_scores.gather(1, classes)
    directions = torch.eye(classes.shape[1], dtype=selected.dtype, device=selected.device)
    (gradients,) = torch.autograd.grad(
        selected,
        features,
        directions[:, None, :].expand(-1, selected.shape[0], -1),
        retain_graph=True,
        create_graph=create_graph,
        is_grads_batched=True,
    )
    return gradients.mean(dim=(3, 4)).transpose(0, 1)


def attention_maps(
    output: GuidedOutput,
    classes: Sequence[int] | Int[Tensor, "batch k"] | None = None,
    *,
    differentiable: bool = False,
    channel_weights: ChannelWeights = "constant",
) -> Float[Tensor, "batch k h w"]:
    """Where the network looks for each class: A = ReLU(sum over channels of w f).

    Of the score (the logit), not of its sigmoid; not normalised. May be called as often as you like, and a later
    `backward` still works.

    Args:
        output: what the network's forward gave.
        classes: class indices: None for all, a list shared by the batch, or a (B, k) tensor with each image's own.
        differentiable: keep the graph, so that a loss on the maps trains the trunk.
        channel_weights: `"constant"` treats w as given, as the predecessor does; `"second_order"` differentiates w too.
            With a classifier that is piecewise linear (ReLU) that second term vanishes on the trunk and reaches only
            the classifier's own weights.

    Returns:
        Maps at feature resolution, at least 0.

    Raises:
        ValueError: a class index out of range, or `differentiable` where the forward kept no graph of the trunk.

    Source: arXiv:1802.10171 eq. 2; arXiv:1610.02391 eq. 2.

    Example:
        >>> features = torch.ones(1, 2, 3, 3, requires_grad=True)
        >>> scores = features.mean(dim=(2, 3)) @ torch.tensor([[9.0], [-3.6]])
        >>> attention_maps(GuidedOutput(scores, features))[0, 0, 0]
        tensor([0.6000, 0.6000, 0.6000])
    """
    if differentiable and not (output.differentiable and torch.is_grad_enabled()):
        raise ValueError(
            "differentiable maps need a forward with gradients on through a trunk that trains; this one kept no graph: "
            "leave no_grad and inference_mode, or unfreeze the trunk"
        )
    indices = _indices(output, classes)
    if not indices.numel():
        return output.features.new_zeros(*indices.shape, *output.features.shape[2:])
    weights = _weights(output, indices, differentiable and channel_weights == "second_order")
    features = output.features if differentiable else output.features.detach()
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bkc,bchw->bkhw", weights, features).relu()


def pair_maps(
    output: GuidedOutput,
    pairs: Int[Tensor, "pairs 2"],
    *,
    differentiable: bool = False,
    channel_weights: ChannelWeights = "constant",
) -> Float[Tensor, "pairs h w"]:
    """The attention maps of (image, class) pairs, in their order; the arguments are those of `attention_maps`.

    Images with fewer classes than the busiest are filled up with class 0 and the filling is dropped.
    """
    if not len(pairs):
        return output.features.new_zeros(0, *output.features.shape[2:])
    images, classes = pairs.unbind(dim=1)
    rank = (images[:, None] == images).tril(-1).sum(dim=1)  # how many pairs of the same image came before
    table = classes.new_zeros(len(output.features), int(rank.max()) + 1)
    table[images, rank] = classes
    maps = attention_maps(output, table, differentiable=differentiable, channel_weights=channel_weights)
    return maps[images, rank]


def _indices(output: GuidedOutput, classes: Sequence[int] | Tensor | None) -> Tensor:
    batch, count = output.class_scores.shape
    device = output.class_scores.device
    if classes is None:
        return torch.arange(count, device=device).expand(batch, -1)
    indices = torch.as_tensor(classes, dtype=torch.long, device=device)
    if indices.ndim == 1:
        indices = indices.expand(batch, -1)
    if indices.ndim != 2 or len(indices) != batch:
        raise ValueError(f"expected a list of classes or a tensor ({batch}, k), got shape {tuple(indices.shape)}")
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        raise ValueError(f"expected class indices from 0 to {count - 1}, got {indices.unique().tolist()}")
    return indices


def _weights(output: GuidedOutput, indices: Tensor, second_order: bool) -> Tensor:
    # the caller may be in inference mode: the classifier's graph is there all the same, and wants indices made outside
    # and autocast would take the gradient in half precision
    device = output.features.device.type
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        weights = channel_weights(output.class_scores, output.features, indices.clone(), create_graph=second_order)
    return weights if second_order else weights.detach()


def normalised(
    maps: Float[Tensor, "pairs h w"], how: Normalising = "min_max", eps: float = 1e-8
) -> Float[Tensor, "pairs h w"]:
    """Bring each map to [0, 1] by its own extremes, which count as constants in the gradient.

    Args:
        maps: at least 0.
        how: `"min_max"`: (map - min) / (max - min); `"max"`: map / max; `"none"`: as it is.
        eps: a map whose range is not above it stays all zero, with a gradient of 0, instead of becoming NaN.

    Source: the predecessor for `"min_max"`; arXiv:1802.10171 leaves it open.

    Example:
        >>> normalised(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])).tolist()
        [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    if how == "none":
        return maps
    high = maps.detach().amax(dim=(1, 2), keepdim=True)
    low = maps.detach().amin(dim=(1, 2), keepdim=True) if how == "min_max" else torch.zeros_like(high)
    usable = high - low > eps
    return (maps - low) / torch.where(usable, high - low, 1.0) * usable


def upsampled(
    maps: Float[Tensor, "pairs h w"], size: tuple[int, int], how: Upsampling = "bilinear", cells: Cells | None = None
) -> Float[Tensor, "pairs height width"]:
    """Stretch maps to the image, bilinearly between the centres of their cells.

    Args:
        maps: at feature resolution.
        size: height and width of the image.
        how: `"aligned"` puts the outermost cells on the outermost pixels, as the predecessor does, whatever `cells`
            says; `"bilinear"` and `"features"` leave the cells where they lie.
        cells: where the cells lie (`GuidedOutput.cells`); None for an even division of the image.
    """
    return stretched(maps, size, aligned_cells(size, side_lengths(maps)) if how == "aligned" else cells)


def image_maps(
    maps: Float[Tensor, "pairs h w"],
    size: tuple[int, int],
    *,
    upsampling: Upsampling = "bilinear",
    normalising: Normalising = "min_max",
    cells: Cells | None = None,
) -> Float[Tensor, "pairs height width"]:
    """Maps at image size and in [0, 1]: upsampled, then normalised; with `"features"` the other way round."""
    if upsampling == "features":
        return upsampled(normalised(maps, normalising), size, upsampling, cells)
    return normalised(upsampled(maps, size, upsampling, cells), normalising)
