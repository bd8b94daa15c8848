"""Right for the right reasons on maps: no attention outside of the object, whatever happens inside."""

from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import RRRMapsOptions


def rrr_maps_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
) -> Float[Tensor, " pairs"]:
    """Squared attention outside of the object: sum((1 - M) A^2) over the number of valid pixels.

    Args:
        attention: normalised attention maps, in [0, 1].
        target: 1 on the object, 0 elsewhere; shares in between where a coarse cell is partly covered.
        valid: False where the annotation says nothing; those pixels do not count.

    Returns:
        One value a pair, in [0, 1]; 0, with a gradient of 0, where no pixel is valid.

    Source: RRR* of Rao et al., ICCV 2023, arXiv:2303.11932 section 3.2, after Ross et al., arXiv:1703.03717. They sum
    over pixels; the mean keeps the weight independent of image size. Maps are divided by their maximum. Their code
    counts what is below 0 as well, for attributions that go there; a map after its ReLU does not.

    Example:
        >>> import torch
        >>> target = torch.tensor([[[1.0, 0.0]]])
        >>> rrr_maps_loss(torch.tensor([[[1.0, 0.5]]]), target, target >= 0)
        tensor([0.1250])
    """
    outside = (1 - target) * attention.square() * valid
    return outside.sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)


def rrr_maps(step: Step, options: RRRMapsOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images."""
    return average_over_annotated(
        step, rrr_maps_loss, options.resolution, options.normalising, options.upsampling, extremes=options.extremes
    )
