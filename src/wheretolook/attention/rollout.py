"""Methods on the attention matrices of a transformer: how much of each cell arrives where the scores are read."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.gradients import gradients_of, whatever_the_mode
from wheretolook.options.objective import ChannelWeights
from wheretolook.records import GuidedOutput, side_lengths


def rollout(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """Attention rollout: the product over blocks of (A + 1) / 2, with A the mean of a block's heads.

    Of the first token where there are tokens before the cells, else the mean of all. The map is the same for every
    class: what is looked at, not what for.

    Source: arXiv:2005.00928 section 3.
    """
    joint = _identity(output.matrices[0])
    for matrix in _given(output.matrices, differentiable):
        mixed = (matrix.mean(dim=1) + _identity(matrix)) / 2
        joint = mixed @ joint
    return _cells(joint[:, None], output).expand(-1, classes.shape[1], -1, -1)


def gradient_rollout(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """Gradient-weighted rollout: R <- R + E R block by block, with E the mean over heads of relu(A d s / d A).

    R begins as 1; the map is that of the first token where there are tokens before the cells, else the mean of all.
    In the graph of differentiable maps d s / d A is a constant, or differentiated too
    (`channel_weights="second_order"`).

    Source: arXiv:2103.15679 eq. 5 and 6; arXiv:2012.09838 has relevance in place of A there.
    """
    second_order = differentiable and channel_weights == "second_order"
    with whatever_the_mode(output):
        gradients = gradients_of(output.class_scores, output.matrices, classes.clone(), create_graph=second_order)
        joint = _identity(output.matrices[0])[None, None]
        for matrix, gradient in zip(_given(output.matrices, differentiable), gradients, strict=True):
            gradient = gradient if second_order else gradient.detach()
            shown = (gradient.transpose(0, 1) * matrix[:, None]).relu().mean(dim=2)
            joint = joint + shown @ joint
    maps = _cells(joint, output)
    return maps if differentiable else maps.detach()


def _given(matrices: Sequence[Tensor], differentiable: bool) -> list[Tensor]:
    return [matrix if differentiable else matrix.detach() for matrix in matrices]


def _identity(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def _cells(joint: Float[Tensor, "batch k tokens tokens"], output: GuidedOutput) -> Float[Tensor, "batch k h w"]:
    """What arrives from each cell at the first token before them, or on average at all."""
    height, width = side_lengths(output.features)
    before = joint.shape[-1] - height * width
    arrived = joint[:, :, 0] if before else joint.mean(dim=2)
    maps: Tensor = arrived[:, :, before:].unflatten(2, (height, width))
    return maps
