"""A run's folder: kept to one run at a time, with the options that the run was begun with.

It holds `options.json`, `history.csv`, `tensorboard/` and `checkpoints/` while the run trains, and once it is finished
also `network.safetensors` (the last step), `best.safetensors` (the best validation, where one gave a figure) and
`run.json`, which marks the end.
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from wheretolook.errors import ConfigError, unwritable
from wheretolook.files import remove, write_json
from wheretolook.networks.files import NETWORK_FILE
from wheretolook.options.training import HardwareOptions

RECORD_FILE = "run.json"
OPTIONS_FILE = "options.json"
BEST_FILE = "best.safetensors"
LOCK_FILE = ".lock"
HISTORY_FILE = "history.csv"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
LAST_CHECKPOINT = Path(CHECKPOINTS, "last.ckpt")
ABSENT = object()  # not written down


def is_main_process() -> bool:
    """Whether this is the process that measures, draws and speaks for all that train together."""
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # Lightning minds it from its trainer on
    return rank == 0 and node == "0"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep a folder to one run, whose processes share it; the system unlocks it when the main one ends, however.

    Raises:
        ConfigError: another run is training in it.
        DataError: it cannot be written.
    """
    lock = FileLock(out / LOCK_FILE, timeout=0)
    if is_main_process():
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            remove((out / CHECKPOINTS).glob(".*.ckpt"))  # half-written, by a run that was killed
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


def is_finished(out: Path) -> bool:
    """Whether the folder holds a run that came to its end."""
    return (out / RECORD_FILE).is_file() and (out / NETWORK_FILE).is_file()


def is_begun(out: Path) -> bool:
    """Whether the folder holds a run that is finished, or that has a checkpoint to go on from."""
    return is_finished(out) or (out / LAST_CHECKPOINT).is_file()


def checkpoint_to_resume(out: Path, resume: bool) -> Path | None:
    """The checkpoint that a run goes on from, or None where it starts afresh.

    Raises:
        ConfigError: there is a checkpoint, and `resume` is off.
    """
    if not is_begun(out):
        return None
    if not resume:
        raise ConfigError(f"expected an empty folder, got {out} with an unfinished run; give --resume to go on with it")
    return out / LAST_CHECKPOINT


def forget_failed_run(out: Path) -> None:
    """The curves of a run that failed before its first checkpoint would lie beneath those of the one that begins."""
    if (out / HISTORY_FILE).is_file():  # else what lies in the folder is not ours
        remove((out / TENSORBOARD).glob("events.out.tfevents.*"))


def write_or_match_options(out: Path, options: Any, *, resume: bool, weights_sha256: str | None = None) -> None:
    """Write down what a run's weights depend on, or make sure that a run goes on with what it was begun with.

    A run that stopped before its first checkpoint has nothing to go on with, and is begun anew. An option that the
    folder does not mention is newer than the folder, and may only have its default.

    Args:
        out: the run's folder.
        options: those of the command: a dataclass with a group `hardware`.
        resume: whether the folder's run goes on, or is skipped as finished.
        weights_sha256: of what is in the file that the run starts from; what the file is called does not matter.

    Raises:
        ConfigError: it was begun with other options; the first that differs is named.
    """
    file, hardware = out / OPTIONS_FILE, options.hardware
    running = {"processes": hardware.devices * hardware.nodes, "precision": hardware.precision}
    now = {**_decisive(vars(options)), **running, "weights_sha256": weights_sha256}
    if not is_begun(out):
        if is_main_process():
            write_json(file, _nested(now))
    elif resume and file.is_file():
        kept = now.keys() - (running.keys() if is_finished(out) else set())
        defaults = {**_decisive(_defaults(type(options))), "processes": 1, "precision": HardwareOptions.precision}
        written = json.loads(file.read_text(encoding="utf-8"))
        _require_same(out, {name: now[name] for name in kept}, written, defaults)


def _require_same(
    out: Path, now: Mapping[str, object], written: Mapping[str, object], defaults: Mapping[str, object]
) -> None:
    for name, value in sorted(now.items()):
        before = _find(written, name)
        expected = defaults.get(name) if before is ABSENT else before
        if json.dumps(value) != json.dumps(expected):  # a tuple is a list there
            raise ConfigError(
                f"{out}: expected the options that its run was begun with, {name} {expected}, got {value}; choose "
                "another folder, or remove that one"
            )


def _decisive(options: Mapping[str, object]) -> dict[str, object]:
    """The options that decide a run's weights, by dotted name."""
    return {
        name: value
        for name, value in _leaves(options)
        if name not in ("out", "resume", "weights", "data.workers") and not name.startswith("hardware.")
    }


def _defaults(kind: Any) -> dict[str, object]:
    """The default of every option of a command that has one."""
    plain = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    made = {field.name: field.default_factory() for field in fields(kind) if field.default_factory is not MISSING}
    return {**plain, **made}


def _leaves(options: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every option by its dotted name; one whose value is a dictionary is an option, not a group."""
    for name, value in options.items():
        if is_dataclass(value):
            yield from _leaves(vars(value), f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _nested(options: Mapping[str, object]) -> dict[str, object]:
    """Options by dotted name as groups within groups."""
    tree: dict[str, Any] = {}
    for name, value in options.items():
        *groups, leaf = name.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


def _find(written: object, name: str) -> object:
    """What a file of options says of a dotted name; `ABSENT` where it says nothing."""
    for part in name.split("."):
        if not isinstance(written, Mapping) or part not in written:
            return ABSENT
        written = written[part]
    return written


def environment() -> dict[str, object]:
    """What a figure depends on besides the options: versions and machine."""
    return {
        "versions": {name: version(name) for name in ("wheretolook", "torch", "lightning")},
        "machine": ", ".join(
            [platform.machine(), _several(os.cpu_count() or 1, "core"), _several(torch.get_num_threads(), "thread")]
        ),
    }


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
