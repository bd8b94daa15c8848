"""A real pretrained network, loaded as any user's: it knows a cat and a cup of coffee, and looks at them."""

import pytest
import torch

from wheretolook.attention.methods import attention_maps
from wheretolook.networks.files import load_network, save_network
from wheretolook.records import Preprocessing

from .real import CLASSES, network, picture, state_dict


@pytest.mark.parametrize(("name", "share"), [("chelsea", 0.77), ("coffee", 0.90)])
def test_it_knows_what_it_sees(name, share):
    """Seen with timm alone, images scaled to -1..1."""
    guided = network()
    assert guided.preprocessing == Preprocessing("RGB", 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    shares = guided(guided.preprocessing(picture(name))).class_scores.softmax(dim=1)[0]
    assert int(shares.argmax()) == CLASSES[name]
    assert float(shares.max()) == pytest.approx(share, abs=0.01)


def test_it_is_the_bare_network_with_its_last_convolution_found():
    import timm

    bare = timm.create_model("tf_efficientnet_lite0").eval()
    bare.load_state_dict(state_dict())
    guided, image = network(), picture("coffee")
    output = guided(guided.preprocessing(image))
    torch.testing.assert_close(output.class_scores, bare(image * 2 - 1), rtol=1e-5, atol=1e-4)
    assert output.features.shape == (1, 1280, 7, 7)  # what timm pools: after the last convolution, norm and activation
    expected = bare.forward_features(image * 2 - 1)
    torch.testing.assert_close(output.features, expected, rtol=1e-5, atol=1e-4)


def test_it_looks_at_what_it_names():
    """Where the cat's face and the cup are was measured by hand on the photographs."""
    boxes = {"chelsea": (10, 215, 45, 185), "coffee": (20, 165, 45, 190)}  # top, bottom, left, right of 224
    guided = network()
    for name, (top, bottom, left, right) in boxes.items():
        output = guided(guided.preprocessing(picture(name)))
        attention = attention_maps(output, [CLASSES[name]], size=(224, 224))[0, 0].detach()
        inside = attention[top:bottom, left:right].sum() / attention.sum()
        area = (bottom - top) * (right - left) / 224**2
        peak = divmod(int(attention.argmax()), 224)
        assert top <= peak[0] < bottom and left <= peak[1] < right, (name, peak)
        assert inside > 1.15 * area, (name, float(inside), area)


def test_a_file_of_ours_brings_it_back(tmp_path):
    guided = network()
    save_network(guided, tmp_path / "network.safetensors")
    again = load_network(tmp_path / "network.safetensors")
    images = guided.preprocessing(picture("chelsea"))
    assert torch.equal(again(images).class_scores, guided(images).class_scores)
    assert again.describe() == guided.describe() and again.describe()["network"] == "timm:tf_efficientnet_lite0"
