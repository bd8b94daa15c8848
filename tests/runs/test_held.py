"""One folder, one run: a second one is refused for as long as the first lives, and no longer."""

import os
import signal
import time
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from wheretolook.errors import ConfigError, DataError
from wheretolook.runs.runs import held, leads


def in_another_process(out: Path) -> int:
    """A process that holds the folder until it is killed; returns once it does."""
    child = os.fork()
    if child == 0:
        try:
            with held(out):
                (out / "holds").touch()
                time.sleep(60)
        finally:
            os._exit(1)
    while not (out / "holds").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it did not get the folder"
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


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path: Path):
    """With Adam's two moments each such file of an FCN8s of full width has 1.6 GB."""
    (tmp_path / "checkpoints").mkdir()
    for name in (".last.0123abcd.ckpt", "last.ckpt", "best.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    with held(tmp_path):
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    ("variables", "leading"), [({}, True), ({"NODE_RANK": "0"}, True), ({"NODE_RANK": "1"}, False)]
)
def test_one_machine_leads(variables: dict[str, str], leading: bool, monkeypatch: pytest.MonkeyPatch):
    """Each machine's first process believes itself the first of all until there is a trainer."""
    for name in ("NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert leads() == leading


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
