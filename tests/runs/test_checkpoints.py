"""Which validation is the best one, and what there is where none gave a figure."""

from pathlib import Path

import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.networks.files import load_network
from wheretolook.records import Batch
from wheretolook.runs.folder import is_finished
from wheretolook.runs.trainer import run_stage
from wheretolook.training.stage import Stage

from ..training.made import CPU, Altered, budget, scene_network, scenes
from .trained import guided, left_in, train, validated_weights


def test_best_is_the_validation_with_the_highest_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Scores by hand: the second of four validations is the best, so the weights after step 2 are."""
    scores = iter((0.2, 0.6, 0.4, 0.6))
    stage = guided(budget(4, validate_every=1))
    figures = dict.fromkeys(stage.shown, 0.0)
    monkeypatch.setattr(
        stage.evaluator, "compute", lambda: {**figures, "mean_iu": (s := next(scores)), "attention_iou": s}
    )
    weights = validated_weights(stage, monkeypatch)
    train(stage, tmp_path)
    best = load_network(tmp_path / "best.safetensors").trunk.conv3_1.weight
    assert [torch.equal(best, moment) for moment in weights] == [False, True, False, False]
    assert torch.equal(load_network(tmp_path).trunk.conv3_1.weight, weights[3])


def test_a_validation_without_a_figure_is_not_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Images without masks have no mean IU: there is no best network then, and the run says so."""

    class Unmasked(ImageData):
        def val_dataloader(self) -> Altered:
            return Altered(super().val_dataloader(), unmasked)

    def unmasked(batch: Batch) -> Batch:
        return batch._replace(segmented=torch.zeros_like(batch.segmented), masks=torch.full_like(batch.masks, 255))

    training = budget(4, validate_every=1)
    run_stage(Stage.segmenter(scene_network(), training), Unmasked(scenes(), steps=4), tmp_path / "a", hardware=CPU)
    assert is_finished(tmp_path / "a")
    assert not {"best.safetensors", "checkpoints/best.ckpt"} & left_in(tmp_path / "a")
    assert "no validation gave a figure (mean iu), so there is no best.safetensors" in caplog.text
    rows = [row.split(",") for row in (tmp_path / "a/history.csv").read_text().splitlines()[1:]]
    assert sum(row[-1] == "nan" for row in rows) == 4 and "0.0" not in {row[-1] for row in rows}
    caplog.clear()
    train(Stage.segmenter(scene_network(), training), tmp_path / "b")
    assert "best.safetensors" in left_in(tmp_path / "b") and not caplog.text


def test_a_validation_without_a_figure_takes_no_best_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scores = iter((float("nan"), 0.3, float("nan"), 0.2))
    stage = guided(budget(4, validate_every=1))
    monkeypatch.setattr(stage.evaluator, "compute", lambda: dict.fromkeys(stage.shown, next(scores)))
    weights = validated_weights(stage, monkeypatch)
    train(stage, tmp_path)
    best = load_network(tmp_path / "best.safetensors").trunk.conv3_1.weight
    assert [torch.equal(best, moment) for moment in weights] == [False, True, False, False]
