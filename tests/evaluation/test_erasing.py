"""Deletion and insertion by loops over pixels, where every score is known; and networks without knowledge."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wheretolook.cli.main import main
from wheretolook.evaluation.erasing import ErasingCurves, erasing_curves
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.evaluation.sanity import shuffled
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network
from wheretolook.records import GuidedNetwork, GuidedOutput, Preprocessing, collate

from ..command_line import CLASSES, NARROW, SERVED
from .test_wiring import corner, sample


class Weighing(GuidedNetwork):
    """Each class's score is a weighted sum of the pixels; the features are the image, so Grad-CAM is of its mean."""

    class_names = ("a", "b", "c")
    preprocessing = Preprocessing(mean=(0.0, 0.0, 0.0))
    segments = False

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.randn(3, 3, height, width))
        self.asked: list[int] = []

    def forward(self, images: Tensor, *, segment: bool = True) -> GuidedOutput:
        self.asked.append(len(images))
        with torch.inference_mode(False), torch.enable_grad():
            features = images.clone().detach().requires_grad_()
            scores = torch.einsum("bchw,kchw->bk", features, self.weights.detach())
        return GuidedOutput(scores, features, differentiable=False)


def chance(network: Weighing, image: Tensor, index: int, exclusive: bool) -> float:
    scores = [float((image * weights).sum()) for weights in network.weights.detach()]
    if exclusive:
        return math.exp(scores[index]) / sum(map(math.exp, scores))
    return 1 / (1 + math.exp(-scores[index]))


@pytest.mark.parametrize("exclusive", [False, True])
def test_curves_are_those_of_pixels_taken_one_after_another(exclusive: bool):
    network, images = Weighing(4, 5), torch.rand(2, 3, 4, 5)
    pairs, maps = torch.tensor([[0, 2], [0, 0], [1, 1]]), torch.rand(3, 4, 5)
    found = erasing_curves(network, images, pairs, maps, exclusive=exclusive, steps=4)
    assert set(network.asked) == {2, 1} and sum(network.asked) == 3 * 2 * 5
    for pair, (image, index) in enumerate(pairs.tolist()):
        order = sorted(range(20), key=lambda at: -float(maps[pair].flatten()[at]))
        deletion, insertion = [], []
        for step in range(5):
            erased, given = images[image].clone().flatten(1), torch.zeros(3, 20)
            for at in order[: 5 * step]:
                given[:, at] = erased[:, at]
                erased[:, at] = 0
            deletion.append(chance(network, erased.view(3, 4, 5), index, exclusive))
            insertion.append(chance(network, given.view(3, 4, 5), index, exclusive))
        assert found.deletion[pair].tolist() == pytest.approx(deletion, rel=1e-4)
        assert found.insertion[pair].tolist() == pytest.approx(insertion, rel=1e-4)
        area = sum((one + other) / 2 for one, other in pairwise(deletion)) / 4
        assert found.areas()[0][pair].item() == pytest.approx(area, rel=1e-4)


def test_the_area_is_the_mean_height():
    curves = ErasingCurves(torch.full((1, 11), 0.7), torch.linspace(0, 1, 11)[None])
    assert [area.item() for area in curves.areas()] == pytest.approx([0.7, 0.5])


def test_a_map_of_what_counts_deletes_fast_and_inserts_fast_and_its_opposite_slowly():
    network, images = Weighing(8, 8), torch.rand(1, 3, 8, 8)
    pairs = torch.tensor([[0, 1]])
    counts = (images[0] * network.weights.detach()[1]).sum(dim=0)[None]
    best, worst = (erasing_curves(network, images, pairs, maps).areas() for maps in (counts, -counts))
    assert best[0] < worst[0] - 0.2 and best[1] > worst[1] + 0.2


def test_pixels_of_equal_attention_go_in_an_order_that_is_drawn_and_the_same_in_any_batch():
    """From top to bottom would favour whatever is at the top."""
    images, pairs = torch.rand(2, 3, 6, 6), torch.tensor([[0, 0], [1, 0]])
    network = Weighing(6, 6)
    together = erasing_curves(network, images, pairs, torch.zeros(2, 6, 6)).areas()
    alone = [erasing_curves(network, one, pairs[:1], torch.zeros(1, 6, 6)).areas() for one in images.split(1)]
    for which in (0, 1):
        torch.testing.assert_close(together[which], torch.cat([areas[which] for areas in alone]))
    seen = []
    network.forward = lambda images, segment: seen.append(images) or GuidedOutput(torch.zeros(len(images), 3), images)
    erasing_curves(network, torch.ones(1, 3, 6, 6), pairs[:1], torch.zeros(1, 6, 6), steps=2)
    half = seen[1][0, 0]
    assert half.sum() == 18 and 0 < half[:3].sum() < 18


def test_deletion_and_insertion_are_means_over_the_classes_that_images_show_annotated_or_not():
    network = Weighing(12, 12)
    batches = [collate([sample(corner(4, 6)), sample(corner(3, 3) * 255, label=2)]), collate([sample(corner(2, 9), 1)])]
    batches = [batch._replace(images=torch.rand(len(batch.images), 3, 12, 12)) for batch in batches]
    found = evaluate(network, batches, deletion=True)
    areas = []
    for batch in batches:
        for image, index in batch.pairs.tolist():
            gradient = network.weights.detach()[index].mean(dim=(1, 2))
            attention = torch.einsum("c,chw->hw", gradient, batch.images[image]).relu()[None]
            one = torch.tensor([[0, index]])
            areas.append(erasing_curves(network, batch.images[image : image + 1], one, attention).areas())
    for which, key in enumerate(("deletion", "insertion")):
        assert found[key] == pytest.approx(sum(float(pair[which]) for pair in areas) / 3, rel=1e-4)
    assert math.isnan(evaluate(network, batches)["deletion"])
    nothing = collate([sample(corner(2, 2))])._replace(labels=torch.zeros(1, 3, dtype=torch.bool))
    nothing = nothing._replace(pairs=nothing.labels.nonzero(), targets=torch.zeros(0, 12, 12, dtype=torch.uint8))
    assert math.isnan(evaluate(network, [nothing], deletion=True)["insertion"])


def test_shuffled_weights_are_the_same_numbers_in_another_order_and_the_network_stays():
    network, state = FCN8s(CLASSES, **NARROW, seed=2), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy, again, other = shuffled(network), shuffled(network), shuffled(network, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
        mixed = copy.state_dict()[name]
        assert torch.equal(mixed.flatten().sort().values, tensor.flatten().sort().values)
        assert torch.equal(mixed, again.state_dict()[name])
    for one in (network, other):
        assert not torch.equal(copy.trunk.conv3_1.weight, one.trunk.conv3_1.weight)


def test_evaluate_adds_a_row_of_shuffled_weights_and_the_figures_that_cost_forwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    network = FCN8s(CLASSES, **NARROW, seed=2)
    network.classifier.score_cl.bias.data += 0.1
    save_network(network, "a.safetensors")
    argv = ["evaluate", "--weights=a.safetensors", "--names=A", *SERVED, "--accelerator=cpu", "--out=table"]
    assert main([*argv, "--deletion", "--sanity"]) == 0
    rows = json.loads(Path("table/metrics.json").read_text())
    assert [row["weights"] for row in rows] == ["A", "A, shuffled"]
    assert all(0 < row[key] < 1 for row in rows for key in ("deletion", "insertion"))
    assert rows[0]["energy_pointing"] != rows[1]["energy_pointing"] and rows[0]["pairs"] == rows[1]["pairs"]
    assert "Deletion" in capsys.readouterr().out
    assert main(argv) == 0
    (row,) = json.loads(Path("table/metrics.json").read_text())
    assert row == {**rows[0], "deletion": None, "insertion": None}
    assert "Deletion" not in capsys.readouterr().out
