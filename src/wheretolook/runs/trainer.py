"""A stage in a folder: train, checkpoint, resume, and leave behind the network and the record of how it came about."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from wheretolook.errors import ConfigError, TrainingError, reason
from wheretolook.files import write_json, writing
from wheretolook.networks.files import NETWORK_FILE, save_network
from wheretolook.networks.modes import training_only
from wheretolook.options.training import HardwareOptions
from wheretolook.runs.checkpoints import BestCheckpoint, WholeCheckpoints, last_checkpoint, save_best
from wheretolook.runs.folder import (
    HISTORY_FILE,
    RECORD_FILE,
    TENSORBOARD,
    checkpoint_to_resume,
    environment,
    forget_failed_run,
    is_finished,
    is_main_process,
)
from wheretolook.training.denormals import flushed_denormals
from wheretolook.training.history import History
from wheretolook.training.stage import Stage


def run_stage(
    stage: Stage,
    data: L.LightningDataModule,
    out: Path,
    *,
    hardware: HardwareOptions | None = None,
    resume: bool = False,
    record: Mapping[str, object] | None = None,
) -> Path:
    """Train a stage in its folder; the last step is always validated.

    Args:
        stage: what to train; its network is trained in place and left in the modes that it had.
        data: serves the batches of exactly this many steps.
        out: the run's folder.
        hardware: what to run on; None for one device of whatever is there.
        resume: go on from the last checkpoint, if there is one; on a CPU that ends in the very weights of a run that
            never stopped, on a GPU in those that its kernels' order of summation lets them be.
        record: what else `run.json` should say, such as the options of the command.

    Returns:
        The path of the finished network.

    Raises:
        ConfigError: the folder holds a run already, and `resume` is off; or the hardware is not there, or its strategy
            shares a network out.
        TrainingError: a loss or gradient is not finite, or another process of the run stopped.
        DataError: an image is broken, or the folder cannot be written.
    """
    hardware = hardware or HardwareOptions()
    require_whole_network(hardware)
    if is_finished(out):
        if resume:
            return out / NETWORK_FILE
        raise ConfigError(f"expected an empty folder, got {out} with a finished run; choose another --out")
    checkpoint = checkpoint_to_resume(out, resume)
    if checkpoint is None and is_main_process():
        forget_failed_run(out)
    started = time.time()
    with _quiet(), training_only(stage.network, stage.trained_modules()), _own_errors():
        trainer = make_trainer(stage, out, hardware)
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        on_cpu = trainer.strategy.root_device.type == "cpu"
        with flushed_denormals() if on_cpu else nullcontext():
            trainer.fit(stage, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        save_network(stage.network, out / NETWORK_FILE)
        save_best(stage.network, out, stage.score)
        summary = {
            "trains": sorted(stage.trains),
            "budget": asdict(stage.budget),
            "seconds": round(time.time() - started),
        }
        write_json(out / RECORD_FILE, {**summary, **environment(), **(record or {})})
    with _own_errors():
        trainer.strategy.barrier()
    return out / NETWORK_FILE


def require_whole_network(hardware: HardwareOptions) -> None:
    """Refuse the strategies that share a network out: losses take gradients of features and run it with its weights.

    Raises:
        ConfigError: it is one of those.
    """
    if any(name in hardware.strategy for name in ("fsdp", "deepspeed", "model_parallel")):
        raise ConfigError(
            f"expected a strategy that keeps the whole network on each device, got hardware.strategy "
            f"{hardware.strategy}, which shares it out; give ddp or auto"
        )


def make_trainer(stage: Stage, out: Path, hardware: HardwareOptions) -> L.Trainer:
    """Lightning's trainer for one long epoch of as many batches as the budget has, validated in between.

    Raises:
        ConfigError: the hardware is not there, or has not that precision.
    """
    budget = stage.budget
    every = budget.validate_every or max(1, budget.steps // 10)
    with _hardware_errors():
        trainer = L.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            precision=hardware.precision,
            strategy=hardware.strategy,
            max_steps=budget.steps,
            max_epochs=-1,
            accumulate_grad_batches=budget.accumulate,
            gradient_clip_val=budget.clip,
            val_check_interval=min(every, budget.steps) * budget.accumulate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=max(1, min(10, budget.steps // 50)),
            logger=_Curves(out, name="", version=TENSORBOARD),
            callbacks=[
                _LastValidation(budget.steps * budget.accumulate),
                _Bar(refresh_rate=max(1, budget.steps // 100)) if sys.stdout.isatty() else _Lines(budget.steps),
                History(out / HISTORY_FILE, stage.losses, (*stage.shown, "score")),
                BestCheckpoint(out),
                last_checkpoint(out),
            ],
            plugins=[WholeCheckpoints()],
            use_distributed_sampler=False,  # its copies would count evaluation images twice
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
            default_root_dir=out,
        )
    if trainer.precision != hardware.precision:  # Lightning takes another one with no more than a warning
        raise ConfigError(f"precision {hardware.precision} does not work here; give {trainer.precision}")
    return trainer


@contextmanager
def _hardware_errors() -> Iterator[None]:
    """All that a trainer can object to are the options of the hardware: the rest is ours, and checked."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"hardware options that do not work here: {' '.join(str(error).split())}") from error


@contextmanager
def _own_errors() -> Iterator[None]:
    """What the system refuses, or another process's end, in one line; an interruption stays one, where Lightning exits.

    Whoever writes into the run's folder says so by `files.writing`; any other refusal is told in the system's words.
    """
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        raise TrainingError(f"training stopped: {what}{reason(error)}") from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "the memory of the device is full; give a smaller data.batch_size, data.crop or objective.mining.chunk"
        ) from error
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise TrainingError("another process of this run stopped; its line stands above") from error
        raise
    except SystemExit as error:
        # asked to stop, by the keyboard or by a scheduler: neither is a success
        if isinstance(error, SIGTERMException) or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


class _Curves(TensorBoardLogger):
    """TensorBoard's curves; a folder that cannot be written is told as that."""

    @property
    def experiment(self) -> Any:
        with writing(Path(self.save_dir)):
            return super().experiment

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        with writing(Path(self.save_dir)):
            super().log_hyperparams(*arguments, **options)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with writing(Path(self.save_dir)):
            super().log_metrics(metrics, step)

    def save(self) -> None:
        with writing(Path(self.save_dir)):
            super().save()

    def finalize(self, status: str) -> None:
        with writing(Path(self.save_dir)):
            super().finalize(status)


class _LastValidation(L.Callback):
    """The last step is validated too, where the interval does not divide the steps."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 == self.batches:
            trainer.val_check_batch = 1


class _Bar(TQDMProgressBar):
    """Lightning's bar with the losses that are on."""

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name.removeprefix("train/"): value for name, value in metrics.items() if name != "v_num" and value}

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        for name in ("train_progress_bar", "val_progress_bar"):
            with suppress(TypeError):  # that bar was never shown
                getattr(self, name).close()  # or it would show once more, after the error


class _Lines(L.Callback):
    """In place of a bar, where nobody watches: in a file each of its states would stay."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.said = 0  # tenths of the steps

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        tenth = 10 * trainer.global_step // self.steps
        if tenth > self.said and trainer.is_global_zero:
            losses = {name.removeprefix("train/"): value for name, value in trainer.progress_bar_metrics.items()}
            told = ", ".join(f"{name} {value:.3g}" for name, value in losses.items() if value)
            sys.stdout.write(f"step {trainer.global_step} of {self.steps}: {told}\n")
            sys.stdout.flush()
        self.said = tenth


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on loaders and logging is for those who write their own; ours are meant as they are."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    try:
        logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*num_workers.*|.*not resumable.*")
            yield
    finally:
        logger.setLevel(level)
