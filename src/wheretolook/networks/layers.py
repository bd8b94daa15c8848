"""Find the layer of any network where attention is read: one dry run with hooks, then the gradient of its scores."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from wheretolook.errors import ConfigError, WhereToLookError, nearest
from wheretolook.networks.forms import GridForm, Size, form_of
from wheretolook.networks.modes import untouched
from wheretolook.networks.outputs import ScoreShapes, score_shapes, tensors_in
from wheretolook.records import Part, side_lengths

log = logging.getLogger("wheretolook")


class Call(NamedTuple):
    """One run of one module in the dry run."""

    name: str
    module: nn.Module
    output: Tensor | None  # the first tensor of its output
    form: GridForm | None  # how that tensor holds a grid
    detached: bool  # the module itself has gradients off there


class DryRun(NamedTuple):
    """What one forward showed.

    Attributes:
        calls: every run of every module, in the order in which they ended.
        shapes: of the module's own scores.
        gradients: of a mixture of its own class scores with respect to each call's output; None where they need it not.
        mask_gradients: the same for its mask scores.
        size: height and width of the images.
    """

    calls: list[Call]
    shapes: ScoreShapes
    gradients: list[Tensor | None]
    mask_gradients: list[Tensor | None]
    size: Size


class Layer(NamedTuple):
    """Where attention is read.

    Attributes:
        name: of the module within the network.
        form: how its output holds a grid of cells.
        channels: of that grid.
        grid: height and width in the dry run.
        detached: the module itself has gradients off there.
    """

    name: str
    form: GridForm
    channels: int
    grid: Size
    detached: bool


Parts = dict[Part, tuple[list[str], list[str]]]  # names of modules, and of parameters that no such module holds


def dry_run(
    module: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    classes: int | None,
    segments: bool | None = None,
) -> DryRun:
    """Run the module once with hooks on everything, and leave it as it was.

    Args:
        module: any network that takes a batch of images.
        images: two or more, so that the batch is told from other axes.
        classes: how many foreground classes there are; None where the module's scores tell.
        segments: see `score_shapes`.

    Raises:
        ConfigError: the module does not run on such images.
    """
    calls: list[Call] = []
    size, batch = side_lengths(images), len(images)
    seen: list[Size] = []

    def ended(name: str, called: nn.Module, result: Any) -> None:
        output = next(tensors_in(result), None)
        form = None
        if output is not None and output.shape[:1] == (batch,) and output.is_floating_point():
            form = form_of(output, size, seen, called)
        if form is not None and output is not None and form.layout != "tokens":
            seen.append(side_lengths(form.grid(output, size)))
        detached = not torch.is_grad_enabled()
        if detached and form is not None and output is not None:
            output.requires_grad_()  # a frozen backbone in `no_grad`: what is made of its features still has gradients
        calls.append(Call(name, called, output, form, detached))

    handles: list[RemovableHandle] = []
    with torch.inference_mode(False), untouched(module), torch.enable_grad():
        # a clone wants a gradient, so that frozen parameters need not be touched
        images = images.clone().requires_grad_()
        try:
            for name, child in module.named_modules():
                handles.append(child.register_forward_hook(_teller(name, ended)))
            result = module(images)
        except WhereToLookError:
            raise
        except Exception as error:  # of the user's own code
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise ConfigError(
                f"the network failed on a dry run with images of {size[1]}x{size[0]}: {why}; give the `input_size` "
                "that it takes, or `images` to try it with"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        shapes = score_shapes(result, images, classes, segments)
        scores = shapes.find(result, batch)
        other = None if scores.logits is not None or scores.masks is not None else next(tensors_in(result), None)
        gradients = _gradients(scores.logits if scores.logits is not None else other, calls)
        return DryRun(calls, shapes, gradients, _gradients(scores.masks, calls), size)


def _teller(name: str, ended: Any) -> Any:
    def hook(module: nn.Module, _inputs: Any, result: Any) -> None:
        ended(name, module, result)

    return hook


def _gradients(scores: Tensor | None, calls: list[Call]) -> list[Tensor | None]:
    outputs = {
        index: call.output for index, call in enumerate(calls) if call.output is not None and call.output.requires_grad
    }
    if scores is None or not scores.requires_grad or not outputs:
        return [None] * len(calls)
    # drawn, since a plain sum is constant for a network that ends in a softmax or a normalising layer
    mixture = torch.randn(scores.shape, generator=torch.Generator().manual_seed(0)).to(scores)
    found = torch.autograd.grad(scores, list(outputs.values()), mixture, allow_unused=True, retain_graph=True)
    gradients = dict(zip(outputs, found, strict=True))
    return [gradients.get(index) for index in range(len(calls))]


def find_layer(run: DryRun) -> Layer:
    """The last module with parameters at the coarsest grid of at least 2x2 whose cells move the scores.

    Not the last module by name: the last block of a network with a class token has a gradient of exactly zero on its
    cells, a pool has no parameters, and the last layers of a segmenter are its scores themselves. Queries, keys and
    values are no candidates either: linear layers on tokens are parts of a layer.

    Raises:
        ConfigError: no layer has a grid, or none moves the scores.
    """
    grids = [(index, _layer(run, index)) for index in _candidates(run)]
    if not grids:
        raise ConfigError(
            "no layer of the network gives a grid of at least 2x2 cells; give images of a larger `input_size`, or name "
            "a `layer` that does"
        )
    moving = [layer for index, layer in grids if _moves(run, index)]
    if not moving:
        raise ConfigError(
            "the class scores do not depend on any layer's cells, as in a network whose last layer starts at zero; "
            f"name the `layer`, such as '{grids[-1][1].name}', or train the last layer first"
        )
    coarsest = min(layer.grid[0] * layer.grid[1] for layer in moving)
    return [layer for layer in moving if layer.grid[0] * layer.grid[1] == coarsest][-1]


def layers_by_grid(run: DryRun) -> list[Layer]:
    """For each grid of cells its last layer that moves the scores, the coarsest first: what `find_layer` chooses among.

    Args:
        run: what a dry run showed.
    """
    last = {layer.grid: layer for index in _candidates(run) if _moves(run, index) for layer in [_layer(run, index)]}
    return sorted(last.values(), key=lambda layer: layer.grid[0] * layer.grid[1])


def _candidates(run: DryRun) -> Iterator[int]:
    names = [call.name for call in run.calls]
    scoring = tuple(f"{call.name}." for call in run.calls if call.name and _is_score(run, call))
    linear = {id(call.output) for call in run.calls if isinstance(call.module, nn.Linear)}
    for index, call in enumerate(run.calls):
        if (
            call.form is not None
            and call.name
            and min(_layer(run, index).grid) >= 2
            and names.count(call.name) == 1
            and not f"{call.name}.".startswith(scoring or "\0")
            and not (call.form.layout == "tokens" and id(call.output) in linear)
            and next(call.module.parameters(), None) is not None
        ):
            yield index


def _is_score(run: DryRun, call: Call) -> bool:
    """Whether a call gives mask scores, if only at a coarser size."""
    return (
        bool(run.shapes.masks)
        and call.output is not None
        and call.output.ndim == 4
        and call.output.shape[1] == run.shapes.masks
    )


def _layer(run: DryRun, index: int) -> Layer:
    call = run.calls[index]
    assert call.form is not None and call.output is not None
    features = call.form.grid(call.output, run.size)
    return Layer(call.name, call.form, features.shape[1], side_lengths(features), call.detached)


def _moves(run: DryRun, index: int) -> bool:
    form = run.calls[index].form
    gradients = (run.gradients[index], run.mask_gradients[index])
    return form is not None and any(
        gradient is not None and bool(form.grid(gradient, run.size).any()) for gradient in gradients
    )


def named_layer(run: DryRun, module: nn.Module, name: str) -> Layer:
    """The layer of that name, with a warning where the class scores do not depend on it, so that its maps are zero.

    Raises:
        ConfigError: there is none, it does not run or runs more than once, or its output is no grid.
    """
    known = [known for known, _ in module.named_modules() if known]
    if name not in known:
        raise ConfigError(f"expected the name of a layer, got '{name}'{nearest(name, known)}")
    indices = [index for index, call in enumerate(run.calls) if call.name == name]
    if not indices:
        raise ConfigError(f"expected a layer that runs, but '{name}' does not; name another layer")
    if len(indices) > 1:
        raise ConfigError(runs_twice(name))
    call = run.calls[indices[0]]
    if call.form is None:
        shape = "nothing" if call.output is None else f"shape {tuple(call.output.shape)}"
        raise ConfigError(f"expected a layer whose output is a grid of cells, but '{name}' gives {shape}; name another")
    if not _moves(run, indices[0]):
        log.warning(
            "the class scores do not depend on layer '%s' now, so its maps are zero: the last layer starts at zero and "
            "wants training, or nothing leads from that layer to the scores",
            name,
        )
    return _layer(run, indices[0])


def named_layers(run: DryRun, module: nn.Module, names: Sequence[str], *, added: bool) -> list[Layer]:
    """The layers of these names, in the order in which they run.

    Args:
        run: the dry run.
        module: the network.
        names: of the layers.
        added: the class scores come from a classifier that is added on the last of them.

    Raises:
        ConfigError: as `named_layer`; or a name twice, or no way from one of several layers to the class scores.
    """
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"expected names of layers, each once, got {' '.join(names) or 'none'}")
    found = {name: named_layer(run, module, name) for name in names}
    indices = sorted(index for index, call in enumerate(run.calls) if call.name in found)
    if len(indices) > 1:
        _require_ways(run, indices, added=added)
    return [found[run.calls[index].name] for index in indices]


def _require_ways(run: DryRun, indices: Sequence[int], *, added: bool) -> None:
    """Make sure that something leads from each of several layers to the scores that are read off the last, or off all.

    Raises:
        ConfigError: nothing does.
    """
    last = run.calls[indices[-1]]
    ways = [_gradients(last.output, run.calls)] if added else [run.gradients, run.mask_gradients]
    for index in indices[:-1] if added else indices:
        if all(gradients[index] is None for gradients in ways):
            end = f"layer '{last.name}' and its classifier" if added else "the class scores"
            raise ConfigError(f"nothing leads from layer '{run.calls[index].name}' to {end}; leave it out")


def runs_twice(name: str) -> str:
    """What to say of a layer that has no single output."""
    return f"layer '{name}' runs more than once in one forward, so its attention is not one map; name another layer"


def split(module: nn.Module, run: DryRun, layers: Sequence[str], heads: Part) -> Parts:
    """Which part of the network everything belongs to: what the layers' cells are made by is the trunk.

    Args:
        module: the network.
        run: its dry run.
        layers: where attention is read.
        heads: the part that the rest is; where the network scores both images and pixels, what only its class scores
            need is `classifier` whatever this says.
    """
    ends: dict[str, int] = {}
    for index, call in enumerate(run.calls):
        ends.setdefault(call.name, index)
    parts: Parts = {"trunk": ([], []), "classifier": ([], []), "segmenter": ([], [])}
    both = bool(run.shapes.logits and run.shapes.masks)
    made_by = {layer: _gradients(run.calls[ends[layer]].output, run.calls) for layer in layers}

    def part_of(name: str) -> Part:
        output = run.calls[ends[name]].output
        followed = output is not None and output.requires_grad and not run.calls[ends[name]].detached
        # in their order alone, the side branches of a decoder that have run by then would be of the trunk
        for layer, gradients in made_by.items():
            if ends[name] <= ends[layer] and (gradients[ends[name]] is not None or not followed):
                return "trunk"
        only_classifies = run.mask_gradients[ends[name]] is None and run.gradients[ends[name]] is not None
        return "classifier" if both and only_classifies else heads

    def parts_within(name: str, child: nn.Module) -> set[Part]:
        inner = [parts_within(_join(name, key), grandchild) for key, grandchild in child.named_children()]
        found: set[Part] = set().union(*inner)
        return found or ({part_of(name)} if name in ends else set())

    def visit(name: str, child: nn.Module) -> None:
        found = parts_within(name, child)
        if len(found) <= 1 and name:
            parts[next(iter(found), heads)][0].append(name)
            return
        # what a container holds by itself (class token, positions) is on the way to the layer
        parts["trunk"][1].extend(_join(name, key) for key, _ in child.named_parameters(recurse=False))
        for key, grandchild in child.named_children():
            visit(_join(name, key), grandchild)

    visit("", module)
    return parts


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
