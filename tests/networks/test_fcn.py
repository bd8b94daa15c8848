"""The network against the predecessor's values, against a second implementation, and against its own symmetries."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wheretolook.errors import ConfigError
from wheretolook.networks.fcn import network as fcn
from wheretolook.networks.fcn.network import ARCHITECTURES, VGG16_DEPTHS, bilinear_upsampling

from ..golden.values import difference, golden_network, golden_values
from .narrow import NAMES, SMALL, narrow


def by_the_book(arrays: dict[str, Tensor], images: Tensor, stride: int) -> Tensor:
    """The original FCN written out: Caffe's layers, its padding of 100 and its crops, with the file's array names."""

    def conv(name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"], padding=padding)

    def enlarge(x: Tensor, factor: int) -> Tensor:
        size = 2 * factor
        centre = factor - 0.5  # of a kernel of even size
        kernel = torch.tensor(
            [[_hat(i, centre, factor) * _hat(j, centre, factor) for j in range(size)] for i in range(size)]
        )
        return F.conv_transpose2d(x, kernel.expand(x.shape[1], 1, -1, -1), stride=factor, groups=x.shape[1])

    x, pools, padding = images, {}, 100
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for layer in range(1, depth + 1):
            x = F.relu(conv(f"conv{block}_{layer}", x, padding))
            padding = 1
        x = pools[block] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = F.relu(conv("fc7", F.relu(conv("fc6", x))))
    x = conv("score_fr", x)
    if stride <= 16:
        x = enlarge(x, 2)
        x = x + conv("score_pool4", pools[4])[:, :, 5 : 5 + x.shape[2], 5 : 5 + x.shape[3]]
    if stride == 8:
        x = enlarge(x, 2)
        x = x + conv("score_pool3", pools[3])[:, :, 9 : 9 + x.shape[2], 9 : 9 + x.shape[3]]
    first = {8: 31, 16: 27, 32: 19}[stride]
    return enlarge(x, stride)[:, :, first : first + images.shape[2], first : first + images.shape[3]]


def _hat(position: int, centre: float, factor: int) -> float:
    return 1 - abs(position - centre) / factor


def test_the_predecessors_scores_come_out():
    golden, network = golden_values(), golden_network()
    output = network(golden["image"])
    assert difference(output.mask_scores, golden["seg_score"]) <= 1e-4
    assert difference(output.class_scores, golden["class_logits"]) <= 1e-4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"widths": (3, 4, 0, 6, 7)}, "expected widths of at least 1, got 3 4 0 6 7"),
        ({"segmenter_width": -1}, "expected segmenter_width of at least 1, got -1"),
        ({"classifier_widths": (9, 0)}, "expected classifier_widths of at least 1, got 9 0"),
        ({"dropout": 2.0}, "expected dropout of 0 to 1, got 2.0"),
        ({"dropout": -0.1}, "expected dropout of 0 to 1, got -0.1"),
        ({"dropout": math.nan}, "expected dropout of 0 to 1, got nan"),
        ({"classifier_dropout": 2.0}, "expected classifier_dropout of 0 to 1, got 2.0"),
    ],
)
def test_sizes_that_make_no_network(wrong, says):
    with pytest.raises(ConfigError, match=says):
        fcn.FCN8s(NAMES, **{**SMALL, **wrong})


@pytest.mark.parametrize("variant", ["floor", "same"])
def test_a_wrong_variant_misses_the_predecessors_scores(variant, monkeypatch):
    golden, network = golden_values(), golden_network()
    if variant == "floor":
        monkeypatch.setattr(fcn, "pool", lambda features: F.max_pool2d(features, 2, 2))
    else:
        network = fcn.FCN8s(
            network.class_names,
            widths=network.trunk.widths,
            segmenter_width=128,
            classifier_widths=(128, 128),
            padding="same",
        ).eval()
        network.load_state_dict(golden_network().state_dict())
    assert difference(network(golden["image"]).mask_scores, golden["seg_score"]) > 1e-2


@pytest.mark.parametrize("architecture", ["fcn8s", "fcn16s", "fcn32s"])
def test_the_original_written_out_gives_the_same_scores(architecture):
    network, images = narrow(architecture, "caffe"), torch.randn(1, 3, 45, 58)
    arrays = {name.split(".", 1)[1]: value for name, value in network.state_dict().items()}
    with torch.no_grad():
        torch.testing.assert_close(
            network(images).mask_scores, by_the_book(arrays, images, network.stride), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("padding", ["same", "caffe"])
@pytest.mark.parametrize("architecture", ["fcn8s", "fcn16s", "fcn32s"])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 49)])
def test_scores_have_the_images_size_and_features_a_sixteenth_of_it(architecture, padding, size):
    output = narrow(architecture, padding)(torch.randn(1, 3, *size))
    assert output.mask_scores.shape == (1, 1 + len(NAMES), *size)
    assert output.features.shape == (1, 7, *(math.ceil(side / 16) for side in size))
    assert output.class_scores.shape == (1, len(NAMES))


@pytest.mark.parametrize("padding", ["same", "caffe"])
def test_a_batch_gives_what_its_images_give_alone(padding):
    network, images = narrow(padding=padding), torch.randn(3, 3, 37, 50)
    together = network(images)
    for index in range(3):
        alone = network(images[index : index + 1])
        for ours, theirs in zip(together[:3], alone[:3], strict=True):
            torch.testing.assert_close(ours[index : index + 1], theirs)


@pytest.mark.parametrize("size", [(31, 64), (64, 16)])
def test_images_that_are_too_small_are_refused(size):
    with pytest.raises(ValueError, match=f"at least 32x32, got {size[1]}x{size[0]}"):
        narrow()(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(("padding", "passes"), [("same", 1), ("caffe", 2)])
def test_without_segmenting_the_rest_is_the_same_and_costs_one_trunk_pass(padding, passes):
    network, images, calls = narrow(padding=padding), torch.randn(1, 3, 40, 40), []
    network.trunk.register_forward_hook(lambda *_: calls.append(1))
    whole = network(images)
    assert len(calls) == passes
    part = network(images, segment=False)
    assert (len(calls), part.mask_scores) == (passes + 1, None)
    assert torch.equal(part.class_scores, whole.class_scores) and torch.equal(part.features, whole.features)


@pytest.mark.parametrize("architecture", ["fcn8s", "fcn16s", "fcn32s"])
def test_same_padding_is_aligned_a_mirrored_network_sees_a_mirrored_world(architecture):
    """An offset that is off by a single pixel breaks the symmetry, as the original's crops do."""
    images = torch.randn(1, 3, 64, 96)
    for padding, aligned in (("same", True), ("caffe", False)):
        network, mirrored = narrow(architecture, padding), narrow(architecture, padding)
        for layer in mirrored.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.data = layer.weight.data.flip(2, 3)
        with torch.no_grad():
            scores, back = network(images).mask_scores, mirrored(images.flip(2, 3)).mask_scores.flip(2, 3)
        assert torch.allclose(scores, back, atol=1e-3 * float(scores.abs().max())) == aligned


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_interpolates(factor):
    upsampling, inside = bilinear_upsampling(2, factor), slice(factor, -factor)  # the border has no one to mix with
    constant = upsampling(torch.full((1, 2, 3, 3), 0.7))[:, :, inside, inside]
    torch.testing.assert_close(constant, torch.full_like(constant, 0.7))

    maps, half = torch.randn(1, 2, 4, 5), factor // 2
    theirs = F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)[
        :, :, half:-half, half:-half
    ]
    torch.testing.assert_close(upsampling(maps)[:, :, inside, inside], theirs, rtol=1e-4, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in upsampling.parameters())


def test_the_in_place_relu_spoils_no_gradient():
    network, images = narrow(), torch.randn(1, 3, 40, 33)
    images.requires_grad_()
    plain = images
    for block, depth in enumerate(VGG16_DEPTHS, start=1):
        for layer in range(1, depth + 1):
            plain = F.relu(network.trunk.get_submodule(f"conv{block}_{layer}")(plain))
        if block < 5:
            plain = F.max_pool2d(plain, 2, 2, ceil_mode=True)
    wanted = [images, *network.trunk.parameters()]
    ours = torch.autograd.grad(network(images).features.square().sum(), wanted)
    for found, expected in zip(ours, torch.autograd.grad(plain.square().sum(), wanted), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_seed_alone_makes_the_fresh_weights():
    first, again, other = (ARCHITECTURES["fcn8s"](NAMES, **SMALL, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.trunk.conv3_2.weight, again.trunk.conv3_2.weight)
    assert not torch.equal(first.trunk.conv3_2.weight, other.trunk.conv3_2.weight)
    state = torch.get_rng_state()
    first.reset_parameters(1)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.trunk.conv3_2.weight, other.trunk.conv3_2.weight)


def test_one_part_starts_afresh_and_the_others_stay():
    network = narrow()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.reset_parameters(5, "classifier")
    changed = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"classifier"}
