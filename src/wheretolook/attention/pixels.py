"""Methods on the pixels of the image themselves: the record's features are the network's input."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.gradients import output_gradients
from wheretolook.attention.weighted import hires_cam
from wheretolook.errors import ConfigError
from wheretolook.options.objective import ChannelWeights
from wheretolook.records import GuidedOutput

STEPS = 32  # from the mean colour to the image


def input_x_gradient(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k height width"]:
    """Input x gradient: the sum over colours of x g, with g = d s / d x at the network's input x.

    0 in that input is the mean colour, so a pixel of the mean colour says nothing. Where the scores are linear in the
    image it adds up to the score without its bias. Pixels train nothing, so differentiable maps always differentiate
    the gradient, whatever `channel_weights` says: the forward must then be one whose gradient has a gradient.

    Source: Shrikumar et al., arXiv:1605.01713; it is HiResCAM (arXiv:2011.08891) at the input.
    """
    return hires_cam(output, classes, differentiable=differentiable, channel_weights="second_order")


def integrated_gradients(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k height width"]:
    """Integrated gradients: the sum over colours of x times the mean of g(a x) for a from 0, the mean colour, to 1.

    It adds up to what the score gains from the mean colour to the image; the mean is taken at the middles of 32 equal
    steps, a forward and a gradient each.

    Raises:
        ConfigError: differentiable, which would keep the graphs of all these forwards.

    Source: arXiv:1703.01365 eq. 1 and 3.
    """
    if differentiable:
        raise ConfigError(
            f"integrated_gradients takes {STEPS} forwards an image and is for looking, not for training; train with "
            "input_x_gradient or grad_cam, and choose it for figures and pictures"
        )
    assert output.again is not None  # `attention_maps` asks for it
    images = output.features.detach()
    total = torch.zeros_like(images)[:, None]
    for step in range(STEPS):
        total = total + output_gradients(output.again(images * ((step + 0.5) / STEPS)), classes)
    return (total / STEPS * images[:, None]).sum(dim=2)
