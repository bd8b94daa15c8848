"""RES: drawings that are not to be trusted to the pixel, compared with slack and blurred."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wheretolook.losses.blur import blurred
from wheretolook.losses.compare import average_over_annotated
from wheretolook.losses.step import Step
from wheretolook.options.objective import ResOptions

STEEPNESS = 5.0  # of the soft step at the threshold, as in the authors' code


def res_loss(
    attention: Float[Tensor, "pairs h w"],
    target: Float[Tensor, "pairs h w"],
    valid: Bool[Tensor, "pairs h w"],
    *,
    slack: float = 0.0,
    blur: float = 0.8,
) -> Float[Tensor, " pairs"]:
    """Attention on the right side of a threshold, and near a blurred drawing.

    max(0, mean |tanh(5 (A - a)) - F| - slack) + mean |A - B|. F is ternary: 1 for cells that the object covers, -1 for
    cells without it, and neither, out of the first mean, for those at its border, which are covered less than half as
    much as the most covered one. a is the threshold that parts covered from uncovered cells best. B is the covered
    cells blurred and divided by their maximum. a counts as a constant in the gradient.

    Args:
        attention: normalised attention maps, in [0, 1].
        target: the object's share of each cell.
        valid: False where the annotation says nothing; those cells count in neither mean.
        slack: how far the first mean may be off for nothing.
        blur: standard deviation of the blur, in cells; 0 for none.

    Returns:
        One value a pair, in [0, 3]; 0, with a gradient of 0, where no cell is valid.

    Source: RES of Gao et al., KDD 2022, arXiv:2206.13413, as their code has it for a fixed imputation ("Gaussian").
    There the border is what nobody has annotated, threshold and first mean are those of a batch, and the blur mirrors
    the drawing at its edges. Of thresholds that are as good theirs is mostly just above a cell without the object, ours
    the attention of a covered one, so that the soft step, which is steepest there, raises the least attended of these
    and does not lower the most attended of those. The learned imputations are not offered.

    Example:
        >>> target = torch.tensor([[[1.0, 0.0]]])
        >>> res_loss(target, target, target >= 0, blur=0.0)  # tanh(0) and tanh(-5) against 1 and -1
        tensor([0.5000])
    """
    covered = (target >= target.amax(dim=(1, 2), keepdim=True) / 2) & (target > 0) & valid
    bare = (target == 0) & valid
    side = covered.to(target.dtype) - bare.to(target.dtype)
    steps = torch.tanh(STEEPNESS * (attention - best_threshold(attention, covered, bare)[:, None, None]))
    wrong = _mean((steps - side).abs(), covered | bare)
    drawn = blurred(covered.to(target.dtype), blur)
    drawn = drawn / drawn.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return (wrong - slack).clamp(min=0) + _mean((attention - drawn).abs(), valid)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)


@torch.no_grad()
def best_threshold(
    attention: Float[Tensor, "pairs h w"], covered: Bool[Tensor, "pairs h w"], bare: Bool[Tensor, "pairs h w"]
) -> Float[Tensor, " pairs"]:
    """The attention from which on cells count as attended, such that most covered cells do and most bare ones do not.

    It maximises the share of covered cells at or above it less the share of bare cells there.

    Args:
        attention: maps.
        covered: cells that should be attended.
        bare: cells that should not.

    Example:
        >>> covered = torch.tensor([[[True, True, False, False]]])
        >>> best_threshold(torch.tensor([[[0.9, 0.3, 0.5, 0.1]]]), covered, ~covered)
        tensor([0.9000])
    """
    values, order = attention.flatten(1).sort(dim=1, descending=True)
    right, wrong = (
        where.flatten(1).gather(1, order).cumsum(dim=1) / where.sum(dim=(1, 2)).clamp(min=1)[:, None]
        for where in (covered, bare)
    )
    ties = values[:, :-1] == values[:, 1:]  # of cells alike only the last is a place to part them
    gain = (right - wrong).index_put((*ties.nonzero().T,), right.new_tensor(-torch.inf))
    return values.gather(1, gain.argmax(dim=1, keepdim=True))[:, 0]


def res(step: Step, options: ResOptions) -> Float[Tensor, ""]:
    """The loss of a step, over its annotated images, at feature resolution; maps are normalised before their ReLU."""

    def loss(attention: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return res_loss(attention, target, valid, slack=options.slack, blur=options.blur)

    return average_over_annotated(step, loss, "features", "min_max", extremes="differentiated", signed=True)
