"""Attention maps of any classes from the record of one forward, by any method of the table."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.cam import cam
from wheretolook.attention.fusion import each_layer, fused
from wheretolook.attention.grad_cam import grad_cam
from wheretolook.attention.maps import upsampled
from wheretolook.attention.pixels import input_x_gradient, integrated_gradients
from wheretolook.attention.rollout import gradient_rollout, rollout
from wheretolook.attention.weighted import grad_cam_plus_plus, hires_cam, layer_cam, xgrad_cam
from wheretolook.errors import ConfigError
from wheretolook.options.objective import OF_PIXELS, OF_TOKENS, ChannelWeights, Method
from wheretolook.records import GuidedOutput

# by name: from the output, a class index for each map of each image, and the options of `attention_maps`, the maps
# before their ReLU; those of a method that has no sign are at least 0 as they are
METHODS: dict[str, Callable[..., Float[Tensor, "batch k h w"]]] = {
    "grad_cam": grad_cam,
    "cam": cam,
    "hires_cam": hires_cam,
    "layer_cam": layer_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "xgrad_cam": xgrad_cam,
    "input_x_gradient": input_x_gradient,
    "integrated_gradients": integrated_gradients,
    "rollout": rollout,
    "gradient_rollout": gradient_rollout,
}


def attention_maps(
    output: GuidedOutput,
    classes: Sequence[int] | Int[Tensor, "batch k"] | Int[Tensor, " batch"] | None = None,
    *,
    method: Method = "grad_cam",
    differentiable: bool = False,
    channel_weights: ChannelWeights = "constant",
    size: tuple[int, int] | None = None,
    signed: bool = False,
) -> Float[Tensor, "batch k h w"] | Float[Tensor, "batch h w"]:
    """Where the network looks for each class.

    Of the score (the logit), not of its sigmoid; not normalised. May be called as often as you like, and a later
    `backward` still works.

    Args:
        output: what the network's forward gave; the maps of several layers become one, as `fusion.fused` says.
        classes: class indices: None for all; a list shared by the batch; a (B, k) tensor with each image's own; or a
            (B,) tensor with one class an image, such as the targets of a cross-entropy.
        method: how maps are made, a name in `METHODS`.
        differentiable: keep the graph, so that a loss on the maps trains the trunk.
        channel_weights: `"constant"` treats the weights of features as given, as the predecessor (the Chainer
            implementation of GAIN for FCN) does; `"second_order"` differentiates them too. With a classifier that is
            piecewise linear (ReLU) that second term vanishes on the trunk and reaches only the classifier's weights.
        size: height and width in pixels to stretch the maps to, each cell to where it lies; None leaves them
            at feature resolution.
        signed: leave out the ReLU: what speaks against a class is below 0.

    Returns:
        Maps (B, k, height, width), at least 0 unless they are signed; (B, height, width) for one class an image.

    Raises:
        ValueError: a class index out of range, or `differentiable` where the forward kept no graph of the trunk.
        ConfigError: the method is `"cam"` and the classifier not one linear layer behind global average pooling, or
            the record is not one for that method, which `network.attention` says before the forward.

    Example:
        >>> features = torch.ones(1, 2, 3, 3, requires_grad=True)
        >>> scores = features.mean(dim=(2, 3)) @ torch.tensor([[9.0], [-3.6]])
        >>> attention_maps(GuidedOutput(scores, features))[0, 0, 0]
        tensor([0.6000, 0.6000, 0.6000])
        >>> attention_maps(GuidedOutput(scores, features), torch.tensor([0]), size=(6, 9)).shape
        torch.Size([1, 6, 9])
    """
    if differentiable and not (output.differentiable and torch.is_grad_enabled()):
        raise ValueError(
            "differentiable maps need a forward with gradients on through a trunk that trains; this one kept no graph: "
            "leave no_grad and inference_mode, or unfreeze the trunk"
        )
    _require_recorded(output, method)
    one_each = isinstance(classes, Tensor) and classes.ndim == 1
    indices = _indices(output, classes)
    if indices.numel():
        found = [
            METHODS[method](layer, indices, differentiable=differentiable, channel_weights=channel_weights)
            for layer in each_layer(output)
        ]
        maps: Tensor = fused([layer.flatten(0, 1) for layer in found], output).unflatten(0, indices.shape)
        maps = maps if signed else maps.relu()
    else:
        maps = output.features.new_zeros(*indices.shape, *output.features.shape[2:])
    if size is not None:
        maps = upsampled(maps.flatten(0, 1), size, cells=output.cells).unflatten(0, indices.shape)
    return maps[:, 0] if one_each else maps


def pair_maps(
    output: GuidedOutput,
    pairs: Int[Tensor, "pairs 2"],
    *,
    method: Method = "grad_cam",
    differentiable: bool = False,
    channel_weights: ChannelWeights = "constant",
    signed: bool = False,
) -> Float[Tensor, "pairs h w"]:
    """The attention maps of (image, class) pairs, in their order; the arguments are those of `attention_maps`."""
    layers = layer_maps(output, pairs, method=method, differentiable=differentiable, channel_weights=channel_weights)
    maps = fused(layers, output)
    return maps if signed else maps.relu()


def layer_maps(
    output: GuidedOutput,
    pairs: Int[Tensor, "pairs 2"],
    *,
    method: Method = "grad_cam",
    differentiable: bool = False,
    channel_weights: ChannelWeights = "constant",
) -> list[Float[Tensor, "pairs _ _"]]:
    """The maps of pairs before their ReLU, of each layer that attention is read from on its own grid.

    Images with fewer classes than the busiest are filled up with class 0 and the filling is dropped. The arguments are
    those of `attention_maps`; `fusion.fused` makes one map of them.
    """
    layers = each_layer(output)
    if not len(pairs):
        # in the graph all the same: a batch without any class must not stop the training of others
        nothing = 0 * output.class_scores.sum()
        return [none + nothing if differentiable else none.detach() for none in (x.features[:0, 0] for x in layers)]
    images, classes = pairs.unbind(dim=1)
    rank = (images[:, None] == images).tril(-1).sum(dim=1)  # how many pairs of the same image came before
    table = classes.new_zeros(len(output.features), int(rank.max()) + 1)
    table[images, rank] = classes
    found = (
        attention_maps(
            layer,
            table,
            method=method,
            differentiable=differentiable,
            channel_weights=channel_weights,
            signed=True,
        )
        for layer in layers
    )
    return [maps[images, rank] for maps in found]


def _require_recorded(output: GuidedOutput, method: Method) -> None:
    """Make sure that the forward recorded what the method needs."""
    pixels = output.again is not None
    if (method in OF_PIXELS) != pixels or (method in OF_TOKENS and not output.matrices):
        kind = "a method on pixels" if pixels else "other methods"
        raise ConfigError(
            f"expected a record for the method {method}, got one for {kind}; set network.attention = '{method}' before "
            "the forward"
        )


def _indices(output: GuidedOutput, classes: Sequence[int] | Tensor | None) -> Tensor:
    batch, count = output.class_scores.shape
    device = output.class_scores.device
    if classes is None:
        return torch.arange(count, device=device).expand(batch, -1)
    indices = torch.as_tensor(classes, dtype=torch.long, device=device)
    if indices.ndim == 1:
        indices = indices[:, None] if isinstance(classes, Tensor) else indices.expand(batch, -1)
    if indices.ndim != 2 or len(indices) != batch:
        raise ValueError(
            f"expected a list of classes or a tensor ({batch}, k) or ({batch},), got shape {tuple(indices.shape)}"
        )
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        raise ValueError(f"expected class indices from 0 to {count - 1}, got {indices.unique().tolist()}")
    return indices
