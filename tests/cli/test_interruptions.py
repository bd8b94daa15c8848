"""Whoever stops a command reads one line, at whatever moment."""

import signal
import sys
from pathlib import Path

import pytest

from wheretolook.__main__ import main as script
from wheretolook.cli.main import main
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from ..command_line import CLASSES, NARROW, QUICK, SERVED


def test_an_interruption_is_said_and_has_its_own_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    save_network(FCN8s(CLASSES, **NARROW), "net.safetensors")
    monkeypatch.setattr(
        "wheretolook.losses.classification.average_images", lambda *_, **__: signal.raise_signal(signal.SIGINT)
    )
    assert main(["train-gain", "--weights", "net.safetensors", *SERVED, *QUICK]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("wheretolook: stopped; --resume goes on")
    monkeypatch.setattr("wheretolook.cli.evaluate.evaluate", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert main(["evaluate", "--weights", "net.safetensors", *SERVED]) == 130  # which has nothing to go on from
    assert capsys.readouterr().err.splitlines()[-1] == "wheretolook: stopped"


def test_to_be_stopped_while_modules_are_imported_is_a_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    class Stopped:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "wheretolook.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "wheretolook.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Stopped(), *sys.meta_path])
    assert script() == 130
    assert capsys.readouterr() == ("", "wheretolook: stopped\n")
