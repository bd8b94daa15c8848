"""The gradient of class scores with respect to features, written out in the operators of a traced graph.

A graph that is to run without autograd needs the channel weights of Grad-CAM as a formula. Behind the attention layer
most networks have little: a pooling, a norm, a few fully connected layers with their activations. Each of these has a
rule here that says what becomes of a gradient on its way back through it.

A gradient is kept as a product of factors, each as small as it may be: of size 1 along every axis that it does not
depend on. Behind global average pooling and one linear layer the whole gradient is then the layer's weights, whatever
the batch and the size of the images, and a map costs one product of weights and features.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Node

from wheretolook.errors import ConfigError

Values = Mapping[Node, Any]
Factors = list[Tensor]  # (batch, classes, *axes of the value behind its batch), of size 1 where nothing varies
Rule = Callable[[Factors, Sequence[Any], Any, int], Factors]  # of the gradient, arguments, result, which argument

aten = torch.ops.aten


class NotWrittenOutError(ConfigError):
    """Something behind the attention layer has no rule here."""


def channel_weights(values: Values, features: Node, scores: Node) -> Float[Tensor, "batch classes channels"]:
    """The mean over positions of the gradient of every class score with respect to the features.

    Args:
        values: what every node of the graph gave.
        features: the node of the attention layer's grid (B, K, h, w).
        scores: the node of the class scores (B, C).

    Returns:
        Weights; a batch of 1 where they are the same for all images.

    Raises:
        NotWrittenOutError: something between the two has no rule.
    """
    between = _between(features, scores)
    classes = values[scores].shape[1]
    identity = torch.eye(classes, dtype=values[scores].dtype, device=values[scores].device)[None]
    gradients: dict[Node, list[Factors]] = {scores: [[identity]]}
    for node in reversed(between):
        gradient = _summed(gradients.pop(node))
        for place, argument in enumerate(node.args):
            if isinstance(argument, Node) and (argument in between or argument is features):
                given = [values[one] if isinstance(one, Node) else one for one in node.args]
                gradients.setdefault(argument, []).append(_rule(node)(gradient, given, values[node], place))
            elif isinstance(argument, list | tuple) and any(one in between or one is features for one in argument):
                raise NotWrittenOutError(_name(node))
    if features not in gradients:
        raise NotWrittenOutError("nothing")
    return _mean_over_positions(_summed(gradients[features]))


def _rule(node: Node) -> Rule:
    rule = RULES.get(_name(node))
    named = bool(node.kwargs) and rule is not _unchanged  # options that no rule knows
    if rule is None or named or len(set(node.all_input_nodes)) < len(node.all_input_nodes):
        raise NotWrittenOutError(_name(node))
    return rule


def _name(node: Node) -> str:
    """`relu` of `aten.relu.default` and of `aten.relu_.default`."""
    packet = getattr(node.target, "overloadpacket", None)
    name = str(packet).removeprefix("aten.") if packet is not None else getattr(node.target, "__name__", node.name)
    return name.rstrip("_")


def _between(features: Node, scores: Node) -> list[Node]:
    """The nodes on the way from the features to the scores, in order, without the features."""
    after: set[Node] = {features}
    nodes = list(scores.graph.nodes)
    for node in nodes[nodes.index(features) + 1 :]:
        if after & set(node.all_input_nodes):
            after.add(node)
    needed: set[Node] = {scores} & after
    for node in reversed(nodes):
        if node in needed:
            needed |= set(node.all_input_nodes) & after
    return [node for node in nodes if node in needed and node is not features]


def _summed(gradients: Sequence[Factors]) -> Factors:
    """What comes back on several ways adds up."""
    if len(gradients) == 1:
        return gradients[0]
    total = _product(gradients[0])
    for further in gradients[1:]:
        total = total + _product(further)
    return [total]


def _product(factors: Factors) -> Tensor:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def _mean_over_positions(factors: Factors) -> Tensor:
    """(B, C, K) of factors (B, C, K, h, w); what varies over positions is averaged before it meets the classes."""
    varying = [factor for factor in factors if not _is_one(factor.shape[3:])]
    same = [factor for factor in factors if _is_one(factor.shape[3:])]
    if varying:
        same.append(_product(varying).mean(dim=(3, 4), keepdim=True))
    return _product(same)[..., 0, 0]


def _is_one(sizes: Sequence[Any]) -> bool:
    return all(isinstance(size, int) and size == 1 for size in sizes)


def _option(given: Sequence[Any], place: int, default: Any) -> Any:
    """An argument, which a graph leaves out where it is the default."""
    return given[place] if len(given) > place else default


def _unchanged(factors: Factors, _: Sequence[Any], __: Any, ___: int) -> Factors:
    return factors


def _linear(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    weight = given[1]
    gradient = _product(factors)
    if gradient.shape[-1] != weight.shape[0]:
        gradient = gradient.expand(*gradient.shape[:-1], weight.shape[0])
    return [gradient @ weight]


def _convolution(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    """Of 1x1 alone, which is a linear layer at each position."""
    weight, stride, padding = given[1], _option(given, 3, [1, 1]), _option(given, 4, [0, 0])
    if not _is_one(weight.shape[2:]) or list(stride) != [1, 1] or any(padding) or _option(given, 6, 1) != 1:
        raise NotWrittenOutError("a convolution of more than one pixel")
    gradient = _product(factors)
    gradient = gradient.expand(-1, -1, weight.shape[0], -1, -1)
    return [(gradient.movedim(2, -1) @ weight[..., 0, 0]).movedim(-1, 2)]


def _mean(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    value, axes = given[0], [axis % given[0].ndim for axis in given[1]]
    if 0 in axes:
        raise NotWrittenOutError("a mean over the batch")
    if not _option(given, 2, False):
        for axis in sorted(axes):
            factors = [factor.unsqueeze(axis + 1) for factor in factors]
    return [*factors[1:], factors[0] / math.prod(value.shape[axis] for axis in axes)]


def _pooling(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    """Max-pools, and means over some windows: what reaches the positions adds up to what came, wherever it goes.

    So its mean over positions is known, and that is all that the channel weights ask for where nothing else lies
    between a pool and the features; where something does, the check against autograd finds it.
    """
    value, pooled = (tensor.shape[-2:] for tensor in (given[0], result[0] if isinstance(result, tuple) else result))
    gradient = _product(factors)
    positions = value[0] * value[1]
    if _is_one(gradient.shape[3:]):
        return [gradient * (pooled[0] * pooled[1]) / positions]
    return [gradient.sum(dim=(3, 4), keepdim=True) / positions]


def _activation(slope: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Of the slope, from what the activation was given and what it gave."""
    return lambda factors, given, result, _: [*factors, slope(given[0], result).to(result.dtype).unsqueeze(1)]


def _gelu_slope(x: Tensor, _: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _silu_slope(x: Tensor, _: Tensor) -> Tensor:
    share = torch.sigmoid(x)
    return share * (1 + x * (1 - share))


def _hardswish_slope(x: Tensor, _: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, x / 3 + 0.5, (x >= 3).to(x.dtype))


def _hardtanh(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    low, high = _option(given, 1, -1), _option(given, 2, 1)
    return [*factors, ((given[0] > low) & (given[0] < high)).to(result.dtype).unsqueeze(1)]


def _batch_norm(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    weight, variance, eps = given[1], given[4], given[6]
    slope = (variance + eps).rsqrt() * (1 if weight is None else weight)
    return [*factors, slope.view(1, 1, -1, *[1] * (given[0].ndim - 2))]


def _layer_norm(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    """With x' the normalised input: (g - mean(g) - x' mean(g x')) / sigma, over the last axis."""
    value, shape = given[0], given[1]
    if len(shape) != 1:
        raise NotWrittenOutError("a norm over several axes")
    weight, eps = _option(given, 2, None), _option(given, 4, 1e-5)
    centred = value - value.mean(dim=-1, keepdim=True)
    rate = (centred.square().mean(dim=-1, keepdim=True) + eps).rsqrt()
    normal, rate = (centred * rate).unsqueeze(1), rate.unsqueeze(1)
    gradient = _product(factors)
    gradient = gradient.expand(*gradient.shape[:-1], shape[0]) if weight is None else gradient * weight
    along = (gradient * normal).mean(dim=-1, keepdim=True)
    return [(gradient - gradient.mean(dim=-1, keepdim=True) - normal * along) * rate]


def _permute(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    order = [axis % len(given[1]) for axis in given[1]]
    if order[0]:
        raise NotWrittenOutError("a change of the batch's place")
    back = [order.index(axis) + 1 for axis in range(1, len(order))]
    return [factor.permute(0, 1, *back) for factor in factors]


def _transpose(factors: Factors, given: Sequence[Any], result: Any, place: int) -> Factors:
    order = list(range(given[0].ndim))
    one, other = (axis % given[0].ndim for axis in given[1:3])
    order[one], order[other] = order[other], order[one]
    return _permute(factors, [given[0], order], result, place)


def _reshaped(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    """Axes that stay in front keep what varies along them; the rest is spread out only where something varies."""
    old, new = list(given[0].shape[1:]), list(result.shape[1:])
    same = next((place for place, (one, two) in enumerate(zip(old, new, strict=False)) if one is not two), None)
    same = min(len(old), len(new)) if same is None else same
    changed = []
    for factor in factors:
        lead, rest = factor.shape[: 2 + same], factor.shape[2 + same :]
        if _is_one(rest):
            changed.append(factor.reshape(*lead, *[1] * (len(old) - same)))
        else:
            spread = factor.expand(*lead[:2], *new)
            changed.append(spread.reshape(*lead[:2], *old))
    return changed


def _sliced(factors: Factors, given: Sequence[Any], result: Any, _: int) -> Factors:
    """Nothing reaches what was cut off."""
    value, start, end = given[0], _option(given, 2, None), _option(given, 3, None)
    axis = _option(given, 1, 0) % value.ndim
    length = value.shape[axis]
    if not start and (end is None or end == sys.maxsize):
        return factors
    if _option(given, 4, 1) != 1 or axis == 0:
        raise NotWrittenOutError("a slice with steps or of the batch")
    kept = torch.zeros(length, dtype=result.dtype, device=result.device)
    kept[start or 0 : length if end is None else min(end, length)] = 1
    kept = kept.view(1, 1, *[length if place == axis else 1 for place in range(1, value.ndim)])
    if all(_is_one(factor.shape[axis + 1 : axis + 2]) for factor in factors):
        return [*factors, kept]
    raise NotWrittenOutError("a slice of what varies")


def _added(factors: Factors, given: Sequence[Any], result: Any, place: int) -> Factors:
    if given[place].shape != result.shape or len(given) > 2:
        raise NotWrittenOutError("a sum that stretches")
    return factors


def _multiplied(factors: Factors, given: Sequence[Any], result: Any, place: int) -> Factors:
    other = given[1 - place]
    if not isinstance(other, Tensor):
        return [*factors[1:], factors[0] * other]
    if given[place].shape != result.shape:
        raise NotWrittenOutError("a product that stretches")
    other = other.view(*[1] * (result.ndim - other.ndim), *other.shape)
    return [*factors, other.unsqueeze(1)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("_to_copy", "clone", "dropout", "alias", "detach", "getitem", "contiguous"), _unchanged),
    "linear": _linear,
    "conv2d": _convolution,
    "mean": _mean,
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices", "adaptive_avg_pool2d"), _pooling),
    "relu": _activation(lambda x, y: y > 0),
    "gelu": _activation(_gelu_slope),
    "silu": _activation(_silu_slope),
    "hardswish": _activation(_hardswish_slope),
    "sigmoid": _activation(lambda x, y: y * (1 - y)),
    "tanh": _activation(lambda x, y: 1 - y * y),
    "hardtanh": _hardtanh,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "layer_norm": _layer_norm,
    "permute": _permute,
    "transpose": _transpose,
    **dict.fromkeys(("view", "reshape", "flatten", "unsqueeze", "squeeze", "_unsafe_view"), _reshaped),
    "slice": _sliced,
    "add": _added,
    "mul": _multiplied,
}
