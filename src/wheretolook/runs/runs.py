"""A stage in a folder: train, checkpoint, resume, and leave behind the network and the record of how it came about.

A run folder holds `history.csv`, `tensorboard/`, `checkpoints/` while it trains, and once it is finished also
`network.safetensors` (the last step), `best.safetensors` (the best validation) and `run.json`, which marks the end.
"""

import io
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from filelock import FileLock, Timeout
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from wheretolook.options.training import HardwareOptions
from wheretolook.errors import ConfigError, TrainingError, unwritable
from wheretolook.files import remove, replacing, write_json
from wheretolook.networks.fcn.network import FCN
from wheretolook.networks.files import NETWORK_FILE, save_network
from wheretolook.networks.modes import training_only
from wheretolook.training.history import History
from wheretolook.training.stage import Stage

RECORD_FILE = "run.json"
OPTIONS_FILE = "options.json"
BEST_FILE = "best.safetensors"
RUNNING_ONLY = ("processes", "precision")  # options that a finished run need not share with those that follow
LOCK_FILE = ".lock"
HISTORY_FILE = "history.csv"
TENSORBOARD = "tensorboard"
LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")


def run_stage(
    stage: Stage,
    data: L.LightningDataModule,
    out: Path,
    *,
    hardware: HardwareOptions | None = None,
    resume: bool = False,
    record: Mapping[str, object] | None = None,
) -> Path:
    """Train a stage in its folder.

    Args:
        stage: what to train; its network is trained in place and left in the modes that it had.
        data: serves the batches of exactly this many steps.
        out: the run's folder.
        hardware: what to run on; None for one device of whatever is there.
        resume: go on from the last checkpoint, if there is one; ends in the very weights of a run that never stopped.
        record: what else `run.json` should tell, such as the options of the command.

    Returns:
        The path of the finished network.

    Raises:
        ConfigError: the folder holds a run already, and `resume` is off; or the hardware is not there.
        TrainingError: a loss or gradient is not finite, or another process of the run stopped.
        DataError: an image is broken, or the folder cannot be written.
    """
    network = cast(FCN, stage.network)
    if is_finished(out):
        if resume:
            return out / NETWORK_FILE
        raise ConfigError(f"expected an empty folder, got {out} with a finished run; choose another --out")
    hardware = hardware or HardwareOptions()
    checkpoint = _checkpoint_to_resume(out, resume)
    if checkpoint is None and leads():
        _forget_failed_run(out)
    started = time.time()
    with _quiet(), training_only(network, stage.trained_modules()), _own_errors(out):
        with _hardware_errors():
            trainer = make_trainer(stage, out, hardware)
        if trainer.precision != hardware.precision:  # Lightning takes another one with no more than a warning
            raise ConfigError(f"precision {hardware.precision} does not work here; give {trainer.precision}")
        trainer.fit(stage, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        save_network(network, out / NETWORK_FILE)
        _save_best(network, out)
        told = {"trains": sorted(stage.trains), "budget": asdict(stage.budget), "seconds": round(time.time() - started)}
        write_json(out / RECORD_FILE, {**told, **environment(), **(record or {})})
    with _own_errors(out):
        trainer.strategy.barrier()
    return out / NETWORK_FILE


def leads() -> bool:
    """Whether this is the process that measures, draws and speaks for all that train together."""
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # Lightning minds it from its trainer on
    return rank == 0 and node == "0"


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Keep a folder to one run, whose processes share it; the system lets go when the leading one ends, however.

    Raises:
        ConfigError: another run holds it.
        DataError: it cannot be written.
    """
    lock = FileLock(out / LOCK_FILE, timeout=0)
    if leads():
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            remove((out / LAST_CHECKPOINT).parent.glob(".*.ckpt"))  # half-written, by a run that was killed
        except Timeout as error:
            raise ConfigError(
                f"another run is training in {out}; wait for its end, or choose another folder"
            ) from error
        except OSError as error:
            raise unwritable(out, error) from error
    try:
        yield
    finally:
        lock.release()


def settle(out: Path, told: Mapping[str, object], *, resume: bool) -> None:
    """Write down what a run depends on, or make sure that a run goes on with what it was begun with.

    A run that stopped before its first checkpoint has nothing to go on with, and is begun anew.

    Args:
        out: the run's folder.
        told: the options, and whatever else decides the weights.
        resume: whether the folder's run goes on, or is skipped as finished.

    Raises:
        ConfigError: it was begun with other options; the first that differs is named.
    """
    file, now = out / OPTIONS_FILE, dict(_flat(json.loads(json.dumps(told))))
    if not _is_begun(out):
        if leads():
            write_json(file, told)
    elif resume and file.is_file():
        before = dict(_flat(json.loads(file.read_text(encoding="utf-8"))))
        done = RUNNING_ONLY if is_finished(out) else ()
        for name in sorted(now.keys() - {*done}):
            if before.get(name) != now.get(name):
                raise ConfigError(
                    f"{out}: expected the options that its run was begun with, {name} {before.get(name)}, got "
                    f"{now.get(name)}; choose another folder, or remove that one"
                )


def _flat(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def is_finished(out: Path) -> bool:
    """Whether the folder holds a run that came to its end."""
    return (out / RECORD_FILE).is_file() and (out / NETWORK_FILE).is_file()


def make_trainer(stage: Stage, out: Path, hardware: HardwareOptions) -> L.Trainer:
    """Lightning's trainer for one long epoch of as many batches as the budget has, validated in between."""
    budget = stage.budget
    every = budget.validate_every or max(1, budget.steps // 10)
    folder = out / "checkpoints"
    best = ModelCheckpoint(
        folder, "best", monitor="val/score", mode="max", save_weights_only=True, enable_version_counter=False
    )
    last = ModelCheckpoint(folder, "last", enable_version_counter=False)
    return L.Trainer(
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
        logger=TensorBoardLogger(out, name="", version=TENSORBOARD),
        callbacks=[
            _Bar(refresh_rate=max(1, budget.steps // 100)),
            History(out / HISTORY_FILE, stage.losses, (*stage.shown, "score")),
            best,
            last,
        ],
        plugins=[_Checkpoints()],
        use_distributed_sampler=False,  # its copies would count evaluation images twice
        enable_model_summary=False,
        default_root_dir=out,
    )


def environment() -> dict[str, object]:
    """What a figure depends on besides the options: versions and machine."""
    return {
        "versions": {name: version(name) for name in ("wheretolook", "torch", "lightning")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
    }


def _is_begun(out: Path) -> bool:
    return is_finished(out) or (out / LAST_CHECKPOINT).is_file()


def _checkpoint_to_resume(out: Path, resume: bool) -> Path | None:
    if not _is_begun(out):
        return None
    if not resume:
        raise ConfigError(f"expected an empty folder, got {out} with an unfinished run; give --resume to go on with it")
    return out / LAST_CHECKPOINT


def _forget_failed_run(out: Path) -> None:
    """The curves of a run that failed before its first checkpoint would lie beneath those of the one that begins."""
    if (out / HISTORY_FILE).is_file():  # else what lies in the folder is not ours
        remove((out / TENSORBOARD).glob("events.out.tfevents.*"))


def _save_best(network: FCN, out: Path) -> None:
    """The best validation's weights, in our own format; afterwards the network holds the last step's again."""
    checkpoint = out / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        return
    last = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    own = {name.removeprefix("network."): value for name, value in saved.items() if name.startswith("network.")}
    network.load_state_dict(own)
    save_network(network, out / BEST_FILE)
    network.load_state_dict(last)


@contextmanager
def _hardware_errors() -> Iterator[None]:
    """All that a trainer can object to are the options of the hardware: the rest is ours, and checked."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"hardware options that do not work here: {' '.join(str(error).split())}") from error


@contextmanager
def _own_errors(out: Path) -> Iterator[None]:
    """A full disk or another process's end in one line; and an interruption stays one, where Lightning exits."""
    try:
        yield
    except OSError as error:
        raise unwritable(out, error) from error
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise TrainingError("another process of this run stopped; its line stands above") from error
        raise
    except SystemExit as error:
        # asked to stop, by the keyboard or by a scheduler: neither is a success
        if isinstance(error, SIGTERMException) or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


class _Checkpoints(TorchCheckpointIO):
    """Lightning writes in the system's temporary folder and copies over the old file, which a kill would leave cut."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        content = io.BytesIO()  # torch's own writer has no words for a full disk
        torch.save(checkpoint, content)
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())


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
