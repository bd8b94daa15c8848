"""What training measured, row by row: in the checkpoint, and in a CSV that is never behind by more than a step."""

import csv
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning as L

from wheretolook.files import write_text, writing

Row = dict[str, int | float]


class History(L.Callback):
    """Keeps every loss of every step and the figures of every validation in `history.csv`.

    The rows travel in the checkpoint, so a resumed run goes on with those of the run that was cut off, and drops what
    that run wrote after its last checkpoint.
    """

    def __init__(self, path: Path, losses: tuple[str, ...], figures: tuple[str, ...]) -> None:
        self.path = path
        self.columns = [
            *("step", "train/total"),
            *(f"train/{name}" for name in losses),
            *(f"val/{name}" for name in figures),
        ]
        self.rows: list[Row] = []
        self.batches: list[dict[str, float]] = []  # of the step under way

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the file, with the rows that came with a checkpoint."""
        if trainer.is_global_zero:
            write_text(self.path, ",".join(self.columns) + "\n")
            self._append(*self.rows)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the losses of an optimiser step: the mean over the batches that it accumulates."""
        self.batches.append(self._found(trainer, "train/"))
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._take(trainer, {name: fmean(batch[name] for batch in self.batches) for name in self.batches[0]})
            self.batches.clear()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the figures of a validation."""
        self._take(trainer, self._found(trainer, "val/"))

    def _found(self, trainer: L.Trainer, prefix: str) -> dict[str, float]:
        return {name: trainer.callback_metrics[name].item() for name in self.columns if name.startswith(prefix)}

    def _take(self, trainer: L.Trainer, found: dict[str, float]) -> None:
        row = {"step": trainer.global_step, **found}
        self.rows.append(row)
        if trainer.is_global_zero:
            self._append(row)

    def _append(self, *rows: Row) -> None:
        with writing(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerows(rows)

    def state_dict(self) -> dict[str, Any]:
        """What travels in the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's rows."""
        self.rows = state_dict["rows"]
