"""One folder, one run, with one set of options: a second run is refused for as long as the first lives."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.utilities import rank_zero_only

from wheretolook.errors import ConfigError, DataError
from wheretolook.options.commands import TrainGain
from wheretolook.options.data import DataOptions
from wheretolook.options.training import HardwareOptions
from wheretolook.runs.folder import is_main_process, locked, write_or_match_options


def in_another_process(out: Path) -> int:
    """A process that trains in the folder until it is killed; returns once it does."""
    child = os.fork()
    if child == 0:
        try:
            with locked(out):
                (out / "trains").touch()
                time.sleep(600)
        finally:
            os._exit(1)
    while not (out / "trains").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it did not get the folder"
        time.sleep(0.01)
    return child


def test_a_second_run_is_refused_until_the_first_has_died(tmp_path: Path):
    out = tmp_path / "run"
    other = in_another_process(out)
    try:
        with pytest.raises(ConfigError, match=f"another run is training in {out}; wait"), locked(out):
            pytest.fail("two runs in one folder")
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
    with locked(out):
        pass  # the system unlocked it, though nobody said that the run was over


def test_a_run_that_failed_unlocks_its_folder(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    with locked(tmp_path):
        pass


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path: Path):
    """With Adam's two moments each such file of an FCN8s of full width has 1.6 GB."""
    (tmp_path / "checkpoints").mkdir()
    for name in (".last.0123abcd.ckpt", "last.ckpt", "best.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    with locked(tmp_path):
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(("variables", "main"), [({}, True), ({"NODE_RANK": "0"}, True), ({"NODE_RANK": "1"}, False)])
def test_one_machine_has_the_main_process(variables: dict[str, str], main: bool, monkeypatch: pytest.MonkeyPatch):
    """Each machine's first process believes itself the first of all until there is a trainer."""
    for name in ("NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() == main


def test_the_other_processes_of_a_run_share_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = in_another_process(tmp_path)
    try:
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        with locked(tmp_path):
            pass
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"cannot write .*file/run: not a directory; choose"),
        locked(tmp_path / "file/run"),
    ):
        pass


def begun(out: Path) -> Path:
    """A folder as a run leaves it after its first checkpoint."""
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints/last.ckpt").touch()
    return out


def changed(options: TrainGain, **values: object) -> TrainGain:
    """Options with another value of `group__option`, or of `group__group__option`."""
    for name, value in values.items():
        group, _, rest = name.partition("__")
        inner = changed(getattr(options, group), **{rest: value}) if rest else value
        options = replace(options, **{group: inner})
    return options


def test_a_run_goes_on_with_the_options_it_was_begun_with(tmp_path: Path):
    options = TrainGain("net", data=DataOptions(crop=(32, 32)))
    write_or_match_options(tmp_path, changed(options, training__steps=9), resume=False)
    write_or_match_options(tmp_path, options, resume=True)  # the run before left no checkpoint to go on from
    begun(tmp_path)
    write_or_match_options(tmp_path, options, resume=True)
    for option, says in (
        ({"training__steps": 5}, r"training\.steps 1000, got 5;"),
        ({"objective__energy__weight": 2.0}, r"objective\.energy\.weight 0\.0, got 2\.0;"),
        ({"data__crop": None}, r"data\.crop \[32, 32\], got None;"),
        ({"hardware__devices": 2}, r"processes 1, got 2;"),
    ):
        with pytest.raises(ConfigError, match=says):
            write_or_match_options(tmp_path, changed(options, **option), resume=True)
    with pytest.raises(ConfigError, match="weights_sha256 None, got other"):
        write_or_match_options(tmp_path, options, resume=True, weights_sha256="other")
    for option in ({"out": "moved"}, {"weights": "moved"}, {"data__workers": 3}, {"hardware__accelerator": "cpu"}):
        write_or_match_options(tmp_path, changed(options, **option), resume=True)  # which decide nothing
    write_or_match_options(tmp_path, changed(options, training__steps=5), resume=False)  # refused later, elsewhere
    write_or_match_options(tmp_path, options, resume=True)  # and nothing was overwritten


def test_an_option_added_later_locks_no_old_folder_out_at_its_default(tmp_path: Path):
    """Every option in turn is one that the folder's version did not know: a whole group, too."""
    options = TrainGain("net")
    write_or_match_options(tmp_path, options, resume=False)
    begun(tmp_path)
    file = tmp_path / "options.json"
    whole = json.loads(file.read_text())

    def without(tree: dict[str, Any], path: list[str]) -> dict[str, Any]:
        name, *rest = path
        return {
            key: without(value, rest) if rest and key == name else value
            for key, value in tree.items()
            if key != name or rest
        }

    def paths(tree: dict[str, Any]) -> Iterator[list[str]]:
        for name, value in tree.items():
            yield [name]
            yield from ([name, *rest] for rest in paths(value)) if isinstance(value, dict) else ()

    known = list(paths(whole))
    assert ["objective", "energy"] in known and ["training", "seed"] in known and len(known) > 40
    for path in known:
        file.write_text(json.dumps(without(whole, path)))
        write_or_match_options(tmp_path, options, resume=True)
    for option, newer in (("training__seed", 7), ("objective__energy__weight", 2.0), ("data__colour", 0.9)):
        group, _, name = option.rpartition("__")
        file.write_text(json.dumps(without(whole, [*group.split("__"), name])))
        with pytest.raises(ConfigError, match=rf"{re.escape(option.replace('__', '.'))} [\d.]+, got {newer}"):
            write_or_match_options(tmp_path, changed(options, **{option: newer}), resume=True)


def test_an_option_that_is_a_dictionary_is_compared_as_a_whole(tmp_path: Path):
    """An entry that is left out is another value, not an option that is newer than the folder."""

    @dataclass(frozen=True)
    class Options:
        arguments: dict[str, object]
        hardware: HardwareOptions = field(default_factory=HardwareOptions)

    write_or_match_options(tmp_path, Options({"depth": 3, "width": 2}), resume=False)
    begun(tmp_path)
    write_or_match_options(tmp_path, Options({"depth": 3, "width": 2}), resume=True)
    for other in ({"depth": 3}, {}, {"depth": 3, "width": 2, "more": 1}):
        with pytest.raises(ConfigError, match="arguments"):
            write_or_match_options(tmp_path, Options(other), resume=True)
