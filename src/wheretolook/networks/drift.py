"""How far a trained network's cells have drifted from where its strides and paddings put them.

A convolution of 3x3 with stride 2 is centred on a pixel, so its cells lie unevenly in an image of even sides, by up to
half a cell after five of them. Trained networks were seen to look aside by as much, back to where an even division puts
their cells: a MobileNetV2 by 10 to 14 pixels of 32, as pasted crops and mirrored photographs show, and an
EfficientNet-Lite0. By strides and paddings alone their maps would be further off than by an even division.
(Mirrored training images would explain it: a network that answers alike to an image and its mirror image has its cells
mirrored too.) The constants below were chosen on these two networks and on untrained ones.

Seen is where the energy of an inner cell's input gradient lies when signs are random: every weight is squared, every
bias zero, so that the energies add up. It is one forward and one backward, without chance.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wheretolook.records import widest

TINY = 1e-60  # brightness of the probe: no activation bends, and double precision holds what squares add up to
NEAR = 64  # pixels around the centre that it is taken of
LEAST = 5.0  # pixels: less than that is what untrained weights show too
STEP = 1 / 16  # of a stride: finer drifts would follow every step of training


def energy_weights(module: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """Every parameter and buffer in double precision, as energies pass: weights squared, nothing added or subtracted.

    Args:
        module: of convolutions, linear layers and batch norms, whose scale is squared with their variance.
        device: where they go; one with double precision.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    weights = {name: t.detach().to(device) for name, t in tensors.items()}
    weights = {name: t.double() if t.is_floating_point() else t for name, t in weights.items()}
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        variance, weight = weights.get(f"{prefix}running_var"), weights.get(f"{prefix}weight")
        if weight is None or not (isinstance(layer, nn.Conv2d | nn.Linear) or variance is not None):
            continue
        scale = 1.0 if variance is None else (variance + getattr(layer, "eps", 1e-5)).sqrt()
        weights[f"{prefix}weight"] = weight.square() / scale
        for added in ("bias", "running_mean"):
            if f"{prefix}{added}" in weights:
                weights[f"{prefix}{added}"] = torch.zeros_like(weights[f"{prefix}{added}"])
    return weights


def energy_centre(
    module: nn.Module,
    features: Callable[[Callable[[Tensor], object], Tensor], Tensor],
    images: Tensor,
) -> tuple[tuple[int, int], tuple[float, float]] | None:
    """A middle cell and where the energy that it sees is centred, down and across; None where energies do not add up.

    Args:
        module: the network, in evaluation mode.
        features: from a way to run the network and images, the layer's grid.
        images: of the size to look at; what they show does not matter.
    """
    device = images.device if widest(images.device) == torch.float64 else torch.device("cpu")
    weights = energy_weights(module, device)
    probe = torch.full(images.shape, TINY, dtype=torch.float64, device=device, requires_grad=True)
    with torch.autocast(device.type, enabled=False):
        grid = features(lambda given: functional_call(module, weights, (given,)), probe)
    cell = grid.shape[2] // 2, grid.shape[3] // 2
    (gradient,) = torch.autograd.grad(grid[0, :, cell[0], cell[1]].sum(), probe)
    energy = gradient[0].sum(dim=0).cpu()
    if not bool(energy.isfinite().all()) or energy.min() < 0 or not energy.any():
        return None  # norms over channels, say, that subtract what they see
    down, across = (_middle(energy.sum(dim=1 - axis)) for axis in (0, 1))
    return cell, (down, across)


def _middle(profile: Tensor) -> float:
    pixels = torch.arange(len(profile), dtype=torch.float64)
    at = float((profile * pixels).sum() / profile.sum())
    for _ in range(20):  # without the image's edges, which cut off what is far away
        near = profile * ((pixels - at).abs() <= NEAR)
        at = float((near * pixels).sum() / near.sum())
    return at


def in_steps(drift: float, stride: float) -> float:
    """The drift in steps of a share of the stride; 0 where it is within what untrained weights show, or not to be had.

    Example:
        >>> in_steps(13.8, 32.0), in_steps(-1.8, 32.0), in_steps(40.0, 32.0)
        (14.0, 0.0, 0.0)
    """
    if not LEAST <= abs(drift) <= stride / 2:
        return 0.0
    return round(drift / (STEP * stride)) * STEP * stride
