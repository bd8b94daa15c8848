"""What a run shows while it trains, and that a checkpoint is replaced whole or not at all."""

import csv
import errno
import os
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wheretolook.data.loading import ImageData
from wheretolook.errors import DataError
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.runs.trainer import run_stage
from wheretolook.training.optimiser import make_optimiser
from wheretolook.training.stage import Stage

from .made import CPU, budget, changed, scene_network, scenes


def train(training: TrainingOptions, out: Path, **options: object) -> None:
    data = ImageData(scenes(), steps=training.steps, seed=training.seed)
    run_stage(
        Stage.guidance(
            scene_network(), training, changed(ObjectiveOptions(), {"mining.weight": 1.0, "squared.weight": 1.0})
        ),
        data,
        out,
        hardware=CPU,
        **options,
    )


def curves(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a run as TensorBoard reads it."""
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_has_every_loss_and_figure_of_the_history(tmp_path: Path):
    train(budget(4, validate_every=2), tmp_path)
    with (tmp_path / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    drawn = curves(tmp_path)
    assert {name for name in history[0] if name != "step"} <= drawn.keys()
    for name in history[0].keys() - {"step"}:
        told = [float(row[name]) for row in history if row[name]]
        assert [value for _, value in drawn[name]] == pytest.approx(told, rel=1e-5, nan_ok=True), name


def test_a_run_begun_anew_leaves_no_curves_of_the_one_that_failed(tmp_path: Path):
    """And of what others keep in a folder of that name nothing is touched."""
    for out, failed in ((tmp_path / "failed", True), (tmp_path / "others", False)):
        old = out / "tensorboard/events.out.tfevents.1.old"
        old.parent.mkdir(parents=True)
        old.touch()
        if failed:
            (out / "history.csv").touch()
        train(budget(1), out, resume=True)
        assert old.exists() != failed
        assert "train/total" in curves(out)


def test_a_file_gets_a_line_each_tenth_of_the_steps(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """A bar would leave each of its states there."""
    train(budget(20), tmp_path)
    lines = "".join(capfd.readouterr()).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"step {step} of 20" for step in range(2, 21, 2)]
    for loss in ("total", "classification", "mining", "squared", "segmentation"):
        assert all(f" {loss} " in line for line in lines)


def test_the_progress_bar_names_the_losses_that_are_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    train(budget(2), tmp_path)
    shown = "".join(capfd.readouterr())
    for loss in ("total", "classification", "mining", "squared", "segmentation"):
        assert f"{loss}=" in shown
    assert "2/2" in shown


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The disk is full half-way through the second checkpoint."""
    last, write, found = tmp_path / "checkpoints/last.ckpt", Path.write_bytes, []

    def half(path: Path, content: bytes) -> int:
        if last.exists() and path.suffix == ".ckpt" and path.stem.startswith(".last"):
            found.append(last.read_bytes())
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(DataError, match=f"cannot write {last}: no space left on device; free some space"):
        train(budget(4, validate_every=2), tmp_path)
    monkeypatch.undo()
    assert found == [last.read_bytes()]
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_optimisers_are_fused(kind: str):
    """Unfused, Adam takes a second a step for the weights of an FCN8s of full width, on two cores."""
    optimiser = make_optimiser(scene_network(), budget(optimiser=kind))
    assert all(group["fused"] for group in optimiser.param_groups)
