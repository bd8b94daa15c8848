"""One folder, one run: a second one is refused for as long as the first lives, and no longer."""

import os
import signal
import time
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from wheretolook.errors import ConfigError, DataError
from wheretolook.training.runs import held


def in_another_process(out: Path) -> int:
    """A process that holds the folder until it is killed; returns once it does."""
    child = os.fork()
    if child == 0:
        with held(out):
            (out / "holds").touch()
            time.sleep(60)
        os._exit(0)
    while not (out / "holds").exists():
        time.sleep(0.01)
    return child


def test_a_second_run_is_refused_until_the_first_has_died(tmp_path: Path):
    out = tmp_path / "run"
    other = in_another_process(out)
    try:
        with pytest.raises(ConfigError, match=f"another run is training in {out}; wait"), held(out):
            pytest.fail("two runs in one folder")
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
    with held(out):
        pass  # the system let go, though nobody said that the run was over


def test_a_run_that_failed_lets_go(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        _ = 1 / 0
    with held(tmp_path):
        pass


def test_the_other_processes_of_a_run_share_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = in_another_process(tmp_path)
    try:
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        with held(tmp_path):
            pass
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"cannot write .*file/run: not a directory; choose"),
        held(tmp_path / "file/run"),
    ):
        pass
