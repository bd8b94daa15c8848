"""A layer's output read as a grid and handed on: the values stay what they are, whatever comes behind."""

import copy

import pytest
import torch
from torch import Tensor, nn

from wheretolook import attention_maps, guide
from wheretolook.errors import ConfigError
from wheretolook.networks.forms import GridForm, fits, form_of

from .zoo import images, network, timm


def test_tokens_are_read_at_other_sizes_and_shapes():
    module = timm("vit_small_patch16_224", img_size=64, embed_dim=24, depth=2, num_heads=2, dynamic_img_size=True)()
    found = guide(module.eval(), input_size=64)
    assert found(torch.rand(1, 3, 48, 96)).features.shape == (1, 24, 3, 6)
    held: list[Tensor] = []
    handle = module.get_submodule(found.layer).register_forward_hook(lambda _m, _i, output: held.append(output))
    features = found(torch.rand(1, 3, 48, 96)).features
    handle.remove()
    assert torch.equal(features[0, :, 2, 4], held[0][0, 1 + 2 * 6 + 4])


def test_tokens_of_no_grid_are_an_error():
    with pytest.raises(ConfigError, match="a token for each 16x16 pixels, got 7 for images of 64x48"):
        GridForm("tokens", 1, (16.0, 16.0)).grid(torch.zeros(1, 8, 2), (48, 64))


def test_recomputing_a_block_in_the_backward_pass_changes_nothing():
    """Gradient checkpointing runs the layer again when no hook is there."""
    module = copy.deepcopy(network("vit_small"))
    found, gradients = guide(module, input_size=64), []
    for checkpointing in (False, True):
        module.set_grad_checkpointing(checkpointing)
        maps = attention_maps(found(images("vit_small")), differentiable=True)
        gradients.append(torch.autograd.grad(maps.sum(), module.patch_embed.proj.weight)[0])
    assert torch.equal(*gradients) and gradients[0].any()


@pytest.mark.parametrize("form", [GridForm("channels_first"), GridForm("channels_last"), GridForm("tokens", 2, (8, 8))])
def test_a_form_rebuilds_what_it_read(form: GridForm):
    shape = {"channels_first": (2, 5, 3, 4), "channels_last": (2, 3, 4, 5), "tokens": (2, 14, 5)}[form.layout]
    for dtype in (torch.float32, torch.bfloat16):
        output = torch.randn(shape).to(dtype)
        features = form.grid(output, (24, 32))
        rebuilt = form.rebuilt(features, output)
        assert features.shape == (2, 5, 3, 4) and features.dtype == torch.float32
        assert torch.equal(rebuilt, output) and rebuilt.dtype == dtype and rebuilt.stride() == output.stride()
        assert rebuilt.data_ptr() != output.data_ptr()


def test_a_grid_of_as_many_channels_is_told_by_its_layers():
    output = torch.zeros(2, 8, 8, 8)
    assert form_of(output, (64, 64), [], nn.Conv2d(3, 8, 3)).layout == "channels_first"
    assert form_of(output, (64, 64), [], nn.LayerNorm(8)).layout == "channels_last"
    assert form_of(output, (64, 64), [], nn.ReLU()).layout == "channels_first"


def test_grids_of_odd_sizes_fit():
    assert fits((12, 16), (375, 500)) and fits((24, 32), (375, 500))
    assert not fits((512, 16), (375, 500)) and not fits((16, 512), (375, 500))
    assert not fits((3, 4), (64, 64))


def test_in_place_layers_behind_do_not_spoil_the_features():
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(4, 2))
    found = guide(module, "0", input_size=32)
    pixels = torch.randn(2, 3, 32, 32)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            assert torch.equal(found(pixels).features, module[0](pixels))
            assert found(pixels).features.min() < 0
