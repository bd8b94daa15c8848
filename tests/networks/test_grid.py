"""Where cells lie: against gradients of all-ones layers, and against where a map of a bright spot is bright."""

import itertools
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from spots import SHAPES, centre, positive, shifted, spots
from torch import Tensor, nn

from wheretolook.attention.methods import attention_maps
from wheretolook.cells import standard_cells, stretched
from wheretolook.metrics.attention import energy_inside
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.grid import CellFinder
from wheretolook.networks.guide import guide
from wheretolook.records import Cells, GuidedOutput, side_lengths

from .narrow import NAMES, SMALL

SIZES = [(224, 224), (375, 500)]


def finder(module: nn.Module, layer: nn.Module | None = None) -> CellFinder:
    return CellFinder(module, layer or module, lambda output, size: output)


def found(module: nn.Module, size: tuple[int, int], layer: nn.Module | None = None) -> Cells:
    images = torch.zeros(1, 3, *size)
    with torch.no_grad():
        grid = side_lengths(module(images))
    return finder(module, layer)(images, grid)


class Act(nn.Module):
    """A function as a module."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.act = act

    def forward(self, features: Tensor) -> Tensor:
        return self.act(features)


# --- arithmetic ----------------------------------------------------------------------------------------------------


def ones(*layers: nn.Module) -> nn.Module:
    """All weights 1 and no bias: an inner cell's gradient is then symmetric around where the cell is centred."""
    network = nn.Sequential(*layers)
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


STACKS = {
    "a residual network's beginning": lambda: ones(
        nn.Conv2d(3, 2, 7, 2, 3), nn.AvgPool2d(3, 2, 1), nn.Conv2d(2, 2, 3, 1, 1), nn.Conv2d(2, 2, 1, 2)
    ),
    "patches of patches": lambda: ones(nn.Conv2d(3, 2, 4, 4), nn.Conv2d(2, 2, 7, 1, 3), nn.Conv2d(2, 2, 2, 2)),
    "dilated and without padding": lambda: ones(nn.Conv2d(3, 2, 5, 3, dilation=2), nn.Conv2d(2, 2, 3)),
    "unlike down and across": lambda: ones(
        nn.Conv2d(3, 2, (3, 6), (1, 4), (0, 1)), nn.AvgPool2d((4, 2), (2, 2), (0, 1))
    ),
    "pools that round up": lambda: ones(nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)),
    "an even kernel, padded alike": lambda: ones(nn.Conv2d(3, 2, 4, 2), nn.Conv2d(2, 2, 4, padding="same")),
    "functions": lambda: ones(
        Act(lambda f: F.conv2d(F.pad(f, (1, 2, 3, 0)), torch.ones(2, 3, 3, 3), stride=2)), Act(torch.relu)
    ),
    "mirrored and repeated borders": lambda: ones(
        nn.ReflectionPad2d((2, 1, 3, 0)), nn.Conv2d(3, 2, 3, 2), nn.ReplicationPad2d((0, 3, 1, 2)), nn.AvgPool2d(2)
    ),
    "stretched by a transposed convolution": lambda: ones(
        nn.Conv2d(3, 2, 8, 8), nn.ConvTranspose2d(2, 2, 4, 2, 1), nn.ConvTranspose2d(2, 2, 3, 1)
    ),
    "stretched": lambda: ones(nn.Conv2d(3, 2, 8, 8), nn.Upsample(scale_factor=2, mode="bilinear")),
    "stretched with corners aligned": lambda: ones(
        nn.Conv2d(3, 2, 8, 8), nn.Upsample(size=(25, 29), mode="bilinear", align_corners=True)
    ),
    "pooled to a size": lambda: ones(nn.Conv2d(3, 2, 3, 2, 1), nn.AdaptiveAvgPool2d((13, 15))),
}


@pytest.mark.parametrize("name", STACKS)
def test_cells_lie_where_the_gradients_of_ones_are_centred(name):
    network, size = STACKS[name](), (104, 120)
    cells = found(network, size)
    images = torch.rand(1, 3, *size, requires_grad=True)
    features = network(images)[0].sum(dim=0)
    for row, column in itertools.product(range(4, 6), range(5, 7)):
        # the step from one cell to the next, where an interpolation is not symmetric around its reading
        cell = features[row, column] + (features[row + 1, column + 1] if "stretched" in name else 0)
        (gradient,) = torch.autograd.grad(cell, images, retain_graph=True)
        place = centre(gradient[0].sum(dim=0))
        between = 0.5 if "stretched" in name else 0
        expected = tuple(
            offset + (at + between) * stride for stride, offset, at in zip(*cells, (row, column), strict=True)
        )
        assert place == pytest.approx(expected, abs=1e-3 if "aligned" not in name else 0.5)


def test_maximum_pools_lie_as_mean_pools_do():
    for how in ({}, {"stride": 3}, {"padding": 1}, {"stride": (1, 2), "ceil_mode": True}):
        assert found(nn.MaxPool2d(4, **how), (50, 61)) == found(nn.AvgPool2d(4, **how), (50, 61))
    assert found(nn.MaxPool2d(3, 2, dilation=2), (50, 61)) == Cells((2.0, 2.0), (2.0, 2.0))


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (66, 67), (63, 61)])
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_padding_as_tensorflow_has_it_depends_on_the_size(size, kernel):
    """By hand: ceil(n / 2) windows, what they lack is padded, the smaller half of it before the image."""
    from timm.layers import Conv2dSame

    before = [max((-(-n // 2) - 1) * 2 + kernel - n, 0) // 2 for n in size]
    cells = found(Conv2dSame(3, 2, kernel, 2), size)
    assert cells == Cells((2.0, 2.0), tuple((kernel - 1) / 2 - lacking for lacking in before))


# --- what arithmetic cannot tell -----------------------------------------------------------------------------------


class Branches(nn.Module):
    """Two ways to halve a grid that disagree by half of its cells; one of them counts."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 16, 16)
        self.strided = nn.Conv2d(16, 16, 3, 2, 1)
        self.shares = first, second

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        first, second = self.shares
        return first * self.strided(stem) + second * F.avg_pool2d(stem, 2)


@pytest.mark.parametrize(("shares", "offset"), [((1.0, 0.01), 7.5), ((0.01, 1.0), 15.5)])
def test_of_branches_that_disagree_the_one_that_counts_is_measured(shares, offset):
    assert found(Branches(*shares), (256, 320)) == Cells((32.0, 32.0), (offset, offset))


class Merged(nn.Module):
    """Patches merged two by two by slicing, channels last, as Swin does; odd sizes padded behind."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.reduce = nn.Conv2d(3, 8, 4, 4), nn.Linear(32, 16)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).permute(0, 2, 3, 1)
        tokens = F.pad(tokens, (0, 0, 0, tokens.shape[2] % 2, 0, tokens.shape[1] % 2))
        quarters = [tokens[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return self.reduce(torch.cat(quarters, dim=-1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(64, 96), (76, 92)])
def test_merged_patches_are_found(size):
    assert found(Merged(), size) == Cells((8.0, 8.0), (3.5, 3.5))


class Unfolded(nn.Module):
    """Overlapping patches cut out by a function that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 12 * 12, 16)

    def forward(self, images: Tensor) -> Tensor:
        height, width = ((n - 4) // 8 for n in images.shape[2:])
        return (
            self.project(F.unfold(images, 12, stride=8).transpose(1, 2)).transpose(1, 2).unflatten(2, (height, width))
        )


def test_what_no_rule_knows_is_measured_to_half_a_pixel_or_so():
    cells = found(Unfolded(), (164, 196))
    assert cells.stride == (8.0, 8.0)
    assert cells.offset == pytest.approx((5.5, 5.5), abs=1)


@pytest.mark.parametrize("name", ["swin_t", "pvt_v2_b0", "segformer"])
@pytest.mark.parametrize("size", [(128, 160), (150, 170)])
def test_hierarchical_transformers(name, size):
    """Swin merges patches by slicing; the overlapping patches of the others pad by one side, as convolutions do.

    Their keys and values are pooled to the very size that a later grid has: branches that must not be taken for it.
    """
    grid = tuple(-(-side // 32) for side in size)

    def tokens(output: Tensor, _: tuple[int, int]) -> Tensor:
        return output.transpose(1, 2).unflatten(2, grid)

    if name == "swin_t":
        import torchvision

        module = torchvision.models.swin_t(num_classes=2)
        layer, to_grid, offset = module.features, lambda output, _: output.permute(0, 3, 1, 2), 15.5
    elif name == "pvt_v2_b0":
        import timm

        module = timm.create_model(name, num_classes=2)
        layer, to_grid, offset = module.stages, lambda output, _: output, 0.0
    else:
        transformers = pytest.importorskip("transformers")
        config = transformers.SegformerConfig(hidden_sizes=[8, 16, 40, 64], depths=[1, 1, 1, 1], num_labels=2)
        module = transformers.SegformerForImageClassification(config)
        layer, to_grid, offset = module.segformer.stages[-1].layer_norm, tokens, 0.0
    cells = CellFinder(module, layer, to_grid)(torch.zeros(1, 3, *size), grid)
    assert cells == Cells((32.0, 32.0), (offset, offset))


# --- a bright spot -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHAPES)
def test_a_map_is_bright_where_the_image_is(name, size):
    """And would not be with cells half a stride away, nor, where the network's padding moves them, with even ones."""
    shape = SHAPES[name]
    size = tuple(side // max(shape.patch, 1) * max(shape.patch, 1) for side in size)
    network = guide(positive(shape.make()), shape.layer, input_size=224)
    places = [(down * size[0], across * size[1]) for down, across in ((0.42, 0.6), (0.53, 0.47), (0.58, 0.42))]
    output = network(spots(size, places))

    def error(cells: Cells) -> float:
        maps = attention_maps(output._replace(cells=cells), [0], size=size)[:, 0]
        centres = [centre(attention) for attention in maps]
        return max(
            abs(a - b) for one, place in zip(centres, places, strict=True) for a, b in zip(one, place, strict=True)
        )

    assert error(output.cells) < 2
    assert error(shifted(output.cells, 0.5)) > 2 and error(shifted(output.cells, -0.5)) > 2
    if "net_b0" in name or name == "resnet18":
        assert error(standard_cells(size, side_lengths(output.features))) > 10


def test_fcn8s_at_any_size():
    """Cell (21, 28) of 375 x 500 pixels is centred at (343.5, 455.5); its tent has 9/16 of its energy in 16 x 16."""
    network = FCN8s(NAMES, **SMALL)
    with torch.no_grad():
        output = network(torch.zeros(1, 3, 375, 500))
        caffe = FCN8s(NAMES, **SMALL, padding="caffe")(torch.zeros(1, 3, 375, 500))
    assert output.features.shape[2:] == caffe.features.shape[2:] == (24, 32)
    assert output.cells == caffe.cells == Cells((16.0, 16.0), (7.5, 7.5))
    attention, target = torch.zeros(1, 24, 32), torch.zeros(1, 375, 500, dtype=torch.bool)
    attention[0, 21, 28], target[0, 336:352, 448:464] = 1, True
    inside = [
        energy_inside(stretched(attention, (375, 500), cells), target, torch.ones_like(target)).item()
        for cells in (output.cells, None)
    ]
    assert inside[0] == pytest.approx(9 / 16, abs=0.01) and inside[1] < 0.25


def test_fcn8s_cells_are_those_that_are_found():
    network = FCN8s(NAMES, **SMALL)
    for size in SIZES:
        images = torch.zeros(1, 3, *size)
        assert finder(network.trunk)(images, (-(-size[0] // 16), -(-size[1] // 16))) == network(images).cells


# --- once, and leaving no trace ------------------------------------------------------------------------------------


DRIFT = 2  # runs that look for what training has moved, once for all sizes


class Counted(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.runs = layer, 0

    def forward(self, images: Tensor) -> Tensor:
        self.runs += 1
        return self.layer(images)


def test_plain_layers_are_looked_at_once_for_all_sizes():
    module = Counted(nn.Conv2d(3, 2, 3, 2, 1))
    find = finder(module, module.layer)
    assert {find(torch.zeros(1, 3, n, n + 9), (-(-n // 2), -(-(n + 9) // 2))) for n in (8, 9, 33, 8)} == {
        Cells((2.0, 2.0), (0.0, 0.0))
    }
    assert module.runs == 1 + DRIFT


def test_what_depends_on_the_size_is_looked_at_once_a_size():
    from timm.layers import Conv2dSame

    module = Counted(Conv2dSame(3, 2, 3, 2))
    find = finder(module, module.layer)
    offsets = [find(torch.zeros(1, 3, n, n), (-(-n // 2), -(-n // 2))).offset[0] for n in (8, 9, 8, 9)]
    assert offsets == [1, 0, 1, 0] and module.runs == 2 + DRIFT


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_every_mode_and_precision(mode, dtype):
    networks = nn.Conv2d(3, 2, 3, 2, 1), Merged()
    with mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        for network in networks:
            images = torch.zeros(2, 3, 64, 64)
            cells = finder(network)(images, side_lengths(network(images)))
            assert cells == (
                Cells((8.0, 8.0), (3.5, 3.5)) if isinstance(network, Merged) else Cells((2.0, 2.0), (0.0, 0.0))
            )


def test_nothing_behind_the_layer_is_run():
    """Half of a network may lie there, as the decoder of a segmenter does; it cannot move the cells."""
    stem = nn.Conv2d(3, 4, 17, 16, 8)
    network = nn.Sequential(stem, Act(lambda features: 1 / 0))
    assert finder(network, stem)(torch.zeros(1, 3, 64, 64), (4, 4)) == Cells((16.0, 16.0), (0.0, 0.0))
    merged = Merged()
    measured = finder(nn.Sequential(merged, Act(lambda features: 1 / 0)), merged)
    assert measured(torch.zeros(1, 3, 64, 64), (8, 8)) == Cells((8.0, 8.0), (3.5, 3.5))


def test_where_no_gradient_comes_through_the_arithmetic_must_do():
    network = Branches(1.0, 1.0)
    blind = Act(lambda images: network(images).detach())
    assert found(blind, (256, 320)).stride == (32.0, 32.0)


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout, self.merged = nn.BatchNorm2d(3), nn.Dropout(), Merged()
        self.fails = False

    def forward(self, images: Tensor) -> Tensor:
        dropped = self.dropout(self.norm(images)) + torch.rand(()) * 0
        if self.fails:
            raise RuntimeError("out of luck")
        return self.merged(dropped)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails):
    network, images = Failing(), torch.zeros(2, 3, 64, 64)
    network.norm.eval()
    network.merged.reduce.weight.requires_grad_(False)
    network.fails = fails
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes, wanted = [part.training for part in network.modules()], [p.requires_grad for p in network.parameters()]
    random = torch.random.get_rng_state()
    with pytest.raises(RuntimeError, match="out of luck") if fails else nullcontext():
        finder(network, network.merged)(images, (8, 8))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [part.training for part in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == wanted
    assert all(p.grad is None for p in network.parameters())
    assert not any(part._forward_hooks for part in network.modules())
    assert torch.equal(torch.random.get_rng_state(), random) and torch.is_grad_enabled()


def test_an_output_carries_its_cells_to_the_maps():
    features = torch.rand(2, 2, 3, 4, requires_grad=True)
    output = GuidedOutput(features.mean(dim=(2, 3)), features, cells=Cells((32.0, 32.0), (0.0, 0.0)))
    small = attention_maps(output)
    expected = stretched(small.flatten(0, 1), (90, 100), output.cells).unflatten(0, (2, 2))
    assert torch.equal(attention_maps(output, size=(90, 100)), expected)
    assert not torch.allclose(attention_maps(output._replace(cells=None), size=(90, 100)), expected)
