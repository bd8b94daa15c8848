"""What each loss makes of points: of planes that say something of a few pixels and nothing of the rest."""

import pytest
import torch

from wheretolook.attention.methods import pair_maps
from wheretolook.losses.objective import LOSSES
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, Batch, collate
from wheretolook.training.stage import Stage

from ..training.made import changed, made_network, sample, weighing

OPTIONS = {"robust_gradients.samples": 0, "squared.extremes": "differentiated"}
POINTS, BOTH = (2, 5, 4), (40, 12, 4)  # row, column and side of a mark on the object, and of one beside it
ALONE = {"squared", "l1", "cross_entropy", "res"}  # what points on objects guide
BESIDE = {"energy", "softmax_energy", "size_fair_energy", "rrr_maps", "input_gradients", "robust_gradients"}


def marked(*marks: tuple[tuple[int, int, int], int]) -> Batch:
    """An image of one class of which only squares are marked, in its plane and mask alike."""
    plain = sample("one", (1,))
    targets = torch.full_like(plain.targets, VOID)
    for (row, column, side), value in marks:
        targets[:, row : row + side, column : column + side] = value
    mask = torch.where(targets[0] == 1, 2, targets[0].long())
    return collate([plain._replace(targets=targets, mask=mask)])


def guided(name: str, batch: Batch) -> tuple[float, float, Stage]:
    """The loss, and the largest slope of it."""
    stage = Stage.guidance(
        made_network(smooth=True),
        TrainingOptions(),
        changed(ObjectiveOptions(), {**weighing(**{name: 1.0}), **OPTIONS}),
    )
    if stage.earlier:
        stage.earlier = (made_network(smooth=True, seed=2),)
    total, _ = stage.terms(batch)
    weights = [weight for weight in stage.network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(total, weights, allow_unused=True)
    slopes = [float(one.abs().max()) for one in found if one is not None]
    assert torch.isfinite(total) and all(slope == slope and slope < float("inf") for slope in slopes)
    return float(total.detach()), max(slopes), stage


@pytest.mark.parametrize("name", LOSSES)
def test_points_alone_guide_some_losses_and_break_none(name: str):
    value, slope, _ = guided(name, marked((POINTS, 1)))
    if name in ALONE:
        assert value > 0 and slope > 0
    if name in BESIDE:
        assert value == 0 and slope == 0


@pytest.mark.parametrize("name", sorted(ALONE | BESIDE))
def test_with_a_mark_beside_the_object_every_loss_on_attention_guides(name: str):
    value, slope, _ = guided(name, marked((POINTS, 1), (BOTH, 0)))
    assert value > 0 and slope > 0


@pytest.mark.parametrize("name", sorted((ALONE | BESIDE) - {"rrr_maps", "input_gradients", "robust_gradients"}))
def test_a_step_downhill_moves_attention_from_the_mark_beside_to_that_on_the_object(name: str):
    batch = marked((POINTS, 1), (BOTH, 0))
    _, _, stage = guided(name, batch)

    def share() -> float:
        output = stage.network(stage.network.preprocessing(batch.images))
        signed = pair_maps(output, batch.pairs, signed=True)[0].detach()
        deviation = signed.std()
        return float((signed[0, 0] - signed[-1, 0]) / deviation)  # the cells of the two marks

    before = share()
    for _ in range(40):
        total, _ = stage.terms(batch)
        weights = [weight for weight in stage.network.trunk.parameters() if weight.requires_grad]
        slopes = torch.autograd.grad(total, weights, allow_unused=True)
        norm = sum(float(one.square().sum()) for one in slopes if one is not None) ** 0.5
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= 0 if slope is None else 0.02 * slope / max(norm, 1e-12)
    assert share() > before
