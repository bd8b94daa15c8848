"""What the stages share: optimiser, schedule, the figures of validation, and budgets that cannot work."""

import math
from dataclasses import replace

import pytest
import torch

from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.errors import ConfigError
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.networks.modes import training_only
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import collate
from wheretolook.training.optimiser import make_optimiser, make_schedule
from wheretolook.training.stage import Stage, objective_of

from .made import made_batch, made_network, made_samples, sample, scene_network, scenes
from .reference import reference_terms

ONLY = {"classification": Stage.classifier, "segmentation": Stage.segmenter}


@pytest.mark.parametrize("loss", ONLY)
def test_stages_0_and_1_have_one_loss_each(loss: str):
    network = made_network()
    total, losses = ONLY[loss](network, TrainingOptions()).terms(made_batch())
    expected = reference_terms(network, objective_of(**{loss: 1.0}), made_batch())
    torch.testing.assert_close(total, expected[loss])
    assert losses.keys() == {loss}


@pytest.mark.parametrize("loss", ONLY)
def test_their_batches_are_the_average_of_their_images(loss: str):
    stage = ONLY[loss](made_network(), TrainingOptions())
    counted = [one for one in made_samples() if loss == "classification" or one.segmented]
    singles = [stage.terms(collate([one]))[0] for one in counted]
    torch.testing.assert_close(stage.terms(made_batch())[0], torch.stack(singles).mean())


def test_a_segmenter_learns_nothing_from_boxes_or_from_void():
    stage = Stage.segmenter(made_network(), TrainingOptions())
    boxed = sample("boxed", (0,), segmented=False)
    void = sample("void", (0,), annotated=False)
    assert stage.terms(collate([boxed, void]))[0] == 0


def test_stage_1_never_runs_the_segmenter(monkeypatch: pytest.MonkeyPatch):
    network = made_network()
    monkeypatch.setattr(network.segmenter, "forward", lambda *_: 1 / 0)
    Stage.classifier(network, TrainingOptions()).terms(made_batch())


def rates(config: TrainingOptions, group: int = 0) -> list[float]:
    """The learning rate of every step."""
    network = scene_network()
    optimiser = make_optimiser(network, config)
    schedule = make_schedule(optimiser, config)
    found = []
    for _ in range(config.steps):
        found.append(optimiser.param_groups[group]["lr"])
        optimiser.step()
        if schedule is not None:
            schedule.step()
    return found


def test_schedules():
    config = TrainingOptions(steps=50, learning_rate=0.5, trunk_learning_rate=0.25)
    assert rates(replace(config, schedule="constant")) == [0.5] * 50
    assert rates(replace(config, schedule="poly")) == pytest.approx([0.5 * (1 - k / 50) ** 0.9 for k in range(50)])
    cycle = rates(replace(config, schedule="one_cycle"))
    peak = 0.2 * 51 - 1  # torch counts it from 0

    def cosine(start: float, end: float, share: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    rise = [cosine(0.5 / 25, 0.5, k / peak) for k in range(10)]
    fall = [cosine(0.5, 0.5 / 25 / 1e4, (k - peak) / (50 - peak)) for k in range(10, 50)]
    assert cycle == pytest.approx(rise + fall)
    assert rates(replace(config, schedule="one_cycle"), group=2) == pytest.approx([rate / 2 for rate in cycle])


@pytest.mark.parametrize("steps", range(1, 9))
def test_one_cycle_serves_the_shortest_budgets(steps: int):
    found = rates(TrainingOptions(steps=steps, learning_rate=1.0))
    peak = found.index(max(found))
    assert found[0] == pytest.approx(1 / 25)
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimisers_hold_what_trains_each_part_in_a_group_of_its_own(name: str, kind: type):
    network = scene_network()
    config = TrainingOptions(optimiser=name, learning_rate=0.5, trunk_learning_rate=0.1, weight_decay=0.01)
    with training_only(network, [network.trunk, network.classifier]):
        rest, trunk = make_optimiser(network, config).param_groups
    assert set(rest["params"]) == set(network.classifier.parameters())
    assert set(trunk["params"]) == set(network.trunk.parameters())
    assert [(group["lr"], group["weight_decay"]) for group in (rest, trunk)] == [(0.5, 0.01), (0.1, 0.01)]
    with training_only(network, [network]):
        groups = make_optimiser(network, replace(config, classifier_learning_rate=0.2)).param_groups
    parts = [network.segmenter, network.classifier, network.trunk]
    assert [group["lr"] for group in groups] == [0.5, 0.2, 0.1]
    assert [set(group["params"]) for group in groups] == [
        {p for p in part.parameters() if p.requires_grad} for part in parts
    ]
    with training_only(network, [network.segmenter]):
        optimiser = make_optimiser(network, config)
    assert type(optimiser) is kind
    (group,) = optimiser.param_groups  # no empty group for the trunk, and no fixed upsampling
    learned = {p for name, p in network.segmenter.named_parameters() if "upscore" not in name}
    assert set(group["params"]) == learned
    assert group.get("momentum", 0.9) == 0.9


def test_randomness_depends_on_seed_and_batch_and_process_alone(monkeypatch: pytest.MonkeyPatch):
    def drawn(seed: int, batch: int, process: int = 0) -> float:
        torch.manual_seed(99)
        stage = Stage.classifier(scene_network(), TrainingOptions(seed=seed))
        monkeypatch.setattr(type(stage), "global_rank", process)
        stage.on_train_batch_start(made_batch(), batch)
        return torch.rand(()).item()

    keys = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (0, 0, 1), (0, 1, 1)]
    assert len({drawn(*key) for key in keys}) == len(keys)
    assert [drawn(*key) for key in keys] == [drawn(*key) for key in keys]


def test_validation_shows_the_figures_of_an_evaluation(monkeypatch: pytest.MonkeyPatch):
    """And the score is the mean of those that pick the best."""
    network = scene_network().eval()
    stage = Stage.guidance(network, TrainingOptions(), ObjectiveOptions())
    batches = list(evaluation_loader(open_dataset(scenes(), "val"), 2, 0))
    expected = evaluate(network, batches)
    shown = {}
    monkeypatch.setattr(stage, "log_dict", shown.update)
    for _ in range(2):  # and the second time it is the same: nothing is left over of the first
        with torch.no_grad():
            for index, batch in enumerate(batches):
                stage.validation_step(batch, index)
        stage.on_validation_epoch_end()
        assert {name: value.item() for name, value in shown.items()} == pytest.approx(
            {f"val/{name}": expected[name] for name in stage.shown}
            | {"val/score": (expected["mean_iu"] + expected["attention_iou"]) / 2},
            nan_ok=True,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        *({"steps": 0}, {"accumulate": 0}, {"validate_every": 0}, {"learning_rate": -1.0}),
        *(
            {"learning_rate": math.nan},
            {"trunk_learning_rate": -1e-3},
            {"classifier_learning_rate": math.inf},
            {"weight_decay": -0.1},
            {"clip": 0.0},
        ),
        *({"seed": -1}, {"seed": 2**63}),
    ],
    ids=str,
)
def test_a_budget_that_cannot_work_is_refused(wrong: dict[str, float]):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"expected {name} .*got {wrong[name]}"):
        Stage.classifier(scene_network(), TrainingOptions(**wrong))
