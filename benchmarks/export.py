"""Exported networks: what attention maps of all classes cost in onnxruntime, beside the bare network and torch.

    .venv/bin/python benchmarks/export.py

Random weights, one image of 224x224. "bare" is the time of the graph without maps, "with maps" that of the same graph
with the maps of all classes, by turns, the least of several; "torch" is the time that torch takes for a forward and the
same maps by autograd, of at most 20 classes. "differs by" is the largest difference of the file from torch, relative to
the largest value.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import wheretolook  # first: makes torchvision importable beside a torch that it was not built for
from wheretolook.attention.methods import attention_maps
from wheretolook.export.formats import session, without_maps
from wheretolook.export.network import export_network
from wheretolook.networks.guide import guide
from wheretolook.records import GuidedNetwork

SIZE = 224


def torchvision(name: str) -> nn.Module:
    """A model of torchvision with a thousand classes."""
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None)
    return module.eval()


def timm(name: str) -> nn.Module:
    """A model of timm with a thousand classes."""
    import timm as library

    module: nn.Module = library.create_model(name, pretrained=False)
    return module.eval()


def fcn() -> GuidedNetwork:
    """FCN8s of a quarter of its widths, with 20 classes and its classifier of two hidden layers."""
    names = tuple(f"class {index}" for index in range(20))
    return wheretolook.FCN8s(
        names, widths=(16, 32, 64, 128, 128), segmenter_width=256, classifier_widths=(1024, 1024)
    ).eval()


def added() -> GuidedNetwork:
    """A ResNet18 with an added classifier for 20 classes."""
    names = tuple(f"class {index}" for index in range(20))
    return guide(torchvision("resnet18"), scores="classifier", class_names=names, input_size=SIZE).eval()


NETWORKS: dict[str, Callable[[], GuidedNetwork]] = {
    "ResNet18": lambda: guide(torchvision("resnet18"), input_size=SIZE),
    "ResNet18, added classifier": added,
    "MobileNetV3 small": lambda: guide(torchvision("mobilenet_v3_small"), input_size=SIZE),
    "EfficientNet-Lite0": lambda: guide(timm("tf_efficientnet_lite0"), input_size=SIZE),
    "ConvNeXt atto": lambda: guide(timm("convnext_atto"), input_size=SIZE),
    "FCN8s, a quarter wide": fcn,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="rows of the table")
    parser.add_argument("--runs", type=int, default=10, help="of each graph")
    options = parser.parse_args()
    logging.getLogger("wheretolook").setLevel(logging.ERROR)
    print(
        "| network | classes | bare | with maps | ratio | torch | differs by |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in options.networks:
        print(row(name, NETWORKS[name](), options.runs), flush=True)


def row(name: str, network: GuidedNetwork, runs: int) -> str:
    """One network's row of the table.

    Args:
        name: what it is called.
        network: to export.
        runs: how often each graph is timed.
    """
    images = torch.rand(1, 3, SIZE, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path, bare = Path(folder) / "net.onnx", Path(folder) / "bare.onnx"
        exported = export_network(network, path)
        without_maps(path, bare, exported.outputs)
        fed = {"images": images.numpy()}
        graphs = [partial(session(file).run, None, fed) for file in (bare, path)]
    classes = range(min(20, len(network.class_names)))  # a thousand would take a gigabyte
    times = least([*graphs, lambda: attention_maps(network(network.preprocessing(images)), classes)], runs)
    worst = max(exported.differences.values())
    bare_time, whole, in_torch = (f"{1000 * seconds:.1f} ms" for seconds in times)
    cells = [name, len(network.class_names), bare_time, whole, f"{times[1] / times[0]:.2f}", in_torch, f"{worst:.0e}"]
    return f"| {' | '.join(map(str, cells))} |"


def least(calls: list[Callable[[], Any]], runs: int) -> list[float]:
    """The least time of each call in seconds, taken by turns after one for warming up."""
    best = [float("inf")] * len(calls)
    for run in range(runs + 1):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if run:
                best[index] = min(best[index], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
