"""Networks from options, from a weights file, or from both."""

import logging
from collections.abc import Callable
from dataclasses import fields
from typing import cast, get_args

from torch import nn

from wheretolook.errors import ConfigError, WeightsError
from wheretolook.networks.fcn.network import ARCHITECTURES, FCN, LAST, LAYERS, Architecture, Padding
from wheretolook.networks.fcn.weights import CLASSIFIER_WIDTHS, FCNWeights, build_fcn, fcn_weights, fill
from wheretolook.networks.fitting import fresh_heads, listed
from wheretolook.networks.guide import GuidedModule
from wheretolook.networks.heads import PooledClassifier
from wheretolook.networks.weights import Weights, broken_description
from wheretolook.networks.wrapped import build_guided
from wheretolook.options.network import NetworkOptions
from wheretolook.options.objective import Fusion, Method
from wheretolook.records import CAFFE, GuidedNetwork, Preprocessing

log = logging.getLogger("wheretolook")
DEFAULT: Architecture = "fcn8s"


def new_network(
    options: NetworkOptions,
    class_names: tuple[str, ...],
    start: Weights | None,
    seed: int,
    *,
    make: Callable[..., nn.Module] | None = None,
) -> GuidedNetwork:
    """Build the network of the options and fill it with whatever the weights have for it.

    A whole network in the weights stays as it is.

    Args:
        options: which network.
        class_names: the foreground classes.
        start: weights to start from; None for fresh ones.
        seed: of whatever starts afresh.
        make: makes the module, in place of what the options name.

    Raises:
        WeightsError: the weights are of another network than the options', or of other classes.
        ConfigError: the options name no network that there is.
    """
    if start is not None:
        require_classes(start, class_names)
    if not _is_fcn(options, start, make):
        return _attending(build_guided(options, class_names, start, make=make, seed=seed), options, start)
    _require_fcn_options(options)
    found = None if start is None else fcn_weights(start)
    if found is not None and found.segments:
        return _attending(_whole_fcn(options, class_names, found, seed=seed), options, start)
    return _attending(_fresh_fcn(options, class_names, found, seed), options, start)


def network_for(
    weights: Weights, class_names: tuple[str, ...], options: NetworkOptions | None = None, *, seed: int = 0
) -> GuidedNetwork:
    """Build a file's network and make sure that it speaks of the data's classes.

    Args:
        weights: the file.
        class_names: the data's foreground classes.
        options: which network, where the file does not say; what is left at its default says nothing.
        seed: of whatever starts afresh.

    Raises:
        WeightsError: the file's classes or network are others.
    """
    require_classes(weights, class_names)
    return build(weights, class_names, options or NetworkOptions(), seed=seed)


def given_network(
    options: NetworkOptions, class_names: tuple[str, ...], weights: Weights | None, *, seed: int = 0
) -> GuidedNetwork:
    """The network of a weights file, or the one that the options make with the weights that they give it.

    Args:
        options: which network the weights are of, where they do not say; which to make, where there are none.
        class_names: the foreground classes.
        weights: what was read of a file; None for none.
        seed: of whatever starts afresh.

    Raises:
        ConfigError: neither weights nor a network are named, or they do not fit together.
        WeightsError: the file is of another network.
    """
    if weights is not None:
        return network_for(weights, class_names, options, seed=seed)
    if options.name is None:
        raise ConfigError("expected --weights of a trained network, or --network that has them, got neither")
    return new_network(options, class_names, None, seed)


def build(
    weights: Weights,
    class_names: tuple[str, ...] | None,
    options: NetworkOptions,
    *,
    make: Callable[..., nn.Module] | None = None,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> GuidedNetwork:
    """`load_network` for a file that has been read.

    Raises:
        WeightsError: the file is of another network, or has no class names and none were given.
    """
    if not _is_fcn(options, weights, make):
        guided = build_guided(options, class_names, weights, make=make, preprocessing=preprocessing, seed=seed)
        return _attending(guided.eval(), options, weights)
    _require_fcn_options(options)
    fcn = _whole_fcn(options, class_names, fcn_weights(weights), padding, preprocessing, seed)
    return _attending(fcn, options, weights)


def require_classes(weights: Weights, class_names: tuple[str, ...]) -> None:
    """Make sure that a file that names its classes names the data's, in the same order.

    Raises:
        WeightsError: it names others.
    """
    named = tuple(weights.description.get("class_names", class_names))
    if named != class_names:
        turned = sorted(named) == sorted(class_names)
        way = "write them in that order into classes.txt where the layout has one, or " if turned else ""
        raise WeightsError(
            f"{weights.path}: expected the data's classes {', '.join(class_names)}, got {', '.join(named)}; {way}"
            "choose the data that it was trained on"
        )


def require_network(weights: FCNWeights, network: FCN, options: NetworkOptions) -> None:
    """Make sure that options which were given say nothing else than a whole network in the weights.

    Raises:
        WeightsError: one of them does.
    """
    own: dict[str, object] = {
        "name": weights.architecture,
        "widths": network.trunk.widths,
        "segmenter_width": network.segmenter.fc7.out_channels,
        "classifier_widths": (network.classifier.fc6_cl.out_features, network.classifier.fc7_cl.out_features),
        "dropout": network.segmenter.dropout.p,
        "classifier_dropout": network.classifier.dropout.p,
    }
    for option in fields(options):
        given, found = getattr(options, option.name), own.get(option.name)
        if option.name in own and given not in (option.default, found):
            raise WeightsError(
                f"{weights.path}: expected {option.name} as in that whole network, {found}, got {given}; leave it out"
            )


def classifying(network: GuidedNetwork, weights: Weights) -> GuidedNetwork:
    """The network, to be looked at as it is, with a warning where its added classifier has learned nothing yet.

    Raises:
        WeightsError: layers of its own that make its scores are not in the file: what it says would be noise.
    """
    fresh = [] if weights.description or not isinstance(network, GuidedModule) else fresh_heads(network, weights)
    if fresh:
        raise WeightsError(
            f"{weights.path}: expected weights of a network with {len(network.class_names)} classes, got none that fit "
            f"{listed(fresh)}; choose the classes that it was trained on, or train it on these: wheretolook "
            "train-classifier"
        )
    warn_untrained(network, weights)
    return network


def warn_untrained(network: GuidedNetwork, weights: Weights) -> None:
    """Warn where the classifier that was added to a network has learned nothing yet."""
    if not network.classifies:
        log.warning(
            "%s: its classifier was never trained, so its attention is noise; run train-classifier", weights.path
        )


def _attending(network: GuidedNetwork, options: NetworkOptions, weights: Weights | None) -> GuidedNetwork:
    """The network with its attention method: what the options say, else what the file says, else Grad-CAM."""
    if weights is not None and "attention" in weights.description:
        network.attention = weights.description["attention"]
        if network.attention not in get_args(Method):
            raise broken_description(weights.path)
    network.attention = options.attention or network.attention
    if isinstance(network, FCN):
        _read_from(network, options, weights)
    if network.attention == "cam" and isinstance(getattr(network, "classifier", None), PooledClassifier):
        raise ConfigError(
            "expected one linear layer behind global average pooling, for the attention method cam, got a classifier "
            "with hidden layers; choose grad_cam or hires_cam"
        )
    return network


def _read_from(network: FCN, options: NetworkOptions, weights: Weights | None) -> None:
    """Read attention where the options say, else where the file says, else from the last layer."""
    if weights is not None:
        known, fusion = weights.description.get("layer", [LAST]), weights.description.get("fusion", "mean")
        if not (isinstance(known, list) and {*map(str, known)} <= LAYERS.keys() and fusion in get_args(Fusion)):
            raise broken_description(weights.path)
        network.read_from(*known)
        network.fusion = fusion
    if options.layer:
        network.read_from(*([options.layer] if isinstance(options.layer, str) else options.layer))
    network.fusion = options.fusion or network.fusion


def _whole_fcn(
    options: NetworkOptions,
    class_names: tuple[str, ...] | None,
    weights: FCNWeights,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
) -> FCN:
    """The FCN that a file holds; what the options say must be so, or is for what the file lacks."""
    network = build_fcn(
        weights,
        class_names,
        padding=padding or options.padding,
        preprocessing=preprocessing,
        segmenter_width=options.segmenter_width,
        classifier_widths=options.classifier_widths,
        seed=seed,
    )
    require_network(weights, network, options)
    return network


def _fresh_fcn(options: NetworkOptions, class_names: tuple[str, ...], start: FCNWeights | None, seed: int) -> FCN:
    """An FCN of the options' widths, with what the weights have for it."""
    network = ARCHITECTURES[cast(Architecture, options.name or DEFAULT)](
        class_names,
        widths=options.widths,
        segmenter_width=options.segmenter_width,
        classifier_widths=options.classifier_widths or CLASSIFIER_WIDTHS,
        padding=options.padding or ("same" if start is None else start.padding),
        preprocessing=CAFFE if start is None else start.preprocessing,
        dropout=options.dropout,
        classifier_dropout=options.classifier_dropout,
        seed=seed,
    )
    if start is not None:
        fill(network, start.fitting(network, "segmenter."))
    return network


def _is_fcn(options: NetworkOptions, weights: Weights | None, make: Callable[..., nn.Module] | None) -> bool:
    """Whether it is an FCN that is wanted: by name, by what the file says, or since nothing is said at all."""
    name = options.name or (weights.network if weights is not None else "")
    described = weights is not None and bool(weights.description)
    return make is None and (name in ARCHITECTURES or not (name or described))


def _require_fcn_options(options: NetworkOptions) -> None:
    if options.mean is not None or options.std is not None:
        raise ConfigError(
            "an FCN's images are as its weights say; leave out network.mean and network.std, or write other weights "
            "with the command convert and its option preprocessing"
        )
    for name in ("arguments", "input_size", "scores", "segments"):
        if getattr(options, name) not in ({}, None, "classifier"):
            raise ConfigError(f"an FCN has its own classifier and takes images of any size; leave out network.{name}")
