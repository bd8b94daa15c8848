"""Cells that training has moved: kernels that look aside, a real network and mirrored photographs."""

import pytest
import torch
from spots import centre, spots
from torch import Tensor, nn

from wheretolook.attention.methods import attention_maps
from wheretolook.cells import stretched
from wheretolook.networks.drift import energy_weights
from wheretolook.networks.grid import CellFinder
from wheretolook.networks.guide import guide
from wheretolook.records import Cells

from .real import CLASSES, network, picture


def strided(looks: tuple[float, float, float], norm: type[nn.Module] = nn.Identity) -> nn.Module:
    """Five convolutions of 3x3 with stride 2, whose columns weigh so much; down they are even."""
    layers: list[nn.Module] = []
    for channels in (3, 4, 4, 4, 4):
        layer = nn.Conv2d(channels, 4, 3, 2, 1)
        with torch.no_grad():
            layer.weight.copy_(
                (torch.tensor([0.5, 1.0, 0.5])[:, None] * torch.tensor(looks) / channels).expand_as(layer.weight)
            )
            layer.bias.zero_()
        layers += [layer, norm(4) if norm is not nn.Identity else norm(), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()


@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm2d])
@pytest.mark.parametrize(
    ("looks", "drift"), [((0.0, 1.0, 1.0), 16.0), ((1.0, 1.0, 0.0), -16.0), ((0.5, 1.0, 0.5), 0.0)]
)
def test_kernels_that_look_aside_move_their_cells(looks, drift, norm):
    """Half a pixel in each layer: 15.5 in all, in steps of a sixteenth of 32."""
    module = strided(looks, norm)
    guided = guide(module, "0", input_size=224)
    nn.init.ones_(module[3].weight)
    places = [(100.0, 130.0), (125.0, 105.0)]
    output = guided(spots((224, 224), places))
    assert output.cells == Cells((32.0, 32.0), (0.0, drift))
    maps = attention_maps(output, [0], size=(224, 224))[:, 0].detach()
    for attention, place in zip(maps, places, strict=True):
        assert centre(attention) == pytest.approx(place, abs=4)
    if drift:
        still = stretched(attention_maps(output, [0])[:, 0].detach(), (224, 224), Cells((32.0, 32.0), (0.0, 0.0)))
        assert abs(centre(still[0])[1] - places[0][1]) > 10


def mirror_error(cells: Cells | None) -> float:
    """How far, across, a photograph's map and that of its mirror image are from being mirror images, on average."""
    errors, guided = [], network()
    for name, index in CLASSES.items():
        image = picture(name)
        with torch.inference_mode():
            output = guided(guided.preprocessing(torch.cat([image, image.flip(3)])))
        maps = stretched(attention_maps(output, [index])[:, 0], (224, 224), cells or output.cells)
        errors.append((centre(maps[0])[1] + centre(maps[1])[1] - 223) / 2)
    return abs(sum(errors) / len(errors))


def test_a_real_network_has_drifted_and_its_mirrored_maps_meet():
    """Padding of TensorFlow puts the first cell at pixel 31; mirrored photographs meet where it is near 17."""
    assert mirror_error(None) < 4 < mirror_error(Cells((32.0, 32.0), (31.0, 31.0)))


def test_energies_are_those_of_many_random_signs():
    """The mean squared gradient over random signs of every weight, batch norm included."""
    layers = (
        nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3, padding=1)).eval().double()
    )
    nn.init.normal_(layers[1].running_mean)
    nn.init.uniform_(layers[1].running_var, 0.5, 2.0)
    image = torch.rand(1, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    weights = energy_weights(layers, torch.device("cpu"))
    (energy,) = torch.autograd.grad(torch.func.functional_call(layers, weights, (image,))[0, 0, 3, 3], image)
    total, draws = torch.zeros_like(image), 600
    own = {name: value.detach() for name, value in layers.state_dict().items()}
    for _ in range(draws):
        signed = {n: v * torch.randn_like(v).sign() if n in ("0.weight", "2.weight") else v for n, v in own.items()}
        score = torch.func.functional_call(layers, signed, (image,))[0, 0, 3, 3]
        total += torch.autograd.grad(score, image)[0].square()
    assert (energy - total / draws).abs().sum() < 0.1 * energy.sum()


class OfOneSize(nn.Module):
    """A convolution that takes images of one size, so that no other can be tried."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2:] == (40, 40)
        return self.layer(images)


@pytest.mark.parametrize("module", [OfOneSize(), nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.GroupNorm(2, 4))])
def test_where_no_drift_can_be_told_strides_and_paddings_say_it(module):
    find = CellFinder(module, module, lambda output, size: output)
    assert find(torch.zeros(1, 3, 40, 40), (20, 20)) == Cells((2.0, 2.0), (0.0, 0.0))
