"""Every attention method against formulas written pixel by pixel, against hooks, and against what must follow of it."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from wheretolook.attention.grad_cam import channel_weights
from wheretolook.attention.gradients import score_gradients
from wheretolook.attention.methods import METHODS, attention_maps
from wheretolook.errors import ConfigError
from wheretolook.options.objective import OF_PIXELS, OF_TOKENS, Method
from wheretolook.records import GuidedOutput

from ..networks import zoo
from .small import Plain, narrow, output_of, smooth_classifier

ON_FEATURES = tuple(name for name in METHODS if name not in OF_PIXELS | OF_TOKENS)  # the others have tests of their own
ON_ANY_CLASSIFIER = tuple(name for name in ON_FEATURES if name != "cam")


def test_every_method_has_its_function():
    assert set(METHODS) == set(get_args(Method))


# --- the formulas, pixel by pixel ----------------------------------------------------------------------------------

Written = Callable[[Tensor, Tensor], Tensor]  # of one image's features and its gradient, (c, h, w): a map (h, w)


def written_grad_cam(f: Tensor, g: Tensor) -> Tensor:
    return sum(g[c].mean() * f[c] for c in range(len(f)))


def written_hires_cam(f: Tensor, g: Tensor) -> Tensor:
    return sum(g[c] * f[c] for c in range(len(f)))


def written_layer_cam(f: Tensor, g: Tensor) -> Tensor:
    at = torch.zeros_like(f[0])
    for c, i, j in torch.cartesian_prod(*map(torch.arange, f.shape)).tolist():
        at[i, j] += max(float(g[c, i, j]), 0.0) * f[c, i, j]
    return at


def written_grad_cam_plus_plus(f: Tensor, g: Tensor) -> Tensor:
    """As the paper writes it, powers and all."""
    weights = torch.zeros(len(f), dtype=f.dtype)
    for c, i, j in torch.cartesian_prod(*map(torch.arange, f.shape)).tolist():
        slope = g[c, i, j]
        if slope > 0:
            weights[c] += slope**2 / (2 * slope**2 + f[c].sum() * slope**3) * slope
    return sum(weights[c] * f[c] for c in range(len(f)))


def written_xgrad_cam(f: Tensor, g: Tensor) -> Tensor:
    return sum((f[c] / f[c].sum() * g[c]).sum() * f[c] for c in range(len(f)))


WRITTEN: dict[str, Written] = {
    "grad_cam": written_grad_cam,
    "hires_cam": written_hires_cam,
    "layer_cam": written_layer_cam,
    "grad_cam_plus_plus": written_grad_cam_plus_plus,
    "xgrad_cam": written_xgrad_cam,
}


def bent_classifier(channels: int, size: tuple[int, int], classes: int) -> nn.Sequential:
    """Looks at every position by itself, so that gradients differ from position to position."""
    positions = channels * size[0] * size[1]
    return nn.Sequential(nn.Flatten(), nn.Linear(positions, 5), nn.Tanh(), nn.Linear(5, classes)).double()


def gradient_by_differences(classify: nn.Module, features: Tensor, index: int) -> Tensor:
    """Of one image, by moving one feature at a time."""
    step, found = 1e-6, torch.zeros_like(features[0])
    nudges = step * torch.eye(features[0].numel(), dtype=features.dtype).view(-1, *features.shape[1:])
    with torch.no_grad():
        slopes = (classify(features + nudges) - classify(features - nudges))[:, index] / (2 * step)
    return slopes.view_as(found)


@pytest.mark.parametrize("method", ON_ANY_CLASSIFIER)
def test_maps_are_those_of_the_formula(method: str):
    classify = bent_classifier(3, (4, 5), 4)
    features = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    maps = attention_maps(output_of(classify, features), torch.tensor([[3, 1], [0, 3]]), method=method, signed=True)
    assert maps.shape == (2, 2, 4, 5)
    for image, column, index in ((0, 0, 3), (0, 1, 1), (1, 0, 0), (1, 1, 3)):
        alone = features.detach()[image : image + 1]
        slope = gradient_by_differences(classify, alone, index)
        expected = {name: written(alone[0], slope) for name, written in WRITTEN.items()}
        torch.testing.assert_close(maps[image, column], expected.pop(method), rtol=1e-5, atol=1e-7)
        assert all((maps[image, column] - other).abs().max() > 1e-4 for other in expected.values())


def test_the_weights_of_grad_cam_plus_plus_are_ratios_of_higher_derivatives_of_the_exponential_score():
    """The paper's general formula, by three derivatives of exp(s) for one feature at a time, where s is linear."""
    torch.manual_seed(0)
    head = nn.Linear(2 * 3 * 2, 1).double()
    features = torch.rand(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    (ours,) = attention_maps(GuidedOutput(head(features.flatten(1)), features), [0], method="grad_cam_plus_plus")[0]

    def score(value: Tensor, at: int) -> Tensor:
        flat = features.detach().flatten()
        return head(torch.cat([flat[:at], value[None], flat[at + 1 :]])).exp()[0]

    weights = torch.zeros(2, dtype=torch.float64)
    for at, value in enumerate(features.detach().flatten()):
        moved = value.clone().requires_grad_()
        (first,) = torch.autograd.grad(score(moved, at), moved, create_graph=True)
        (second,) = torch.autograd.grad(first, moved, create_graph=True)
        (third,) = torch.autograd.grad(second, moved)
        channel = at // 6
        share = second / (2 * second + features.detach()[0, channel].sum() * third)
        weights[channel] += (share * first.relu()).detach()
    expected = torch.einsum("c,chw->hw", weights, features.detach()[0]).relu()
    torch.testing.assert_close(ours * head(features.flatten(1)).exp().item(), expected)


@pytest.mark.parametrize("method", ON_ANY_CLASSIFIER)
def test_maps_are_those_of_hooks_on_a_plain_network(method: str):
    network, images = Plain().eval(), torch.randn(3, 3, 13, 18)
    maps = attention_maps(network.guided(images), method=method)
    kept: dict[str, Tensor] = {}

    def keep(_: nn.Module, __: object, features: Tensor) -> None:
        kept["features"] = features.detach()[0]
        features.register_hook(lambda gradient: kept.__setitem__("gradient", gradient[0]))

    handle = network.trunk.register_forward_hook(keep)
    for image in range(3):
        for index in range(4):
            network(images[image : image + 1])[0, index].backward()
            f, g = kept["features"], kept["gradient"]
            there = f.flatten(1).sum(1) > 0  # the formulas divide by a channel's sum
            expected = WRITTEN[method](f[there], g[there]).clamp(min=0)
            torch.testing.assert_close(maps[image, index], expected, rtol=1e-4, atol=1e-7)
    handle.remove()


# --- CAM, and what linear classifiers make of the others -----------------------------------------------------------


def linear_output() -> tuple[nn.Linear, GuidedOutput]:
    torch.manual_seed(0)
    head = nn.Linear(6, 4).double()
    features = torch.rand(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    return head, GuidedOutput(head(features.mean(dim=(2, 3))), features)


def test_cam_is_the_heads_weights_on_the_features():
    head, output = linear_output()
    maps = attention_maps(output, method="cam", signed=True)
    torch.testing.assert_close(maps, torch.einsum("kc,bchw->bkhw", head.weight, output.features).detach())
    torch.testing.assert_close(maps.mean(dim=(2, 3)), (output.class_scores - head.bias).detach())
    assert maps.min() < 0 and not maps.requires_grad


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "two_outputs"])
def test_cam_is_found_in_any_network_with_such_a_head(name: str):
    network, images = zoo.guided(name), zoo.images(name)
    output = network(images)
    (head,) = [module for module in network.module.modules() if isinstance(module, nn.Linear)]
    expected = torch.einsum("kc,bchw->bkhw", head.weight, output.features).detach()
    torch.testing.assert_close(attention_maps(output, method="cam", signed=True), expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(attention_maps(network(images), method="cam"), expected.relu())


def test_a_convolution_before_the_pooling_is_such_a_head_too():
    head, output = linear_output()
    scores = nn.functional.conv2d(output.features, head.weight[..., None, None], head.bias).mean(dim=(2, 3))
    again = output._replace(class_scores=scores)
    torch.testing.assert_close(attention_maps(again, method="cam"), attention_maps(output, method="cam"))


def maximum(features: Tensor) -> Tensor:
    return features.amax(dim=(2, 3))[:, :3]


REFUSED = {
    "a bent classifier": smooth_classifier(6, 4),
    "a hidden layer": smooth_classifier(6, 4, nn.ReLU),
    "no pooling": nn.Sequential(nn.Flatten(), nn.Linear(6 * 15, 4)).double(),
    "the largest value": maximum,
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_cam_refuses_other_classifiers_in_one_line(what: str, mode: Callable[[], object]):
    features = torch.rand(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    output = output_of(REFUSED[what], features)
    with mode(), pytest.raises(ConfigError, match="expected one linear layer behind global average pooling") as caught:
        attention_maps(output, method="cam")
    assert "\n" not in str(caught.value)
    output.class_scores.sum().backward()  # the graph is whole


def test_cam_refuses_a_classifier_that_looks_a_little_harder_at_one_place():
    """By a thousandth, which is a hundred times what rounding makes of equal weights."""
    head, _ = linear_output()
    features = torch.rand(2, head.in_features, 3, 4, dtype=head.weight.dtype, requires_grad=True)
    harder = torch.ones(3, 4, dtype=features.dtype)
    attention_maps(GuidedOutput(head((features * harder).mean(dim=(2, 3))), features), method="cam")
    harder[1, 2] = 1.001
    with pytest.raises(ConfigError, match="expected one linear layer behind global average pooling"):
        attention_maps(GuidedOutput(head((features * harder).mean(dim=(2, 3))), features), method="cam")


def test_gradients_keep_no_graph_unless_they_are_asked_to():
    classifier = smooth_classifier(3, 2)
    features = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    for find in (score_gradients, channel_weights):
        found = [
            find(classifier(features), features, torch.tensor([[0, 1]]), **how) for how in ({}, {"create_graph": True})
        ]
        assert [one.requires_grad for one in found] == [False, True] and torch.equal(*found)


def test_cam_refuses_the_fcns_classifier_and_a_vision_transformers():
    for output in (narrow()(torch.randn(1, 3, 40, 56)), zoo.guided("vit_b_16")(zoo.images("vit_b_16"))):
        with pytest.raises(ConfigError, match="for the method cam"):
            attention_maps(output, method="cam")


def test_behind_mean_pooling_and_a_linear_layer_the_methods_agree_as_they_should():
    head, output = linear_output()
    cam = attention_maps(output, method="cam", signed=True)
    for method in ("grad_cam", "hires_cam", "xgrad_cam"):
        torch.testing.assert_close(attention_maps(output, method=method, signed=True) * 15, cam)
    positive = torch.einsum("kc,bchw->bkhw", head.weight.relu(), output.features).detach()
    torch.testing.assert_close(attention_maps(output, method="layer_cam") * 15, positive)


def test_hires_cam_adds_up_to_the_score_of_a_classifier_without_bend_or_bias():
    head = nn.Linear(6 * 15, 4, bias=False).double()
    features = torch.rand(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    output = GuidedOutput(head(features.flatten(1)), features)
    added = attention_maps(output, method="hires_cam", signed=True).sum(dim=(2, 3))
    torch.testing.assert_close(added, output.class_scores.detach())


# --- what holds of each of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ON_ANY_CLASSIFIER)
def test_channels_without_features_or_gradients_are_no_trouble(method: str):
    features = torch.rand(2, 3, 4, 5)
    features[:, 1] = 0
    features.requires_grad_()
    scores = torch.stack([features[:, :2].square().mean(dim=(1, 2, 3)), 0 * features.sum(dim=(1, 2, 3))], dim=1)
    maps = attention_maps(GuidedOutput(scores, features), method=method, differentiable=True)
    assert maps.isfinite().all() and maps[:, 0].amax() > 0 and not maps[:, 1].any()
    (gradient,) = torch.autograd.grad(maps.sum(), features)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("method", ON_ANY_CLASSIFIER)
def test_a_batch_gives_what_its_images_give_alone_in_every_mode(method: str):
    network, images = narrow(), torch.randn(3, 3, 40, 56)
    together = attention_maps(network(images), method=method, differentiable=True)
    assert together.requires_grad and together.min() >= 0 and together.amax() > 0
    for index in range(3):
        alone = attention_maps(network(images[index : index + 1]), [3, 0], method=method)
        torch.testing.assert_close(alone, together[index : index + 1, [3, 0]].detach())
    with torch.inference_mode():
        torch.testing.assert_close(attention_maps(network(images), method=method), together.detach())


@pytest.mark.parametrize("method", ON_FEATURES)
@pytest.mark.parametrize("how", ["second_order", "constant"])
def test_gradients_through_maps_are_those_of_finite_differences_in_second_order_only(method: str, how: str):
    torch.manual_seed(1)
    if method == "cam":
        classify, wanted = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).double(), "2.weight"
    else:
        classify, wanted = bent_classifier(3, (2, 3), 2), "1.weight"
    features = (torch.rand(2, 3, 2, 3, dtype=torch.float64) + 0.2).requires_grad_()
    weight = classify.get_parameter(wanted).detach().clone().requires_grad_()

    def maps(features: Tensor, weight: Tensor) -> Tensor:
        scores = torch.func.functional_call(classify, {wanted: weight}, (features,))
        output = GuidedOutput(scores, features)
        return attention_maps(output, method=method, differentiable=True, channel_weights=how, signed=True)

    if how == "second_order":
        assert torch.autograd.gradcheck(maps, (features, weight))
        return
    found = torch.autograd.grad(maps(features, weight).square().sum(), (features, weight), allow_unused=True)
    assert found[0].abs().max() > 0 and found[1] is None
    (of_one,) = torch.autograd.grad(maps(features, weight)[0, 0, 1, 2], features)
    elsewhere = of_one.clone()
    elsewhere[0, :, 1, 2] = 0  # with weights that are constants a pixel of the map depends on nothing but its features
    assert of_one.any() and not elsewhere.any()
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(maps, (features, weight))
