import logging
from dataclasses import replace

import pytest
import torch

from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.training.collapse import PATIENCE, CollapseWatch, coverage, recall
from wheretolook.training.stage import Stage

from .made import changed, made_batch, made_network


def warnings_of(caplog: pytest.LogCaptureFixture, steps: list[tuple[float | None, float]]) -> list[str]:
    watch = CollapseWatch()
    with caplog.at_level(logging.WARNING, "wheretolook"):
        for step, (coverage, recall) in enumerate(steps):
            watch.see(step, coverage=coverage, recall=recall)
    return [record.getMessage() for record in caplog.records]


def test_each_collapse_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    nothing, everything = [(0.005, 0.9)] * 3 * PATIENCE, [(0.995, 0.9)] * PATIENCE
    said = warnings_of(caplog, nothing + everything)
    assert [text.split(": ")[1].split(";")[0] for text in said] == [
        "the soft masks cover nothing",
        "the soft masks cover everything",
    ]
    assert said[0].startswith(f"collapse at step {PATIENCE - 1}:")


def test_falling_recall_is_named_and_rising_recall_is_not(caplog: pytest.LogCaptureFixture) -> None:
    rising = [(None, step / 100) for step in range(100)]
    assert not warnings_of(caplog, rising)
    assert "recall" in warnings_of(caplog, rising + [(None, 0.3)] * PATIENCE)[0]


def test_one_lucky_batch_does_not_set_the_bar_for_the_recall(caplog: pytest.LogCaptureFixture) -> None:
    """0.4 again and again is less than half of the lucky 1.0, and all that the network has ever shown."""
    usual = [(None, 0.4)] * 2 * PATIENCE
    assert not warnings_of(caplog, [*usual, (None, 1.0), *usual])


@pytest.mark.parametrize(("recall", "fallen"), [(0.26, False), (0.24, True)])
def test_the_bar_for_the_recall_rises_by_a_twentieth_a_step(
    recall: float, fallen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten perfect steps set it to one half, so a fall by half is one to below a quarter."""
    steps = [(None, 1.0)] * 10 + [(None, recall)] * PATIENCE
    assert bool(warnings_of(caplog, steps)) == fallen


def test_a_broken_streak_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    almost = [(0.0, 0.9)] * (PATIENCE - 1) + [(0.3, 0.9)]
    assert not warnings_of(caplog, almost * 3)


@pytest.mark.parametrize(
    "objective", [ObjectiveOptions(), changed(ObjectiveOptions(), {"mining.slope": 8.0, "mining.threshold": 0.25})]
)
@pytest.mark.parametrize("side", [4, 8])
def test_maps_that_cover_nothing_or_everything_are_seen(
    side: int, objective: ObjectiveOptions, caplog: pytest.LogCaptureFixture
):
    """Maps as a network would give them, through the soft masks of stage 2, whatever their slope and threshold."""
    batch = made_batch()
    nothing, one_hole, half = torch.zeros(2, side, side), torch.ones(2, side, side), torch.ones(2, side, side)
    one_hole[:, 0, 0] = 0.0
    half[:, :, : side // 2] = 0.0
    for maps, said in ((nothing, "cover nothing"), (one_hole, "cover everything"), (half, None)):
        caplog.clear()
        watch = CollapseWatch()
        stage = Stage.guidance(made_network(), TrainingOptions(), objective)
        step = stage.forward_step(batch)
        step = replace(step, signed_maps=maps, signed_layer_maps=(), pairs=step.pairs[:2], targets=step.targets[:2])
        with caplog.at_level(logging.WARNING, "wheretolook"):
            for number in range(PATIENCE):
                watch.see(number, coverage=coverage(step, stage.objective), recall=recall(step))
        assert [said in record.getMessage() for record in caplog.records] == ([True] if said else [])
