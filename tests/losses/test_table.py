"""Every loss of the table: documented, with options of its own, and a value whose gradient is its slope."""

import inspect
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from wheretolook.errors import ConfigError
from wheretolook.losses.classification import classification_loss
from wheretolook.losses.objective import LOSSES, loss_weights, needs, trained_parts
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import GuidedNetwork, collate
from wheretolook.training.collapse import recall
from wheretolook.training.stage import Stage, objective_of

from ..command_line import NARROW
from ..training.made import NAMES, changed, made_batch, made_network, sample, weighing

# without what counts as a constant in the graph on purpose: then the gradient must be the slope
DIFFERENTIATED = {
    "channel_weights": "second_order",
    "freeze_classifier": False,
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_documented_and_has_a_group_of_options(name: str):
    group = getattr(ObjectiveOptions(), name)
    assert "weight" in {field.name for field in fields(group)}
    assert f"\n| `{name}`" in (Path(__file__).parents[2] / "docs/guidance.md").read_text()  # a line of the table
    module = sys.modules[LOSSES[name].compute.__module__]
    assert module.__doc__ and inspect.getdoc(LOSSES[name].compute)
    if "maps" in LOSSES[name].needs:
        assert "Source: " in inspect.getsource(module)


def test_every_group_of_options_is_a_loss():
    groups = {
        field.name for field in fields(ObjectiveOptions) if hasattr(getattr(ObjectiveOptions(), field.name), "weight")
    }
    assert groups == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_every_loss_is_its_slope(name: str, monkeypatch: pytest.MonkeyPatch):
    """Central differences along a random direction of all weights at once."""
    monkeypatch.setattr("wheretolook.losses.softmax_energy.deviation", lambda *_: torch.tensor(0.01))
    for module in ("attention.maps", "losses.compare", "losses.separability"):
        monkeypatch.setattr(f"wheretolook.{module}.normalised", lambda maps, *_, **__: 20 * maps)
    monkeypatch.setattr("wheretolook.losses.res.best_threshold", lambda maps, *_: torch.full(maps.shape[:1], 0.1))
    place = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).view(3, 2)  # of what the last layer shows
    monkeypatch.setattr("wheretolook.losses.layer_consistency.looked_at", lambda maps, *_: place.expand_as(maps))
    worst = 0.1 * torch.rand(made_batch().images.shape, dtype=torch.float64)  # the place of a maximum
    monkeypatch.setattr("wheretolook.losses.robust_gradients.worst_changes", lambda *_: worst)
    objective = changed(ObjectiveOptions(), {**weighing(**{name: 1.7}), **DIFFERENTIATED})
    stage = Stage.guidance(made_network(smooth=True), TrainingOptions(), objective)
    if stage.earlier:
        stage.earlier = (made_network(smooth=True, seed=2),)
    batch = made_batch()
    weights = [weight for weight in stage.network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(stage.terms(batch)[0], weights, allow_unused=True)
    directions = [torch.randn_like(weight) for weight in weights]
    slope = sum((g * d).sum() for g, d in zip(found, directions, strict=True) if g is not None)

    def moved(step: float) -> None:
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += step * direction

    def shifted(step: float) -> torch.Tensor:
        moved(step)
        value = stage.terms(batch)[0].detach()
        moved(-step)
        return value

    step = 1e-9  # larger ones cross the kinks of the ReLUs
    measured = (shifted(step) - shifted(-step)) / (2 * step)
    assert slope.abs() > 1e-4
    torch.testing.assert_close(slope, measured, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_an_objective_of_one_loss_says_so(name: str):
    objective = objective_of(**{name: 0.25})
    assert loss_weights(objective) == {name: 0.25}
    assert needs(objective) == LOSSES[name].needs
    frozen = trained_parts(objective)
    free = trained_parts(changed(objective, {"freeze_classifier": False}))
    assert "classifier" not in frozen and "trunk" in frozen and frozen == free - {"classifier"}
    curved = trained_parts(changed(objective, {"freeze_classifier": False, "channel_weights": "second_order"}))
    assert ("classifier" in curved) == ("classifier" in free or "maps" in LOSSES[name].needs)


def test_one_class_an_image_is_learned_by_the_softmax():
    scores = torch.randn(3, 4, dtype=torch.float64)
    labels = F.one_hot(torch.tensor([2, 0, 3]), 4).bool()
    found = classification_loss(scores, labels, exclusive=True)
    for image, index in enumerate((2, 0, 3)):
        share = scores[image, index].exp() / scores[image].exp().sum()
        torch.testing.assert_close(found[image], -share.log())
    assert not torch.allclose(found, classification_loss(scores, labels))


@pytest.mark.parametrize("exclusive", [True, False])
def test_recall_is_of_the_largest_score_or_of_scores_above_zero(exclusive: bool):
    batch = collate([sample("one", (1,)), sample("other", (2,))])._replace(exclusive=exclusive)
    stage = Stage.guidance(made_network(), TrainingOptions(), ObjectiveOptions())
    step = stage.forward_step(batch)
    scores = torch.tensor([[-3.0, -1.0, -2.0], [1.0, 9.0, 2.0]], dtype=torch.float64)
    object.__setattr__(step, "output", step.output._replace(class_scores=scores))
    assert recall(step) == 0.5  # the first by softmax alone, the second by sigmoids alone
    assert (step.output.class_scores.argmax(dim=1) == torch.tensor([1, 2])).tolist() == [True, False]


class Blind(FCN8s):
    """A network that only classifies."""

    @property
    def segments(self) -> bool:
        return False


def test_segmentation_weighs_what_it_says_or_what_the_network_can():
    def weighed(network: GuidedNetwork, objective: ObjectiveOptions) -> float | None:
        return Stage.guidance(network, TrainingOptions(), objective).objective.segmentation.weight

    assert [weighed(network, ObjectiveOptions()) for network in (made_network(), Blind(NAMES, **NARROW))] == [1.5, 0.0]
    assert weighed(made_network(), changed(ObjectiveOptions(), {"segmentation.weight": 6.0})) == 6.0
    assert weighed(made_network(), changed(ObjectiveOptions(), {"segmentation.weight": 0.0})) == 0.0
    with pytest.raises(ConfigError, match="expected a network with a segmenter, for the segmentation loss, got one"):
        weighed(Blind(NAMES, **NARROW), changed(ObjectiveOptions(), {"segmentation.weight": 1.0}))
