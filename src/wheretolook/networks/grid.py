"""Where the cells of a layer's grid lie in the image, for any network.

One pass of one image is watched for what moves the cells: convolutions, pools, padding, resizing. Each grid's size is
a key, so what keeps the size (a ReLU, a sum of branches, tokens and back) need not be understood. Padding that depends
on the image's size ("same" of TensorFlow) is seen as it happens. Where that leaves no single answer (branches that
disagree, patches merged by slicing), the input gradients of some inner cells are measured and the answer that lies
nearest is taken.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wheretolook.cells import standard_cells
from wheretolook.networks.drift import energy_centre, in_steps
from wheretolook.networks.modes import untouched
from wheretolook.networks.reading import Enough
from wheretolook.records import Cells, side_lengths

Grid = tuple[int, int]  # height and width
Line = tuple[float, float]  # stride and offset along one side of the image
ToGrid = Callable[[Any, Grid], Tensor]

aten = torch.ops.aten
POOLS = {aten.max_pool2d_with_indices, aten.avg_pool2d}
PADDINGS = {aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d}
RESIZINGS = {
    aten.upsample_nearest2d,
    aten.upsample_bilinear2d,
    aten.upsample_bicubic2d,
    aten._adaptive_avg_pool2d,
    aten.adaptive_max_pool2d,
}
PROBE = 12  # strides of the sides of the images that a drift is looked for in
LEAST = 320  # pixels of those sides: a network of small stride may be dilated and see as far
DRAWS = 3  # images of noise, each with weights of its own, that an inner cell's gradient is taken for
SNAPPING = 0.05  # of a stride: how far from what is measured a likely stride or an even division may lie
TOLERANCE = 0.25  # of a stride: how far from what is measured an answer may lie


class CellFinder:
    """Finds where the cells of one layer lie, once for each size of image, and remembers it.

    The network is left as it was: modes, gradients, hooks and random state.

    Args:
        module: the network, called with a batch of images.
        layer: the part of it whose output is the grid.
        to_grid: makes a grid (B, K, h, w) of the layer's output and the image's height and width.

    Example:
        >>> stem = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        >>> find = CellFinder(nn.Sequential(stem, nn.ReLU()), stem, lambda output, size: output)
        >>> find(torch.zeros(1, 3, 64, 96), (16, 24))
        Cells(stride=(4.0, 4.0), offset=(0.0, 0.0))
    """

    def __init__(self, module: nn.Module, layer: nn.Module, to_grid: ToGrid) -> None:
        self.module, self.layer, self.to_grid = module, layer, to_grid
        self._found: dict[tuple[Grid, Grid], Cells] = {}
        self._at_any_size: Cells | None = None
        self._drift: tuple[float, float] | None = None

    def __call__(self, images: Float[Tensor, "batch channels height width"], grid: Grid) -> Cells:
        """Where the cells lie in images of that size.

        Args:
            images: as the module takes them; what they show does not matter.
            grid: height and width of the layer's grid for them.
        """
        size = side_lengths(images)
        if (size, grid) not in self._found:
            self._found[size, grid] = self._find(images[:1], size, grid)
        return self._found[size, grid]

    def state(self) -> dict[str, Any]:
        """What was found so far, as plain values that torch loads as weights."""
        found = [(size, grid, tuple(cells)) for (size, grid), cells in self._found.items()]
        anywhere = None if self._at_any_size is None else tuple(self._at_any_size)
        return {"found": found, "at_any_size": anywhere, "drift": self._drift}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with what another finder of the same network found."""
        self._found = {(size, grid): Cells(*cells) for size, grid, cells in state["found"]}
        self._at_any_size = None if state["at_any_size"] is None else Cells(*state["at_any_size"])
        self._drift = state["drift"]

    def _find(self, images: Tensor, size: Grid, grid: Grid) -> Cells:
        if self._at_any_size is not None and _reaches(self._at_any_size, size, grid):
            return self._at_any_size
        trace = self._watched(images)
        known = trace.places.get(grid, [])
        if len(known) != 1:
            return self._measured(images, grid, trace)
        place = known[0]
        if not all(offset == (stride - 1) / 2 for stride, offset in zip(*place, strict=True)):
            place = self._drifted(place, images)
        if not trace.by_size:
            self._at_any_size = place
        return place

    def _watched(self, images: Tensor) -> "_Trace":
        trace = _Trace(side_lengths(images))
        with unchanged(self.module), _ending_at(self.layer, lambda _: None), torch.no_grad():
            try:
                with trace:
                    self.module(torch.zeros_like(images))
            except NotImplementedError:  # an operator that cannot be watched (flex attention): measure
                return _Trace(side_lengths(images))
        return trace

    def _drifted(self, place: Cells, images: Tensor) -> Cells:
        """Where training has moved the cells to; those that divide the image evenly have no need to move."""
        if self._drift is None:
            try:
                self._drift = self._learned(place, images)
            except (RuntimeError, TypeError, ValueError, AssertionError):  # no images of that size, no double precision
                self._drift = 0.0, 0.0
        down, across = (offset + moved for offset, moved in zip(place.offset, self._drift, strict=True))
        return place._replace(offset=(down, across))

    def _learned(self, place: Cells, images: Tensor) -> tuple[float, float]:
        height, width = (max(round(PROBE * stride), LEAST) for stride in place.stride)
        probe = images.new_zeros(1, images.shape[1], height, width)
        with unchanged(self.module):
            seen = energy_centre(self.module, self._features_of, probe)
        places = self._watched(probe).places
        known = [own for answers in places.values() for own in answers if own.stride == place.stride]
        if seen is None or not known:
            return 0.0, 0.0
        cell, centre = seen
        down, across = (
            in_steps(centre[axis] - known[-1].offset[axis] - cell[axis] * stride, stride)
            for axis, stride in enumerate(place.stride)
        )
        return down, across

    def _measured(self, images: Tensor, grid: Grid, trace: "_Trace") -> Cells:
        size = side_lengths(images)
        even = standard_cells(size, grid)
        inner = _inner_cells(grid)
        with unchanged(self.module):
            energies = self._energies(images, inner)
        down, across = (
            _nearest(
                None if energies is None else [energy.sum(dim=1 - axis) for energy in energies],
                [cell[axis] for cell in inner],
                trace.lines(axis, grid),
                (even.stride[axis], even.offset[axis]),
            )
            for axis in (0, 1)
        )
        return Cells((down[0], across[0]), (down[1], across[1]))

    def _energies(self, images: Tensor, inner: Sequence[Grid]) -> list[Tensor] | None:
        """For each cell the squared gradient of its features at each pixel; None where no gradient comes through."""
        generator = torch.Generator().manual_seed(0)
        energies = [torch.zeros(side_lengths(images), dtype=torch.float64) for _ in inner]
        for _ in range(DRAWS):
            noise = torch.randn(images.shape, generator=generator).to(images).requires_grad_()
            features = self._features(noise)
            if not features.requires_grad:
                return None
            weights = torch.randn(features.shape[1], generator=generator).to(features)
            for energy, (row, column) in zip(energies, inner, strict=True):
                score = (features[0, :, row, column] * weights).sum()
                (gradient,) = torch.autograd.grad(score, noise, retain_graph=True)
                squared = gradient[0].cpu().double().square().sum(dim=0)
                energy += squared / squared.sum().clamp(min=torch.finfo(torch.float64).tiny)
        return energies if all(energy.any() for energy in energies) else None

    def _features(self, images: Tensor) -> Tensor:
        return self._features_of(self.module, images)

    def _features_of(self, run: Callable[[Tensor], object], images: Tensor) -> Tensor:
        grids: list[Tensor] = []
        size = side_lengths(images)
        with torch.enable_grad(), _ending_at(self.layer, lambda output: grids.append(self.to_grid(output, size))):
            run(images)
        return grids[0]


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Run the module in evaluation mode and outside of inference mode; all that it changes is put back."""
    with torch.inference_mode(False), untouched(module):
        yield


@contextmanager
def _ending_at(layer: nn.Module, act: Callable[[Any], None]) -> Iterator[None]:
    """Act on what the layer gives and end the forward there, in this thread only: another may be using the network."""
    thread = threading.get_ident()

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            act(output)
            raise Enough  # what comes behind the layer does not move its cells

    handle = layer.register_forward_hook(hook)
    try:
        with suppress(Enough):
            yield
    finally:
        handle.remove()


class _Trace(TorchDispatchMode):
    """Watches every operator below autograd, functional ones too, and follows where the cells lie for each grid size.

    Attributes:
        places: for each size of grid, the answers that some branch gave, each once.
        by_size: whether something moved the cells by an amount that depends on the size of the image.
    """

    def __init__(self, size: Grid) -> None:
        super().__init__()
        self.places = {size: [Cells((1.0, 1.0), (0.0, 0.0))]}
        self.by_size = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        rule = _rule(func.overloadpacket)
        if rule is not None:
            given = _arguments(func, args, kwargs or {})
            before = given["input"] if "input" in given else given["self"]
            after = result[0] if isinstance(result, tuple) else result
            if before.ndim == 4 and side_lengths(before) in self.places:
                self.by_size |= rule in (_padded, _resized) and side_lengths(after) != (1, 1)
                self._follow(rule, given, side_lengths(before), side_lengths(after))
        return result

    def _follow(self, rule: "Rule", given: dict[str, Any], before: Grid, after: Grid) -> None:
        answers = self.places.setdefault(after, [])
        for place in list(self.places[before]):
            down, across = (
                rule((place.stride[axis], place.offset[axis]), given, axis, (before[axis], after[axis]))
                for axis in (0, 1)
            )
            moved = Cells((down[0], across[0]), (round(down[1], 6), round(across[1], 6)))
            if moved not in answers:
                answers.append(moved)

    def lines(self, axis: int, grid: Grid) -> list[Line]:
        """The answers for one side of the grid: those seen, else cells merged two by two from a grid that was seen."""
        if grid in self.places:
            return [(place.stride[axis], place.offset[axis]) for place in self.places[grid]]
        merged = []
        for size, places in self.places.items():
            for factor in (2, 4, 8):
                if -(-size[axis] // factor) == grid[axis]:
                    steps = [(place.stride[axis], place.offset[axis]) for place in places]
                    merged += [(step * factor, offset + step * (factor - 1) / 2) for step, offset in steps]
        return merged


Rule = Callable[[Line, dict[str, Any], int, Grid], Line]


def _rule(operator: Any) -> Rule | None:
    if operator is aten.convolution:
        return _convolved
    if operator in POOLS:
        return _pooled
    if operator in PADDINGS:
        return _padded
    return _resized if operator in RESIZINGS else None


def _arguments(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    expected = func._schema.arguments
    defaults = {argument.name: argument.default_value for argument in expected if argument.has_default_value()}
    return {**defaults, **dict(zip((argument.name for argument in expected), args, strict=False)), **kwargs}


def _along(value: Sequence[int], axis: int) -> int:
    return value[axis] if len(value) > 1 else value[0]


def _slid(line: Line, kernel: int, stride: int, padding: int, dilation: int) -> Line:
    """A window's centre: the first is (k - 1) d / 2 cells behind its edge, which the padding moves before the grid."""
    step, offset = line
    return step * stride, offset + step * ((kernel - 1) * dilation / 2 - padding)


def _convolved(line: Line, given: dict[str, Any], axis: int, _: Grid) -> Line:
    kernel = given["weight"].shape[2 + axis]
    stride, padding, dilation = (_along(given[name], axis) for name in ("stride", "padding", "dilation"))
    if not given["transposed"]:
        return _slid(line, kernel, stride, padding, dilation)
    step = line[0] / stride
    return step, line[1] - step * ((kernel - 1) * dilation / 2 - padding)


def _pooled(line: Line, given: dict[str, Any], axis: int, _: Grid) -> Line:
    kernel, padding = (_along(given[name], axis) for name in ("kernel_size", "padding"))
    stride = _along(given["stride"] or given["kernel_size"], axis)
    return _slid(line, kernel, stride, padding, _along(given.get("dilation", [1]), axis))


def _padded(line: Line, given: dict[str, Any], axis: int, _: Grid) -> Line:
    sides = given["pad"] if "pad" in given else given["padding"]  # left, right, top, bottom
    before = 0 if len(sides) < 2 * (2 - axis) else sides[2 * (1 - axis)]
    return line[0], line[1] - line[0] * before


def _resized(line: Line, given: dict[str, Any], _: int, lengths: Grid) -> Line:
    step, offset = line
    old, new = lengths
    if given.get("align_corners"):
        return step * max(old - 1, 1) / max(new - 1, 1), offset
    return step * old / new, offset + step * (old / new - 1) / 2


def _reaches(cells: Cells, size: Grid, grid: Grid) -> bool:
    """Whether so many cells end about where the image does, so that nothing else has moved them."""
    return all(
        abs(offset + (count - 0.5) * stride - (pixels - 0.5)) < 2 * stride
        for stride, offset, count, pixels in zip(*cells, grid, size, strict=True)
    )


def _inner_cells(grid: Grid) -> list[Grid]:
    height, width = grid
    shares = ((1 / 2, 1 / 2), (1 / 3, 2 / 3), (2 / 3, 1 / 3))
    return sorted({(int(height * down), int(width * across)) for down, across in shares})


def _nearest(profiles: Sequence[Tensor] | None, cells: Sequence[int], answers: Sequence[Line], even: Line) -> Line:
    """The answer that lies nearest to the centres of the cells' energy along one side of the image.

    Where none comes near: an even division of the image if that is what was measured, or a line through those centres.

    Args:
        profiles: each cell's energy along that side; None where none was to be had, which leaves the last answer.
        cells: which cells those are.
        answers: what the layers seen would give.
        even: an even division of the image.
    """
    if profiles is None:
        return answers[-1] if answers else even
    centres = [_centre(profile, even[0]) for profile in profiles]

    def distance(line: Line) -> float:
        return sum(abs(line[1] + line[0] * cell - at) for cell, at in zip(cells, centres, strict=True)) / len(cells)

    best = min(answers, key=distance, default=even)
    if best is not even and distance(best) <= TOLERANCE * even[0]:
        return best
    return even if distance(even) <= SNAPPING * even[0] else _fitted(cells, centres, even[0])


def _fitted(cells: Sequence[int], centres: Sequence[float], even: float) -> Line:
    """A line through the centres, with a stride that is a power of two, or the even one, where these are near."""
    at, found = torch.tensor(cells, dtype=torch.float64), torch.tensor(centres, dtype=torch.float64)
    away = at - at.mean()
    slope = float((away @ found) / (away @ away).clamp(min=1e-9)) if away.any() else even
    likely = (2.0 ** round(math.log2(max(slope, 1.0))), even)
    stride = next((given for given in likely if abs(given - slope) < SNAPPING * given), max(slope, 1.0))
    return stride, round(2 * float(found.mean() - stride * at.mean())) / 2


def _centre(profile: Float[Tensor, " pixels"], stride: float) -> float:
    """The centre of the densest stretch of four strides: global attention puts some energy everywhere."""
    pixels = torch.arange(len(profile), dtype=torch.float64)
    near = (pixels[:, None] - pixels).abs() <= 2 * stride
    at = float((near * profile).sum(dim=1).argmax())
    for _ in range(20):
        inside = profile * ((pixels - at).abs() <= 2 * stride)
        at = float((inside * pixels).sum() / inside.sum())
    return at
