"""Guided networks around a library's module or the user's, with the weights of any file."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, get_args

import torch
from torch import nn

from wheretolook.errors import ConfigError, WeightsError
from wheretolook.networks.fitting import fill_module, fitting, listed, require_numbers
from wheretolook.networks.guide import GuidedModule, guide
from wheretolook.networks.libraries import LIBRARIES, make_module
from wheretolook.networks.made import Made, Wanted
from wheretolook.networks.modes import evaluation_mode
from wheretolook.networks.trial import recorded_preprocessing, trial_images
from wheretolook.networks.weights import Weights, broken_description, preprocessing_of
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import Fusion
from wheretolook.records import Preprocessing

log = logging.getLogger("wheretolook")
OF_FCN = ("widths", "segmenter_width", "padding", "dropout", "classifier_dropout")


def build_guided(
    options: NetworkOptions,
    class_names: tuple[str, ...] | None,
    weights: Weights | None,
    *,
    make: Callable[..., nn.Module] | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> GuidedModule:
    """A guided network of a library's module or the user's, with what a file has for it.

    Args:
        options: which network; what is left at its default is as the file's description says.
        class_names: the foreground classes; None for those that the file names.
        weights: of ours, whose description makes the network again, or a state dict of the bare module; None for fresh.
        make: makes the module, in place of what options or file name.
        preprocessing: None for what the file or the library has on record.
        seed: of whatever starts afresh.

    Raises:
        WeightsError: the file is of another network, names a function that the user has not named, or does not fit.
        ConfigError: the options name no network that there is.
    """
    _require_no_fcn_options(options)
    description = weights.description if weights is not None else {}
    if weights is None or not description:
        return _with_cells(_of_options(options, class_names, weights, make, preprocessing, seed))
    _require_same(weights, options)
    if not _makes_sense(description):
        raise broken_description(weights.path)
    try:
        return _with_cells(_of_description(options, class_names, weights, make, preprocessing, seed))
    except ConfigError as error:
        raise WeightsError(f"{weights.path}: {error}") from error


def _with_cells(network: GuidedModule) -> GuidedModule:
    """The network, once it knows where its cells lie with these weights.

    A run that resumes builds its network from the weights that it was begun with, and so has the same cells.
    """
    with evaluation_mode(network), torch.no_grad():
        network(trial_images(network.module, network.input_size, None)[:1], segment=False)
    return network


def _of_options(
    options: NetworkOptions,
    class_names: tuple[str, ...] | None,
    weights: Weights | None,
    make: Callable[..., nn.Module] | None,
    preprocessing: Preprocessing | None,
    seed: int,
) -> GuidedModule:
    """The network that the user names, with fresh weights or those of a bare state dict."""
    if class_names is None:
        where = "" if weights is None else f"{weights.path}: "
        raise WeightsError(
            f"{where}expected class names, got weights without; give class_names=(...), or, last on the command line, "
            "--class_names A B"
        )
    made = _made(_name(options, make), options.arguments, len(class_names), make, seed)
    known = _told(options) or preprocessing or made.preprocessing or recorded_preprocessing(made.module)
    if known is None:
        log.warning(
            "%s: nothing says what images it was trained on; torchvision's mean and standard deviation are taken "
            "(network.mean and network.std say otherwise: 0 0 0 and 1 1 1 where it does that itself)",
            _name(options, make),
        )
    if weights is not None:
        fill_module(made.module, weights)  # first: the layer is found by the gradients of what is trained
    return _guided(made, options, class_names, preprocessing, {}, seed)


def _of_description(
    options: NetworkOptions,
    class_names: tuple[str, ...] | None,
    weights: Weights,
    make: Callable[..., nn.Module] | None,
    preprocessing: Preprocessing | None,
    seed: int,
) -> GuidedModule:
    """The network that a file of ours describes, with its weights."""
    description, name = weights.description, weights.network
    named = tuple(description["class_names"])
    if class_names is not None and len(class_names) != len(named):
        raise ConfigError(f"expected {len(named)} class names, got {len(class_names)}: {', '.join(class_names)}")
    if not _is_the_users(name) or make is not None or options.name == name:
        arguments = dict(description.get("arguments", options.arguments))
        wanted = Wanted(name.partition(":")[2], arguments, len(named), from_file=True)
        made = make_module(name, wanted, make=make, seed=seed)
    elif options.name is None:
        maker = name if "arguments" in description else "package.module:function"  # else its class is all that is known
        raise ConfigError(
            f"its network is {name}, a function that is never run because a file says so; name it yourself: "
            f"--network {maker}, or load_network(path, make=function)"
        )
    else:
        made = _made(options.name, options.arguments, len(named), None, seed)
    _load_module(made, weights, strict=made.source["network"] != name)  # first: a last layer may start at zero
    given = preprocessing or preprocessing_of(description)
    network = _guided(made, options, class_names or named, given, description, seed)
    _load_classifier(network, weights)
    return network


def _is_the_users(name: str) -> bool:
    where, colon, _ = name.partition(":")
    return bool(colon) and where not in LIBRARIES


def _makes_sense(description: Mapping[str, Any]) -> bool:
    """Whether a description that was read from a file is of the kind that `GuidedModule.describe` writes."""
    pairs = (description.get("input_size"), description.get("classifier_widths"))
    return (
        isinstance(description.get("arguments", {}), Mapping)
        and _is_layer(description.get("layer"))
        and description.get("fusion", "mean") in get_args(Fusion)
        and description.get("scores") in ("logits", "pooled", "classifier")
        and isinstance(description.get("background"), bool)
        and isinstance(description.get("segments"), bool | None)
        and all(pair is None or _is_pair(pair) for pair in pairs)
    )


def _is_layer(value: Any) -> bool:
    several = isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
    return several or isinstance(value, str | None)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value)


def _made(
    name: str, arguments: Mapping[str, Any], classes: int, make: Callable[..., nn.Module] | None, seed: int
) -> Made:
    return make_module(name, Wanted(name.partition(":")[2], dict(arguments), classes), make=make, seed=seed)


def _name(options: NetworkOptions, make: Callable[..., nn.Module] | None) -> str:
    if make is None:
        return options.name or ""
    return options.name or f"{make.__module__}:{getattr(make, '__qualname__', type(make).__qualname__)}"


def _guided(
    made: Made,
    options: NetworkOptions,
    class_names: tuple[str, ...],
    preprocessing: Preprocessing | None,
    description: Mapping[str, Any],
    seed: int,
) -> GuidedModule:
    """Guide a module as the options say; what they leave open is as the description says."""
    size = options.input_size or description.get("input_size") or made.input_size
    widths = options.classifier_widths or description.get("classifier_widths")
    extra: dict[str, Any] = {} if widths is None else {"classifier_widths": tuple(widths)}
    said = (options.segments, description.get("segments"), made.segments)
    return guide(
        made.module,
        options.layer or description.get("layer"),
        class_names=class_names,
        scores=options.scores or description.get("scores") or "auto",
        preprocessing=_told(options) or preprocessing or made.preprocessing,
        input_size=None if size is None else (int(size[0]), int(size[1])),
        fusion=options.fusion or description.get("fusion") or "mean",
        background=bool(description.get("background", True)),
        segments=next((answer for answer in said if answer is not None), None),
        source=made.source,
        seed=seed,
        **extra,
    )


def _told(options: NetworkOptions) -> Preprocessing | None:
    """What the options say of the network's images."""
    mean, std = options.mean, options.std
    if mean is None and std is None:
        return None
    if mean is None or std is None or not all(map(isfinite, (*mean, *std))) or min(std) <= 0:
        raise ConfigError(
            "expected network.mean and network.std together, three numbers each, those of std above 0, got "
            f"{_numbers(mean)} and {_numbers(std)}"
        )
    return Preprocessing("RGB", 1.0, mean, std)


def _numbers(values: tuple[float, ...] | None) -> str:
    return "none" if values is None else " ".join(f"{value:g}" for value in values)


def _require_no_fcn_options(options: NetworkOptions) -> None:
    for option in fields(options):
        if option.name in OF_FCN and getattr(options, option.name) != option.default:
            raise ConfigError(
                f"network.{option.name} is of an FCN, and {options.name or 'this network'} is none; leave it out"
            )


def _require_same(weights: Weights, options: NetworkOptions) -> None:
    """Make sure that what the user names is what the file is of, as far as the name of a folder tells.

    What is no library's may go by another name, or be the class that a function of the user's makes: whether it is
    of the file, its arrays tell.
    """
    name, described = options.name, weights.network
    alike = name in (None, described) or str(name).partition(":")[0] == described.partition(":")[0] == "transformers"
    if not alike and not _is_the_users(described):
        raise WeightsError(
            f"{weights.path}: expected weights of {name}, got those of {described}; choose one of the two"
        )
    given, kept = options.arguments, weights.description.get("arguments", options.arguments)
    if alike and given and given != kept and not described.startswith("transformers:"):
        raise WeightsError(
            f"{weights.path}: expected network.arguments as in the file, {kept}, got {given}; leave them out"
        )


def _load_module(made: Made, weights: Weights, *, strict: bool) -> None:
    """Every array of the module; where `strict`, the file must have no other."""
    own = {f"module.{name}": tensor for name, tensor in made.module.state_dict().items()}
    shared = fitting(own, weights.tensors)
    lost = [name for name in own if name not in shared]
    unused = [name for name in weights.tensors if name.startswith("module.") and name not in own] if strict else []
    if lost or unused:
        what = f"none that fits for {listed(lost)}" if lost else f"{listed(unused)} besides"
        raise WeightsError(
            f"{weights.path}: expected the arrays of {made.source['network']}, got {what}; network and file, or the "
            "library's version, do not belong together"
        )
    require_numbers(weights, shared)
    made.module.load_state_dict({name.removeprefix("module."): tensor for name, tensor in shared.items()})


def _load_classifier(network: GuidedModule, weights: Weights) -> None:
    """The added classifier's arrays, where the file has one of its widths."""
    if network.classifier is None:
        return
    own = {f"classifier.{name}": tensor for name, tensor in network.classifier.state_dict().items()}
    shared = fitting(own, weights.tensors)
    require_numbers(weights, shared)
    network.load_state_dict(shared, strict=False)
    if len(shared) < len(own):
        log.warning(
            "%s: started fresh: the added classifier; train it before its attention means anything", weights.path
        )
