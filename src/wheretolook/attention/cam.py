"""CAM: the classifier's own weights on the features, where it is linear and stands behind global average pooling."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wheretolook.attention.gradients import output_gradients
from wheretolook.errors import ConfigError
from wheretolook.options.objective import ChannelWeights
from wheretolook.records import GuidedOutput


def cam(
    output: GuidedOutput, classes: Int[Tensor, "batch k"], *, differentiable: bool, channel_weights: ChannelWeights
) -> Float[Tensor, "batch k h w"]:
    """The sum over channels of W f, with W the weights of the linear classifier: a map whose mean is score minus bias.

    W is read off the scores: behind global average pooling their gradient is W / positions, everywhere the same. So it
    is right for whatever does such pooling, by whatever layers; a convolution of 1x1 before the pooling may be the
    classifier too. It is Grad-CAM times the number of positions. In the graph of differentiable maps W is a constant,
    or trained along (`channel_weights="second_order"`).

    Raises:
        ConfigError: the scores are no linear function of the mean features.

    Source: arXiv:1512.04150.
    """
    second_order = differentiable and channel_weights == "second_order"
    gradients = output_gradients(output, classes, create_graph=True)
    _require_linear(output, gradients)
    features = output.features if differentiable else output.features.detach()
    with torch.autocast(features.device.type, enabled=False):
        exact = torch.promote_types(features.dtype, torch.float32)
        weights = gradients[..., 0, 0].to(exact) * (features.shape[2] * features.shape[3])
        weights = weights if second_order else weights.detach()
        return torch.einsum("bkc,bchw->bkhw", weights, features.to(exact))


def _require_linear(output: GuidedOutput, gradients: Tensor) -> None:
    """Make sure that the gradient is the same at every position, and depends on no feature."""
    given, expected = gradients.detach(), gradients.detach()[..., :1, :1]
    pooled = bool(((given - expected).abs() <= 1e-5 * given.abs().amax()).all())
    if not pooled or _bends(output, gradients):
        raise ConfigError(
            "expected one linear layer behind global average pooling of the attention layer, for the method cam, got "
            "another classifier; choose grad_cam, which is the same where there is one, or hires_cam"
        )


def _bends(output: GuidedOutput, gradients: Tensor) -> bool:
    """Whether the features are in the graph of the scores' gradient, so that the scores are not linear in them."""
    if not gradients.requires_grad:
        return False
    with torch.inference_mode(False), torch.enable_grad():
        (second,) = torch.autograd.grad(gradients.sum(), output.features, retain_graph=True, allow_unused=True)
    return second is not None
