"""Whoever compares maps with images takes the cells to where the network says that they lie."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from wheretolook.attention.maps import normalised
from wheretolook.cells import stretched
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.evaluation.explain import explain
from wheretolook.losses.compare import at_resolution
from wheretolook.losses.energy import energy, energy_loss
from wheretolook.losses.mining import soft_mask, soft_masks
from wheretolook.losses.squared import external_loss, squared
from wheretolook.losses.step import Step
from wheretolook.options.objective import EnergyOptions, MiningOptions, SquaredOptions
from wheretolook.records import Cells, GuidedNetwork, GuidedOutput, Preprocessing, Sample, collate

SIZE, GRID = (37, 50), (3, 3)
CELLS = Cells((16.0, 16.0), (0.0, 4.0))


class Strided(GuidedNetwork):
    """Sees only the pixels that its cells are centred on; it may keep to itself where these are."""

    def __init__(self, cells: Cells | None = CELLS) -> None:
        super().__init__()
        self.class_names, self.preprocessing, self.cells = ("cat",), Preprocessing(mean=(0.0, 0.0, 0.0)), cells
        self.gain = nn.Parameter(torch.ones(()))

    @property
    def segments(self) -> bool:
        return False

    def forward(self, images: Tensor, *, segment: bool = True) -> GuidedOutput:
        with torch.inference_mode(False), torch.enable_grad():
            features = (self.gain * images[:, :1, ::16, 4::16].clone()).requires_grad_()
            return GuidedOutput(features.mean(dim=(2, 3)), features, cells=self.cells)


def batch():
    """A cat that is centred on the cell in the middle row and second column."""
    target = torch.zeros(1, *SIZE, dtype=torch.uint8)
    target[0, 10:23, 14:27] = 1
    target[0, :4] = 255
    image = torch.rand(3, *SIZE) * 0.2
    image[:, 10:23, 14:27] = 1
    return collate([Sample(image, target[0].long(), torch.tensor([True]), target, True, "cat")])


def step_of(cells: Cells | None) -> Step:
    network, given = Strided(cells), batch()
    output = network(given.images)
    return Step(network, given, given.images, output, given.pairs, output.features[:, 0], given.targets)


def by_hand(given) -> tuple[Tensor, Tensor, Tensor]:
    return stretched(given.images[:, 0, ::16, 4::16], SIZE, CELLS), given.targets == 1, given.targets != 255


def test_figures_and_pictures():
    given = batch()
    maps, target, valid = by_hand(given)
    inside = ((maps * (target & valid)).sum() / (maps * valid).sum()).item()
    right, wrong = (evaluate(Strided(cells), [given]) for cells in (CELLS, None))
    assert right["energy_pointing"] == pytest.approx(inside)
    assert wrong["energy_pointing"] < 0.95 * inside
    assert right["attention_iou_ceiling"] > wrong["attention_iou_ceiling"] + 0.05
    (explained,) = explain(Strided(), [given])
    assert explained.energy_inside == pytest.approx(inside)
    torch.testing.assert_close(explained.attention / explained.attention.max(), maps[0] / maps.max())


@pytest.mark.parametrize("upsampling", ["bilinear", "aligned"])
def test_losses_at_the_images_resolution(upsampling):
    maps, target, valid = by_hand(batch())
    torch.manual_seed(0)
    step = step_of(CELLS)
    options = {"resolution": "image", "upsampling": upsampling}
    energies, squares = energy(step, EnergyOptions(**options)), squared(step, SquaredOptions(**options))
    same = upsampling == "bilinear"
    maps, target, valid = by_hand(step.batch)
    assert torch.allclose(energies, energy_loss(maps, target.float(), valid)[0]) == same
    assert torch.allclose(squares, external_loss(normalised(maps), target.float(), valid)[0]) == same


def test_losses_at_feature_resolution():
    step = step_of(CELLS)
    target, valid = (step.targets == 1).float(), step.targets != 255
    cover, known = at_resolution(target, valid, GRID, CELLS)
    assert cover[0, 1, 1] == cover.max() == pytest.approx(13 * 13 / 16 / 16)
    expected = energy_loss(step.maps, cover, known)[0]
    torch.testing.assert_close(energy(step, EnergyOptions(resolution="features")), expected)
    assert (
        energy(replace(step, output=step.output._replace(cells=None)), EnergyOptions(resolution="features")) > expected
    )


def test_what_is_mined():
    step = step_of(CELLS)
    maps, _, _ = by_hand(step.batch)
    options = MiningOptions()
    torch.testing.assert_close(soft_masks(step, options, SIZE), soft_mask(normalised(maps), 0.5, 10.0))
    torch.testing.assert_close(soft_masks(step, options), soft_mask(normalised(step.maps), 0.5, 10.0))
