"""A recipe with several seeds: what is trained again for each, and what the tables make of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
import yaml

from wheretolook.cli.main import main
from wheretolook.losses.objective import for_network, loss_weights
from wheretolook.networks.files import load_network
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.report.seeds import mean_rows, seed_markdown
from wheretolook.training.controls import control_objectives

from ..command_line import SCENES, complaint
from ..training.made import changed

ROWS = ("Original", "Control", "Control + classification", "Guided")
STAGES = ("segmenter", "classifier", "control", "control_classification", "guided")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole recipe with two seeds."""
    folder = tmp_path_factory.mktemp("seeds")
    short = {"steps": 2, "validate_every": 2, "learning_rate": 0.02, "schedule": "constant", "seed": 5}
    recipe = {
        "out": str(folder / "runs"),
        "test_split": "test",
        "pictures": 1,
        "seeds": 2,
        "data": {"batch_size": 2, "crop": [32, 32], "scenes": SCENES},
        "network": {"widths": [4, 8, 8, 8, 8], "segmenter_width": 16, "classifier_widths": [16, 16]},
        **{"segmenter": short, "classifier": short, "guidance": short},
        "guided": {"energy": {"weight": 1.0}, "mining": {"weight": 0.0}},
        "hardware": {"accelerator": "cpu"},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["run", "--config", str(folder / "recipe.yaml")]) == 0
    return folder


def test_every_stage_takes_the_seed(seeds: Path):
    """The first seed's runs lie where those of a recipe with one seed lie; each stage starts from its own seed's."""
    for number, folder in enumerate((seeds / "runs", seeds / "runs/seed_1")):
        for stage in STAGES:
            record = json.loads((folder / stage / "run.json").read_text())["options"]
            assert record["training"]["seed"] == 5 + number and record["out"] == str(folder / stage)
            assert stage == "segmenter" or record["weights"].startswith(str(folder))
    trunks = [
        load_network(folder / "segmenter").state_dict()["trunk.conv1_1.weight"]
        for folder in (seeds / "runs", seeds / "runs/seed_1")
    ]
    assert not torch.equal(*trunks)


def test_the_tables_have_mean_spread_and_paired_differences(seeds: Path):
    """By hand, from the figures of every seed that stand beside them."""
    rows = json.loads((seeds / "runs/report/metrics.json").read_text())
    assert [(row["weights"], row["seed"]) for row in rows] == [(name, seed) for seed in (0, 1) for name in ROWS]
    _, means, differences, classes = (seeds / "runs/report/metrics.md").read_text().split("\n\n")
    of = {name: [row["energy_pointing"] for row in rows if row["weights"] == name] for name in ROWS}
    column = means.splitlines()[0].split(" | ").index("Energy pointing")
    for line, name in zip(means.splitlines()[2:], ROWS, strict=True):
        cells = line.strip("| ").split(" | ")
        assert cells[:2] == [name, "2"]
        assert line.split(" | ")[column] == f"{100 * fmean(of[name]):.2f} ± {100 * stdev(of[name]):.2f}"
    column = differences.splitlines()[0].split(" | ").index("Energy pointing")
    for line, name in zip(differences.splitlines()[2:], ROWS[:-1], strict=True):
        found = [100 * (guided - other) for guided, other in zip(of["Guided"], of[name], strict=True)]
        assert line.startswith(f"| Guided - {name} | 2 |")
        assert line.split(" | ")[column] == f"{fmean(found):+.2f} ± {stdev(found):.2f}"
    iu = fmean(row["iu_per_class"][0] for row in rows if row["weights"] == "Guided")
    assert classes.splitlines()[2].endswith(f"{100 * iu:.2f} |")


def test_a_recipe_leaves_a_page_that_its_folder_gives_again(seeds: Path, capsys: pytest.CaptureFixture[str]):
    page = seeds / "runs/report.html"
    before = page.read_bytes()
    page.unlink()
    capsys.readouterr()
    assert main(["report", str(seeds / "runs")]) == 0
    assert page.read_bytes() == before and capsys.readouterr().out == f"open {page}\n"  # nothing was missing
    rows = json.loads((seeds / "runs/report/metrics.json").read_text())
    energies = [100 * row["energy_pointing"] for row in rows if row["weights"] == "Guided"]
    assert f"<td>{fmean(energies):.2f} ± {stdev(energies):.2f}</td>" in before.decode()
    assert not list((seeds / "runs").glob("*/report.html"))  # one page for all of its stages


def test_another_seed_is_added_to_those_that_are_there(seeds: Path, capsys: pytest.CaptureFixture[str]):
    before = {path: path.stat().st_mtime_ns for path in (seeds / "runs").rglob("network.safetensors")}
    assert len(before) == 10
    assert main(["run", "--config", str(seeds / "recipe.yaml"), "--seeds=1"]) == 0
    assert capsys.readouterr().out.count("is finished: skipped") == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before
    table = (seeds / "runs/report/metrics.md").read_text()
    assert "±" not in table and "| Original | 1 |" in table
    assert main(["run", "--config", str(seeds / "recipe.yaml")]) == 0  # the report of both again, for other tests


def test_a_number_of_seeds_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]):
    assert complaint(capsys, "run", "--seeds=0", "--weights=x") == "expected at least 1 seed, got 0"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            {"Control": {"segmentation": 1.5}, "Control + classification": {"classification": 1, "segmentation": 1.5}},
        ),
        ({"segmentation.weight": 0.0}, {"Control": {"classification": 1}}),
        ({"segmentation.weight": 0.0, "mixed_background.weight": 2.0}, {"Control": {"classification": 1}}),
        ({"segmentation.weight": 0.0, "input_gradients.weight": 2.0}, {"Control": {"classification": 1}}),
        ({"classification.weight": 0.0, "energy.weight": 3.0}, {"Control": {"segmentation": 1.5}}),
        ({"classification.weight": 0.0, "segmentation.weight": 0.0}, {}),
    ],
)
def test_controls_are_the_guided_objective_without_the_losses_that_guide(
    options: dict[str, float], expected: dict[str, dict[str, float]]
):
    guided = for_network(changed(ObjectiveOptions(), {**options, "freeze_classifier": False}), segments=True)
    controls = control_objectives(guided)
    assert {name: loss_weights(objective) for name, objective in controls.items()} == expected
    assert all(not objective.freeze_classifier for objective in controls.values())


def rows_of(values: Sequence[float | None]) -> list[dict[str, object]]:
    return [{"weights": "a", "seed": seed, "f1": value, "images": 7} for seed, value in enumerate(values)]


def test_a_figure_that_some_seeds_have_not_is_the_mean_of_the_others():
    assert mean_rows(rows_of([0.25, None, 0.75])) == [{"weights": "a", "f1": 0.5, "images": 7.0}]
    assert "| a | 3 | 50.00 ± 35.36 | 7 |" in seed_markdown(rows_of([0.25, None, 0.75]))
    assert mean_rows(rows_of([None, float("nan")]))[0]["f1"] is None
