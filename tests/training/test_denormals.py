"""Denormal numbers are zero while a stage runs, in every thread, and as before afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wheretolook.data.loading import ImageData
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import Batch
from wheretolook.runs import trainer
from wheretolook.training.denormals import flushed_denormals, flushes_denormals
from wheretolook.training.stage import Stage

from .made import CPU, Altered, budget, scene_network, scenes

SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


@pytest.fixture(autouse=True)
def unflushed() -> Iterator[None]:
    """Some processors have no such switch: there is nothing to test there."""
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormal numbers")
    yield
    torch.set_flush_denormal(False)


def denormals(tensor: Tensor) -> int:
    """How many numbers are denormal, by their bits: comparing would flush them."""
    bits = tensor.detach().flatten().view(torch.int32) & 0x7FFFFFFF
    return int(((bits > 0) & (bits < 0x00800000)).sum())


def products() -> Tensor:
    """So many that all threads have a share, each a denormal number."""
    return torch.full((4_000_000,), SMALLEST_NORMAL) * 0.5


def test_every_thread_flushes_and_afterwards_none_does():
    """Threads that have computed before included: the switch is each thread's own."""
    whole = len(products())
    assert denormals(products()) == whole and not flushes_denormals()
    with flushed_denormals():
        assert denormals(products()) == 0 and flushes_denormals()
        with flushed_denormals():
            pass
        assert denormals(products()) == 0, "the inner one has put back more than it found"
    assert denormals(products()) == whole and not flushes_denormals()
    with pytest.raises(ZeroDivisionError), flushed_denormals():
        _ = 1 / 0
    assert denormals(products()) == whole
    torch.set_flush_denormal(True)
    with flushed_denormals():
        pass
    assert flushes_denormals()


class Empty(ImageData):
    """Images that show nothing: every score is right, and the gradient of each is as small as its probability."""

    def train_dataloader(self) -> Altered:
        return Altered(super().train_dataloader(), unlabelled)


def unlabelled(batch: Batch) -> Batch:
    return batch._replace(labels=torch.zeros_like(batch.labels), pairs=batch.pairs[:0], targets=batch.targets[:0])


def saturated_run(out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The denormal numbers in the gradients and the optimiser's state of a stage whose scores are saturated."""
    network = scene_network(dropout=0.0)
    network.classifier.score_cl.bias.data.fill_(-87.0)  # its probability is 1.6e-38, just a normal number
    stage = Stage.classifier(network, budget(2))
    found: list[int] = []

    def count(optimiser: torch.optim.Optimizer) -> None:
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        states = [value for state in optimiser.state.values() for value in state.values() if value.ndim]
        found.append(sum(map(denormals, [*gradients, *states])))

    monkeypatch.setattr(stage, "on_before_optimizer_step", count)
    monkeypatch.setattr(stage, "on_train_batch_end", lambda *_: count(stage.optimizers()))
    trainer.run_stage(stage, Empty(scenes(), steps=2), out, hardware=CPU)
    assert len(found) == 4
    return sum(found)


def test_a_stage_with_saturated_scores_has_no_denormal_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert saturated_run(tmp_path / "flushed", monkeypatch) == 0
    assert not flushes_denormals()
    with monkeypatch.context() as context:
        context.setattr(trainer, "flushed_denormals", trainer.nullcontext)
        assert saturated_run(tmp_path / "as they come", context) > 0


def test_a_stage_that_fails_leaves_the_processor_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stage = Stage.guidance(scene_network(), budget(), ObjectiveOptions())

    def fails(_: object) -> None:
        assert flushes_denormals()
        raise ZeroDivisionError

    monkeypatch.setattr(stage, "terms", fails)
    with pytest.raises(ZeroDivisionError):
        trainer.run_stage(stage, ImageData(scenes(), steps=2), tmp_path, hardware=CPU)
    assert not flushes_denormals()
