"""Two processes that average their gradients learn what one process learns from all the images."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.networks.files import load_network
from wheretolook.records import collate
from wheretolook.report.curves import read_history
from wheretolook.runs.trainer import run_stage

from .made import (
    CPU,
    PARTINGS,
    SHARED,
    WEIGHTED,
    ConstantNetwork,
    floats,
    guided_stage,
    made_batch,
    made_samples,
    plain_stage,
    scenes,
)

ROOT = Path(__file__).parents[2]
Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.processes", str(folder)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return {**torch.load(folder / "found.pt", weights_only=True), "run": folder / "run"}


@pytest.mark.parametrize("parting", PARTINGS)
@pytest.mark.parametrize("variant", [*SHARED, *(f"{name}, weighted" for name in WEIGHTED)])
def test_two_processes_learn_what_one_does(together: dict[str, dict], variant: str, parting: str):
    name, _, weighted = variant.partition(", ")
    stage = guided_stage(SHARED[name])
    samples = made_samples(weighted=bool(weighted))
    stage.terms(collate([samples[index] for index in PARTINGS[parting]]))[0].backward()
    alone = {name: value.grad for name, value in stage.network.named_parameters()}
    found: Gradients = together["gradients"][", ".join(filter(None, (name, parting, weighted)))]
    assert {"trunk.conv1_1.weight", "trunk.conv5_3.bias"} <= found.keys()
    for name, gradient in found.items():
        expected = torch.zeros_like(gradient) if alone[name] is None else alone[name]
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


def test_an_evaluation_counts_each_image_once_however_many_processes_make_it(together: dict[str, dict]):
    """After training on two devices each of them measures all images."""
    alone = evaluate(ConstantNetwork(), [floats(made_batch())])
    assert (alone["images"], alone["pairs"]) == (6, 7)
    assert {name: together["figures"][name] for name in ("images", "pairs")} == {"images": 6, "pairs": 7}
    assert together["figures"]["mean_average_precision"] == pytest.approx(alone["mean_average_precision"])


def test_a_run_on_two_devices_is_the_run_of_one_with_batches_of_twice_the_size(
    together: dict[str, dict], tmp_path: Path
):
    """The images of every step, the losses and figures in the history, the weights that come out."""
    stage = plain_stage()
    start = {name: value.clone() for name, value in stage.network.state_dict().items()}
    run_stage(stage, ImageData(replace(scenes(), batch_size=4), steps=3), tmp_path / "run", hardware=CPU)
    found = load_network(together["run"]).state_dict()
    for name, value in stage.network.state_dict().items():
        moved = (value - start[name]).abs().max().item()
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-3 * moved)
    ours, theirs = (read_history(folder / "history.csv") for folder in (tmp_path / "run", together["run"]))
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-4, nan_ok=True)
