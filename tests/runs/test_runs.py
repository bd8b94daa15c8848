"""A stage in its folder: what it leaves there, what it refuses, and that being cut off changes nothing."""

import json
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError
from wheretolook.networks.fcn.network import FCN
from wheretolook.networks.files import load_network, save_network
from wheretolook.options.training import HardwareOptions
from wheretolook.runs.folder import is_finished
from wheretolook.runs.trainer import run_stage
from wheretolook.training.stage import Stage

from ..training.made import CPU, budget, scene_network, scenes
from ..training.made import changed as changed_objective
from .cut_off import CUTS
from .trained import GUIDED, changed, guided, left_in, train

ROOT = Path(__file__).parents[2]
HEADING = "step,train/total,train/classification,train/mining,train/squared,train/segmentation,"


def learning(network: FCN, *modules: str) -> set[str]:
    return {name for name in network.state_dict() if name.split(".")[0] in modules and ".upscore" not in name}


STAGES = {
    "0": (lambda network: Stage.segmenter(network, budget()), {"trunk", "segmenter"}),
    "1": (lambda network: Stage.classifier(network, budget()), {"classifier"}),
    "2": (lambda network: Stage.guidance(network, budget(), GUIDED), {"trunk", "segmenter"}),
    "2, classifier free": (
        lambda network: Stage.guidance(network, budget(), changed_objective(GUIDED, {"freeze_classifier": False})),
        {"trunk", "segmenter", "classifier"},
    ),
    "2, no segmentation": (
        lambda network: Stage.guidance(network, budget(), changed_objective(GUIDED, {"segmentation.weight": 0.0})),
        {"trunk"},
    ),
}


@pytest.mark.parametrize("number", STAGES)
def test_a_stage_changes_what_it_should_and_nothing_else(number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All of it and only that, in training mode and only that; afterwards requires_grad and modes are as they were."""
    make, modules = STAGES[number]
    network = scene_network(dropout=0.0)
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        parameter.data += 0.1 * torch.randn_like(parameter) * (".upscore" not in name)  # no layer starts at zero
    network.segmenter.eval()
    network.trunk.conv1_1.requires_grad_(False)
    modes = {name: module.training for name, module in network.named_modules()}
    wanted = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    stage, seen = make(network), []
    terms = stage.terms
    monkeypatch.setattr(
        stage,
        "terms",
        lambda batch: (seen.append({n: m.training for n, m in network.named_children()}), terms(batch))[1],
    )
    train(stage, tmp_path / "run")
    assert seen == 2 * [{name: name in modules for name in ("trunk", "segmenter", "classifier")}]
    assert changed(network, before) == learning(network, *modules) - {"trunk.conv1_1.weight", "trunk.conv1_1.bias"}
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in network.named_parameters()} == wanted
    saved = load_network(tmp_path / "run").state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


def test_a_run_leaves_its_network_its_history_and_its_record(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    training = budget(5, validate_every=2)
    path = train(guided(training), out, record={"options": {"weights": "x"}})
    assert path == out / "network.safetensors"
    assert left_in(out) == {
        *("network.safetensors", "best.safetensors", "run.json", "history.csv"),
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "tensorboard/hparams.yaml"),
    }
    heading, *rows = (out / "history.csv").read_text().splitlines()
    shown = (
        *("accuracy", "mean_iu", "image_accuracy", "mean_average_precision", "f1"),
        *("energy_pointing", "attention_iou", "score"),
    )
    assert heading == HEADING + ",".join(f"val/{name}" for name in shown)
    cells = [row.split(",") for row in rows]
    assert [(row[0], bool(row[1]), bool(row[-1])) for row in cells] == [
        *(("1", True, False), ("2", True, False), ("2", False, True), ("3", True, False)),
        *(("4", True, False), ("4", False, True), ("5", True, False), ("5", False, True)),
    ]
    weights = (1.0, 1.0, 1.0, 1.5)
    for row in cells:
        if row[1]:
            total, *terms = (float(value) for value in row[1:6])
            assert total == pytest.approx(sum(w * term for w, term in zip(weights, terms, strict=True)), rel=1e-5)
            assert all(term > 0 for term in terms)
        else:
            accuracy, mean_iu, *_, attention_iou, score = (float(value) for value in row[6:])
            assert score == pytest.approx((mean_iu + attention_iou) / 2)
            assert accuracy >= mean_iu > 0
    record = json.loads((out / "run.json").read_text())
    assert (record["trains"], record["budget"]["steps"]) == (["segmenter", "trunk"], 5)
    assert record["options"] == {"weights": "x"}
    assert record["versions"]["torch"] == torch.__version__


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tmp_path: Path):
    found = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        torch.manual_seed(zlib.crc32(name.encode()))  # the global state is no part of it
        found.append(train(guided(budget(seed=seed)), tmp_path / name).read_bytes())
    assert found[0] == found[1] != found[2]


def test_the_same_network_is_the_same_file(tmp_path: Path):
    """Metadata included, whose order safetensors leaves to chance."""
    network = scene_network()
    for number in range(8):
        save_network(network, tmp_path / f"{number}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    found = load_network(tmp_path / "0.safetensors")
    assert found.class_names == network.class_names and found.preprocessing == network.preprocessing
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in found.state_dict().items())


def test_two_batches_a_step_are_one_batch_of_twice_the_size(tmp_path: Path):
    """Accumulated gradients are averaged: of plain descent on the segmentation loss, whose images all count."""
    found = []
    for name, size, accumulate in (("halves", 2, 2), ("whole", 4, 1)):
        training = replace(budget(3, accumulate=accumulate), optimiser="sgd", learning_rate=0.05)
        config = replace(scenes(), batch_size=size)
        stage = Stage.segmenter(scene_network(dropout=0.0), training)
        run_stage(stage, ImageData(config, steps=3, accumulate=accumulate), tmp_path / name, hardware=CPU)
        found.append(stage.network.state_dict())
    start = scene_network().state_dict()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[0]["segmenter.score_fr.bias"], start["segmenter.score_fr.bias"], atol=1e-3)


def test_a_folder_with_a_run_is_left_alone(tmp_path: Path):
    path = train(guided(budget()), tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in left_in(tmp_path)}
    with pytest.raises(ConfigError, match="finished run; choose another --out"):
        train(guided(budget()), tmp_path)
    assert train(guided(budget()), tmp_path, resume=True) == path
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in left_in(tmp_path)} == before
    (tmp_path / "run.json").unlink()
    assert not is_finished(tmp_path)
    with pytest.raises(ConfigError, match="unfinished run; give --resume"):
        train(guided(budget()), tmp_path)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut")
    command = [sys.executable, "-W", "ignore", "-m", "tests.runs.cut_off", str(folder)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", [name for name in CUTS if name != "whole"])
def test_a_run_that_was_killed_and_resumed_ends_in_the_very_same_files(cut: Path, name: str):
    for file in ("network.safetensors", "best.safetensors", "history.csv"):
        assert (cut / name / file).read_bytes() == (cut / "whole" / file).read_bytes(), file
    assert left_in(cut / name) == left_in(cut / "whole")
    steps = [line.split(",")[0] for line in (cut / name / "history.csv").read_text().splitlines()[1:]]
    assert steps == ["1", "2", "3", "3", "4", "5", "6", "6", "7", "8", "8"]


def test_gradients_are_clipped_in_mixed_precision_too(tmp_path: Path):
    """Lightning refuses to clip for a fused optimiser there."""
    hardware = HardwareOptions(accelerator="cpu", precision="bf16-mixed")
    moved = {}
    for clip in (1e-12, None):
        stage = guided(budget(optimiser="sgd", clip=clip))
        before = stage.network.trunk.conv1_1.weight.detach().clone()
        train(stage, tmp_path / str(clip), hardware=hardware)
        moved[clip] = (stage.network.trunk.conv1_1.weight - before).abs().max()
    assert moved[1e-12] < 1e-6 * moved[None]
