"""Grad-CAM from its definition, from hooks on a plain network, from the predecessor; and what it must leave alone."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from wheretolook.attention.grad_cam import channel_weights
from wheretolook.attention.maps import image_maps, normalised, upsampled
from wheretolook.attention.methods import attention_maps, pair_maps
from wheretolook.losses.mining import masked_images, soft_mask
from wheretolook.records import GuidedOutput

from ..golden.values import difference, golden_network, golden_values
from .small import Plain, narrow, output_of, smooth_classifier

# --- against other derivations -------------------------------------------------------------------------------------


def test_channel_weights_match_central_differences():
    """The definition, not our formula: how much the score moves when one channel is raised everywhere."""
    classify = smooth_classifier(3, 4)
    features = torch.rand(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    classes = torch.tensor([[1, 3], [2, 1]])
    weights = channel_weights(classify(features), features, classes)

    step, pixels = 1e-6, 5 * 4
    for channel in range(3):
        nudge = torch.zeros_like(features)
        nudge[:, channel] = step
        slopes = (classify(features + nudge) - classify(features - nudge)) / (2 * step)
        torch.testing.assert_close(weights[:, :, channel], slopes.gather(1, classes) / pixels)


def grad_cam_by_hooks(network: nn.Module, layer: nn.Module, image: Tensor, index: int) -> Tensor:
    """As tutorials do it: keep the layer's output and its gradient, run backward from one score of one image."""
    kept = {}

    def keep(_: nn.Module, __: object, activations: Tensor) -> None:
        kept["features"] = activations
        activations.register_hook(lambda gradient: kept.__setitem__("gradient", gradient))

    handle = layer.register_forward_hook(keep)
    try:
        network(image[None])[0, index].backward()
    finally:
        handle.remove()
        network.zero_grad()
    total = sum(g.mean() * f for g, f in zip(kept["gradient"][0], kept["features"][0], strict=True))
    return total.detach().clamp(min=0)


def test_maps_are_those_of_grad_cam_by_hooks():
    network, images = Plain().eval(), torch.randn(3, 3, 13, 18)
    maps = attention_maps(network.guided(images))
    assert maps.count_nonzero() > maps.numel() / 4
    for image in range(3):
        for index in range(4):
            expected = grad_cam_by_hooks(network, network.trunk, images[image], index)
            torch.testing.assert_close(maps[image, index], expected)


def test_the_predecessors_maps_and_masks_come_out():
    golden, network = golden_values(), golden_network()
    classes, size = golden["classes"].tolist(), (64, 80)
    output = network(golden["image"])
    maps = attention_maps(output, classes)[0]
    attention = image_maps(maps, size, upsampling="aligned")
    assert difference(attention, golden["cam_normalised"]) <= 1e-4
    masks = soft_mask(attention, 0.5, 8.0)
    assert difference(masks, golden["soft_mask"]) <= 1e-4
    erased = masked_images(golden["image"].expand(3, -1, -1, -1), masks)
    assert difference(erased, golden["masked_image"]) <= 1e-4
    scores = network(erased, segment=False).class_scores
    assert difference(scores.sigmoid(), golden["masked_probability"]) <= 1e-4

    assert difference(image_maps(maps, size, upsampling="bilinear"), golden["cam_normalised"]) > 0.01
    shifted = attention_maps(output, [index - 1 for index in classes])[0]  # as if background were a class
    assert difference(image_maps(shifted, size, upsampling="aligned"), golden["cam_normalised"]) > 0.01
    assert difference(soft_mask(attention, 0.5, 10.0), golden["soft_mask"]) > 0.01


def test_the_map_is_of_the_score_not_of_its_probability():
    """The two differ by the sigmoid's slope p (1 - p), as the predecessor's other map shows."""
    golden, network = golden_values(), golden_network()
    output = network(golden["image"])
    maps = upsampled(attention_maps(output, golden["classes"].tolist())[0], (64, 80), "aligned")
    p = output.class_scores[0, golden["classes"]].sigmoid()[:, None, None]
    assert difference(maps * p * (1 - p), golden["cam_of_probability"]) <= 1e-4
    assert difference(maps, golden["cam_of_probability"]) > 0.1


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (7, 3)])
def test_with_mere_pooling_between_the_weights_are_the_gradient_at_the_pooled_vector_over_the_pixels(size):
    classify, pixels = smooth_classifier(3, 4), size[0] * size[1]
    features = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    pooled = features.detach().mean(dim=(2, 3)).requires_grad_()
    classes = torch.arange(4).expand(2, -1)
    weights = channel_weights(classify(features), features, classes)
    for index in range(4):
        (slopes,) = torch.autograd.grad(classify[2:](pooled)[:, index].sum(), pooled)
        torch.testing.assert_close(weights[:, index], slopes / pixels)


# --- batches, classes, pairs ---------------------------------------------------------------------------------------


def test_a_batch_gives_what_its_images_give_alone():
    network, images = narrow(), torch.randn(3, 3, 40, 56)
    table = torch.tensor([[0, 3], [2, 2], [1, 0]])
    together = attention_maps(network(images), table)
    assert together.shape == (3, 2, 3, 4) and together.amax() > 0
    for index in range(3):
        alone = attention_maps(network(images[index : index + 1]), table[index].tolist())
        torch.testing.assert_close(together[index : index + 1], alone)


def test_none_list_and_table_name_the_same_classes():
    output = narrow()(torch.randn(2, 3, 40, 56))
    every = attention_maps(output)
    torch.testing.assert_close(attention_maps(output, [0, 1, 2, 3]), every)
    torch.testing.assert_close(attention_maps(output, (3, 1)), every[:, [3, 1]])
    torch.testing.assert_close(
        attention_maps(output, torch.tensor([[3], [1]])), torch.stack([every[0, [3]], every[1, [1]]])
    )
    assert attention_maps(output, []).shape == (2, 0, 3, 4)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ([0, 4], r"expected class indices from 0 to 3, got \[0, 4\]"),
        ([-1], r"expected class indices from 0 to 3, got \[-1\]"),
        (torch.tensor([[0], [1], [2]]), r"a list of classes or a tensor \(2, k\) or \(2,\), got shape \(3, 1\)"),
    ],
)
def test_classes_that_are_not_there_are_refused(classes, says):
    with pytest.raises(ValueError, match=says):
        attention_maps(narrow()(torch.randn(2, 3, 32, 32)), classes)


def test_pairs_pick_their_maps_in_their_order():
    """Images with three, one and no classes; the pairs out of order, and one of them twice."""
    output = narrow()(torch.randn(3, 3, 40, 56))
    every = attention_maps(output)
    pairs = torch.tensor([[2, 1], [0, 3], [0, 0], [0, 2], [2, 1]])
    picked = pair_maps(output, pairs)
    torch.testing.assert_close(picked, every[pairs[:, 0], pairs[:, 1]])
    assert pair_maps(output, pairs[:0]).shape == (0, 3, 4)


# --- what it leaves alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("frozen", [False, True])
def test_maps_are_the_same_in_every_mode_inside_and_after_it(mode, frozen):
    network, images, pairs = narrow(), torch.randn(2, 3, 40, 56), torch.tensor([[1, 2], [0, 0]])
    expected = attention_maps(network(images), differentiable=True).detach()
    network.requires_grad_(not frozen)
    with mode():
        output = network(images)
        inside, picked = attention_maps(output), pair_maps(output, pairs)
    assert torch.equal(inside, expected) and torch.equal(attention_maps(output), expected)
    torch.testing.assert_close(picked, expected[pairs[:, 0], pairs[:, 1]])
    assert not inside.requires_grad


@pytest.mark.parametrize(
    ("mode", "frozen"), [(nullcontext, True), (torch.no_grad, False), (torch.inference_mode, False)]
)
def test_differentiable_maps_without_a_graph_are_refused(mode, frozen):
    network = narrow().requires_grad_(not frozen)
    with mode():
        output = network(torch.randn(1, 3, 32, 32))
    for maps, which in ((attention_maps, [0]), (pair_maps, torch.zeros(1, 2, dtype=torch.long))):
        assert not maps(output, which).requires_grad
        with pytest.raises(ValueError, match="need a forward with gradients on") as caught:
            maps(output, which, differentiable=True)
        assert "\n" not in str(caught.value)


def test_maps_leave_gradients_and_modes_alone_and_a_later_backward_works():
    network, images = narrow(), torch.randn(2, 3, 40, 56)
    network.train()
    network.classifier.eval()
    network.segmenter.eval()
    modes = [part.training for part in network.modules()]

    def gradients(calls: int) -> list[Tensor]:
        network.zero_grad()
        output = network(images)
        for _ in range(calls):
            attention_maps(output, differentiable=True, channel_weights="second_order")
            attention_maps(output, [1])
        assert all(parameter.grad is None for parameter in network.parameters())
        (output.class_scores.square().sum() + output.mask_scores.logsumexp(1).sum()).backward()
        return [parameter.grad for parameter in network.parameters() if parameter.requires_grad]

    for ours, expected in zip(gradients(2), gradients(0), strict=True):
        torch.testing.assert_close(ours, expected)
    assert [part.training for part in network.modules()] == modes


# --- gradients through maps ----------------------------------------------------------------------------------------


def maps_as_function(classifier: nn.Module, how: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Maps as a function of features (of the trunk, so to speak) and of the classifier's weight matrices."""

    def maps(features: Tensor, first: Tensor, last: Tensor) -> Tensor:
        layers = {"2.weight": first, "4.weight": last}
        scores = torch.func.functional_call(classifier, layers, (features,))
        return attention_maps(GuidedOutput(scores, features), differentiable=True, channel_weights=how)

    return maps


def curvature_inputs(classifier: nn.Module) -> list[Tensor]:
    features = torch.rand(2, 3, 2, 3, dtype=torch.float64) + 0.1
    return [value.detach().clone().requires_grad_() for value in (features, classifier[2].weight, classifier[4].weight)]


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus])
def test_second_order_maps_have_the_gradient_of_finite_differences(activation):
    classifier = smooth_classifier(3, 2, activation)
    inputs = curvature_inputs(classifier)
    assert maps_as_function(classifier, "second_order")(*inputs).amax() > 0.01
    assert torch.autograd.gradcheck(maps_as_function(classifier, "second_order"), inputs)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(maps_as_function(classifier, "constant"), inputs)


def test_constant_weights_have_the_gradient_of_a_fixed_linear_map():
    classifier = smooth_classifier(3, 2)
    features, first, last = curvature_inputs(classifier)
    fixed = channel_weights(classifier(features), features, torch.tensor([[0, 1], [0, 1]])).detach()
    expected = torch.einsum("bkc,bchw->bkhw", fixed, features).relu().square().sum()
    ours = maps_as_function(classifier, "constant")(features, first, last).square().sum()
    found = torch.autograd.grad(ours, [features, first, last], allow_unused=True)
    torch.testing.assert_close(found[0], torch.autograd.grad(expected, features)[0])
    assert found[1:] == (None, None)


def test_a_piecewise_linear_classifier_has_no_second_order_on_the_trunk_only_on_itself():
    network, images = narrow().double(), torch.randn(2, 3, 40, 56, dtype=torch.float64)
    wanted = [network.trunk.conv3_2.weight, network.classifier.fc7_cl.weight]
    found = {}
    for how in ("constant", "second_order"):
        maps = attention_maps(network(images), differentiable=True, channel_weights=how)
        found[how] = torch.autograd.grad(maps.square().sum(), wanted, allow_unused=True)
    torch.testing.assert_close(found["constant"][0], found["second_order"][0])
    assert found["constant"][0].abs().max() > 0
    assert found["constant"][1] is None and found["second_order"][1].abs().max() > 0


def test_pairs_carry_the_gradient_of_their_maps():
    classifier = smooth_classifier(3, 4)
    features = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    output, pairs = output_of(classifier, features), torch.tensor([[1, 3], [0, 1], [1, 0]])
    how = {"differentiable": True, "channel_weights": "second_order"}
    (ours,) = torch.autograd.grad(pair_maps(output, pairs, **how).square().sum(), features, retain_graph=True)
    every = attention_maps(output, **how)[pairs[:, 0], pairs[:, 1]]
    torch.testing.assert_close(ours, torch.autograd.grad(every.square().sum(), features)[0])


# --- normalising and upsampling ------------------------------------------------------------------------------------


def test_normalising_is_by_each_maps_own_extremes():
    maps = torch.tensor([[[1.0, 2.0, 5.0]], [[0.0, 10.0, 20.0]], [[0.0, 0.0, 0.0]], [[3.0, 3.0, 3.0]]])
    assert normalised(maps).tolist() == [[[0, 0.25, 1]], [[0, 0.5, 1]], [[0, 0, 0]], [[0, 0, 0]]]
    expected = torch.tensor([[[0.2, 0.4, 1]], [[0, 0.5, 1]], [[0, 0, 0]], [[1, 1, 1]]])
    torch.testing.assert_close(normalised(maps, "max"), expected)
    assert normalised(maps, "none") is maps


@pytest.mark.parametrize(("how", "ranges"), [("min_max", (4.0, 20.0)), ("max", (5.0, 20.0)), ("none", (1.0, 1.0))])
def test_extremes_are_constants_and_an_all_zero_map_has_no_gradient(how, ranges):
    maps = torch.tensor([[[1.0, 2.0, 5.0]], [[0.0, 10.0, 20.0]], [[0.0, 0.0, 0.0]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(normalised(maps, how).sum(), maps)
    last = 1.0 if how == "none" else 0.0
    expected = torch.tensor([1 / ranges[0], 1 / ranges[1], last])[:, None, None].expand(3, 1, 3)
    torch.testing.assert_close(gradient, expected)


def test_upsampling_follows_either_convention():
    ramp = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    columns = {"bilinear": [0, 0.25, 0.75, 1], "features": [0, 0.25, 0.75, 1], "aligned": [0, 1 / 3, 2 / 3, 1]}
    for how, column in columns.items():
        x = torch.tensor(column)
        torch.testing.assert_close(upsampled(ramp, (4, 4), how), (2 * x[:, None] + x)[None])
    assert upsampled(torch.rand(2, 3, 4), (33, 47)).shape == (2, 33, 47)


def test_image_maps_upsample_first_unless_told_otherwise():
    """A single peak of 4 between zeros, each pixel made two: nowhere is the peak itself met."""
    maps = torch.tensor([[[0.0, 4.0, 0.0]]])
    size = (1, 6)
    stretched = torch.tensor([0.0, 1.0, 3.0, 3.0, 1.0, 0.0])  # half-way cells see 1/4 and 3/4 of the peak
    torch.testing.assert_close(upsampled(maps, size)[0, 0], stretched)
    torch.testing.assert_close(image_maps(maps, size)[0, 0], stretched / 3)  # its own peak becomes 1
    torch.testing.assert_close(image_maps(maps, size, upsampling="features")[0, 0], stretched / 4)
    torch.testing.assert_close(image_maps(maps, size, normalising="none")[0, 0], stretched)


def test_maps_are_in_single_precision_under_autocast():
    """Half precision in the classifier's backward alone is off by nearly a percent."""
    network, images = narrow().float(), torch.rand(2, 3, 48, 48)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images)
        found = attention_maps(output, differentiable=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, attention_maps(output), rtol=1e-6, atol=1e-9)


def test_differentiable_maps_in_no_grad_are_refused():
    output = output_of(Plain(), torch.rand(1, 3, 16, 16))
    with torch.no_grad(), pytest.raises(ValueError, match="no graph"):
        attention_maps(output, differentiable=True)
