"""Every network that must work, by the commands: trained, guided, measured, drawn, and its bare weights written."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from wheretolook.cli.main import main
from wheretolook.networks import grid
from wheretolook.networks.files import load_network, save_network
from wheretolook.networks.guide import guide

from ..command_line import CLASSES
from ..networks.zoo import ZOO, network

FRESH = "fresh.safetensors"
ROOT = Path(__file__).parents[2]
MODULE = """from tests.networks.zoo import ZOO
globals().update({name: entry.make for name, entry in ZOO.items()})
"""


def options(name: str) -> list[str]:
    """Of the network, which is the user's own, and of a few made scenes of the size that it takes."""
    height, width = ZOO[name].size
    return [
        f"--network.name=makers_of_networks:{name}",
        f"--network.input_size=[{height}, {width}]",
        f"--data.scenes.size={width}",
        f"--data.crop=[{height}, {width}]",
        "--data.scenes.images=2",
        f"--data.scenes.classes={len(CLASSES)}",
        "--data.batch_size=2",
    ]


@pytest.mark.parametrize("name", ZOO)
def test_a_network_goes_through_all_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    # half of the time: where training has moved the cells to is looked for in tests/networks, for each of these
    monkeypatch.setattr(grid, "energy_centre", lambda *_: None)
    for drawn in ("train.loss_curves", "visualize.contact_sheet"):  # the same for every network
        monkeypatch.setattr(f"wheretolook.cli.{drawn}", lambda *_, **__: None)
    for command in ("train", "evaluate", "visualize"):
        monkeypatch.setattr(f"wheretolook.cli.{command}.write_run_page", lambda *_: None)
    Path("makers_of_networks.py").write_text(MODULE)
    given = options(name)
    two_steps = ["--training.steps=2", "--training.validate_every=2", "--hardware.accelerator=cpu"]

    source = {"network": f"makers_of_networks:{name}", "arguments": {}}
    save_network(guide(network(name), class_names=CLASSES, input_size=ZOO[name].size, source=source), FRESH)
    assert main(["train-gain", f"--weights={FRESH}", *given, *two_steps, "--out=guided"]) == 0
    assert main(["evaluate", "--weights", FRESH, "guided", *given, "--out=measured"]) == 0
    assert main(["visualize", f"--before={FRESH}", "--after=guided", *given, "--count=1", "--out=drawn"]) == 0
    assert main(["convert", "guided", "bare.pth", given[0]]) == 0

    rows = json.loads(Path("measured/metrics.json").read_text())
    assert len(rows) == 2 and all(0 <= row["energy_pointing"] <= 100 for row in rows)
    assert len(list(Path("drawn").glob("01_*.png"))) == 1

    before, after = (load_network(path, make=ZOO[name].make) for path in (FRESH, "guided"))
    assert before.layer == after.layer == ZOO[name].layer
    assert any(not torch.equal(value, after.state_dict()[key]) for key, value in before.named_parameters())
    bare = ZOO[name].make()
    bare.load_state_dict(torch.load("bare.pth", weights_only=True))
    assert all(torch.equal(value, after.module.state_dict()[key]) for key, value in bare.state_dict().items())
    shutil.rmtree(tmp_path)  # a gigabyte for some
