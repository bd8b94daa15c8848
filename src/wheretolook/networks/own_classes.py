"""A network by itself, without data that say what its classes are: they are in its file, or in its library's record."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wheretolook.errors import ConfigError
from wheretolook.networks.build import build, new_network
from wheretolook.networks.fitting import best_reading
from wheretolook.networks.guide import guide
from wheretolook.networks.huggingface import folder_json
from wheretolook.networks.libraries import LIBRARIES, find_function, make_module
from wheretolook.networks.made import Wanted, kept, library
from wheretolook.networks.weights import Weights
from wheretolook.options.network import NetworkOptions
from wheretolook.records import GuidedNetwork

MARK = 1013  # classes of a network that is only made to see which arrays have a row a class
Names = tuple[str, ...]
Record = Callable[[str, int | None], Names | None]  # a model's classes by its name, and how many there are to be


def own_network(
    options: NetworkOptions, weights: Weights | None, class_names: tuple[str, ...] | None = None
) -> GuidedNetwork:
    """The network of a weights file, or the one that the options make with the weights that they give it.

    Args:
        options: which network, where the file does not say.
        weights: what was read of a file; None for none.
        class_names: the foreground classes, in the order of the scores; None for those that the file has, that its
            library has on record for as many classes, or `class 0`, `class 1`, ...

    Raises:
        ConfigError: neither weights nor a network are named, or they do not fit together.
        WeightsError: the file is of another network.
    """
    described = weights is not None and bool(weights.description)
    if class_names is None and options.name is not None and ":" in options.name and not described:
        class_names = _class_names(options, weights)
    if weights is not None:
        return build(weights, class_names, options)
    if options.name is None or class_names is None:
        raise ConfigError("expected --weights of a trained network, or --network that has them, got neither")
    return new_network(options, class_names, None, 0)


def _class_names(options: NetworkOptions, weights: Weights | None) -> Names:
    """The names on record for as many classes as the file has rows for; numbers where there are none."""
    where, _, name = str(options.name).partition(":")
    on_record: Record = RECORDS.get(where, lambda name, count: None)
    count = _count(options) if weights is None else _count_in(options, weights)
    if count is None and (names := on_record(name, None)):
        return names
    if count is None:
        made = make_module(str(options.name), Wanted(name, options.arguments, MARK))
        guided: GuidedNetwork = guide(made.module, options.layer, input_size=options.input_size)
        return guided.class_names
    return on_record(name, count) or tuple(f"class {index}" for index in range(count))


def _count_in(options: NetworkOptions, weights: Weights) -> int | None:
    """How many classes a bare state dict is of; None where the network has as many whatever it is asked for."""
    name = str(options.name)
    arguments = kept(options.arguments)
    module = make_module(name, Wanted(name.partition(":")[2], arguments, MARK)).module
    theirs = best_reading(module, weights)
    rows = [  # of a segmenter there is one more, for the background
        len(theirs[array]) - (len(own) - MARK)
        for array, own in module.state_dict().items()
        if own.ndim and len(own) in (MARK, MARK + 1) and array in theirs and theirs[array].ndim == own.ndim
    ]
    return rows[-1] if rows and rows[-1] > 0 else None


def _count(options: NetworkOptions) -> int | None:
    """How many classes a function of the user's makes by itself; None for a library's model."""
    name = str(options.name)
    if name.partition(":")[0] in LIBRARIES:
        return None
    taken = inspect.signature(find_function(name)).parameters
    asked = [taken[argument].default for argument in ("num_classes", "classes") if argument in taken]
    if not asked:
        return None
    if not isinstance(asked[0], int):
        raise ConfigError(f"expected --class_names, since {name} must be told how many classes there are, got none")
    return asked[0]


def _of_torchvision(name: str, count: int | None) -> Names | None:
    models = library("torchvision.models", "torchvision")
    for entry in models.get_model_weights(name) if name in models.list_models() else ():
        names = tuple(entry.meta.get("categories", ()))
        names = names[1:] if names[:1] == ("__background__",) else names
        if names and count in (None, len(names)):
            return names
    return None


def _of_timm(name: str, count: int | None) -> Names | None:
    timm, data = library("timm", "timm"), library("timm.data", "timm")
    if count is None:
        known = timm.get_pretrained_cfg(name, allow_unregistered=True)
        count = known.num_classes if known is not None else None
    subset = data.infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return None
    return tuple(text.split(",")[0] for text in data.ImageNetInfo(subset).label_descriptions())


def _of_transformers(name: str, count: int | None) -> Names | None:
    labels: Any = folder_json(Path(name).expanduser() / "config.json").get("id2label")
    if not isinstance(labels, dict) or not all(str(index).isdigit() for index in labels):
        return None
    names = tuple(str(labels[index]) for index in sorted(labels, key=int))
    return None if count is not None and count > len(names) else names[-(count or len(names)) :]


RECORDS: dict[str, Record] = {
    "torchvision": _of_torchvision,
    "timm": _of_timm,
    "transformers": _of_transformers,
}
