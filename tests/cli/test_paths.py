"""Where things are read and written: `~` in every path, and a folder that cannot be written found before the work."""

from pathlib import Path

import pytest

from wheretolook.cli.main import main
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from ..command_line import CLASSES, NARROW, QUICK, SERVED, complaint


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a network in it, and another folder to work in."""
    folder = tmp_path / "home"
    save_network(FCN8s(CLASSES, **NARROW), folder / "net.safetensors")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_home_is_found_in_every_path_of_options_and_files(home: Path):
    """On the command line (where a shell leaves `--out=~/x` alone) as in a file; and no folder is called `~`."""
    (home / "options.yaml").write_text("out: ~/classifier\nweights: ~/net.safetensors\n")
    served = [*SERVED, "--accelerator=cpu"]
    for argv in (
        ["train-classifier", "--config=~/options.yaml", *SERVED, *QUICK],
        ["train-gain", "--weights=~/classifier", "--out=~/guided", *SERVED, *QUICK],
        ["evaluate", "--weights", "~/classifier", "~/guided", "--out=~/table", *served],
        ["visualize", "--before=~/classifier", "--after=~/guided", "--out=~/drawn", "--count=1", *served],
        ["convert", "~/guided", "~/guided.npz"],
    ):
        assert main(argv) == 0, argv
    made = {"net.safetensors", "options.yaml", "classifier", "guided", "table", "drawn", "guided.npz"}
    assert {path.name for path in home.iterdir() if not path.name.startswith(".")} == made
    assert not list(Path().iterdir())


def test_a_folder_that_cannot_be_written_is_found_before_the_work(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for work in ("evaluate.evaluate", "visualize.changes", "run.train_rows", "convert.build"):
        monkeypatch.setattr(f"wheretolook.cli.{work}", lambda *_, **__: pytest.fail("the work was begun"))
    Path("file").write_text("in the way")
    network, out = "~/net.safetensors", ["--out=file/deep", *SERVED]
    for argv in (
        ["evaluate", "--weights", network, *out],
        ["visualize", "--before", network, "--after", network, *out],
        ["run", "--weights", network, *out],
        ["convert", network, "file/deep/net.npz"],
    ):
        assert complaint(capsys, *argv).startswith("cannot write file/deep"), argv
    assert [path.name for path in Path().iterdir()] == ["file"]
