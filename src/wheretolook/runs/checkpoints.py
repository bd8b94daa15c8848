"""Checkpoints of a run: the last validation's, to go on from, and the best one's, each written whole or not at all."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from wheretolook.files import replacing
from wheretolook.networks.files import save_network
from wheretolook.records import GuidedNetwork
from wheretolook.runs.folder import BEST_FILE, CHECKPOINTS

log = logging.getLogger("wheretolook")


class _Movable(ModelCheckpoint):
    """A checkpoint whose folder may be another one when its run goes on: Lightning then forgets what was the best."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        moved = {name: here(state_dict[name]) for name in paths}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})


class BestCheckpoint(_Movable):
    """Keeps the validation with the highest score; one without a figure is not the best of anything."""

    def __init__(self, out: Path) -> None:
        super().__init__(
            out / CHECKPOINTS,
            "best",
            monitor="val/score",
            mode="max",
            save_weights_only=True,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        return current is not None and not current.isnan() and super().check_monitor_top_k(trainer, current)


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning writes in the system's temporary folder and copies over the old file, which a kill would leave cut."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        content = io.BytesIO()  # torch's own writer has no words for a full disk
        torch.save(checkpoint, content)
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())


def last_checkpoint(out: Path) -> ModelCheckpoint:
    """Keeps the state of the last validation, to go on from."""
    return _Movable(out / CHECKPOINTS, "last", enable_version_counter=False)


def save_best(network: GuidedNetwork, out: Path, score: Sequence[str]) -> None:
    """The best validation's weights, in our own format; afterwards the network holds the last step's again.

    Args:
        network: the one that was trained.
        out: the run's folder.
        score: the figures whose mean picks the best, for the warning where no validation had one.

    Raises:
        DataError: the file cannot be written.
    """
    checkpoint = out / CHECKPOINTS / "best.ckpt"
    if not checkpoint.is_file():
        figures = " and ".join(name.replace("_", " ") for name in score)
        log.warning(
            "%s: no validation gave a figure (%s), so there is no %s; validate on images with masks or boxes",
            *(out, figures, BEST_FILE),
        )
        return
    last = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    own = {name.removeprefix("network."): value for name, value in saved.items() if name.startswith("network.")}
    network.load_state_dict(own)
    save_network(network, out / BEST_FILE)
    network.load_state_dict(last)
