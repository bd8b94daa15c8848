"""Whole or not at all, and in words that a user can act on."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wheretolook.errors import ConfigError, DataError
from wheretolook.files import replacing, require_writable, user_path, write_json, write_text


@contextmanager
def small_disk(largest: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the operating system fails the write half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_file_takes_the_place_of_the_old_one_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    write_text(path, "old")
    with replacing(path) as temporary:
        assert (temporary.parent, temporary.suffix, temporary.exists()) == (path.parent, ".csv", False)
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert {file: file.read_text() for file in tmp_path.iterdir()} == {path: "old"}


def test_a_full_disk_is_the_users_error_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with small_disk(4096), pytest.raises(DataError, match=r"cannot write .*table\.csv: file too large"):
        write_text(path, "x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DataError, match=r"cannot write .*run/table\.csv"):
        write_text(tmp_path / "run" / "table.csv", "x")


def test_files_have_the_permissions_of_any_other_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "any").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_json_is_valid_where_figures_are_not(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(path, {"mean_iu": float("nan"), "classes": ("boat", "vélo"), "iu": [0.5, float("inf")], "images": 3})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == {"mean_iu": None, "classes": ["boat", "vélo"], "iu": [0.5, None], "images": 3}


def test_a_folder_is_tried_before_the_work_and_left_as_it_was(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for folder in (tmp_path, tmp_path / "there", tmp_path / "new/deep"):
        require_writable(folder)
        assert sorted(tmp_path.rglob("*")) == before
    for folder in (tmp_path / "file", tmp_path / "file/deep"):
        with pytest.raises(DataError, match=f"cannot write {folder}: .*; choose another folder"):
            require_writable(folder)
        assert sorted(tmp_path.rglob("*")) == before


def test_home_is_spelled_as_everywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert [str(user_path(text)) for text in ("~/x", "~", "a/~", "/x")] == ["/home/me/x", "/home/me", "a/~", "/x"]
    with pytest.raises(ConfigError, match="expected a path, got ~nobody-here/x"):
        user_path("~nobody-here/x")
