"""What guided attention costs, as ratios to the floor beside it.

    .venv/bin/python benchmarks/speed.py

Batch 4, 224x224, 20 classes, two of them in each image. Times are medians of paired ratios, the two sides interleaved
in one run; memory is the peak resident set above the loaded model, each side in a process of its own. Weights are
random, scaled to scores of order 1; one row has scores that saturate. A row without a bar is another package's, beside
the row above it. Rows are printed as they are measured, in at most 5 minutes on two idle cores; exits 1 and names the
rows that miss. Denormal numbers are flushed, as in training.
"""

import argparse
import importlib.util
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from wheretolook.attention.methods import attention_maps
from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.data.targets import mask_planes
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.networks.modes import training_only
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.options.objective import MiningOptions, ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import Batch, GuidedNetwork, Sample, collate
from wheretolook.training.denormals import flushed_denormals
from wheretolook.training.stage import Stage, objective_of

BATCH, SIZE, CLASSES = 4, 224, 20
ALL = range(CLASSES)
NAMES = tuple(f"class {index}" for index in ALL)
CLASSIFICATION = objective_of(classification=1.0)
SQUARED = objective_of(classification=1.0, squared=1.0)
ENERGY = objective_of(classification=1.0, energy=1.0)
GAIN = objective_of(classification=1.0, mining=1.0)
MINING = replace(GAIN, mining=MiningOptions(1.0, updates="attention", union=True, half_size=True))
SATURATED = 100.0  # spread of scores whose sigmoids are 0 and 1 but for numbers below float32's smallest normal one
Work = Callable[[], object]


class Row(NamedTuple):
    """One figure, and the bar that it should stay under (or, where `at_most` is False, over)."""

    name: str
    value: float
    bar: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a bar and the figure is on its wrong side."""
        return self.bar is not None and not (self.value <= self.bar if self.at_most else self.value >= self.bar)

    def __str__(self) -> str:
        """A line of the table."""
        bar = self.note or ("" if self.bar is None else f"{'<=' if self.at_most else '>='} {self.bar}")
        return f"| {self.name} | {'-' if math.isnan(self.value) else f'{self.value:.2f}'} | {bar} |"


def main() -> int:
    """Measure every row, print each as it is measured, and say which miss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row of time; at least 3 pairs are timed")
    parser.add_argument("--peak", choices=list(PEAKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with flushed_denormals():
        if arguments.peak:
            print(peak(PEAKS[arguments.peak]))
            return 0
        print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
        print("| figure | measured | bar |\n|---|---|---|", flush=True)
        missed = []
        for row in chain(fcn(arguments.seconds), wrapped(arguments.seconds), evaluation(arguments.seconds), memory()):
            print(row, flush=True)
            missed += [row.name] if row.missed else []
    print(f"\nmissed: {'; '.join(missed) or 'none'}")
    return bool(missed)


def fcn(seconds: float) -> Iterator[Row]:
    """The rows of time of an FCN8s of full width, padding "same"."""
    network, batch, tripled = make_network(), make_batch(BATCH), make_batch(3 * BATCH)
    plain = step(network, batch, CLASSIFICATION)
    maps = paired(looker(network, batch, classes=ALL), looker(network, batch), seconds)
    yield Row("FCN8s: maps of all classes / bare forward", maps, 1.15)
    squared = paired(step(network, batch, SQUARED), plain, seconds)
    yield Row("FCN8s: step with the squared loss / classification step", squared, 1.15)
    gain = step(network, batch, GAIN)
    value = paired(gain, step(network, tripled, CLASSIFICATION), seconds)
    yield Row("FCN8s: GAIN step, 2 classes an image / step on as many images", value, 1.15)
    mining = paired(step(network, batch, MINING), plain, seconds)
    yield Row("FCN8s: mining step, all classes at once, path through the maps, half size / plain step", mining, 1.5)
    saturated = step(make_network(spread=SATURATED), batch, GAIN)
    yield Row("FCN8s: GAIN step, scores saturated / not saturated", paired(saturated, gain, seconds), 1.15)


def wrapped(seconds: float) -> Iterator[Row]:
    """The rows of time of networks that are not ours, and other packages' maps of the same classes and layers."""
    batch = make_batch(BATCH)
    for name, (library, make) in WRAPPED.items():
        if importlib.util.find_spec(library) is None:
            yield Row(name, math.nan, note=f"skipped: {library} is not installed")
            continue
        network = guide(make(), input_size=SIZE)
        images = network.preprocessing(batch.images)
        settle_statistics(network.module, images)
        floor = bare(network.module, images)
        value = paired(looker(network, batch, classes=[0]), floor, seconds)
        yield Row(f"{name}: maps of one class / bare forward", value, 1.15)
        value = paired(looker(network, batch, classes=ALL), floor, seconds)
        yield Row(f"{name}: maps of all classes / bare forward", value, 1.15)
        for package, their_maps in OTHERS.items():
            yield theirs(f"{name}: the same maps by {package} / bare forward", package, their_maps, network, images)
        value = paired(step(network, batch, ENERGY), plain_step(network.module, images, batch.labels), seconds)
        yield Row(f"{name}: step with the energy loss / plain step", value, 1.15)


def evaluation(seconds: float) -> Iterator[Row]:
    """Evaluation from files to figures, beside the bare forward with the segmenter of as many images."""
    network, passes = make_network(), 4
    images = network.preprocessing(make_batch(BATCH).images)
    with tempfile.TemporaryDirectory() as folder:
        write_voc(Path(folder), passes * BATCH)
        config = DataOptions(root=folder, split="val", batch_size=BATCH)
        loader = evaluation_loader(open_dataset(config, "val"), BATCH, workers=0)

        def forward() -> None:
            with torch.inference_mode():
                for _ in range(passes):
                    network(images)

        network.eval()
        value = 1 / paired(lambda: evaluate(network, loader), forward, seconds)
    yield Row("FCN8s: evaluate, images/s / bare forward, images/s", value, 0.85, at_most=False)


def memory() -> Iterator[Row]:
    """The rows of memory, each side in a fresh process."""
    if not Path("/proc/self/clear_refs").exists():
        yield Row("FCN8s: peak memory", math.nan, note="skipped: peaks are read from Linux's /proc")
        return
    yield Row("FCN8s: peak memory, maps of all classes / bare forward", peak_of("maps") / peak_of("forward"), 1.1)
    yield Row("FCN8s: peak memory, GAIN step / step on the originals", peak_of("gain") / peak_of("step"), 1.6)


def paired(ours: Work, floor: Work, seconds: float) -> float:
    """Median of the ratios of times taken in turn, after one round of each to warm up.

    Args:
        ours: what is measured.
        floor: what it is measured against.
        seconds: to go on for; three pairs are taken however long they last.
    """
    for work in (ours, floor):
        work()
    ratios: list[float] = []
    started = time.perf_counter()
    while len(ratios) < 3 or time.perf_counter() - started < seconds:
        ratios.append(elapsed(ours) / elapsed(floor))
    return statistics.median(ratios)


def elapsed(work: Work) -> float:
    """How long it takes, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def make_network(*, spread: float = 1.0) -> FCN8s:
    """An FCN8s of random weights whose class scores have this standard deviation.

    Without biases the network is homogeneous: what its first layer is multiplied by, its scores are.
    """
    network = FCN8s(NAMES).eval()
    with torch.inference_mode():
        scores = network(network.preprocessing(make_batch(1).images), segment=False).class_scores
    network.get_parameter("trunk.conv1_1.weight").data *= spread / scores.std()
    return network


def make_batch(images: int) -> Batch:
    """Random images, each with two classes and a mask of both."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(images, SIZE, SIZE, dtype=torch.long)
    masks[:, SIZE // 10 : SIZE // 2, SIZE // 10 : SIZE // 2] = 1
    masks[:, SIZE // 2 : -SIZE // 10, SIZE // 2 : -SIZE // 10] = 2
    labels = torch.zeros(images, CLASSES, dtype=torch.bool)
    labels[:, :2] = True
    rgb = torch.rand(images, 3, SIZE, SIZE, generator=generator)
    samples = zip(rgb, masks, labels, strict=True)
    return collate([Sample(i, m, c, mask_planes(m, c), True, str(number)) for number, (i, m, c) in enumerate(samples)])


def looker(network: GuidedNetwork, batch: Batch, *, classes: Sequence[int] = ()) -> Work:
    """A forward, with the maps of these classes."""
    network.eval()
    images = network.preprocessing(batch.images)

    def look() -> None:
        network.eval()
        with torch.inference_mode():
            output = network(images, segment=False)
            if classes:
                attention_maps(output, classes)

    return look


def bare(module: nn.Module, images: Tensor) -> Work:
    """The forward of a module as it is."""

    def look() -> None:
        module.eval()
        with torch.inference_mode():
            module(images)

    return look


def step(network: GuidedNetwork, batch: Batch, objective: ObjectiveOptions) -> Work:
    """Losses and gradients of one training step."""
    stage = Stage.guidance(network, TrainingOptions(), objective)

    def take() -> None:
        with training_only(network, stage.trained_modules()):
            network.zero_grad(set_to_none=True)
            stage.terms(batch)[0].backward()

    return take


def plain_step(module: nn.Module, images: Tensor, labels: Tensor) -> Work:
    """Cross-entropy and gradients of a module as it is."""

    def take() -> None:
        module.train().zero_grad(set_to_none=True)
        F.binary_cross_entropy_with_logits(module(images), labels.to(images.dtype)).backward()

    return take


def make_resnet50() -> nn.Module:
    """The one of torchvision, with random weights."""
    from torchvision.models import resnet50

    network: nn.Module = resnet50(num_classes=CLASSES)
    return network


def make_vit() -> nn.Module:
    """ViT-S of timm, whose scores come from its class token, with random weights."""
    from timm import create_model

    network: nn.Module = create_model("vit_small_patch16_224", num_classes=CLASSES)
    return network


# by name: the library that makes it, which need not be installed, and how
WRAPPED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "resnet50": ("torchvision", make_resnet50),
    "ViT-S": ("timm", make_vit),
}


def settle_statistics(module: nn.Module, images: Tensor) -> None:
    """Give batch norms the statistics of these images, without which random weights saturate the scores."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches, of which there is one
    module.train()
    with torch.no_grad():
        module(images)


def theirs(
    name: str, package: str, make: Callable[[GuidedModule, Tensor], Work], network: GuidedModule, images: Tensor
) -> Row:
    """What another package takes for the same maps, once: it goes through the network again for every class."""
    if importlib.util.find_spec(package) is None:
        return Row(name, math.nan, note=f"skipped: {package} is not installed")
    network.eval()
    floor = bare(network.module, images)
    floor()
    return Row(name, elapsed(make(network, images)) / elapsed(floor))


def by_grad_cam(network: GuidedModule, images: Tensor) -> Work:
    """Maps of all classes by grad-cam."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer = network.module.get_submodule(network.layer)
    maker = GradCAM(model=network.module, target_layers=[layer], reshape_transform=as_grid)

    def look() -> None:
        with maker:
            for index in ALL:
                maker(input_tensor=images, targets=[ClassifierOutputTarget(index)] * len(images))

    return look


def by_captum(network: GuidedModule, images: Tensor) -> Work:
    """Maps of all classes by captum; of tokens it makes one number each, of the same cost."""
    from captum.attr import LayerGradCam

    maker = LayerGradCam(network.module, network.module.get_submodule(network.layer))

    def look() -> None:
        for index in ALL:
            maker.attribute(images, target=index)

    return look


def as_grid(features: Tensor) -> Tensor:
    """Tokens without the class token as a square grid; a grid as it is."""
    if features.ndim == 4:
        return features
    patches = features[:, 1:]
    side = math.isqrt(patches.shape[1])
    grid: Tensor = patches.unflatten(1, (side, side))
    return grid.permute(0, 3, 1, 2)


OTHERS: dict[str, Callable[[GuidedModule, Tensor], Work]] = {"pytorch_grad_cam": by_grad_cam, "captum": by_captum}


def write_voc(root: Path, images: int) -> None:
    """Made scenes as JPEG and PNG files in VOC layout."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    scenes = open_dataset(DataOptions(scenes=ScenesOptions(size=SIZE, images=images)), "val")
    (root / "classes.txt").write_text("\n".join(NAMES))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(scenes.names))
    for index, name in enumerate(scenes.names):
        sample = scenes[index]
        pixels = (sample.image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(sample.mask.numpy().astype(np.uint8)).save(root / "SegmentationClass" / f"{name}.png")


# of weights as they come, since no work may have run before: what it had freed would be used again
PEAKS: dict[str, Callable[[], Work]] = {
    "forward": lambda: looker(FCN8s(NAMES), make_batch(BATCH)),
    "maps": lambda: looker(FCN8s(NAMES), make_batch(BATCH), classes=ALL),
    "step": lambda: step(FCN8s(NAMES), make_batch(BATCH), CLASSIFICATION),
    "gain": lambda: step(FCN8s(NAMES), make_batch(BATCH), GAIN),
}


def peak_of(name: str) -> int:
    """The peak of one side, in bytes, from a process of its own."""
    command = [sys.executable, __file__, "--peak", name]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(make: Callable[[], Work]) -> int:
    """Bytes of resident memory at the peak of the work, above those with the model loaded (Linux).

    To be called in a process of its own: memory that was freed before is used again and does not count.
    """
    work = make()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """One figure of the process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    sys.exit(main())
