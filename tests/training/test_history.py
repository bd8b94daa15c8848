"""What `history.csv` says of a run."""

import csv
from pathlib import Path

import pytest

from wheretolook.data.loading import ImageData
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import Batch
from wheretolook.runs.trainer import run_stage
from wheretolook.training.stage import Stage

from .made import CPU, budget, changed, scene_network, scenes


def test_a_steps_losses_are_the_mean_over_the_batches_that_it_accumulates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    training, seen = budget(2, accumulate=2), []
    stage = Stage.guidance(scene_network(), training, changed(ObjectiveOptions(), {"squared.weight": 1.0}))
    terms = stage.terms

    def recorded(batch: Batch) -> object:
        seen.append(found := terms(batch))
        return found

    monkeypatch.setattr(stage, "terms", recorded)
    run_stage(stage, ImageData(scenes(), steps=2, accumulate=2), tmp_path, hardware=CPU)
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    for name in ("total", "classification", "squared"):
        noted = [float(row[f"train/{name}"]) for row in rows if row[f"train/{name}"]]
        values = [{**losses, "total": total}[name].item() for total, losses in seen]
        assert noted == pytest.approx([(values[0] + values[1]) / 2, (values[2] + values[3]) / 2])
        assert values[0] != pytest.approx(values[1])  # or the last batch's would pass
