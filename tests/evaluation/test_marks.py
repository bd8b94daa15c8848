"""Attention in zones where nobody should look: measured pixel by pixel, and without changing any other figure."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from wheretolook.attention.methods import attention_maps
from wheretolook.cli.main import main
from wheretolook.data.augment import augment
from wheretolook.data.loading import evaluation_loader
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.metrics.marks import MarkMetric
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network
from wheretolook.options.data import DataOptions
from wheretolook.records import collate

from ..command_line import NARROW
from ..data.folders_on_disk import corner_mask, opened, write_image, write_lines, write_mask

CLASSES = ("cat", "dog")


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """One image to train on and three to measure, one of them only labelled; in another the zone is empty."""
    for number in range(4):
        write_image(tmp_path / "images" / f"a{number}.png", 40, 48, number)
        zone = np.zeros((40, 48), np.uint8)
        zone[4 * number : 20, 30:] = 255
        if number == 1:
            zone[:] = 0
        write_mask(tmp_path / "avoid" / f"a{number}.png", zone)
    for number in (0, 1, 3):
        write_mask(tmp_path / "masks" / f"a{number}.png", corner_mask(1 + number % 2, 40, 48))
    write_lines(tmp_path / "classes.txt", *CLASSES)
    write_lines(tmp_path / "labels.csv", "image,classes", "a2,dog cat")
    write_lines(tmp_path / "splits/train.txt", "a3")
    write_lines(tmp_path / "splits/val.txt", "a0", "a1", "a2")
    return tmp_path


def network() -> FCN8s:
    made = FCN8s(CLASSES, **NARROW, seed=2)
    made.classifier.score_cl.bias.data += 0.1
    return made.eval()


def by_hand(root: Path, made: FCN8s) -> dict[int, list[tuple[float, float]]]:
    """Of each class, the share of attention in the zone and the zone's share of the image."""
    found: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    for index, number in ((0, 0), (2, 2)):  # the images with a zone
        sample = opened(root, "val")[index]
        zone = torch.zeros(40, 48, dtype=torch.bool)
        zone[4 * number : 20, 30:] = True
        output = made(made.preprocessing(sample.image[None]))
        for class_index in sample.labels.nonzero().flatten().tolist():
            attention = attention_maps(output, [class_index], size=(40, 48))[0, 0]
            total = float(attention.sum())
            share = float(attention[zone].sum()) / total if total else 0.0
            found[class_index].append((share, float(zone.float().mean())))
    return found


def test_the_share_in_the_zones_is_measured_for_all_and_for_each_class(marked: Path):
    made, data = network(), opened(marked, "val", measured_zones="avoid")
    figures = evaluate(made, evaluation_loader(data, 4, 0))
    expected = by_hand(marked, made)
    pairs = [pair for shares in expected.values() for pair in shares]
    assert len(pairs) == 3 and max(share for share, _ in pairs) > 0
    shares, chances = (sum(column) / 3 for column in zip(*pairs, strict=True))
    assert figures["energy_on_mark"] == pytest.approx(shares, rel=1e-4)
    assert figures["energy_on_mark_over_chance"] == pytest.approx(shares / chances, rel=1e-4)
    for index, found in enumerate(figures["energy_on_mark_per_class"]):
        assert found == pytest.approx(sum(share for share, _ in expected[index]) / len(expected[index]), rel=1e-4)


def test_zones_that_are_only_measured_change_no_other_figure(marked: Path):
    made = network()
    plain, measured = (
        evaluate(made, evaluation_loader(opened(marked, "val", **options), 4, 0))
        for options in ({}, {"measured_zones": "avoid"})
    )
    assert math.isnan(plain["energy_on_mark"]) and all(map(math.isnan, plain["energy_on_mark_per_class"]))
    for key, value in plain.items():
        if not key.startswith("energy_on_mark") and isinstance(value, int | float):
            assert measured[key] == pytest.approx(value, nan_ok=True)
    avoided = evaluate(made, evaluation_loader(opened(marked, "val", avoid_zones="avoid"), 4, 0))
    assert avoided["energy_on_mark"] == pytest.approx(measured["energy_on_mark"])
    assert avoided["pairs"] == plain["pairs"] + 2  # the labelled image now says where not to look


def test_classes_to_avoid_are_zones_too(marked: Path):
    """The dog of the second image is a mark there; the first shows none."""
    sample = opened(marked, "val", avoid=["dog"])[1]
    assert torch.equal(sample.zone, torch.from_numpy(corner_mask(1, 40, 48) == 1))
    assert not opened(marked, "val", avoid=["dog"])[0].zone.any()


def test_what_is_trained_on_carries_no_zones(marked: Path):
    assert opened(marked, "train", training=True, measured_zones="avoid", avoid_zones="avoid")[0].zone is None
    assert opened(marked, "val")[0].zone is None and collate([opened(marked, "val")[0]]).zones is None
    sample = opened(marked, "val", measured_zones="avoid")[0]
    assert augment(sample, DataOptions(crop=(16, 16)), 0, 0, 0).zone is None


def test_the_metric_is_a_mean_over_pairs_with_a_zone():
    random = torch.Generator().manual_seed(0)
    maps, zones = torch.rand(6, 5, 7, generator=random), torch.rand(6, 5, 7, generator=random) < 0.3
    maps[1], zones[2] = 0, False
    classes = torch.tensor([0, 2, 1, 2, 0, 2])
    metric, whole = MarkMetric(3), MarkMetric(3)
    for part in (slice(0, 2), slice(2, 6)):
        metric.update(maps[part], zones[part], classes[part])
    whole.update(maps, zones, classes)
    rows = [row for row in range(6) if row != 2]
    shares = {row: float(maps[row][zones[row]].sum() / maps[row].sum().clamp(min=1e-9)) for row in rows}
    assert metric.compute().energy_on_mark == pytest.approx(sum(shares.values()) / 5)
    found = metric.compute().energy_on_mark_per_class
    assert found[0] == pytest.approx((shares[0] + shares[4]) / 2) and math.isnan(found[1])
    assert found[2] == pytest.approx((shares[1] + shares[3] + shares[5]) / 3)
    assert metric.compute().energy_on_mark_over_chance == pytest.approx(
        sum(shares.values()) / float(zones[rows].float().mean() * 5)
    )
    assert whole.compute()[:2] == pytest.approx(metric.compute()[:2])


def test_evaluate_prints_it_where_there_are_zones(marked: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(marked)
    save_network(network(), "made.safetensors")
    command = ["evaluate", "--weights=made.safetensors", "--data.root=.", "--accelerator=cpu"]
    assert main([*command, "--out=plain"]) == 0
    assert "on mark" not in capsys.readouterr().out and "mark" not in Path("plain/metrics.md").read_text()
    assert json.loads(Path("plain/metrics.json").read_text())[0]["energy_on_mark"] is None
    assert main([*command, "--out=zones", "--data.measured_zones=avoid"]) == 0
    assert "Energy on mark" in capsys.readouterr().out
    table = Path("zones/metrics.md").read_text()
    assert "Energy on mark" in table and "share of attention on the mark in percent" in table
    assert main([*command, "--out=no", "--data.measured_zones=nowhere"]) == 2
    assert "there is no folder nowhere; expected masks of the zones to avoid" in capsys.readouterr().err
