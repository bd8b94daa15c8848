"""The command `report`, and the page that every other command leaves in its folder."""

import json
from pathlib import Path

import pytest

from wheretolook.cli.main import main
from wheretolook.report.recorded import read_run

from ..command_line import QUICK, SERVED, complaint


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter and a classifier on it, with what evaluates and draws them."""
    folder = tmp_path_factory.mktemp("runs")
    narrow = ["--network.widths", "4", "8", "8", "8", "8", "--network.segmenter_width=16"]
    narrow += ["--network.classifier_widths", "16", "16"]
    first, second = f"--out={folder}/segmenter", f"--out={folder}/classifier"
    assert main(["train-segmenter", first, *narrow, *SERVED, *QUICK]) == 0
    assert main(["train-classifier", second, f"--weights={folder}/segmenter", *SERVED, *QUICK]) == 0
    weights = str(folder / "classifier")
    assert main(["evaluate", "--weights", weights, f"--out={folder}/evaluation", *SERVED, "--accelerator=cpu"]) == 0
    both = ["--before", weights, "--after", weights]
    assert main(["visualize", *both, f"--out={folder}/pictures", "--count=1", *SERVED, "--accelerator=cpu"]) == 0
    return folder


@pytest.mark.parametrize("name", ["segmenter", "classifier", "evaluation", "pictures"])
def test_every_command_leaves_a_page_that_can_be_made_again(runs: Path, name: str, capsys: pytest.CaptureFixture[str]):
    page = runs / name / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert main(["report", str(runs / name)]) == 0
    assert page.read_bytes() == before and before.startswith(b"<!DOCTYPE html>")
    assert capsys.readouterr().out.splitlines() == [f"open {page}"]
    assert read_run(runs / name).missing == []


def test_the_command_is_kept_as_it_was_typed(runs: Path):
    record = json.loads((runs / "classifier/run.json").read_text())
    assert record["command"].startswith(f"wheretolook train-classifier --out={runs}/classifier --weights=")
    assert record["command"] in (runs / "classifier/report.html").read_text().replace("&#34;", '"')


def test_several_runs_are_compared_on_one_page(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(runs / "segmenter"), str(runs / "classifier")]) == 0
    html = (tmp_path / "runs/comparison.html").read_text()
    assert "2 runs compared" in html and "segmenter, last validation" in html
    assert main(["report", str(runs / "segmenter"), "--out", "mine.html"]) == 0
    assert (tmp_path / "mine.html").is_file()


def test_what_is_no_run_is_refused_and_nothing_is_written(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    said = complaint(capsys, "report", str(runs / "segmenter"), str(tmp_path), f"--out={tmp_path}/a.html")
    assert said.startswith(f"expected the folder of a run, got {tmp_path}, without report/evaluation.json")
    assert list(tmp_path.iterdir()) == []
