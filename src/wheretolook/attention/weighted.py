"""Grad-CAM's relatives: the sum over channels of features, each weighed by a rule of its own.

They differ in the rule alone. In the graph of differentiable maps the weights are constants, or differentiated too
(`channel_weights="second_order"`), through gradients and features alike.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.gradients import output_gradients
from wheretolook.options.objective import ChannelWeights
from wheretolook.records import GuidedOutput

Rule = Callable[[Tensor, Tensor], Tensor]  # of gradients and features: weights of channels, or of their positions


def hires_cam(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """HiResCAM: the sum over channels of g f, each position with its own gradient g = d s / d f.

    It is input x gradient with the features for an input. Where the scores are linear in the features it adds up to
    the score without its bias: what it shows is what was counted.

    Source: arXiv:2011.08891.
    """
    return _weighed(lambda gradients, _: gradients, output, classes, differentiable, channel_weights)


def layer_cam(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """LayerCAM: the sum over channels of relu(g) f, made for layers far from the end, where gradients are local.

    Source: Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps, IEEE TIP 30, 2021.
    """
    return _weighed(lambda gradients, _: gradients.relu(), output, classes, differentiable, channel_weights)


def grad_cam_plus_plus(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """Grad-CAM++: w = sum over positions of a relu(g), with a = g^2 / (2 g^2 + sum of f over positions g^3).

    Made for features after a ReLU. Its class score is exp(s), whose slope exp(s) g is here without the factor exp(s):
    that is one positive number a map, which overflows for sure answers and which normalising takes out again; public
    code leaves it out as well.

    Source: arXiv:1710.11063 eq. 5 and 19.
    """

    def rule(gradients: Tensor, features: Tensor) -> Tensor:
        # g^2 is divided out: it would underflow. Only positive gradients count
        below = 2 + features.sum(dim=(3, 4), keepdim=True) * gradients
        return (gradients.relu() / torch.where(below == 0, torch.inf, below)).sum(dim=(3, 4), keepdim=True)

    return _weighed(rule, output, classes, differentiable, channel_weights)


def xgrad_cam(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """XGrad-CAM: w = mean of a channel's gradients, weighed by its features: sum of f g / sum of f over positions.

    A channel whose features sum to 0 has no weight.

    Source: arXiv:2008.02312.
    """

    def rule(gradients: Tensor, features: Tensor) -> Tensor:
        total = features.sum(dim=(3, 4), keepdim=True)
        return (gradients * features / torch.where(total == 0, torch.inf, total)).sum(dim=(3, 4), keepdim=True)

    return _weighed(rule, output, classes, differentiable, channel_weights)


def _weighed(
    rule: Rule, output: GuidedOutput, classes: Tensor, differentiable: bool, channel_weights: ChannelWeights
) -> Tensor:
    """The sum over channels of weights and features, in single precision at least, before its ReLU."""
    second_order = differentiable and channel_weights == "second_order"
    gradients = output_gradients(output, classes, create_graph=second_order)
    features = output.features if differentiable else output.features.detach()
    with torch.autocast(features.device.type, enabled=False):
        exact = torch.promote_types(features.dtype, torch.float32)
        features = features.to(exact)[:, None]
        weights = rule(gradients.to(exact), features)
        return ((weights if second_order else weights.detach()) * features).sum(dim=2)
