"""The benchmarks run, small, and the packaged demo does."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from wheretolook.cli.main import main
from wheretolook.networks.fcn.network import FCN8s

from .command_line import NARROW, SCENES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


def test_every_row_of_the_photographs_is_trained_measured_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """On scenes, one step a stage."""
    step = {"steps": 1}
    guided = {"mining": {"weight": 0.0}, "energy": {"weight": 4.0}, "freeze_classifier": False}
    recipe = {
        "test_split": "test",
        "data": {"batch_size": 2, "scenes": SCENES},
        "network": {name: list(value) if isinstance(value, tuple) else value for name, value in NARROW.items()},
        **{"segmenter": step, "classifier": step, "guidance": step, "guided": guided},
        "hardware": {"accelerator": "cpu"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    module = benchmark("photoscenes", monkeypatch)
    argv = ["photoscenes.py", "--recipe", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path), "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", [*argv, "--rows", "Control", "GAIN alone", "Energy, classifier free"])
    module.main()
    printed = capsys.readouterr().out
    table = (tmp_path / "rows/table.md").read_text()
    assert printed.endswith(table + "\n")
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ")[1] for line in table.splitlines() if "| " in line}
    assert lines["Original"] == lines["GAIN alone"] == lines["GAIN alone, classifier retrained"] == "1"
    assert lines["Control"] == lines["Energy, classifier free"] == lines["Energy, classifier free - Control"] == "2"
    assert "Energy, classifier free, classifier retrained" not in lines and "GAIN" not in lines
    original, seeds = (
        [json.loads((tmp_path / folder / "test/metrics.json").read_text())[0] for folder in folders]
        for folders in (["original"], ["rows/Control/0", "rows/Control/1"])
    )
    mean = sum(row["accuracy"] for row in seeds) / 2
    assert f"| {100 * original[0]['accuracy']:.2f} |" in table and f"| {100 * mean:.2f} ± " in table
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    module.main()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before
    monkeypatch.setattr(sys, "argv", [*argv, "--rows", "Control", "--folder=longer", "--guidance.steps=2"])
    module.main()
    assert json.loads((tmp_path / "longer/Control/1/run.json").read_text())["budget"]["steps"] == 2


def test_every_row_of_speed_is_measured(monkeypatch: pytest.MonkeyPatch):
    """Small: the same code on narrow networks; what is not installed is skipped with its name."""
    module = benchmark("speed", monkeypatch)
    monkeypatch.setattr(module, "SIZE", 64)
    monkeypatch.setattr(module, "FCN8s", lambda names: FCN8s(names, **NARROW))
    monkeypatch.setattr(module, "WRAPPED", {"small": ("torch", small_network), "other": ("no_such_library", None)})
    rows = [*module.fcn(0.0), *module.wrapped(0.0), *module.evaluation(0.0)]
    assert [row.bar for row in rows if row.bar] == [1.15, 1.15, 1.15, 1.5, *[1.15] * 4, 0.85]
    assert all(0 < row.value < math.inf for row in rows if not row.note)
    absent = {package for package in module.OTHERS if find_spec(package) is None}
    skipped = [row for row in rows if row.note]
    assert len(skipped) == 1 + len(absent) and all(math.isnan(row.value) and not row.missed for row in skipped)
    assert str(skipped[-1]) == "| other | - | skipped: no_such_library is not installed |"


def small_network() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, stride=8), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 20))


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_scores_are_as_large_as_the_benchmark_says(spread: float, monkeypatch: pytest.MonkeyPatch):
    module = benchmark("speed", monkeypatch)
    monkeypatch.setattr(module, "SIZE", 64)
    monkeypatch.setattr(module, "FCN8s", lambda names: FCN8s(names, **NARROW))
    network = module.make_network(spread=spread)
    output = network(network.preprocessing(module.make_batch(1).images), segment=False)
    assert output.class_scores.std().item() == pytest.approx(spread, rel=1e-4)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read from Linux's /proc")
def test_the_peak_of_memory_is_that_of_the_work_above_what_was_there():
    """In a process of its own: here, memory freed by other tests would be used again, and nothing would be seen."""
    script = "import speed, torch; there = torch.ones(2**25); print(speed.peak(lambda: lambda: torch.ones(2**26)))"
    command = [sys.executable, "-W", "ignore", "-c", script]
    finished = subprocess.run(command, cwd=BENCHMARKS, check=True, capture_output=True, text=True, timeout=300)
    assert int(finished.stdout) == pytest.approx(2**28, rel=0.05)  # four bytes each


def test_speed_prints_each_row_as_it_is_measured_and_says_which_miss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    module = benchmark("speed", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    printed = []

    def rows(seconds: float) -> Iterator[tuple]:
        yield module.Row("slow", 1.2, 1.15)
        printed.append(capsys.readouterr().out.splitlines()[-1])
        yield module.Row("theirs", 7.0)
        printed.append(capsys.readouterr().out.splitlines()[-1])

    monkeypatch.setattr(module, "fcn", rows)
    monkeypatch.setattr(module, "wrapped", lambda seconds: [module.Row("quick", 0.9, 0.85, at_most=False)])
    monkeypatch.setattr(module, "evaluation", lambda seconds: [module.Row("nothing", math.nan, 1.15)])
    monkeypatch.setattr(module, "peak_of", {"forward": 1.0, "maps": 1.0, "step": 1.0, "gain": 1.7}.get)
    assert module.main() == 1
    assert printed == ["| slow | 1.20 | <= 1.15 |", "| theirs | 7.00 |  |"]
    missed = "missed: slow; nothing; FCN8s: peak memory, GAIN step / step on the originals\n"
    assert capsys.readouterr().out.endswith(missed)
    for part in ("fcn", "wrapped", "evaluation"):
        monkeypatch.setattr(module, part, lambda seconds: [])
    monkeypatch.setattr(module, "peak_of", lambda name: 1.0)
    assert module.main() == 0


@pytest.mark.parametrize("shape", [(2, 5, 4, 4), (2, 17, 5)])
def test_tokens_are_a_grid_row_by_row(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    features = torch.arange(float(math.prod(shape))).view(shape)
    grid = benchmark("speed", monkeypatch).as_grid(features)
    assert grid.shape == (2, 5, 4, 4)
    expected = features if features.ndim == 4 else features[:, 1 + 4 * 2 + 3, :, None, None]
    assert torch.equal(grid if features.ndim == 4 else grid[:, :, 2:3, 3:4], expected)


def test_the_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All of it, on its own scenes, but fewer and for two steps a stage."""
    monkeypatch.chdir(tmp_path)
    short = [
        f"--{stage}.{option}=2"
        for stage in ("segmenter", "classifier", "guidance")
        for option in ("steps", "validate_every")
    ]
    assert main(["demo", *short, "--data.scenes.images=8", "--data.batch_size=4", "--hardware.accelerator=cpu"]) == 0
    report = tmp_path / "runs/demo/report"
    rows = ["Original", "Control", "Control + classification", "Guided"]
    assert [row["weights"] for row in json.loads((report / "metrics.json").read_text())] == 3 * rows
    assert {"contact_sheet.png", "summary.png", "metrics.md"} <= {path.name for path in report.iterdir()}


def test_cells_are_compared_with_those_of_other_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Half a cell of 32 pixels is what a network that pads by one side is off by, if nobody minds."""
    for package in ("pytorch_grad_cam", "captum", "torchcam"):
        pytest.importorskip(package)
    module = benchmark("cells", monkeypatch)
    monkeypatch.setattr(module, "SHAPES", {name: module.SHAPES[name] for name in ("resnet18", "vit_tiny")})
    monkeypatch.setattr(module, "SIZES", [(192, 224)])
    module.main()
    heading, _, resnet, vit = capsys.readouterr().out.splitlines()[-4:]
    assert [name.split()[0] for name in heading.split(" | ")[2:]] == ["wheretolook", "grad-cam", "captum", "torchcam"]
    ours, *others = (float(figure) for figure in resnet.rstrip(" |").split(" | ")[2:])
    assert ours < 2 and others == pytest.approx([15.5] * 3, abs=1)
    assert vit.endswith("| - | - |") and "192 x 224" in vit


def test_methods_are_compared_with_those_of_other_packages(monkeypatch: pytest.MonkeyPatch):
    """All agree but Grad-CAM++, to whose denominator others add, or which they leave out."""
    for package in ("pytorch_grad_cam", "captum", "torchcam"):
        pytest.importorskip(package)
    module = benchmark("methods", monkeypatch)
    rows = [row.strip("| ").split(" | ") for row in module.rows(module.make_network(), seconds=0.0, side=96)]
    compared = {(row[1], row[2].split()[0]): float(row[3]) for row in rows}
    assert len(rows) == 25 and len(compared) == 14 and all(float(row[4]) > 0 for row in rows)
    for (method, package), difference in compared.items():
        assert difference < 1e-4 or (method == "grad_cam_plus_plus" and package != "captum"), (method, package)


def write_small_bed(root: Path) -> None:
    """Noise of two classes, a square of each class's own on it, marked in a corner."""
    if (root / "labels.csv").exists():
        return
    labels = ["image,classes"]
    for folder in ("images", "masks", "avoid", "splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split in ("train", "tune", "test"):
        names = [f"{split}{number}" for number in range(6)]
        for number, name in enumerate(names):
            values = np.random.default_rng(number).integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / "images" / f"{name}.png")
            mask, mark = np.zeros((2, 28, 28), np.uint8)
            mask[number : number + 9, 8:20], mark[-4:, -4:] = 1 + number % 2, 255
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            Image.fromarray(mark).save(root / "avoid" / f"{name}.png")
            labels.append(f"{name},{('round', 'square')[number % 2]}")
        (root / "splits" / f"{split}.txt").write_text("\n".join(names))
    (root / "classes.txt").write_text("round\nsquare\n")
    (root / "labels.csv").write_text("\n".join(labels))


def test_rows_of_the_shortcuts_are_trained_measured_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    module = benchmark("shortcuts", monkeypatch)
    bed = module.BEDS["digits"]
    training = replace(bed.training, steps=1, validate_every=1)
    monkeypatch.setitem(module.BEDS, "digits", replace(bed, write=write_small_bed, training=training))
    rows = ["no guidance", "mixed background, random masks", "energy, 20% of masks"]
    argv = ["shortcuts.py", "digits", "--out", str(tmp_path), "--seeds", "2", "--rows", *rows]
    for more in ([], ["--tune"]):
        monkeypatch.setattr(sys, "argv", [*argv, *more])
        module.main()
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line[0].strip("| ") for line in lines[-3:]] == [rows[0], rows[2], rows[1]]
    assert {line[1] for line in lines[-3:]} == {"2"}
    out = tmp_path / "digits"
    found = [json.loads((out / f"rows/no guidance/{seed}/test.json").read_text()) for seed in (0, 1)]
    accuracy = [100 * one["image_accuracy"] for one in found]
    assert lines[-3][2] == f"{sum(accuracy) / 2:.1f} ± {abs(accuracy[0] - accuracy[1]) / 2**0.5:.1f}"
    assert all(0 <= one["energy on the mark"] <= 1 for one in found if one["energy on the mark"] is not None)
    recorded = json.loads((out / "rows/energy, 20% of masks/1/run.json").read_text())["options"]
    assert recorded["data"]["annotated_fraction"] == 0.2 and recorded["objective"]["energy"]["weight"] == 4.0
    assert recorded["training"]["seed"] == 1 and recorded["objective"]["mining"]["weight"] == 0.0


def test_tables_of_the_shortcuts_compare_seed_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another order of seeds has the same means and another spread of the differences; by hand."""
    module = benchmark("shortcut_tables", monkeypatch)
    given = {"no guidance": {0: 0.2, 1: 0.4, 2: 0.9}, "energy": {0: 0.3, 1: 0.5, 2: 1.0}, "mining": {1: 0.1}}
    for name, seeds in given.items():
        for seed, value in seeds.items():
            path = tmp_path / "bed" / "rows" / name / str(seed) / "test.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"image_accuracy": value, "energy_pointing": value / 2, "attention_iou": None}))
    rows = module.read(tmp_path / "bed" / "rows", "test", ["no guidance"])
    assert list(rows) == ["no guidance", "energy", "mining"]
    assert module.table(rows).splitlines() == [
        "| row | seeds | Image accuracy | Energy pointing |",
        "|---|---|---|---|",
        "| no guidance | 3 | 50.0 ± 36.1 | 25.0 ± 18.0 |",
        "| energy | 3 | 60.0 ± 36.1 | 30.0 ± 18.0 |",
        "| mining | 1 | 10.0 | 5.0 |",
    ]
    assert module.differences(rows).splitlines()[2:] == [
        "| energy | 3 | +10.0 ± 0.0 | +5.0 ± 0.0 |",
        "| mining | 1 | -30.0 | -15.0 |",
    ]
    assert module.differences({"energy": rows["energy"]}) == ""
    module.draw({"bed": rows}, tmp_path / "beds.png", 2)
    with Image.open(tmp_path / "beds.png") as picture:
        assert picture.width > 1000 and len(picture.getcolors(1 << 20)) > 10


def test_random_masks_are_others_in_the_images_own_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = benchmark("shortcuts", monkeypatch)
    write_small_bed(tmp_path / "true")
    module.write_random_masks(tmp_path / "true", tmp_path / "random")

    def masks(folder: str, split: str) -> list[np.ndarray]:
        return [np.asarray(Image.open(tmp_path / folder / "masks" / f"{split}{number}.png")) for number in range(6)]

    true, random = masks("true", "train"), masks("random", "train")
    assert [mask.max() for mask in random] == [mask.max() for mask in true] == [1, 2] * 3
    assert {(mask > 0).sum() for mask in random} == {(mask > 0).sum() for mask in true} == {9 * 12}
    assert len({tuple(np.argwhere(mask > 0)[0]) for mask in random}) >= 4
    assert any((one != other).any() for one, other in zip(true, random, strict=True))
    assert all((one == other).all() for one, other in zip(masks("true", "test"), masks("random", "test"), strict=True))


def test_no_cell_in_the_middle_of_a_part_sees_the_other(monkeypatch: pytest.MonkeyPatch):
    """A disc in the class's colour and grey stripes, in the bed of objects of two parts."""
    parts, networks = benchmark("parts", monkeypatch), benchmark("shortcut_networks", monkeypatch)
    image = torch.zeros(1, 3, parts.SIDE, parts.SIDE, requires_grad=True)
    cells = networks.fine().eval()[:4](image)
    cells[0, :, 8, 8].sum().backward()
    seen = image.grad.abs().sum(dim=(0, 1)).nonzero()
    width = int((seen.amax(dim=0) - seen.amin(dim=0)).max()) + 1
    assert cells.shape[-2:] == (16, 16) and 15 < width <= 23
    random = np.random.default_rng(1)
    for number in range(40):
        pixels, mask = parts.drawn(number % 4, random)
        assert set(np.unique(mask)) == {0, 1 + number % 4}
        disc = np.abs(pixels - parts.COLOURS[number % 4]).max(axis=2) < 1e-9
        stripes = (mask > 0) & ~disc
        middles = [np.argwhere(part).mean(axis=0) for part in (disc, stripes)]
        assert stripes.sum() == parts.PART**2 and np.hypot(*(middles[0] - middles[1])) > parts.APART - 1
        assert np.ptp(pixels[stripes], axis=1).max() < 1e-9 and np.abs(pixels[stripes] - 0.5).max() <= parts.CONTRAST
        for middle, other in zip(middles, (stripes, disc), strict=True):
            assert np.abs(np.argwhere(other) - middle).max(axis=1).min() > width / 2
