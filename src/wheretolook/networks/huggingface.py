"""Modules of transformers from a folder with a config.json, or from the config that a weights file keeps."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wheretolook.errors import ConfigError, reason
from wheretolook.networks.made import (
    ABOUT_WEIGHTS,
    ADDRESS,
    Made,
    Wanted,
    explaining,
    library,
    require_known,
    texts_in,
    three,
)
from wheretolook.records import TORCHVISION, Preprocessing

CONFIG = "config"  # the argument in which a weights file keeps what the folder's config.json said
# of a config: code from elsewhere, paths of a machine, precision, and how attention is computed, which may name a
# kernel to be fetched
DROPPED = (
    *("auto_map", "_name_or_path", "name_or_path", "transformers_version", "quantization_config", "torch_dtype"),
    *("dtype", "_attn_implementation", "attn_implementation", "_experts_implementation", "experts_implementation"),
    "_commit_hash",
)
OF_CLASSES = ("id2label", "label2id", "num_labels")
ON_ANOTHER = ("backbone", "backbone_config", "backbone_checkpoint")


def transformers_module(wanted: Wanted) -> Made:
    """An image classifier or segmenter of transformers with fresh weights, as a config says."""
    transformers = library("transformers", "transformers")
    folder = Path(wanted.name).expanduser()
    stored = wanted.arguments.get(CONFIG)
    if wanted.from_file and not isinstance(stored, Mapping):
        raise ConfigError("its description has no config for transformers; save it again")
    read = stored if isinstance(stored, Mapping) else folder_json(folder / "config.json")
    changes = {name: value for name, value in wanted.arguments.items() if name != CONFIG}
    config = _harmless({**read, **changes})
    segments = _segments(config)
    for name in ON_ANOTHER:
        if config.get(name):
            raise ConfigError(f"expected a model of one piece, got a {name} in its config; choose another network")
    names = {index: f"class {index}" for index in range(wanted.classes + segments)}
    labels = {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    maker = transformers.AutoModelForSemanticSegmentation if segments else transformers.AutoModelForImageClassification
    with explaining(f"transformers' {config['model_type']}", changes):
        values = {name: value for name, value in config.items() if name != "model_type"}
        told = transformers.AutoConfig.for_model(config["model_type"], **values, **labels)
        module = maker.from_config(told, trust_remote_code=False)
    source = {"network": f"transformers:{config['model_type']}", "arguments": {CONFIG: config}}
    preprocessing = None if isinstance(stored, Mapping) else folder_preprocessing(folder)
    return Made(module, preprocessing, _size(config), source, segments or None)


def folder_preprocessing(folder: Path) -> Preprocessing:
    """What a folder's preprocessor_config.json says of mean, standard deviation and scale; torchvision's without one.

    Raises:
        ConfigError: the file is there but cannot be read.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return TORCHVISION
    record = folder_json(path)
    # of bytes, as the processor scales them; ours come in [0, 1]
    scale = 255.0 * float(record.get("rescale_factor", 1 / 255)) if record.get("do_rescale", True) else 255.0
    if not record.get("do_normalize", True):
        return Preprocessing("RGB", scale, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    try:
        mean = three(record.get("image_mean", TORCHVISION.mean))
        std = three(record.get("image_std", TORCHVISION.std))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: expected image_mean and image_std of three numbers each; mend it") from error
    return Preprocessing("RGB", round(scale, 6), mean, std)


def renamed(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of transformers' by the names that its modules have in memory, which are often others than in files.

    Its own reader knows which is which; it is handed the arrays, so that it opens and fetches nothing.

    Args:
        module: made by `transformers_module`.
        tensors: as a file has them.
    """
    kind: Any = type(module)
    with _quiet(), torch.random.fork_rng(devices=[]):
        read, report = kind.from_pretrained(
            None,
            config=module.config,
            state_dict=dict(tensors),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    others = {name: torch.empty(shape, device="meta") for name, shape, _ in report["mismatched_keys"]}
    others |= {name: tensors[name] for name in report["unexpected_keys"] if name in tensors}
    left_out = {*others, *report["missing_keys"]}
    return {name: tensor for name, tensor in read.state_dict().items() if name not in left_out} | others


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report of what it has loaded: we give our own."""
    logging = library("transformers.utils.logging", "transformers")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what would fetch or read weights or run code from elsewhere, however deep."""
    return {
        name: _harmless(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in DROPPED + OF_CLASSES and not ABOUT_WEIGHTS.search(name)
        if isinstance(value, Mapping) or not any(ADDRESS.search(text) for text in texts_in(value))
    }


def _segments(config: Mapping[str, Any]) -> bool:
    """Whether a config is of a segmenter; which of two a folder is for stands in its `architectures`."""
    auto = library("transformers.models.auto.modeling_auto", "transformers")
    classifiers = auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    segmenters = auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
    kind = str(config.get("model_type"))
    require_known("model_type of an image classifier or segmenter", kind, [*classifiers, *segmenters])
    names = " ".join(map(str, config.get("architectures") or ()))
    return kind in segmenters and ("Segmentation" in names or kind not in classifiers)


def _size(config: Mapping[str, Any]) -> tuple[int, int] | None:
    match config.get("image_size"):
        case int(side):
            return side, side
        case [int(height), int(width)]:
            return height, width
    return None


def folder_json(path: Path) -> dict[str, Any]:
    """What a JSON file of a model's folder says.

    Raises:
        ConfigError: it is missing or says no object.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {reason(error)}; give transformers:FOLDER, the folder of a model with its config.json"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: expected a JSON object, got something else; fetch it again") from error
