"""The command `audit`: the files that it leaves, and what its exit code says."""

import csv
import json
from pathlib import Path

import pytest

from wheretolook.cli.main import main
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from ..command_line import CLASSES, NARROW, SERVED, complaint

AUDIT = ["audit", "--weights=net.safetensors", "--accelerator=cpu", "--out=audit", "--pictures=2", *SERVED]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, and its audit."""
    folder = tmp_path_factory.mktemp("audited")
    network = FCN8s(CLASSES, **NARROW, seed=2)
    network.classifier.score_cl.bias.data += 0.1
    save_network(network, folder / "net.safetensors")
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_it_leaves_tables_and_a_page_that_agree(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(AUDIT) == 0
    said = capsys.readouterr().out
    record = json.loads(Path("audit/audit.json").read_text())
    with Path("audit/classes.csv").open(newline="") as file:
        classes = {row["class"]: row for row in csv.DictReader(file)}
    with Path("audit/pairs.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert record["figures"]["pairs"] == len(pairs) and record["options"]["limit"] == 50
    assert [one["name"] for one in record["classes"]] == list(classes)
    for one in record["classes"]:
        row = classes[one["name"]]
        assert (row["verdict"], row["reason"]) == (one["word"], one["reason"])
        assert float(row["fall_low"]) == pytest.approx(one["evidence"]["fall"]["low"], rel=1e-4)
        assert int(row["images"]) == sum(pair["class_name"] == one["name"] for pair in pairs)
        (line,) = [line for line in said.splitlines() if line.startswith(f"{one['word']}: ") and one["name"] in line]
        assert line.rpartition(": ")[2].lower() == one["reason"].partition(". ")[0].rstrip(".").lower()
    page = Path("audit/audit.html").read_text()
    assert all(name in page for name in classes) and "Does the network look at the right thing?" in page


@pytest.mark.parametrize(
    ("bar", "said"),
    [
        (["--fail_under", "energy_pointing=0.99"], "energy_pointing is 0."),
        (["--fail_under", "f1=0", "image_accuracy=0.5"], "image_accuracy was not measured, at least 0.5 was asked for"),
        (["--fail_over", "empty_maps=-1"], "empty_maps is 0, at most -1 was asked for"),
    ],
)
def test_a_bar_that_is_missed_is_a_line_and_exit_code_1(
    bar: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    out = tmp_path / "out"
    assert main([*AUDIT, "--pictures=0", f"--out={out}", *bar]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wheretolook: bar missed: ") and said in line
    assert (out / "audit.json").exists() and (out / "classes.csv").exists()


def test_bars_that_are_met_are_exit_code_0():
    bars = ["--fail_under", "energy_pointing=0.0", "--fail_over", "empty_maps=1", "--max_shortcut_classes=3"]
    assert main([*AUDIT, "--pictures=0", *bars]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail_under", "energy=0.5"], "expected a figure=number, such as accuracy=0.5, got energy=0.5"),
        (["--fail_under", "empty_maps=0.5"], "of empty_maps less is better: fail_over"),
        (["--fail_over", "empty_maps"], "expected a number after empty_maps="),
        (["--limit=0"], "expected a limit of at least 1"),
        (["--mark=sticker"], "sticker"),
    ],
)
def test_what_means_nothing_is_said_before_the_work(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    assert said in complaint(capsys, *AUDIT, f"--out={tmp_path / 'out'}", *options)
    assert not (tmp_path / "out").exists()
