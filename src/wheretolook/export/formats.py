"""The files that exported networks are written to."""

import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from wheretolook.errors import ConfigError
from wheretolook.files import replacing
from wheretolook.predict.description import INPUT, KEY, Description
from wheretolook.predict.network import EXTRA, ExportedNetwork

Run = Callable[[Tensor], tuple[Tensor, ...]]
Check = Callable[[Run], None]
RUNS = 5  # of each graph, of which the shortest counts
AXES = {0: "batch", 2: "height", 3: "width"}


class Writer(NamedTuple):
    """How a format is written.

    Attributes:
        suffix: of its files.
        require: makes sure that the packages are there.
        write: writes a file after a check of what it gives; returns how many times slower maps make it, or None.
    """

    suffix: str
    require: Callable[[], None]
    write: Callable[[ExportedProgram, Path, Description, Check], float | None]


def require_onnx() -> None:
    """Make sure that the packages of the extra `onnx` are there.

    Raises:
        ConfigError: one is missing.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ConfigError(EXTRA.format(package)) from error


def write_onnx(program: ExportedProgram, path: Path, description: Description, check: Check) -> float | None:
    """Write ONNX, if what onnxruntime makes of the file passes the check; returns how much slower maps make it."""
    import onnx

    model = _onnx_model(program, description)
    with replacing(path) as temporary:
        try:
            onnx.save_model(model, str(temporary))
        except ValueError as error:  # of protobuf, past 2 GB
            raise ConfigError(
                f"the network is too large for one file of ONNX ({error}); choose the format torch"
            ) from error
        network = ExportedNetwork(temporary)
        check(lambda images: tuple(torch.from_numpy(values) for values in network(images.numpy()).values()))
        return _slower(temporary, description) if "attention_maps" in description.outputs else None


def _onnx_model(program: ExportedProgram, description: Description) -> Any:
    import onnx

    made = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        external_data=False,
        input_names=[INPUT],
        output_names=list(description.outputs),
    )
    assert made is not None
    model = made.model_proto
    _name_axes(model)
    model.producer_name = "wheretolook"
    onnx.helper.set_model_props(model, {KEY: description.text()})
    return model


def _name_axes(model: Any) -> None:
    """The axes that may have any length are called by what they are, not by torch's letters."""
    images = model.graph.input[0].type.tensor_type.shape.dim
    names = {images[place].dim_param: name for place, name in AXES.items() if images[place].dim_param}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:  # a length, once it is set, is not one of any length
                for old, new in names.items():
                    axis.dim_param = re.sub(rf"\b{old}\b", new, axis.dim_param)


def without_maps(path: Path, target: Path, outputs: tuple[str, ...]) -> None:
    """Cut the attention maps out of a graph.

    Args:
        path: the whole graph.
        target: the graph to write.
        outputs: of the whole graph.
    """
    import onnx
    import onnx.utils

    kept = [name for name in outputs if name != "attention_maps"]
    onnx.save_model(onnx.utils.Extractor(onnx.load(str(path))).extract_model([INPUT], kept), str(target))


def _slower(path: Path, description: Description) -> float:
    """The time of the graph with maps over that of the graph without, in onnxruntime, on one image."""
    size = description.fixed_size or description.usual_size or description.places[0].size
    images = torch.rand(1, 3, *size).numpy()
    bare = path.with_name(f"{path.stem}-bare.onnx")
    try:
        without_maps(path, bare, description.outputs)
        sessions = [session(path), session(bare)]
    finally:
        bare.unlink(missing_ok=True)
    times: list[list[float]] = [[], []]
    for _ in range(RUNS + 1):  # by turns, so that whatever else the machine does falls on both
        for run, spent in zip(sessions, times, strict=True):
            start = time.perf_counter()
            run.run(None, {INPUT: images})
            spent.append(time.perf_counter() - start)
    return min(times[0][1:]) / min(times[1][1:])


def session(path: Path) -> Any:
    """A session of onnxruntime of its own, for graphs that have no description."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def write_program(program: ExportedProgram, path: Path, description: Description, check: Check) -> float | None:
    """Write a program of `torch.export`, if what is loaded back passes the check."""
    with replacing(path) as temporary:
        torch.export.save(program, temporary, extra_files={KEY: description.text()})
        loaded = torch.export.load(temporary).module()
        check(lambda images: tuple(loaded(images)))
    return None


WRITERS = {
    "onnx": Writer(".onnx", require_onnx, write_onnx),
    "torch": Writer(".pt2", lambda: None, write_program),
}
