"""What stops a run: in one line, with the checkpoints and the network as they were."""

import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import distributed

from wheretolook.data.loading import ImageData
from wheretolook.errors import ConfigError, DataError, TrainingError, WeightsError
from wheretolook.networks.files import load_network
from wheretolook.options.training import HardwareOptions
from wheretolook.records import Batch, Sample
from wheretolook.runs.folder import is_finished
from wheretolook.runs.trainer import run_stage

from ..training.made import CPU, budget, scenes
from .trained import changed, data_for, guided, left_in, train


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
