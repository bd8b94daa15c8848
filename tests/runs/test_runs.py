"""A stage in its folder: what it leaves there, what it refuses, and that being cut off changes nothing."""

import json
import resource
import signal
import subprocess
import sys
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed

from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError, DataError, TrainingError, WeightsError
from wheretolook.networks.fcn.network import FCN
from wheretolook.networks.files import load_network, save_network
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import HardwareOptions, TrainingOptions
from wheretolook.records import Batch, Sample
from wheretolook.runs.folder import is_finished
from wheretolook.runs.trainer import run_stage
from wheretolook.training.stage import Stage

from ..training.made import CPU, Altered, budget, scene_network, scenes
from ..training.made import changed as changed_objective
from .cut_off import CUTS

ROOT = Path(__file__).parents[2]
GUIDED = changed_objective(ObjectiveOptions(), {"squared.weight": 1.0})
HEADING = "step,train/total,train/classification,train/mining,train/squared,train/segmentation,"


def data_for(training: TrainingOptions) -> ImageData:
    return ImageData(scenes(), steps=training.steps, accumulate=training.accumulate, seed=training.seed)


def train(stage: Stage, out: Path, **options: object) -> Path:
    return run_stage(stage, data_for(stage.budget), out, **{"hardware": CPU, **options})


def guided(training: TrainingOptions, **options: object) -> Stage:
    return Stage.guidance(scene_network(), training, changed_objective(GUIDED, options))


def left_in(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "events" not in path.name}


def changed(network: FCN, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


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
        *(("4", True, False), ("4", False, True), ("5", True, False)),
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


def test_best_is_the_validation_with_the_highest_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Scores by hand: the second of four validations is the best, so the weights after step 2 are."""
    scores = iter((0.2, 0.6, 0.4, 0.6))
    stage = guided(budget(4, validate_every=1))
    figures = dict.fromkeys(stage.shown, 0.0)
    monkeypatch.setattr(
        stage.evaluator, "compute", lambda: {**figures, "mean_iu": (s := next(scores)), "attention_iou": s}
    )
    weights = []
    monkeypatch.setattr(
        stage,
        "on_validation_epoch_start",
        lambda: weights.append(stage.network.trunk.conv3_1.weight.detach().clone()),
    )
    train(stage, tmp_path)
    best = load_network(tmp_path / "best.safetensors").trunk.conv3_1.weight
    assert [torch.equal(best, moment) for moment in weights] == [False, True, False, False]
    assert torch.equal(load_network(tmp_path).trunk.conv3_1.weight, weights[3])


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
    assert steps == ["1", "2", "3", "3", "4", "5", "6", "6", "7", "8"]


class Broken(ImageData):
    """One image of the training set has no number in its pixels, but NaN."""

    def __init__(self, broken: int, steps: int) -> None:
        super().__init__(scenes(), steps=steps)
        whole = self.train_set

        class Set(type(whole)):
            def __getitem__(self, index: int) -> Sample:
                found = whole[index]
                return found._replace(image=found.image * float("nan")) if index == broken else found

        self.train_set = Set(whole.config, "train")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_images(tmp_path: Path):
    """The broken image comes in the third batch; the checkpoint of the step before is good."""
    training = budget(4, validate_every=1)
    stage = guided(training)
    order = [[index for _, index in batch] for batch in data_for(training).train_dataloader().batch_sampler]
    assert order[2][0] not in order[0] + order[1]  # five images: this is the last of the first round
    with pytest.raises(TrainingError, match="finite loss") as caught:
        run_stage(stage, Broken(order[2][0], steps=4), tmp_path, hardware=CPU)
    names = ", ".join(f"train_{index:05d}" for index in order[2])
    message = str(caught.value)
    assert f"at step 2, images {names};" in message
    assert "total nan" in message and "\n" not in message
    assert all(torch.isfinite(value).all() for value in stage.network.state_dict().values())
    assert all(parameter.requires_grad for parameter in stage.network.classifier.parameters())
    assert left_in(tmp_path) == {
        *("history.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "tensorboard/hparams.yaml")
    }
    with pytest.raises(WeightsError, match="is the run finished"):
        load_network(tmp_path)
    resumed = train(guided(training), tmp_path, resume=True)  # on images that are whole
    assert resumed.read_bytes() == train(guided(training), tmp_path.with_name("never broken")).read_bytes()


def test_gradients_that_are_not_finite_stop_the_run_before_they_reach_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stage = guided(budget())
    terms = stage.terms

    def steep(batch: object) -> object:
        found = terms(batch)
        total, losses = found
        infinite = torch.sqrt((total - total.detach()).clamp(min=0))  # 0, with an infinite slope
        return total + infinite, losses

    monkeypatch.setattr(stage, "terms", steep)
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    with pytest.raises(
        TrainingError, match=r"finite gradients, got NaN or infinity at step 0, images train_0.*learning rate"
    ):
        train(stage, tmp_path)
    assert not changed(stage.network, before)
    assert not is_finished(tmp_path)


@contextmanager
def files_of_at_most(size: int):
    """Writing more than that fails as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_said_in_one_line_and_leaves_no_half_file(tmp_path: Path):
    with pytest.raises(DataError, match=f"cannot write {tmp_path}.*; free some space"), files_of_at_most(60_000):
        train(guided(budget(validate_every=1)), tmp_path)
    assert left_in(tmp_path) <= {"history.csv", "tensorboard/hparams.yaml"}
    train(guided(budget(validate_every=1)), tmp_path, resume=True)
    assert is_finished(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*file/run: not a directory"):
        train(guided(budget()), tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(5, "Input/output error", "photos/a.jpg"), "training stopped: photos/a.jpg: input/output error"),
        (ConnectionResetError(104, "Connection reset by peer"), "training stopped: connection reset by peer"),
        (OSError("image file is truncated"), "training stopped: image file is truncated"),
    ],
)
def test_what_the_system_refuses_elsewhere_is_not_blamed_on_the_folder(error: OSError, says: str, tmp_path: Path):
    """An image that cannot be read, or a socket."""

    class Failing(ImageData):
        def train_dataloader(self) -> object:
            raise error

    stage = guided(budget())
    with pytest.raises(TrainingError) as caught:
        run_stage(stage, Failing(scenes(), steps=2), tmp_path, hardware=CPU)
    assert str(caught.value) == says


@pytest.mark.parametrize("name", ["history.csv", "tensorboard", "checkpoints"])
def test_what_cannot_be_written_is_said_to_be_that(name: str, tmp_path: Path):
    """A file where a folder should be, and the other way round, of everything that a run writes."""
    out = tmp_path / "run"
    out.mkdir()
    (out / name).mkdir() if name.endswith("csv") else (out / name).touch()
    with pytest.raises(DataError, match=f"cannot write {out}.*; choose another folder"):
        train(guided(budget()), out)


def test_a_validation_without_a_figure_is_not_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Images without masks have no mean IU: there is no best network then, and the run says so."""

    class Unmasked(ImageData):
        def val_dataloader(self) -> Altered:
            return Altered(super().val_dataloader(), unmasked)

    def unmasked(batch: Batch) -> Batch:
        return batch._replace(segmented=torch.zeros_like(batch.segmented), masks=torch.full_like(batch.masks, 255))

    training = budget(4, validate_every=1)
    run_stage(Stage.segmenter(scene_network(), training), Unmasked(scenes(), steps=4), tmp_path / "a", hardware=CPU)
    assert is_finished(tmp_path / "a")
    assert not {"best.safetensors", "checkpoints/best.ckpt"} & left_in(tmp_path / "a")
    assert "no validation gave a figure (mean iu), so there is no best.safetensors" in caplog.text
    rows = [row.split(",") for row in (tmp_path / "a/history.csv").read_text().splitlines()[1:]]
    assert sum(row[-1] == "nan" for row in rows) == 4 and "0.0" not in {row[-1] for row in rows}
    caplog.clear()
    train(Stage.segmenter(scene_network(), training), tmp_path / "b")
    assert "best.safetensors" in left_in(tmp_path / "b") and not caplog.text


def test_a_validation_without_a_figure_takes_no_best_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scores = iter((float("nan"), 0.3, float("nan"), 0.2))
    stage = guided(budget(4, validate_every=1))
    monkeypatch.setattr(stage.evaluator, "compute", lambda: dict.fromkeys(stage.shown, next(scores)))
    weights = []
    monkeypatch.setattr(
        stage,
        "on_validation_epoch_start",
        lambda: weights.append(stage.network.trunk.conv3_1.weight.detach().clone()),
    )
    train(stage, tmp_path)
    best = load_network(tmp_path / "best.safetensors").trunk.conv3_1.weight
    assert [torch.equal(best, moment) for moment in weights] == [False, True, False, False]


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_is_no_success(asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the keyboard, or by a scheduler; and the next interruption is not ignored."""
    stage = guided(budget())
    terms, handlers = stage.terms, [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]

    def stopped(batch: Batch) -> object:
        signal.raise_signal(asked)
        return terms(batch)

    monkeypatch.setattr(stage, "terms", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(stage, tmp_path)
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not is_finished(tmp_path)


PEER = "[/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:55182"


@pytest.mark.parametrize(
    "error", [RuntimeError(PEER), distributed.DistBackendError("NCCL error")], ids=["gloo", "nccl"]
)
def test_the_end_of_another_process_is_said_in_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(_: object) -> None:
        raise error

    stage = guided(budget())
    monkeypatch.setattr(stage, "terms", fails)
    with pytest.raises(TrainingError, match="another process of this run stopped; its line stands above"):
        train(stage, tmp_path)
    error.args = ("our own fault",)
    if type(error) is RuntimeError:
        with pytest.raises(RuntimeError, match="our own fault"):
            train(stage, tmp_path, resume=True)


def test_a_precision_that_would_silently_be_another_is_refused(tmp_path: Path):
    hardware = HardwareOptions(accelerator="cpu", precision="16-mixed")
    with pytest.raises(ConfigError, match="precision 16-mixed does not work here; give bf16-mixed"):
        train(guided(budget()), tmp_path, hardware=hardware)
    assert not left_in(tmp_path)


@pytest.mark.parametrize(
    ("hardware", "named"),
    [
        (HardwareOptions(accelerator="gpus"), "gpus"),
        (HardwareOptions(accelerator="cpu", devices=-2), "devices"),
        (HardwareOptions(accelerator="cpu", strategy="dpd"), "dpd"),
    ],
)
def test_hardware_that_is_not_there_is_said(hardware: HardwareOptions, named: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=f"hardware.*{named}"):
        train(guided(budget()), tmp_path, hardware=hardware)
    assert not left_in(tmp_path)


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
