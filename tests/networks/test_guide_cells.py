"""A guided module says where its cells lie, and maps of image size follow."""

import copy
import pickle

import pytest
import torch
from spots import centre, plain_vgg, positive, spots
from torch import nn

from wheretolook.attention.methods import attention_maps
from wheretolook.cells import stretched
from wheretolook.networks.guide import guide
from wheretolook.records import Cells

from .zoo import ZOO, guided, images

# stride and offset, by hand: padding by one side centres the first cell on the first pixel, patches do in their middle
BESIDE, PATCHES, TRANSFORMER = (32.0, 0.0), (32.0, 15.5), (16.0, 7.5)
EXPECTED = {
    **dict.fromkeys(("resnet18", "mobilenet_v3_small", "efficientnet_b0", "not_square", "unet", "fpn"), BESIDE),
    **dict.fromkeys(("vgg11", "convnext_tiny", "convnext_atto", "swin_t", "swin_tiny"), PATCHES),
    **dict.fromkeys(("vit_b_16", "vit_small", "vit_average", "deit3", "eva02", "dinov2_registers"), TRANSFORMER),
    "huggingface_vit": TRANSFORMER,
    "segformer": BESIDE,  # though its keys and values are pooled to the same size
    "densenet121": (32.0, 14.0),  # a stem that pads by one side, then three pools of 2x2
    "fcn_resnet50": (8.0, 0.0),
    "deeplabv3_mobilenet_v3_large": (16.0, 0.0),
    "two_outputs": (8.0, 0.0),
    "dict_output": (8.0, 0.0),
}


@pytest.mark.parametrize("name", ZOO)
def test_every_network_knows_its_cells(name: str):
    output = guided(name)(images(name))
    stride, offset = EXPECTED[name]
    assert output.cells == Cells((stride, stride), (offset, offset))


def test_maps_of_image_size_are_bright_where_the_image_is():
    network = guide(positive(plain_vgg()), "0", input_size=64)
    places = [(150.0, 300.0), (201.0, 222.0)]
    with torch.inference_mode():
        output = network(spots((375, 500), places))
    maps = attention_maps(output, [0], size=(375, 500))[:, 0]
    for attention, place in zip(maps, places, strict=True):
        assert centre(attention) == pytest.approx(place, abs=2)
    small = attention_maps(output, [0])[:, 0]
    assert centre(stretched(small, (375, 500))[0]) != pytest.approx(places[0], abs=2)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_finds_its_own_cells(again):
    network = guide(
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), "0"
    )
    other = again(network)
    del network
    assert other(torch.zeros(1, 3, 32, 40)).cells == Cells((2.0, 2.0), (0.0, 0.0))
    assert not any(key for key in other.state_dict() if not key.startswith("module."))
