"""The classifier against its definition in loops, and maps from its record whatever the caller's mode."""

import math
from contextlib import nullcontext

import pytest
import torch

from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.heads import PooledClassifier, classify

from .narrow import NAMES, narrow


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_scores_are_those_of_the_definition_in_loops(size):
    classifier, features = PooledClassifier(3, (5, 4), 2).eval(), torch.rand(2, 3, *size)
    height, width = size
    for image, scores in zip(features, classifier(features), strict=True):
        pooled = []
        for channel in image.tolist():
            cells = [
                max(channel[y][x] for y in range(top, min(top + 2, height)) for x in range(left, min(left + 2, width)))
                for top in range(0, height, 2)
                for left in range(0, width, 2)
            ]
            assert len(cells) == math.ceil(height / 2) * math.ceil(width / 2)
            pooled.append(sum(cells) / len(cells))
        hidden = torch.tensor(pooled)
        for layer in (classifier.fc6_cl, classifier.fc7_cl):
            hidden = (layer.weight @ hidden + layer.bias).clamp(min=0)
        torch.testing.assert_close(scores, classifier.score_cl.weight @ hidden + classifier.score_cl.bias)


def test_dropout_shakes_the_scores_only_while_training():
    classifier, features = PooledClassifier(3, (50, 40), 2), torch.rand(1, 3, 4, 4)
    assert not torch.equal(classifier(features), classifier(features))
    classifier.eval()
    assert torch.equal(classifier(features), classifier(features))


MODES = {"grad": nullcontext, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_scores_can_be_differentiated_by_features_in_every_mode(mode, frozen):
    network, images = narrow(), torch.randn(2, 3, 40, 40)
    expected = network(images)
    (slopes,) = torch.autograd.grad(expected.class_scores[:, 1].sum(), expected.features)

    network.trunk.requires_grad_(not frozen)
    with MODES[mode]():
        output = network(images)
        assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
    assert output.differentiable == (mode == "grad" and not frozen)
    assert output.features.is_leaf != output.differentiable
    (ours,) = torch.autograd.grad(output.class_scores[:, 1].sum(), output.features)
    assert torch.equal(output.class_scores, expected.class_scores) and torch.equal(ours, slopes)
    assert not output.features.is_inference()


def test_the_classifier_trains_while_the_trunk_is_frozen():
    """The predecessor froze it in both stages, so it never learned."""
    network = narrow()
    network.trunk.requires_grad_(False)
    network(torch.randn(1, 3, 40, 40), segment=False).class_scores.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.classifier.parameters())
    assert all(parameter.grad is None for parameter in network.trunk.parameters())


def test_half_precision_features_are_classified_in_the_classifiers_own_precision():
    classifier, features = PooledClassifier(3, (5, 4), 2).eval(), torch.rand(1, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        output = classify(classifier, features.bfloat16())
    assert (output.class_scores.dtype, output.features.dtype) == (torch.float32, torch.float32)
    assert torch.equal(output.class_scores, classifier(features.bfloat16().float()))


@pytest.mark.parametrize(
    ("part", "source", "consumer"),
    [
        ("segmenter", "fc6", "fc7"),
        ("segmenter", "fc7", "score_fr"),
        ("classifier", "fc6_cl", "fc7_cl"),
        ("classifier", "fc7_cl", "score_cl"),
    ],
)
def test_half_of_what_each_hidden_layer_hands_on_is_dropped_and_the_rest_doubled(part, source, consumer):
    """Between each fully connected layer and the next, in segmenter and classifier alike."""
    network = FCN8s(NAMES, widths=(3, 4, 5, 6, 7), segmenter_width=400, classifier_widths=(400, 400))
    seen = {}
    layers = network.get_submodule(part)
    layers.get_submodule(source).register_forward_hook(lambda module, args, out: seen.update(out=out.detach().clone()))
    layers.get_submodule(consumer).register_forward_pre_hook(lambda module, args: seen.update(taken=args[0].detach()))
    network.train()(torch.rand(2, 3, 64, 64))
    active = seen["out"].clamp(min=0)
    kept = seen["taken"] != 0
    torch.testing.assert_close(seen["taken"], 2 * active * kept)
    assert 0.4 < kept[active > 0].float().mean() < 0.6
    network.eval()(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(seen["taken"], seen["out"].clamp(min=0))
