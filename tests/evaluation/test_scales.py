"""Maps averaged over sizes of the image: put together by hand from maps of one size each."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import wheretolook
from wheretolook.attention.methods import attention_maps
from wheretolook.cells import standard_cells
from wheretolook.cli.main import main
from wheretolook.errors import ConfigError
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.evaluation.explain import explain
from wheretolook.evaluation.maps import other_looks, shown_maps
from wheretolook.networks.files import save_network
from wheretolook.records import Cells, GuidedNetwork, GuidedOutput, collate

from ..command_line import SERVED, complaint
from ..networks import zoo
from ..training.made import made_network, made_samples, scene_network


def by_hand(values: np.ndarray, cells: Cells, scale: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """Read a map at each pixel of the image: pixel p of the image is pixel (p + 0.5) scale - 0.5 of the resized one."""
    for axis in (0, 1):
        known = cells.offset[axis] + np.arange(values.shape[axis]) * cells.stride[axis]
        wanted = (np.arange(size[axis]) + 0.5) * scale[axis] - 0.5
        values = np.apply_along_axis(lambda line: np.interp(wanted, known, line), axis, values)  # noqa: B023
    return values / values.max() if values.any() else values


@pytest.mark.parametrize("flip", [False, True])
def test_a_map_is_the_mean_over_sizes_each_where_its_cells_lie(flip: bool) -> None:
    network, images, size = zoo.guided("not_square"), zoo.images("not_square"), (64, 96)
    pairs = torch.tensor([[0, 2], [1, 0]])
    looks = other_looks(network, images, flip=flip, scales=(1.0, 1.5, 0.7))
    assert [(look.scale, look.mirrored) for look in looks if not look.mirrored] == [(1.5, False), (0.7, False)]
    found = shown_maps(network(images), pairs, size, "grad_cam", looks)
    expected = []
    for sides in (size, (96, 144), (45, 67)):
        resized = (
            F.interpolate(images, size=sides, mode="bilinear", antialias=sides < size) if sides != size else images
        )
        scale = (sides[0] / size[0], sides[1] / size[1])
        for mirrored in (False, True)[: 1 + flip]:
            output = network(resized.flip(3) if mirrored else resized)
            maps = attention_maps(output).detach().double().numpy()
            both = np.stack([by_hand(maps[image, index], output.cells, scale, size) for image, index in pairs.tolist()])
            expected.append(both[:, :, ::-1] if mirrored else both)
    np.testing.assert_allclose(found.numpy(), np.mean(expected, axis=0), rtol=1e-3, atol=1e-4)


class Even(GuidedNetwork):
    """Says nothing of its cells, which divide the image evenly: four by six of any size."""

    def forward(self, images: Tensor, *, segment: bool = True) -> GuidedOutput:
        features = F.adaptive_avg_pool2d(images, (4, 6)).detach().requires_grad_()
        return GuidedOutput(features.square().mean(dim=(2, 3)), features)


def test_cells_that_divide_the_image_evenly_do_so_at_any_size() -> None:
    network, images = Even(), torch.rand(1, 3, 32, 48)
    (look,) = other_looks(network, images, scales=(0.5,))
    assert look.output.cells == standard_cells((32, 48), (4, 6))
    (larger,) = other_looks(network, images.repeat_interleave(2, 2).repeat_interleave(2, 3), scales=(0.5,))
    assert larger.output.cells == standard_cells((64, 96), (4, 6))


def test_several_layers_and_pixels_take_part() -> None:
    network = wheretolook.guide(zoo.network("not_square"), ["layer3", "layer4"], input_size=(64, 96))
    (look,) = other_looks(network, zoo.images("not_square"), scales=(2.0,))
    assert look.output.cells.stride == (8, 8) and look.output.layers[1].cells.stride == (16, 16)
    network.attention = "input_x_gradient"
    (look,) = other_looks(network, zoo.images("not_square"), scales=(0.5,))
    assert look.output.cells == Cells((2.0, 2.0), (0.5, 0.5))


def test_figures_pictures_and_commands_take_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    network, batch = made_network(), collate(made_samples())
    plain, found = evaluate(network, [batch]), evaluate(network, [batch], scales=(1.5,))
    energies = [one.energy_inside for one in explain(network, [batch], scales=(1.5,))]
    assert found["energy_pointing"] == pytest.approx(sum(energies) / len(energies), rel=1e-5)
    assert found["energy_pointing"] != plain["energy_pointing"] and found["mean_iu"] == plain["mean_iu"]
    scenes = scene_network()
    scenes.classifier.score_cl.bias.data += 0.1
    save_network(scenes, "a.safetensors")
    common = [*SERVED, "--accelerator=cpu", "--scales", "1", "1.5"]
    assert main(["evaluate", "--weights=a.safetensors", *common, "--out=table"]) == 0
    draw = ["visualize", "--before=a.safetensors", "--after=a.safetensors", "--count=100", "--out=drawn"]
    assert main([*draw, *common]) == 0
    (row,) = json.loads(Path("table/metrics.json").read_text())
    drawn = [one["energy_before"] for one in json.loads(Path("drawn/pictures.json").read_text())]
    assert row["energy_pointing"] == pytest.approx(sum(drawn) / len(drawn), rel=1e-4)
    capsys.readouterr()
    said = complaint(capsys, "evaluate", "--weights=a.safetensors", *SERVED, "--accelerator=cpu", "--scales", "0")
    assert said == "expected scales above 0, got 0"
    with pytest.raises(ConfigError, match="expected scales above 0, got -1"):
        other_looks(network, batch.images, scales=(-1.0,))
