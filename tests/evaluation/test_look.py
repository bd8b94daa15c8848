"""What a network says of classes in one image, and in which size it sees it."""

import pytest
import torch

from wheretolook import attention_maps
from wheretolook.evaluation.look import look
from wheretolook.networks.fcn.network import FCN8s

from ..command_line import CLASSES, NARROW

NETWORK = FCN8s(CLASSES, **NARROW, seed=3).eval()
IMAGE = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))


def test_the_highest_scores_come_first_with_their_maps() -> None:
    output = NETWORK(NETWORK.preprocessing(IMAGE[None]))
    scores = output.class_scores[0].detach()
    looks = look(NETWORK, IMAGE, top=2)
    assert [one.class_index for one in looks] == scores.argsort(descending=True)[:2].tolist()
    assert [one.probability for one in looks] == pytest.approx(sorted(scores.softmax(0).tolist())[:0:-1])
    for one in looks:
        expected = attention_maps(output, [one.class_index], size=(40, 56))[0, 0].detach()
        torch.testing.assert_close(one.attention, expected)
    assert [len(look(NETWORK, IMAGE, top=count)) for count in (1, 3, 99)] == [1, 3, 3]


def test_classes_may_be_named_and_judged_one_by_one() -> None:
    output = NETWORK(NETWORK.preprocessing(IMAGE[None]))
    looks = look(NETWORK, IMAGE, [2, 0], exclusive=False)
    assert [one.class_index for one in looks] == [2, 0]
    expected = output.class_scores[0, [2, 0]].sigmoid().tolist()
    assert [one.probability for one in looks] == pytest.approx(expected)


def test_a_mirrored_image_has_the_mirrored_map() -> None:
    one, other = (look(NETWORK, image, [1], flip=True)[0].attention for image in (IMAGE, IMAGE.flip(2)))
    assert one.any() and not torch.allclose(one, look(NETWORK, IMAGE, [1])[0].attention)
    torch.testing.assert_close(one, other.flip(1))


def test_the_network_is_left_as_it_was() -> None:
    network = FCN8s(CLASSES, **NARROW).train()
    look(network, IMAGE)
    assert all(module.training for module in network.modules())
    assert not any(parameter.grad is not None for parameter in network.parameters())
