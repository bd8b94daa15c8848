"""Every network that must work: saved, made again, and its bare state dict written for programs without us."""

import copy

import pytest
import torch

from wheretolook.networks.files import load_network, save_network

from .zoo import ZOO, guided, images, network


@pytest.mark.parametrize("name", ZOO)
def test_it_is_saved_made_again_and_written_bare(name, tmp_path):
    mine = copy.deepcopy(guided(name))
    with torch.no_grad():  # as if trained: no fresh network has these
        for parameter in mine.parameters():
            parameter.mul_(1.01)
    save_network(mine, tmp_path / "network.safetensors")
    save_network(mine, tmp_path / "bare.pth")

    again = load_network(tmp_path / "network.safetensors", make=lambda: ZOO[name].make(), seed=3)
    assert again.describe() == {**mine.describe(), "arguments": {}}
    first, second = mine(images(name)), again(images(name))
    assert torch.equal(first.class_scores, second.class_scores) and torch.equal(first.features, second.features)
    assert first.mask_scores is None or torch.equal(first.mask_scores, second.mask_scores)

    bare = copy.deepcopy(network(name))
    bare.load_state_dict(torch.load(tmp_path / "bare.pth", weights_only=True))
    for path in tmp_path.iterdir():  # half a gigabyte for some
        path.unlink()
    assert all(torch.equal(value, mine.module.state_dict()[key]) for key, value in bare.state_dict().items())
