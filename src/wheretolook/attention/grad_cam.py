"""Grad-CAM: features weighed by the mean gradient of the class's score.

Source: arXiv:1610.02391; arXiv:1802.10171 eq. 1 and 2.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.gradients import score_gradients, whatever_the_mode
from wheretolook.options.objective import ChannelWeights
from wheretolook.records import GuidedOutput


def channel_weights(
    class_scores: Float[Tensor, "batch classes"],
    features: Float[Tensor, "batch channels h w"],
    classes: Int[Tensor, "batch k"],
    *,
    create_graph: bool = False,
) -> Float[Tensor, "batch k channels"]:
    """How much each channel moves a class's score: w = mean over positions of d s / d f.

    Args:
        class_scores: logits, computed from `features`.
        features: activations of the attention layer, which the scores' graph contains.
        classes: class indices of each image, in [0, classes).
        create_graph: keep the graph of the weights themselves (second order).

    Source: arXiv:1802.10171 eq. 1; arXiv:1610.02391 eq. 1.
    """
    gradients = score_gradients(class_scores, features, classes, create_graph=create_graph)
    return gradients.mean(dim=(3, 4)).transpose(0, 1)


def grad_cam(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """The sum over channels of w f, at feature resolution, before its ReLU; arguments are those of `attention_maps`.

    Maps are in single precision at least: half precision would make them coarse.
    """
    weights = _weights(output, classes, differentiable and channel_weights == "second_order")
    features = output.features if differentiable else output.features.detach()
    with torch.autocast(features.device.type, enabled=False):
        exact = torch.promote_types(features.dtype, torch.float32)
        return torch.einsum("bkc,bchw->bkhw", weights.to(exact), features.to(exact))


def _weights(output: GuidedOutput, indices: Tensor, second_order: bool) -> Tensor:
    with whatever_the_mode(output):
        weights = channel_weights(output.class_scores, output.features, indices.clone(), create_graph=second_order)
    return weights if second_order else weights.detach()
