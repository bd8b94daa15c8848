"""The predecessor's golden values as tensors, and what it takes to agree with them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wheretolook.networks.fcn.network import FCN
from wheretolook.networks.files import load_network

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "fcn8s_gain_narrow_weights.npz"


def golden_network() -> FCN:
    return load_network(WEIGHTS)


def golden_values() -> dict[str, Tensor]:
    with np.load(FOLDER / "fcn8s_gain_narrow_expected.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def difference(ours: Tensor, golden: Tensor) -> float:
    """The largest deviation, as a share of the largest golden value."""
    assert ours.shape == golden.shape
    return float((ours.detach() - golden).abs().max() / golden.abs().max())
