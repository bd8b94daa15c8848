"""Networks of all libraries under guidance: each parameter that should train does, on one process as on two."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wheretolook.records import collate

from ..networks.zoo import ZOO, network
from .network_processes import SIDE, TOGETHER, four, gradients, stage_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.network_processes", str(folder)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", TOGETHER)
def test_two_processes_learn_what_one_does(together: dict[str, dict[str, torch.Tensor]], name: str):
    alone = gradients(name, collate(four()), parallel=False)
    assert together[name].keys() == alone.keys()
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    for key, gradient in alone.items():
        torch.testing.assert_close(together[name][key], gradient, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("name", [name for name in ZOO if ZOO[name].size == (SIDE, SIDE)])
def test_every_parameter_that_should_train_has_a_gradient(name: str):
    """Trunk and segmenter; DDP stops where one has none. The classifier is frozen, and so are what it is made of."""
    before = {key: value.requires_grad for key, value in network(name).named_parameters()}
    found = gradients(name, collate(four()), parallel=False)
    assert [key for key, gradient in found.items() if gradient is None or not gradient.isfinite().all()] == []
    parts = ("trunk", "segmenter")
    network_ = stage_of(name).network
    expected = {id(p) for part in parts for module in network_.part(part) for p in module.parameters()}
    assert {id(network_.get_parameter(key)) for key in found} == expected
    assert {key: value.requires_grad for key, value in network(name).named_parameters()} == before
