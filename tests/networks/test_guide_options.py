"""What `guide` may be told, what it says of what cannot be, and how the parts of a network are told apart."""

import copy
import json
import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wheretolook
from wheretolook import attention_maps, guide
from wheretolook.errors import ConfigError
from wheretolook.networks.heads import pooled_scores
from wheretolook.networks.modes import second_order_attention
from wheretolook.records import TORCHVISION, Cells

from .zoo import NAMES, ZOO, guided, images, network


class Shape(nn.Module):
    """Gives whatever it is told to, made from one convolution's output."""

    def __init__(self, make: Any, channels: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 4, 4)
        self.make = make

    def forward(self, pixels: Tensor) -> Any:
        return self.make(self.convolution(pixels))


def masks_of(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), nn.Conv2d(5, channels, 1))


def test_a_layer_may_be_named():
    found = guide(network("resnet18"), "layer3.1.conv2", input_size=64)
    assert found.layer == "layer3.1.conv2"
    assert found(images("resnet18")).features.shape == (2, 256, 4, 4)


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        ("resnet18", "layr4", "expected the name of a layer, got 'layr4'; did you mean 'layer4'?"),
        ("resnet18", "fc", r"'fc' gives shape \(2, 3\)"),
        ("vit_small", "head", r"'head' gives shape \(2, 3\)"),
        ("resnet18", "relu", "layer 'layer4.1.relu' runs more than once"),
    ],
)
def test_a_layer_that_cannot_be_says_why(module: str, layer: str, message: str):
    layer = "layer4.1.relu" if layer == "relu" else layer
    with pytest.raises(ConfigError, match=message):
        guide(network(module), layer, input_size=64)


def test_a_layer_that_does_not_run_is_named():
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    module[3].spare = nn.Conv2d(3, 4, 1)
    with pytest.raises(ConfigError, match=r"'3\.spare' does not"):
        guide(module, "3.spare", input_size=32)


class Sometimes(nn.Module):
    """Runs its layer as often as the images are tall in units of 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        for _ in range(pixels.shape[2] // 32):
            pixels = self.layer(pixels)
        return self.head(pixels.mean(dim=(2, 3)))


def test_a_layer_that_runs_twice_is_an_error_with_its_name():
    with pytest.raises(ConfigError, match="layer 'layer' runs more than once"):
        guide(Sometimes(), "layer", input_size=64)
    with pytest.raises(ConfigError, match="no layer"):
        guide(Sometimes(), input_size=64)
    found = guide(Sometimes(), input_size=32)
    with pytest.raises(ConfigError, match="layer 'layer' runs more than once"):
        found(torch.rand(2, 3, 64, 64))
    with pytest.raises(ConfigError, match="layer 'layer' did not run"):
        found(torch.rand(2, 3, 16, 16))
    assert not found.module.layer._forward_hooks
    assert found(torch.rand(2, 3, 32, 32)).features.shape == (2, 3, 32, 32)


def test_a_head_that_starts_at_zero_asks_for_a_name(caplog: pytest.LogCaptureFixture):
    module = copy.deepcopy(network("vit_b_16"))
    nn.init.zeros_(module.heads.head.weight)
    with pytest.raises(ConfigError, match="starts at zero; name the `layer`, such as 'encoder"):
        guide(module, input_size=64)
    found = guide(module, "encoder.layers.encoder_layer_1.ln_1", input_size=64)
    assert not attention_maps(found(images("vit_b_16"))).any()
    assert "do not depend on layer 'encoder.layers.encoder_layer_1.ln_1' now" in caplog.text
    caplog.clear()
    guide(network("vit_b_16"), "encoder.layers.encoder_layer_1.ln_1", input_size=64)
    assert not caplog.text


def test_images_that_the_module_does_not_take_say_so():
    with pytest.raises(ConfigError, match=r"dry run with images of 48x32: .*give the `input_size`"):
        guide(network("vit_small"), input_size=(32, 48))


def test_sizes_and_preprocessing_are_what_the_module_says_of_itself():
    assert guide(network("vit_small")).input_size == (64, 64)
    assert guide(network("huggingface_vit")).input_size == (64, 64)
    assert guide(network("vit_b_16")).input_size == (64, 64)
    assert guide(network("two_outputs")).input_size == (224, 224)
    assert guide(network("two_outputs"), images=torch.rand(1, 3, 40, 56)).input_size == (40, 56)
    half = guide(network("vit_small"), input_size=64).preprocessing
    assert half.mean == half.std == (0.5, 0.5, 0.5)
    assert guide(network("two_outputs")).preprocessing == TORCHVISION


def test_a_module_in_double_precision_and_one_of_one_channel():
    module = nn.Sequential(nn.Conv2d(1, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).double()
    output = guide(module, input_size=32)(torch.rand(2, 1, 32, 32, dtype=torch.float64))
    assert output.features.dtype == output.class_scores.dtype == torch.float64


@pytest.mark.parametrize(
    ("channels", "options", "classes", "background"),
    [
        (4, {}, 3, True),
        (4, {"background": False}, 4, False),
        (4, {"class_names": ("a", "b", "c")}, 3, True),
        (4, {"class_names": ("a", "b", "c", "d")}, 4, False),
        (1, {}, 1, False),
        (1, {"class_names": ("road",)}, 1, False),
    ],
)
def test_background_is_there_or_put_there(channels: int, options: dict[str, Any], classes: int, background: bool):
    module = masks_of(channels)
    found = guide(module, input_size=32, **options)
    output = found(torch.rand(2, 3, 32, 32))
    own = F.interpolate(module(torch.rand(2, 3, 32, 32)), size=(32, 32), mode="bilinear")
    assert len(found.class_names) == classes == output.class_scores.shape[1]
    assert output.mask_scores.shape == (2, 1 + classes, 32, 32)
    assert own.shape[1] == classes + background
    assert bool((output.mask_scores[:, 0] == 0).all()) is not background
    assert found.describe()["background"] is background


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"the 7 classes named.* gives \(2, 4, 8, 8\)"):
        guide(masks_of(4), input_size=32, class_names=tuple("abcdefg"))
    with pytest.raises(ConfigError, match="the 7 classes named"):
        guide(network("resnet18"), input_size=64, class_names=tuple("abcdefg"))
    with pytest.raises(ConfigError, match="scores='pooled'"):
        guide(network("resnet18"), input_size=64, scores="pooled")
    with pytest.raises(ConfigError, match="scores='logits'"):
        guide(masks_of(4), input_size=32, scores="logits")
    with pytest.raises(ConfigError, match=r"gives \(2, 4, 64\)"):
        guide(Shape(lambda features: features.flatten(2)), input_size=32)


def test_classes_are_named_by_number_where_nobody_names_them():
    assert guided("resnet18").class_names == ("class 0", "class 1", "class 2")
    assert guided("unet").class_names == ("class 0", "class 1", "class 2")


def test_pooled_scores_are_the_log_of_the_mean_odds():
    scores = 3 * torch.randn(2, 5, 4, 6, dtype=torch.float64)
    share = scores.softmax(dim=1)
    expected = (share / (1 - share)).mean(dim=(2, 3)).log()[:, 1:]
    torch.testing.assert_close(pooled_scores(scores), expected)
    assert torch.autograd.gradcheck(pooled_scores, scores.requires_grad_())
    torch.testing.assert_close(torch.stack([pooled_scores(image[None])[0] for image in scores]), pooled_scores(scores))


def test_pooled_scores_stay_exact_where_a_class_is_beyond_doubt():
    """Odds of exp(90) and of exp(-90): a share of 1 or 0 in single precision, whose logit would be infinite."""
    scores = torch.zeros(1, 3, 2, 2)
    scores[:, 1] = 90
    scores.requires_grad_()
    pooled = pooled_scores(scores)
    torch.testing.assert_close(pooled, torch.tensor([[90 - torch.tensor(2.0).log(), -90.0]]))
    pooled.sum().backward()
    assert scores.grad.isfinite().all()


def test_an_added_classifier_is_the_wrappers_own():
    module = network("unet")
    found = guide(module, input_size=64, scores="classifier", classifier_widths=(8, 6), seed=3)
    assert {key.split(".")[0] for key in found.state_dict()} == {"module", "classifier"}
    assert not found.classifies
    nn.init.ones_(found.classifier.score_cl.bias)
    assert found.classifies
    output = found(images("unet"))
    assert output.differentiable and output.class_scores.shape == (2, 3) and output.mask_scores.shape[1] == 4
    torch.testing.assert_close(output.class_scores, found.eval().classifier(found(images("unet")).features))
    with torch.no_grad():
        again = found(images("unet"))
    assert torch.equal(attention_maps(again), attention_maps(found(images("unet"))))
    other = guide(module, input_size=64, scores="classifier", classifier_widths=(8, 6), seed=4)
    assert not torch.equal(other.classifier.fc6_cl.weight, found.classifier.fc6_cl.weight)
    other.reset_classifier(3)
    assert torch.equal(other.classifier.fc6_cl.weight, found.classifier.fc6_cl.weight)
    assert not other.classifies


def test_without_masks_an_added_classifier_needs_no_decoder():
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.decoder = nn.Conv2d(3, 5, 4, 4), nn.Conv2d(5, 4, 1)

        def forward(self, pixels: Tensor) -> Tensor:
            try:
                features = self.trunk(pixels)
            except Exception:
                features = torch.zeros(len(pixels), 5, 8, 8)
            return self.decoder(features)

    module, pixels = Careful(), torch.rand(2, 3, 32, 32)
    decoded: list[int] = []
    found = guide(module, "trunk", input_size=32, scores="classifier", classifier_widths=(4, 4)).eval()
    module.decoder.register_forward_hook(lambda *_: decoded.append(1))
    expected = found(pixels)
    assert decoded
    decoded.clear()
    output = found(pixels, segment=False)
    assert not decoded and output.mask_scores is None
    assert torch.equal(output.class_scores, expected.class_scores)
    assert torch.equal(attention_maps(output), attention_maps(expected))
    assert not module.trunk._forward_hooks and torch.is_grad_enabled()


def test_an_added_classifier_makes_a_backbone_without_scores_answer():
    found = guide(Shape(lambda features: features, 7), input_size=32, scores="classifier", class_names=NAMES)
    assert found.layer == "convolution" and not found.segments
    assert found(torch.rand(2, 3, 32, 32)).class_scores.shape == (2, 3)


def test_a_module_may_score_images_and_pixels():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.pixels, self.image = nn.Conv2d(3, 5, 4, 4), nn.Conv2d(5, 4, 1), nn.Linear(5, 3)

        def forward(self, pixels: Tensor) -> Any:
            features = self.trunk(pixels)
            return self.pixels(features), self.image(features.mean(dim=(2, 3)))

    module, pixels = Both(), torch.rand(2, 3, 32, 32)
    found = guide(module, input_size=32)
    output = found(pixels)
    assert torch.equal(output.class_scores, module(pixels)[1])
    assert output.mask_scores.shape == (2, 4, 32, 32)
    assert found.part("trunk") == [module.trunk]
    assert found.part("classifier") == [module.image]
    assert found.part("segmenter") == [module.pixels]
    pooled = guide(module, input_size=32, scores="pooled")(pixels)
    torch.testing.assert_close(pooled.class_scores, pooled_scores(module(pixels)[0]))


@pytest.mark.parametrize("name", ZOO)
def test_parts_are_disjoint_and_together_the_network(name: str):
    found = guided(name)
    parts = {part: found.part(part) for part in ("trunk", "classifier", "segmenter")}
    parameters = [id(p) for modules in parts.values() for module in modules for p in module.parameters()]
    assert len(parameters) == len(set(parameters))
    assert set(parameters) == {id(p) for p in found.parameters()}
    assert bool(parts["segmenter"]) is ZOO[name].segments is found.segments
    assert bool(parts["classifier"]) is not ZOO[name].segments
    assert found.classifies


@pytest.mark.parametrize("name", ZOO)
def test_the_trunk_is_what_the_features_depend_on(name: str):
    """Each of its parameters, and no other: one left without a gradient would stop training by several processes."""
    found = guided(name)
    features = found(images(name)).features
    trunk = [p for module in found.part("trunk") for p in module.parameters()]
    rest = [p for part in ("classifier", "segmenter") for module in found.part(part) for p in module.parameters()]
    gradients = torch.autograd.grad(features.sum(), [*trunk, *rest], allow_unused=True)
    assert [gradient is not None for gradient in gradients] == [True] * len(trunk) + [False] * len(rest)


def test_a_frozen_part_trains_no_further():
    found = guide(copy.deepcopy(network("vit_small")), input_size=64)
    for module in found.part("trunk"):
        module.requires_grad_(False)
    output = found(images("vit_small"))
    assert not output.differentiable
    output.class_scores.sum().backward()
    assert all(p.grad is None for module in found.part("trunk") for p in module.parameters())
    assert any(p.grad is not None for module in found.part("classifier") for p in module.parameters())


class Probe(nn.Module):
    """A frozen backbone in `no_grad`, as for linear probing."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(pixels)
        return self.head(features.mean(dim=(2, 3)))


def test_a_backbone_that_the_module_itself_keeps_from_gradients():
    module, pixels = Probe().eval(), torch.rand(2, 3, 32, 32)
    found = guide(module, input_size=32)
    assert found.layer == "backbone"
    features = module.backbone(pixels)
    expected = torch.einsum("kc,bchw->bkhw", module.head.weight / features[0, 0].numel(), features).relu()
    for gradients in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with gradients:
            output = found(pixels)
            assert not output.differentiable
            torch.testing.assert_close(attention_maps(output), expected)


def test_describe_is_json_and_makes_the_same_again():
    first = guide(masks_of(4), class_names=NAMES, input_size=(32, 48), scores="classifier", classifier_widths=(6, 5))
    told = json.loads(json.dumps(first.describe()))
    assert told["network"] == "torch.nn.modules.container:Sequential"
    assert (told["layer"], told["scores"], told["input_size"]) == ("0", "classifier", [32, 48])
    second = guide(
        masks_of(4),
        told["layer"],
        class_names=told["class_names"],
        scores=told["scores"],
        input_size=tuple(told["input_size"]),
        background=told["background"],
        classifier_widths=tuple(told["classifier_widths"]),
        source={"network": "mine", "arguments": {}},
    )
    second.load_state_dict(first.state_dict())
    pixels = torch.rand(2, 3, 32, 48)
    assert torch.equal(first.eval()(pixels).class_scores, second.eval()(pixels).class_scores)
    assert json.loads(json.dumps(second.describe())) == {**told, "network": "mine", "arguments": {}}


def test_a_copy_reads_its_own_module():
    first = guide(copy.deepcopy(network("two_outputs")), input_size=64)
    second = copy.deepcopy(first)
    nn.init.zeros_(second.module.features[2].weight)
    nn.init.zeros_(second.module.features[2].bias)
    assert not second(images("two_outputs")).features.any()
    assert first(images("two_outputs")).features.any()


def test_the_layer_is_said(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "wheretolook"):
        found = guide(network("not_square"), input_size=(64, 96))
    assert "'layer4': 512 channels on 3x2 cells for images of 96x64" in caplog.text
    assert "layer='layer4'" in repr(found)


def test_second_order_goes_through_attention_layers():
    found = guide(copy.deepcopy(network("vit_average")).double(), input_size=64)
    pixels, head = images("vit_average").double(), found.module.head.weight

    def total(channel_weights: str) -> Tensor:
        with second_order_attention():
            output = found(pixels)
        return attention_maps(output, [0], differentiable=True, channel_weights=channel_weights).sum()

    (gradient,) = torch.autograd.grad(total("second_order"), head)
    step = 1e-5 * gradient / gradient.norm()
    with torch.no_grad():
        head.add_(step)
    above = total("constant")
    with torch.no_grad():
        head.sub_(2 * step)
    below = total("constant")
    torch.testing.assert_close((above - below) / 2e-5, gradient.norm(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "stride", "offset"),
    [("resnet18", 32.0, 0.0), ("vit_small", 16.0, 7.5), ("convnext_atto", 32.0, 15.5), ("two_outputs", 8.0, 0.0)],
)
def test_cells_lie_where_the_strides_put_them(name: str, stride: float, offset: float):
    """A strided convolution of 3x3 padded by one is centred on its first pixel; patches are on their middle."""
    for gradients in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with gradients:
            cells = guide(network(name), input_size=64)(images(name)).cells
        assert cells == Cells((stride, stride), (offset, offset))


def test_guide_is_public():
    assert wheretolook.guide is guide and isinstance(guided("resnet18"), wheretolook.GuidedNetwork)
