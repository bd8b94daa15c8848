"""The commands on real files: the whole mission from a recipe, and each step of it on its own."""

import json
import math
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from wheretolook.cli.main import main
from wheretolook.metrics.figures import FIGURES
from wheretolook.networks.fcn.network import FCN8s, FCN16s
from wheretolook.networks.files import load_network, save_network
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import TORCHVISION

from ..command_line import CLASSES, KEYS, NARROW, QUICK, SCENES, SERVED, complaint
from ..data.folders_on_disk import write_lines, write_voc
from ..training.made import changed

ROWS = ["Original", "Control", "Control + classification", "Guided"]
# the first where another loss guides, the last where the network segments
GUIDED = changed(ObjectiveOptions(), {"mining.weight": 0.0, "squared.weight": 1.0, "segmentation.weight": 1.5})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by its default name lands here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def mission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole recipe, run once: stage 0, 1 and 2 with a control, on made scenes."""
    folder = tmp_path_factory.mktemp("mission")
    short = {"steps": 2, "validate_every": 1, "learning_rate": 0.02, "schedule": "constant"}
    recipe = {
        "out": str(folder / "runs"),
        "test_split": "test",
        "pictures": 2,
        "data": {"batch_size": 2, "crop": [32, 32], "scenes": SCENES},
        "network": {"widths": [4, 8, 8, 8, 8], "segmenter_width": 16, "classifier_widths": [16, 16]},
        "segmenter": short,
        "classifier": short,
        "guided": {"squared": {"weight": 1.0}},
        "guidance": short,
        "hardware": {"accelerator": "cpu"},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["run", "--config", str(folder / "recipe.yaml")]) == 0
    return folder


def test_a_recipe_makes_runs_table_curves_and_pictures(mission: Path):
    runs = mission / "runs"
    for stage in ("segmenter", "classifier", "control", "control_classification", "guided"):
        assert {"network.safetensors", "best.safetensors", "run.json", "history.csv", "curves.png"} <= {
            path.name for path in (runs / stage).iterdir()
        }
        told = json.loads((runs / stage / "run.json").read_text())
        assert told["options"]["out"] == str(runs / stage) and told["budget"]["steps"] == 2
    start, before, control, guided = (
        load_network(runs / stage).state_dict() for stage in ("segmenter", "classifier", "control", "guided")
    )

    def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
        return {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}

    assert differing(start, before) == {"classifier"}
    assert differing(before, control) == differing(before, guided) == {"trunk", "segmenter"}
    assert "trunk" in differing(control, guided)
    for picture in ("contact_sheet.png", "summary.png"):
        with Image.open(runs / "report" / picture) as image:
            assert min(image.size) > 100
    assert len(list((runs / "report").glob("0?_test_*.png"))) == 2


def test_the_table_has_the_figures_of_all_networks(mission: Path):
    rows = json.loads((mission / "runs/report/metrics.json").read_text())
    assert [row["weights"] for row in rows] == ROWS
    for row in rows:
        assert set(row) == {*KEYS, "seed"}
        assert row["images"] == 5 and row["pairs"] > 0 and len(row["iu_per_class"]) == 4
        shares = [row[key] for key, figure in FIGURES.items() if figure.unit == "share"]
        assert all(value is None or value >= 0 for value in shares)
    _, table, differences, classes = (mission / "runs/report/metrics.md").read_text().split("\n\n")
    heading, _, *lines = table.splitlines()
    assert heading.startswith("|  | Seeds | Accuracy | Accuracy Class | Mean IU | FWAVACC |")
    assert [line.split(" | ")[0] for line in lines] == [f"| {row}" for row in ROWS]
    assert lines[0].split(" | ")[4] == f"{100 * rows[0]['mean_iu']:.4f}"
    heading, _, *lines = differences.splitlines()
    assert [line.split(" | ")[0] for line in lines] == [f"| Guided - {row}" for row in ROWS[:-1]]
    assert lines[1].split(" | ")[4] == f"{100 * (rows[3]['mean_iu'] - rows[1]['mean_iu']):+.4f}"
    assert [line.split(" | ")[0] for line in classes.splitlines()[2:]] == [f"| {c}" for c in ("background", *CLASSES)]


def test_a_recipe_run_again_trains_nothing(mission: Path, capsys: pytest.CaptureFixture[str]):
    files = sorted((mission / "runs").glob("*/*.safetensors"))
    before = [path.stat().st_mtime_ns for path in files]
    report = (mission / "runs/report/metrics.json").read_bytes()
    assert main(["run", "--config", str(mission / "recipe.yaml")]) == 0
    assert capsys.readouterr().out.count("is finished: skipped") == 5
    assert [path.stat().st_mtime_ns for path in files] == before
    assert (mission / "runs/report/metrics.json").read_bytes() == report


def test_a_table_says_what_it_was_measured_on(mission: Path):
    record = json.loads((mission / "runs/report/evaluation.json").read_text())
    assert record["recipe"]["test_split"] == "test" and record["recipe"]["data"]["scenes"]["size"] == SCENES["size"]
    assert set(record["versions"]) == {"wheretolook", "torch", "lightning"}


def test_a_stage_says_what_it_trains_on(capsys: pytest.CaptureFixture[str]):
    argv = ["train-segmenter", *SERVED, *QUICK, "--out=run", "--network.widths", *"48888"]
    assert main([*argv, "--network.segmenter_width=4", "--network.classifier_widths", "4", "4"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    counts = "5 images to train on, 5 to validate on; 3 classes, any number of classes an image: striped_disc, "
    assert f"made scenes (no --data.root): {counts}" in said


def test_a_finished_run_is_not_overwritten(mission: Path, capsys: pytest.CaptureFixture[str]):
    guided = str(mission / "runs/guided")
    said = complaint(capsys, "train-gain", "--weights", guided, *SERVED, *QUICK, f"--out={guided}")
    assert said == f"expected an empty folder, got {guided} with a finished run; choose another --out"


def test_networks_are_measured_side_by_side(mission: Path, capsys: pytest.CaptureFixture[str]):
    """The same figures as the recipe's, whatever the batch, for run folders and files, named by their paths."""
    guided, control, original = (mission / "runs" / run for run in ("guided", "control", "classifier"))
    control = control / "network.safetensors"
    served = [option for option in SERVED if "batch" not in option]
    argv = ["evaluate", "--weights", *map(str, (guided, control, original)), *served]
    argv += ["--data.split=test", "--accelerator=cpu"]
    assert main(argv) == 0
    assert "Energy pointing" in capsys.readouterr().out
    found = {row["weights"]: row for row in json.loads(Path("runs/evaluation/metrics.json").read_text())}
    expected = {row["weights"]: row for row in json.loads((mission / "runs/report/metrics.json").read_text())}
    for path, name in ((guided, "Guided"), (control, "Control"), (original, "Original")):
        for key in KEYS[1:]:
            one, other = found[str(path)][key], expected[name][key]
            assert one == other or np.allclose(one, other, rtol=1e-5), (name, key, one, other)


def test_pictures_compare_two_networks(mission: Path):
    runs = mission / "runs"
    both = ["visualize", "--before", str(runs / "control"), "--after", str(runs / "guided")]
    assert main([*both, *SERVED, "--rule=largest_rise", "--count=1", "--out=pictures"]) == 0
    names = sorted(path.name for path in Path("pictures").glob("*.png"))
    assert len(names) == 2 and names[1] == "contact_sheet.png"
    assert re.fullmatch(rf"01_val_0000\d_({'|'.join(CLASSES)})\.png", names[0])


def test_one_process_of_many_speaks_and_draws_for_all(
    mission: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The second process of two says, measures and draws nothing; the first draws what a kill left undrawn."""
    argv = ["run", "--config", str(mission / "recipe.yaml")]
    curves, figures = mission / "runs/guided/curves.png", mission / "runs/report/metrics.json"
    before = curves.read_bytes()
    for path in (curves, figures):
        path.unlink()
    with monkeypatch.context() as context:
        context.setattr(rank_zero_only, "rank", 1)
        assert main(argv) == 0
    assert capsys.readouterr().out == "" and not curves.exists() and not figures.exists()
    assert main(argv) == 0
    assert curves.read_bytes() == before and figures.exists()


def test_a_run_that_failed_before_its_first_checkpoint_is_begun_anew(capsys: pytest.CaptureFixture[str]):
    """The remedy that the message names must work in the same folder."""
    write_voc(Path("voc"), ("a", "b", "c"), height=40, width=36)
    Image.fromarray(np.zeros((40, 44, 3), np.uint8)).save("voc/JPEGImages/a.jpg")
    Image.fromarray(np.ones((40, 44), np.uint8)).save("voc/SegmentationClass/a.png")
    options = ["--data.root=voc", "--data.batch_size=2", "--out=run", "--training.steps=1"]
    options += ["--network.widths", *"48888", "--network.segmenter_width=8", "--network.classifier_widths", *"88"]
    said = complaint(capsys, "train-segmenter", *options, "--hardware.accelerator=cpu")
    assert said.endswith("set crop, or batch_size 1")
    assert main(["train-segmenter", *options, "--hardware.accelerator=cpu", "--data.crop", "32", "32"]) == 0


def test_stage_0_goes_on_with_a_whole_network_as_it_is(capsys: pytest.CaptureFixture[str]):
    """Padding and dropout are the file's; classes in another order are refused, not mixed up."""
    save_network(FCN8s(CLASSES, **NARROW, padding="caffe", dropout=0.1), "whole.safetensors")
    still = ["--training.steps=1", "--training.learning_rate=0", "--training.trunk_learning_rate=0"]
    assert main(["train-segmenter", "--weights=whole.safetensors", "--out=run", *SERVED, *still]) == 0
    before, after = load_network("whole.safetensors"), load_network("run")
    assert (after.padding, after.segmenter.dropout.p) == ("caffe", 0.1)
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    save_network(FCN8s(CLASSES[::-1], **NARROW), "turned.safetensors")
    said = complaint(capsys, "train-segmenter", "--weights=turned.safetensors", "--out=other", *SERVED)
    assert said.startswith(f"turned.safetensors: expected the data's classes {', '.join(CLASSES)}, got")
    assert "; write them in that order into classes.txt where the layout has one, or choose the data" in said


def test_stage_0_may_be_told_to_pad_a_whole_network_otherwise_but_nothing_else(capsys: pytest.CaptureFixture[str]):
    save_network(FCN16s(CLASSES, **NARROW, padding="caffe", dropout=0.1), "whole.safetensors")
    still = ["--training.steps=1", "--training.learning_rate=0", "--training.trunk_learning_rate=0"]
    argv = ["train-segmenter", "--weights=whole.safetensors", "--out=run", *SERVED, *still]
    said = complaint(capsys, *argv, "--network.classifier_dropout=0.3")
    assert said.endswith("expected classifier_dropout as in that whole network, 0.1, got 0.3; leave it out")
    assert main([*argv, "--network.padding=same", "--network.segmenter_width=16"]) == 0
    network = load_network("run")
    assert type(network) is FCN16s and (network.padding, network.segmenter.dropout.p) == ("same", 0.1)


def test_a_vgg16_with_other_fully_connected_widths_gives_its_trunk(caplog: pytest.LogCaptureFixture):
    narrow = FCN8s(CLASSES, **NARROW)
    arrays = {
        f"{name.split('.')[1]}/{'W' if name.endswith('weight') else 'b'}": value.numpy()
        for name, value in narrow.state_dict().items()
        if name.startswith("trunk.") or ".fc6." in name
    }
    np.savez("vgg16.npz", **arrays)
    options = ["--network.widths", *"48888", "--network.segmenter_width=4", "--network.classifier_widths", *"88"]
    still = ["--training.steps=1", "--training.learning_rate=0", "--training.trunk_learning_rate=0"]
    assert main(["train-segmenter", "--weights=vgg16.npz", "--out=run", *SERVED, *still, *options]) == 0
    trunk = load_network("run").trunk.state_dict()
    assert all(torch.equal(value, trunk[name]) for name, value in narrow.trunk.state_dict().items())
    assert "not used: segmenter.fc6" in caplog.text


def test_weights_survive_the_predecessors_format(mission: Path):
    runs = mission / "runs"
    assert main(["convert", str(runs / "guided"), "there.npz"]) == 0
    assert main(["convert", "there.npz", "back.safetensors"]) == 0
    with np.load("there.npz") as arrays:
        assert arrays["conv1_1/W"].shape == (4, 3, 3, 3) and arrays["score_cl/b"].shape == (3,)
    original, returned = load_network(runs / "guided"), load_network("back.safetensors")
    assert returned.class_names == original.class_names == CLASSES
    images = torch.rand(1, 3, 40, 36)
    scores, expected = (
        network(network.preprocessing(images)).mask_scores for network in (returned, original)
    )  # the arrays, and the padding and the preprocessing that they are good for
    assert torch.equal(scores, expected)
    for name, value in original.state_dict().items():
        torch.testing.assert_close(returned.state_dict()[name], value, rtol=0, atol=0)


def test_a_network_is_told_its_padding_and_preprocessing(mission: Path):
    assert main(["convert", str(mission / "runs/guided"), "bare.npz"]) == 0
    options = ["--padding=caffe", "--preprocessing", "torchvision", "--class_names", *CLASSES]
    assert main(["convert", "bare.npz", "told.safetensors", *options]) == 0
    told = load_network("told.safetensors")
    assert (told.padding, told.preprocessing, told.class_names) == ("caffe", TORCHVISION, CLASSES)


def test_a_fresh_classifier_is_another_one(mission: Path):
    """Without --fresh training goes on from the file's classifier; nothing is learned here, so that it shows."""
    guided = str(mission / "runs/guided")
    still = ["--training.steps=1", "--training.learning_rate=0", "--hardware.accelerator=cpu", *SERVED]
    assert main(["train-classifier", "--weights", guided, "--out=kept", *still]) == 0
    assert main(["train-classifier", "--weights", guided, "--out=fresh", "--fresh", *still]) == 0
    before, kept, fresh = (load_network(path).state_dict() for path in (guided, "kept", "fresh"))
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    other = {name for name, value in fresh.items() if not torch.equal(value, before[name])}
    layers = {f"classifier.{layer}" for layer in ("fc6_cl", "fc7_cl", "score_cl")}
    assert {name.rpartition(".")[0] for name in other} == layers
    assert not any(value.any() for name, value in fresh.items() if name.startswith("classifier") and "bias" in name)


def test_a_run_goes_on_with_the_processes_and_the_precision_that_it_was_begun_with(
    mission: Path, capsys: pytest.CaptureFixture[str]
):
    """They decide the weights as the options do; a run that is finished is skipped all the same."""
    argv = ["train-classifier", "--weights", str(mission / "runs/segmenter"), *SERVED, *QUICK, "--out=begun"]
    assert main(argv) == 0
    finished = [*argv, "--resume", "--hardware.precision=64-true", "--data.workers=1"]  # which decide nothing any more
    assert main(finished) == 0 and "skipped" in capsys.readouterr().out
    Path("begun/run.json").unlink()
    elsewhere = shutil.copytree(mission / "runs/segmenter", "moved")
    moved = [str(elsewhere) if word == str(mission / "runs/segmenter") else word for word in argv]
    assert main([*moved, "--resume", "--data.workers=1"]) == 0  # nor do these, ever
    Path("begun/run.json").unlink()
    for option, says in (("precision=64-true", "precision 32-true, got 64-true"), ("devices=2", "processes 1, got 2")):
        assert says in complaint(capsys, *argv, "--resume", f"--hardware.{option}")


def test_a_run_that_was_cut_off_goes_on_with_a_bare_resume(mission: Path, capsys: pytest.CaptureFixture[str]):
    argv = ["train-gain", "--weights", str(mission / "runs/classifier"), *SERVED, "--hardware.accelerator=cpu"]
    argv += ["--training.steps=3", "--training.validate_every=1"]
    assert main([*argv, "--out=whole"]) == 0
    assert main([*argv, "--out=cut"]) == 0
    for name in ("run.json", "network.safetensors"):
        Path("cut", name).unlink()
    assert "give --resume to go on with it" in complaint(capsys, *argv, "--out=cut")
    assert main([*argv, "--out=cut", "--resume"]) == 0
    for name in ("network.safetensors", "history.csv"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()


def test_a_network_of_other_widths_says_so(mission: Path, capsys: pytest.CaptureFixture[str]):
    argv = ["train-segmenter", "--weights", str(mission / "runs/segmenter"), *SERVED, *QUICK]
    said = complaint(capsys, *argv, "--network.widths", "8", "8", "8", "8", "8")
    assert said.endswith("expected widths as in that whole network, (4, 8, 8, 8, 8), got (8, 8, 8, 8, 8); leave it out")


def test_images_of_many_sizes_are_measured_one_by_one(mission: Path):
    """A folder in VOC layout: two sizes, a batch of up to 4; the figures are those of single images."""
    voc = write_voc(Path("voc"), names=("a", "b", "c", "d"), height=40, width=36)
    write_lines(voc / "classes.txt", *CLASSES)
    for name in "ad":
        for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
            path = voc / folder / f"{name}.{ending}"
            values = np.array(Image.open(path))[:, :33]
            Image.fromarray(np.where(values == 4, 1, values) if ending == "png" else values).save(path)
    write_lines(voc / "ImageSets/Segmentation/all.txt", *"abcd")
    argv = ["evaluate", "--weights", str(mission / "runs/guided"), "--data.root=voc", "--data.split=all"]
    rows = []
    for size in (1, 4):
        assert main([*argv, f"--data.batch_size={size}", f"--out=by{size}"]) == 0
        rows += json.loads(Path(f"by{size}/metrics.json").read_text())
    one, four = rows
    assert (one["images"], one["masks"], one["pairs"]) == (4, 4, 4)
    for key in KEYS:
        if isinstance(one[key], float):
            assert one[key] == pytest.approx(four[key], rel=1e-4), key  # sums in single precision, in another order


def test_nothing_measured_is_null_in_json_and_no_column_of_the_table(mission: Path):
    """Images with labels only have no segmentation figures."""
    for index, name in enumerate(CLASSES):
        Path("plain/images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 60 * index, np.uint8)).save(f"plain/images/{name}.png")
    write_lines(Path("plain/labels.csv"), "image,classes", *(f"{name}.png,{name}" for name in CLASSES))
    write_lines(Path("plain/classes.txt"), *CLASSES)
    write_lines(Path("plain/splits/val.txt"), *CLASSES)
    assert main(["evaluate", "--weights", str(mission / "runs/guided"), "--data.root=plain"]) == 0
    (row,) = json.loads(Path("runs/evaluation/metrics.json").read_text())
    assert (row["mean_iu"], row["energy_pointing"], row["pairs"], row["images"], row["masks"]) == (None, None, 0, 3, 0)
    assert row["mean_average_precision"] is not None and not math.isnan(row["mean_average_precision"])
    heading, _, _, _, *classes = Path("runs/evaluation/metrics.md").read_text().splitlines()
    assert heading == "| Weights | Image accuracy | Worst class | mAP | F1 | Images | with masks | Pairs |"
    assert [line.split(" | ")[0] for line in classes[2:]] == [f"| {name}" for name in CLASSES]


def test_the_controls_and_the_guided_network_differ_by_the_objective_alone(mission: Path):
    """Every other option is the same, and each control weighs its losses as the guided objective does."""
    folders = ("guided", "control", "control_classification")
    records = [json.loads((mission / "runs" / run / "run.json").read_text())["options"] for run in folders]
    guided, *controls = ({**options, "out": "", "objective": ""} for options in records)
    assert controls == [guided, guided]
    off = {"squared.weight": 0.0}
    assert records[0]["objective"] == asdict(GUIDED)
    assert records[1]["objective"] == asdict(changed(GUIDED, {**off, "classification.weight": 0.0}))
    assert records[2]["objective"] == asdict(changed(GUIDED, off))


def test_attention_of_an_untrained_classifier_is_warned_of(mission: Path, caplog: pytest.LogCaptureFixture):
    runs = mission / "runs"
    evaluation = ["--out=said", "--accelerator=cpu", *SERVED]
    assert main(["evaluate", "--weights", str(runs / "classifier"), *evaluation]) == 0
    assert "never trained" not in caplog.text
    assert main(["evaluate", "--weights", str(runs / "segmenter"), *evaluation]) == 0
    warning = f"{runs / 'segmenter' / 'network.safetensors'}: its classifier was never trained"
    assert warning in caplog.text and "run train-classifier" in caplog.text
