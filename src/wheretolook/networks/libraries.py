"""Modules of torchvision, timm, segmentation_models_pytorch and transformers, or of a function of the user's own.

Nothing is imported before it is asked for. Whatever a weights file asks for is made by the four libraries' own makers
only, of names that they list, and fetches neither weights nor code.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from wheretolook.errors import ConfigError, nearest
from wheretolook.networks.huggingface import transformers_module
from wheretolook.networks.made import Made, Wanted, explaining, kept, library, require_harmless, require_known, three
from wheretolook.records import TORCHVISION, Preprocessing

HALVES = Preprocessing("RGB", 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# encoders of segmentation_models_pytorch that were trained on other images than torchvision's; it keeps its own record
# on a server
ENCODERS_OF_HALVES = ("inceptionresnetv2", "inceptionv4", "xception")


def torchvision_module(wanted: Wanted) -> Made:
    """A classification or segmentation model of torchvision, without weights unless the user asks for them."""
    require_harmless(wanted)
    models = library("torchvision.models", "torchvision")
    segmenters = models.list_models(module=models.segmentation)
    require_known("model of torchvision", wanted.name, [*models.list_models(module=models), *segmenters])
    maker = models.get_model_builder(wanted.name)
    background = int(wanted.name in segmenters)
    arguments = {"weights": None, "num_classes": wanted.classes + background, **wanted.arguments}
    if "weights_backbone" in inspect.signature(maker).parameters:
        arguments.setdefault("weights_backbone", None)
    with explaining(f"torchvision's {wanted.name}", wanted.arguments):
        module = maker(**arguments)
    record = models.get_model_weights(wanted.name).DEFAULT.transforms()
    side = None if background else record.crop_size[0]
    preprocessing = Preprocessing("RGB", 1.0, three(record.mean), three(record.std))
    return Made(module, preprocessing, None if side is None else (side, side), {}, bool(background) or None)


def timm_module(wanted: Wanted) -> Made:
    """A model of timm, without weights unless the user asks for them; it has its own data config with it."""
    require_harmless(wanted)
    timm = library("timm", "timm")
    require_known("model of timm", wanted.name.partition(".")[0], timm.list_models())
    arguments = {"pretrained": False, "num_classes": wanted.classes, **wanted.arguments}
    with explaining(f"timm's {wanted.name}", wanted.arguments):
        module = timm.create_model(wanted.name, **arguments)
        record = library("timm.data", "timm").resolve_model_data_config(module)
    # the module itself knows the size that it is made for, which arguments change
    return Made(module, Preprocessing("RGB", 1.0, three(record["mean"]), three(record["std"])), None, {})


def smp_module(wanted: Wanted) -> Made:
    """An architecture of segmentation_models_pytorch; its encoder has no weights unless the user asks for them."""
    require_harmless(wanted)
    smp = library("segmentation_models_pytorch", "smp")
    require_known("architecture of segmentation_models_pytorch", wanted.name.lower(), smp.MODEL_ARCHITECTURES_MAPPING)
    arguments = {"encoder_name": "resnet34", "encoder_weights": None, "classes": wanted.classes + 1, **wanted.arguments}
    if isinstance(arguments.get("aux_params"), Mapping):
        arguments["aux_params"] = {"classes": wanted.classes, **arguments["aux_params"]}
    with explaining(f"segmentation_models_pytorch's {wanted.name}", wanted.arguments):
        module = smp.create_model(wanted.name, **arguments)
    return Made(module, _encoder_preprocessing(str(arguments["encoder_name"])), None, {}, segments=True)


def _encoder_preprocessing(encoder: str) -> Preprocessing:
    record = None
    if encoder.startswith("tu-"):
        record = library("timm", "timm").get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
    if record is not None and record.mean and record.std:
        return Preprocessing("RGB", 1.0, three(record.mean), three(record.std))
    return HALVES if encoder in ENCODERS_OF_HALVES else TORCHVISION


LIBRARIES: dict[str, Callable[[Wanted], Made]] = {
    "torchvision": torchvision_module,
    "timm": timm_module,
    "smp": smp_module,
    "transformers": transformers_module,
}


def make_module(name: str, wanted: Wanted, *, make: Callable[..., nn.Module] | None = None, seed: int = 0) -> Made:
    """The module of a name such as `"timm:convnext_atto"` or `"package.module:function"`, by a seed.

    The global random state is left alone.

    Args:
        name: the library or the user's module, a colon, and what to make.
        wanted: the same with its arguments.
        make: in place of the function that the name tells.
        seed: of the module's first weights.

    Raises:
        ConfigError: there is no such library, model or function, or it does not take the arguments.
    """
    where, _, _ = name.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if make is None and where in LIBRARIES:
            made = LIBRARIES[where](wanted)
        else:
            made = _of_function(make or find_function(name), name, wanted)
    source = {"network": name, "arguments": kept(wanted.arguments), **made.source}
    return made._replace(module=made.module.float(), source=source)


def _of_function(make: Callable[..., nn.Module], name: str, wanted: Wanted) -> Made:
    """What a function of the user's own makes; it is told the number of classes where it asks for it."""
    arguments = dict(wanted.arguments)
    try:
        taken = set(inspect.signature(make).parameters)
    except (TypeError, ValueError):  # some callables in C have none
        taken = set()
    for argument in ("num_classes", "classes"):
        if argument in taken:
            arguments.setdefault(argument, wanted.classes)
    with explaining(name, wanted.arguments):
        module = make(**arguments)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"expected a torch module of {name}, got a {type(module).__name__}; return the network")
    return Made(module, None, None, {})


def find_function(name: str) -> Callable[..., nn.Module]:
    """The function of a name such as `"package.module:function"`; modules are looked for in this folder as well.

    Raises:
        ConfigError: there is none.
    """
    where, colon, function = name.partition(":")
    if not (where and colon and function):
        raise ConfigError(
            f"expected a network such as fcn8s, torchvision:resnet50 or package.module:function, got '{name}'"
            f"{nearest(where, ['fcn8s', 'fcn16s', 'fcn32s', *LIBRARIES])}"
        )
    with _this_folder_first():
        try:
            found: Any = importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{where}.".startswith(f"{error.name}."):
                raise
            raise ConfigError(
                f"expected {name} to be a function of a module, found no module {error.name}; check its name, and "
                f"whether its folder is this one{nearest(where, LIBRARIES)}"
            ) from error
    for part in function.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"expected a function {function} in {where}, found none{nearest(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"expected a function {function} in {where}, got a {type(found).__name__}")
    maker: Callable[..., nn.Module] = found
    return maker


@contextmanager
def _this_folder_first() -> Iterator[None]:
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")
