"""Short runs that the tests of this folder share."""

from pathlib import Path

import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.networks.fcn.network import FCN
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.runs.trainer import run_stage
from wheretolook.training.stage import Stage

from ..training.made import CPU, scene_network, scenes
from ..training.made import changed as changed_objective

GUIDED = changed_objective(ObjectiveOptions(), {"mining.weight": 1.0, "squared.weight": 1.0})


def data_for(training: TrainingOptions) -> ImageData:
    return ImageData(scenes(), steps=training.steps, accumulate=training.accumulate, seed=training.seed)


def train(stage: Stage, out: Path, **options: object) -> Path:
    return run_stage(stage, data_for(stage.budget), out, **{"hardware": CPU, **options})


def guided(training: TrainingOptions, **options: object) -> Stage:
    return Stage.guidance(scene_network(), training, changed_objective(GUIDED, options))


def validated_weights(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Fills with one layer's weights, as they are at each of the stage's validations."""
    weights: list[torch.Tensor] = []
    weight = stage.network.trunk.conv3_1.weight
    monkeypatch.setattr(stage, "on_validation_epoch_start", lambda: weights.append(weight.detach().clone()))
    return weights


def left_in(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "events" not in path.name}


def changed(network: FCN, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
