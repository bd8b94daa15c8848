"""What a run that goes on takes with it: its best validation into a moved folder, and where its network's cells lie."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wheretolook.errors import ConfigError
from wheretolook.networks import grid
from wheretolook.networks.files import load_network
from wheretolook.networks.guide import guide
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions
from wheretolook.training.stage import Stage

from ..training.made import budget, changed, scene_network, weighing
from .trained import guided, left_in, train, validated_weights


class CutError(Exception):
    """The end of a run before its end."""


def cut_before(stage: Stage, step: int, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The stage, whose run ends before that step."""
    whole = stage.terms

    def terms(batch: object) -> object:
        if stage.global_step == step:
            raise CutError
        return whole(batch)

    monkeypatch.setattr(stage, "terms", terms)
    return stage


def test_the_best_of_a_moved_folder_is_still_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second of four validations is the best one; between it and the third the folder gets another name."""
    scores = iter((0.2, 0.6, 0.4, 0.5))
    first, second = (guided(budget(4, validate_every=1)) for _ in range(2))
    for stage in (first, second):
        monkeypatch.setattr(stage.evaluator, "compute", lambda: dict.fromkeys(first.shown, next(scores)))
    before, after = (validated_weights(stage, monkeypatch) for stage in (first, second))
    with pytest.raises(CutError):
        train(cut_before(first, 2, monkeypatch), tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    train(second, tmp_path / "after", resume=True)
    best = load_network(tmp_path / "after" / "best.safetensors").trunk.conv3_1.weight
    assert [torch.equal(best, weight) for weight in (*before, *after)] == [False, True, False, False]
    assert not (tmp_path / "before").exists()
    assert {name for name in left_in(tmp_path / "after") if "ckpt" in name} == {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }


@pytest.mark.parametrize(("steps", "every", "validated"), [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 3, [3]), (2, 9, [2])])
def test_the_last_step_is_always_validated(steps: int, every: int, validated: list[int], tmp_path: Path):
    """Whatever the interval, and once; its checkpoint is there to go on from."""
    stage = Stage.segmenter(scene_network(), budget(steps, validate_every=every, accumulate=2))
    train(stage, tmp_path)
    rows = [row.split(",") for row in (tmp_path / "history.csv").read_text().splitlines()[1:]]
    assert [int(row[0]) for row in rows if row[-1]] == validated
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(last["network.trunk.conv3_1.weight"], load_network(tmp_path).trunk.conv3_1.weight)


class Coarse(nn.Module):
    """A network of the user's whose cells are centred beside where an even division would have them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.head = nn.Conv2d(3, 6, 17, 16, 8), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).relu().mean(dim=(2, 3)))


def energy_stage() -> Stage:
    network = guide(Coarse(), "body", class_names=scene_network().class_names, input_size=32)
    objective = changed(ObjectiveOptions(), weighing(classification=1.0, energy=2.0))
    return Stage.guidance(network, budget(4, validate_every=1), objective)


def drift_of(start: Tensor, found: list[bool]) -> Callable[..., object]:
    """In place of what training moves the cells by: to one side at first, to the other as soon as anything moved."""

    def energy_centre(module: Coarse, *_: object) -> object:
        found.append(torch.equal(module.body.weight, start))
        return (0, 0), (6.0, 6.0) if found[-1] else (-6.0, -6.0)

    return energy_centre


def test_a_run_that_goes_on_keeps_the_cells_that_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Found again by then they would lie elsewhere, and the losses on maps would be others."""
    found: list[bool] = []
    monkeypatch.setattr(grid, "energy_centre", drift_of(Coarse().body.weight.detach().clone(), found))
    whole = energy_stage()
    train(whole, tmp_path / "whole")
    with pytest.raises(CutError):
        train(cut_before(energy_stage(), 2, monkeypatch), tmp_path / "cut")
    again = energy_stage()
    train(again, tmp_path / "cut", resume=True)
    images = torch.zeros(1, 3, 32, 32)
    assert again.network(images).cells == whole.network(images).cells
    assert whole.network(images).cells.offset == (6.0, 6.0)
    assert found == [True, True]  # one for each network that began
    for file in ("network.safetensors", "best.safetensors", "history.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_3", "model_parallel"])
def test_a_strategy_that_shares_the_network_out_is_refused_before_anything_is_there(strategy: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=f"keeps the whole network on each device, got .*{strategy}.*; give ddp"):
        train(guided(budget()), tmp_path / "run", hardware=HardwareOptions(strategy=strategy))
    assert not (tmp_path / "run").exists()
