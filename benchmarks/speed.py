"""What guided attention costs, as ratios to the floor beside it.

    .venv/bin/python benchmarks/speed.py

FCN8s of full trunk width, padding "same", classifier of three layers, batch 4, 224x224, 20 classes. Times are medians
of paired ratios, the two sides interleaved in one run; memory is the peak resident set above the loaded model, the
median of three processes a side. Exits 1 and names the rows that miss. Run it on an idle machine.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wheretolook.attention.methods import attention_maps
from wheretolook.data import open_dataset
from wheretolook.data.loading import evaluation_loader
from wheretolook.data.targets import mask_planes
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.modes import training_only
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import Batch, Sample, collate
from wheretolook.training.stage import Stage, objective_of

BATCH, SIZE, CLASSES = 4, 224, 20
CLASSIFICATION = objective_of(classification=1.0)
SQUARED = objective_of(classification=1.0, squared=1.0)
GAIN = objective_of(classification=1.0, mining=1.0)


def main() -> int:
    """Measure every row, print the table, and say which miss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", choices=list(PEAKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(peak(PEAKS[arguments.peak]))
        return 0
    measured = [*times(arguments.repeats), *memory()]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    print("| figure | measured | bar |\n|---|---|---|")
    missed = []
    for name, ratio, bar, at_most in measured:
        met = ratio <= bar if at_most else ratio >= bar
        print(f"| {name} | {ratio:.2f} | {'<=' if at_most else '>='} {bar} |")
        missed += [] if met else [name]
    print(f"\nmissed: {'; '.join(missed) or 'none'}")
    return bool(missed)


def times(repeats: int) -> list[tuple[str, float, float, bool]]:
    """The rows of time."""
    network, batch = make_network(), make_batch(BATCH)
    tripled = make_batch(3 * BATCH)
    rows = [
        ("maps of all classes / bare forward", looker(network, batch, maps=True), looker(network, batch)),
        ("external-loss step / classification step", step(network, batch, SQUARED), step(network, batch)),
        ("GAIN step, 2 classes an image / step on as many images", step(network, batch, GAIN), step(network, tripled)),
    ]
    result = [(name, paired(ours, floor, repeats), 1.15, True) for name, ours, floor in rows]
    with tempfile.TemporaryDirectory() as folder:
        write_voc(Path(folder), 8 * BATCH)
        ours, floor = evaluation(network, Path(folder), 8)
        result.append(("evaluate, images/s / bare forward, images/s", 1 / paired(ours, floor, 3), 0.85, False))
    return result


def memory() -> list[tuple[str, float, float, bool]]:
    """The rows of memory, each side in a fresh process."""
    found = {name: peak_of(name) for name in PEAKS}
    return [
        ("peak memory, maps of all classes / bare forward", found["maps"] / found["forward"], 1.1, True),
        ("peak memory, GAIN step / step on the originals", found["gain"] / found["step"], 1.6, True),
    ]


def paired(ours: Callable[[], None], floor: Callable[[], None], repeats: int) -> float:
    """Median of the ratios of times taken in turn, after one round of each to warm up."""
    for work in (ours, floor):
        work()
    return statistics.median(seconds(ours) / seconds(floor) for _ in range(repeats))


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def make_network() -> FCN8s:
    """Random weights serve: time and memory do not depend on them."""
    return FCN8s(tuple(f"class {index}" for index in range(CLASSES)))


def make_batch(images: int) -> Batch:
    """Random images, each with two classes and a mask of both."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(images, SIZE, SIZE, dtype=torch.long)
    masks[:, 20:100, 20:100], masks[:, 120:200, 90:180] = 1, 2
    labels = torch.zeros(images, CLASSES, dtype=torch.bool)
    labels[:, :2] = True
    rgb = torch.rand(images, 3, SIZE, SIZE, generator=generator)
    samples = zip(rgb, masks, labels, strict=True)
    return collate([Sample(i, m, c, mask_planes(m, c), True, str(number)) for number, (i, m, c) in enumerate(samples)])


def looker(network: FCN8s, batch: Batch, *, maps: bool = False) -> Callable[[], None]:
    """A forward, with or without the maps of all classes."""
    network.eval()
    images = network.preprocessing(batch.images)

    def look() -> None:
        with torch.inference_mode():
            output = network(images, segment=False)
            if maps:
                attention_maps(output)

    return look


def step(network: FCN8s, batch: Batch, objective: ObjectiveOptions = CLASSIFICATION) -> Callable[[], None]:
    """Losses and gradients of one training step."""
    stage = Stage.guidance(network, TrainingOptions(), objective)

    def take() -> None:
        with training_only(network, stage.trained_modules()):
            network.zero_grad(set_to_none=True)
            stage.terms(batch)[0].backward()

    return take


def evaluation(network: FCN8s, root: Path, passes: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Evaluation from files to figures, and the bare forward with the segmenter of as many images."""
    config = DataOptions(root=str(root), split="val", batch_size=BATCH)
    network.class_names = tuple(f"class {index}" for index in range(CLASSES))
    loader = evaluation_loader(open_dataset(config, "val"), BATCH, workers=0)
    images = network.preprocessing(make_batch(BATCH).images)

    def measure() -> None:
        evaluate(network, loader)

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(passes):
                network(images)

    network.eval()
    return measure, forward


def write_voc(root: Path, images: int) -> None:
    """Made scenes as JPEG and PNG files in VOC layout."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    scenes = open_dataset(DataOptions(scenes=ScenesOptions(size=SIZE, images=images)), "val")
    (root / "classes.txt").write_text("\n".join(f"class {index}" for index in range(CLASSES)))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(scenes.names))
    for index, name in enumerate(scenes.names):
        sample = scenes[index]
        pixels = (sample.image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(sample.mask.numpy().astype(np.uint8)).save(root / "SegmentationClass" / f"{name}.png")


PEAKS: dict[str, Callable[[], Callable[[], object]]] = {
    "forward": lambda: looker(make_network(), make_batch(BATCH)),
    "maps": lambda: looker(make_network(), make_batch(BATCH), maps=True),
    "step": lambda: step(make_network(), make_batch(BATCH)),
    "gain": lambda: step(make_network(), make_batch(BATCH), GAIN),
}


def peak_of(name: str) -> float:
    """The peak of one side, in bytes, from processes of its own."""
    command = [sys.executable, __file__, "--peak", name]
    found = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(3)]
    return statistics.median(map(int, found))


def peak(make: Callable[[], Callable[[], object]]) -> int:
    """Bytes of resident memory at the peak of the work, above those with the model loaded (Linux).

    To be called in a process of its own: memory that earlier work has freed is used again and does not count.
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
