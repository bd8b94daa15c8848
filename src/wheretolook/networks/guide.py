"""Make a guided network of any torch module, which stays the user's own."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wheretolook.errors import ConfigError, ImageSizeError, WhereToLookError
from wheretolook.networks.forms import GridForm, Size
from wheretolook.networks.grid import CellFinder
from wheretolook.networks.heads import PooledClassifier, classify, pooled_scores
from wheretolook.networks.layers import DryRun, Layer, Parts, dry_run, find_layer, named_layers, split
from wheretolook.networks.outputs import OwnScores, ScoreShapes, at_image_size, tensors_in
from wheretolook.networks.reading import Reading, as_written, gradients_as_they_are, read_layers, uncompiled
from wheretolook.networks.recording import recorded
from wheretolook.networks.trial import own_preprocessing, trial_images
from wheretolook.options.objective import Fusion
from wheretolook.records import GuidedNetwork, GuidedOutput, LayerGrid, Part, Preprocessing, side_lengths

Scores = Literal["logits", "pooled", "classifier"]

CLASSIFIER_WIDTHS = (1024, 1024)
logger = logging.getLogger("wheretolook")


class GuidedModule(GuidedNetwork):
    """A user's module with the attention of one of its layers; made by `guide`.

    The module is `module`: neither copied nor changed, and hooks are on it only during a call.

    Attributes:
        module: the user's own.
        classifier: the added classifier; None where the class scores are the module's own.
        layers: names of the modules whose outputs attention is read from, in the order in which they run.
        forms: how the outputs of these hold a grid.
        scores: where the class scores come from.
        input_size: height and width of the images that the module was tried with.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[Layer],
        shapes: ScoreShapes,
        parts: Parts,
        *,
        scores: Scores,
        class_names: tuple[str, ...],
        preprocessing: Preprocessing,
        input_size: Size,
        classifier: PooledClassifier | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.module, self.classifier = module, classifier
        self.layers, self.detached = tuple(layer.name for layer in layers), any(layer.detached for layer in layers)
        self.forms = {layer.name: layer.form for layer in layers}
        self._finest = max(range(len(layers)), key=lambda index: (layers[index].grid[0] * layers[index].grid[1], index))
        self.shapes, self.scores = shapes, scores
        self.class_names, self.preprocessing, self.input_size = class_names, preprocessing, input_size
        own = uncompiled(module)
        self._cells = [
            CellFinder(own, own.get_submodule(name), partial(_grid_of, form)) for name, form in self.forms.items()
        ]
        self._parts, self._source = parts, dict(source or {"network": _class_name(module)})
        self.training = module.training  # not .train(): parts of the module keep their own modes
        if classifier is not None:
            classifier.train(module.training)

    @property
    def layer(self) -> str:
        """The layer on whose grid the maps are: of several, the finest."""
        return self.layers[self._finest]

    @property
    def segments(self) -> bool:
        """Whether the module gives scores of pixels."""
        return bool(self.shapes.masks)

    @property
    def classifies(self) -> bool:
        """Whether the class scores come from something trained: an added classifier's biases start at zero."""
        if self.classifier is None:
            return True
        return any(bool(layer.bias.any()) for layer in self.classifier.children() if isinstance(layer, nn.Linear))

    def part(self, name: Part) -> list[nn.Module]:
        """The modules that ran before the attention layer ended are the trunk; the rest turn features into scores."""
        modules, parameters = self._parts[name]
        own = uncompiled(self.module)
        found = [own.get_submodule(child) for child in modules]
        if parameters:
            found.append(nn.ParameterList([own.get_parameter(parameter) for parameter in parameters]))
        if name == "classifier" and self.classifier is not None:
            found.append(self.classifier)
        return found

    def describe(self) -> dict[str, Any]:
        """What `guide` was given and found, and where the module comes from: its class where nothing else is known."""
        return {
            **self._source,
            "class_names": list(self.class_names),
            "preprocessing": asdict(self.preprocessing),
            "layer": self.layer if len(self.layers) == 1 else list(self.layers),
            "attention": self.attention,
            "fusion": self.fusion,
            "scores": self.scores,
            "input_size": list(self.input_size),
            "segments": self.segments,
            "background": self.shapes.masks == len(self.class_names) + 1,
            "classifier_widths": None if self.classifier is None else list(self.classifier.widths),
        }

    def cells_state(self) -> dict[str, Any]:
        """Where its cells were found to lie, with the weights of that moment."""
        states = [finder.state() for finder in self._cells]
        return states[0] if len(states) == 1 else {"layers": states}

    def load_cells_state(self, state: dict[str, Any]) -> None:
        """Go on with the cells that were found before."""
        for finder, own in zip(self._cells, state.get("layers", [state]), strict=True):
            finder.load_state(own)

    def reset_classifier(self, seed: int) -> None:
        """Start the added classifier afresh.

        Raises:
            ConfigError: the class scores are the module's own.
        """
        if self.classifier is None:
            raise ConfigError(
                "expected an added classifier to start afresh, got class scores of the network itself; leave fresh out"
            )
        self.classifier.reset_parameters(seed)

    def forward(self, images: Float[Tensor, "batch channels height width"], *, segment: bool = True) -> GuidedOutput:
        """Class scores and features, and the mask scores of a segmenter unless `segment` is False.

        Scores and features are in single precision at least, whatever the module computes in.

        Args:
            images: as the module takes them.
            segment: False leaves the mask scores out of the output; with an added classifier the forward then ends at
                the layer.

        Raises:
            ImageSizeError: the module refuses images of that size.
            ConfigError: the layer does not run, or runs more than once, or nothing leads from it to the scores.
        """
        return recorded(self, self._read, images, segment=segment)

    def _read(self, images: Tensor, *, segment: bool) -> GuidedOutput:
        size = side_lengths(images)
        with gradients_as_they_are() as wanted, torch.set_grad_enabled(wanted or self.detached):
            images = images.clone() if images.is_inference() else images
            whole = segment or self.classifier is None
            with self._sizes_that_it_takes(size):
                leaf = self.classifier is None or len(self.layers) > 1
                readings, result = read_layers(self.module, self.forms, images, leaf=leaf, whole=whole)
            own = self.shapes.find(result, len(images))
            output = self._scored(readings, own)
            masks = self.with_background(own.masks) if segment and own.masks is not None else None
        if masks is not None:
            masks = at_image_size(masks, size)
            masks = masks if wanted else masks.detach()
        features = [*(reading.features for reading in readings[:-1]), output.features]
        with as_written(self.module):
            cells = [finder(images, side_lengths(grid)) for finder, grid in zip(self._cells, features, strict=True)]
        grids = tuple(LayerGrid(*grid) for grid in zip(features, cells, strict=True))
        finest = grids[self._finest]
        return GuidedOutput(output.class_scores, finest.features, masks, output.differentiable, finest.cells)._replace(
            layers=grids if len(grids) > 1 else (), fusion=self.fusion
        )

    def _scored(self, readings: Sequence[Reading], own: OwnScores) -> GuidedOutput:
        """The scores with the last layer's features; a gradient reaches the trunk where it reaches the first layer."""
        reading, differentiable = readings[-1], readings[0].differentiable
        if self.classifier is not None:
            with torch.set_grad_enabled(differentiable or len(readings) > 1):
                return classify(self.classifier, reading.features)._replace(differentiable=differentiable)
        if self.scores == "logits":
            scores = own.logits
        else:
            scores = None if own.masks is None else pooled_scores(self.with_background(own.masks))
        if scores is None:
            shape = f"({len(reading.features)}, {self.shapes.logits})" if self.shapes.logits else "of pixels"
            raise ConfigError(f"expected class scores {shape}, as the module gave when it was guided, got none")
        if not scores.requires_grad:
            raise ConfigError(f"no gradient leads from the class scores to layer '{reading.name}'; name another layer")
        return GuidedOutput(_exact(scores), reading.features, None, differentiable)

    @contextmanager
    def _sizes_that_it_takes(self, size: Size) -> Iterator[None]:
        """What the module says of another size than it was tried with, in one line."""
        try:
            yield
        except (WhereToLookError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, ValueError, AssertionError) as error:
            if size == self.input_size:
                raise
            why = " ".join(str(error).split())[:200]
            raise ImageSizeError(
                f"the network takes images of {self.input_size[1]}x{self.input_size[0]}, but not of "
                f"{size[1]}x{size[0]} ({why}); give a data.resize and data.crop that it takes"
            ) from error

    def with_background(self, masks: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch scores h w"]:
        """Mask scores with a channel of zeros for the background where the module scores the classes alone."""
        masks = _exact(masks)
        if masks.shape[1] > len(self.class_names):
            return masks
        return torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)

    def extra_repr(self) -> str:
        """The layers and where the class scores come from."""
        return f"layer={' '.join(self.layers)!r}, scores={self.scores!r}, classes={len(self.class_names)}"


def _grid_of(form: GridForm, result: Any, size: Size) -> Tensor:
    return form.grid(next(tensors_in(result)), size)


def _class_name(module: nn.Module) -> str:
    kind = type(uncompiled(module))
    return f"{kind.__module__}:{kind.__qualname__}"


def _exact(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def guide(
    module: nn.Module,
    layer: str | Sequence[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    scores: Literal["auto", "logits", "pooled", "classifier"] = "auto",
    preprocessing: Preprocessing | None = None,
    input_size: int | tuple[int, int] | None = None,
    images: Tensor | None = None,
    fusion: Fusion = "mean",
    background: bool = True,
    segments: bool | None = None,
    classifier_widths: tuple[int, int] = CLASSIFIER_WIDTHS,
    source: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> GuidedModule:
    """Make a guided network of any torch module that takes a batch of images.

    The module is not copied, renamed or changed. It runs once, in evaluation mode, to see its layers and its outputs.

    Args:
        module: gives class scores (B, C), mask scores (B, S, h, w), both, or neither where `scores` is `"classifier"`;
            as a tensor or in a tuple, dict or ModelOutput.
        layer: name of the module whose output attention is read from; None for the last one with parameters at the
            coarsest grid that moves the scores. Several names: each layer's maps are brought to the finest grid and
            divided by their maximum, and become one as `fusion` says.
        fusion: `"mean"` of the layers' maps, or their `"max"` cell by cell.
        class_names: the foreground classes; None for `class 0`, `class 1`, ... as the module's scores have them.
        scores: where the class scores come from: `"logits"`, the module's own; `"pooled"`, its mask scores pooled
            over the image; `"classifier"`, one that is added on the layer's features and wants training; `"auto"` for
            the first of the module's own that there are.
        preprocessing: makes the module's input of RGB images in [0, 1]; None for what a network of timm says of
            itself, and for torchvision's.
        input_size: side, or height and width, of the images to try the module with; None for what the module says of
            itself, and for 224.
        images: images to try the module with, in place of `input_size`.
        background: whether channel 0 of the mask scores is background; with as many names as channels it never is.
        segments: True for mask scores in an output that has the shape of the images; None takes such an output for an
            image (an autoencoder's, say), unless `scores` is `"pooled"`; False takes no output for mask scores.
        classifier_widths: widths of the added classifier's hidden layers.
        source: where the module comes from, for `describe`; None for the name of its class.
        seed: of the added classifier's weights.

    Returns:
        A network with the module as its `module`.

    Raises:
        ConfigError: the module does not run on such images, no layer serves, or the names do not fit the scores.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> guided = guide(module, class_names=("cat", "dog"), input_size=32)
        >>> guided.layer, guided(torch.zeros(1, 3, 32, 32)).features.shape
        ('0', torch.Size([1, 4, 15, 15]))
    """
    names = None if class_names is None else tuple(class_names)
    own = uncompiled(module)
    masked = True if segments is None and scores == "pooled" else segments
    with as_written(module):
        run = dry_run(own, trial_images(own, input_size, images), None if names is None else len(names), masked)
    _require_masks(run, scores, segments)
    names = _names(run, names, background, scores)
    origin = _source(run.shapes, scores)
    wanted = [layer] if isinstance(layer, str) else layer
    found = [find_layer(run)] if wanted is None else named_layers(run, own, wanted, added=origin == "classifier")
    classifier = None
    if origin == "classifier":
        classifier = PooledClassifier(found[-1].channels, classifier_widths, len(names))
        classifier.reset_parameters(seed)
        classifier.to(next(own.parameters(), torch.empty(0)).device)
    _say(own, found, run)
    network = GuidedModule(
        module,
        found,
        run.shapes,
        _parts(own, run, found, origin),
        scores=origin,
        class_names=names,
        preprocessing=preprocessing or own_preprocessing(own),
        input_size=run.size,
        classifier=classifier,
        source=source,
    )
    network.fusion = fusion
    return network


def _require_masks(run: DryRun, scores: str, segments: bool | None) -> None:
    """What is said of mask scores must be so; an output that only may be some is mentioned."""
    if segments and not run.shapes.masks:
        raise ConfigError(
            "expected mask scores (B, S, h, w) of the classes, since segments is true, but the module gives none; "
            "leave segments out, or name all classes"
        )
    if not run.shapes.images:
        return
    what = f"the output of {run.shapes.images} channels that has the shape of the images"
    if not run.shapes.logits and scores != "classifier":
        raise ConfigError(
            f"expected class scores (B, C) or mask scores, but {what} may be an image; say segments=True "
            "(--network.segments true) if it is mask scores, or add a classifier with scores='classifier'"
        )
    logger.warning(
        "%s is taken for an image; say segments=True (--network.segments true) if it is mask scores, else False", what
    )


def _names(run: DryRun, names: tuple[str, ...] | None, background: bool, scores: str) -> tuple[str, ...]:
    shapes, given = run.shapes, run.calls[-1].output
    got = "none" if given is None else f"({', '.join(map(str, given.shape))})"
    if names is not None:
        if not (shapes.logits or shapes.masks or scores == "classifier"):
            raise ConfigError(
                f"expected scores of the {len(names)} classes named, or masks of them and background, but the module "
                f"gives {got}; name all its classes, or add a classifier with scores='classifier'"
            )
        return names
    count = shapes.logits or (shapes.masks - 1 if background and shapes.masks > 1 else shapes.masks)
    if not count:
        raise ConfigError(
            f"expected scores of classes (B, C) or of pixels (B, S, h, w), but the module gives {got}; "
            "add a classifier with scores='classifier' and class_names"
        )
    return tuple(f"class {index}" for index in range(count))


def _source(shapes: ScoreShapes, scores: str) -> Scores:
    if scores == "classifier":
        return "classifier"
    if scores == "auto":
        return "logits" if shapes.logits else "pooled"
    if not (shapes.logits if scores == "logits" else shapes.masks):
        kind = "class scores (B, C)" if scores == "logits" else "mask scores (B, S, h, w)"
        raise ConfigError(f"expected {kind} for scores='{scores}', but the module gives none; choose another source")
    return "logits" if scores == "logits" else "pooled"


def _parts(module: nn.Module, run: DryRun, layers: Sequence[Layer], source: Scores) -> Parts:
    parts = split(module, run, [layer.name for layer in layers], "segmenter" if run.shapes.masks else "classifier")
    if source == "classifier":
        parts["classifier"] = ([], [])  # the module's own class scores are nobody's
    return parts


def _say(module: nn.Module, layers: Sequence[Layer], run: DryRun) -> None:
    for layer in layers:
        logger.info(
            "attention of %s is read from layer '%s': %d channels on %dx%d cells for images of %dx%d",
            type(module).__name__,
            layer.name,
            layer.channels,
            *reversed(layer.grid),
            *reversed(run.size),
        )
