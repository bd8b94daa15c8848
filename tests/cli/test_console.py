"""What is printed comes out as it is: names of folders and classes may have brackets."""

import pytest
from rich.text import Text

from wheretolook.cli.console import shown_batches
from wheretolook.cli.main import main
from wheretolook.data import open_dataset
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network
from wheretolook.options.data import DataOptions, ScenesOptions

from ..command_line import CLASSES, NARROW, SERVED

ODD = "runs[lr=1e-4]"  # a folder that rich would read as a style
ODDER = "runs[/b]"  # and the end of one that never began


@pytest.mark.parametrize("folder", [ODD, ODDER])
def test_brackets_are_no_markup(folder: str, tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    save_network(FCN8s(CLASSES, **NARROW), f"{folder}/net[red].safetensors")
    options = ["--accelerator=cpu", f"--out={folder}/table", *SERVED]
    assert main(["evaluate", "--weights", f"{folder}/net[red].safetensors", *options]) == 0
    said = capsys.readouterr().out
    assert f"figures in {folder}/table/metrics.json" in said and "net[red].safetensors" in said


def test_the_bar_of_a_long_pass_has_any_name(monkeypatch):
    shown = []

    def track(batches, description: str, **_: object):
        shown.append(Text.from_markup(description).plain)  # as rich's bars read it
        return batches

    monkeypatch.setattr("wheretolook.cli.terminal.track", track)
    options = DataOptions(scenes=ScenesOptions(size=32, classes=2, images=2), batch_size=1)
    assert len(list(shown_batches(open_dataset(options, "val"), options, ODDER))) == 2 and shown == [ODDER]
