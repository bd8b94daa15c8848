"""Maps averaged with those of the mirrored image: put together by hand from maps of one image each."""

import json
from pathlib import Path

import pytest
import torch

from wheretolook.cli.main import main
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.evaluation.explain import explain
from wheretolook.metrics.figures import FIGURES
from wheretolook.networks.files import save_network
from wheretolook.records import Batch, collate

from ..command_line import SERVED
from ..training.made import made_network, made_samples, scene_network


def mirrored(batch: Batch) -> Batch:
    return batch._replace(images=batch.images.flip(3), masks=batch.masks.flip(2), targets=batch.targets.flip(2))


def test_a_map_is_the_mean_of_the_images_and_of_the_mirrored_images_mirrored_back():
    network, batch = made_network(), collate(made_samples())
    found = [one.attention for one in explain(network, [batch], flip=True)]
    straight = [one.attention for one in explain(network, [batch])]
    other = [one.attention for one in explain(network, [mirrored(batch)])]
    assert len(found) == len(straight) == len(other) > 2
    for average, one, back in zip(found, straight, other, strict=True):
        torch.testing.assert_close(average, (one + back.flip(1)) / 2)
    unturned = (torch.stack(straight) + torch.stack(other)) / 2
    assert (torch.stack(found) - unturned).abs().max() > 1e-3
    again = [one.attention.flip(1) for one in explain(network, [mirrored(batch)], flip=True)]
    torch.testing.assert_close(again, found)  # it does not matter which of the two is the image


def test_figures_are_of_the_averaged_maps_and_scores_of_the_images_alone():
    network, batch = made_network(), collate(made_samples())
    plain, found = evaluate(network, [batch]), evaluate(network, [batch], flip=True)
    energies = [one.energy_inside for one in explain(network, [batch], flip=True)]
    assert found["energy_pointing"] == pytest.approx(sum(energies) / len(energies), rel=1e-5)
    assert found["energy_pointing"] != plain["energy_pointing"]
    others = [key for key, figure in FIGURES.items() if figure.family != "attention"]
    assert [found[key] for key in others] == pytest.approx([plain[key] for key in others], nan_ok=True)
    erased = evaluate(network, [batch], deletion=True, flip=True)
    assert erased["deletion"] != evaluate(network, [batch], deletion=True)["deletion"]


def test_tables_and_pictures_flip_where_they_are_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    network = scene_network()
    network.classifier.score_cl.bias.data += 0.1
    save_network(network, "a.safetensors")
    energies = {}
    for more in ([], ["--flip"]):
        common = [*SERVED, "--accelerator=cpu", *more]
        assert main(["evaluate", "--weights=a.safetensors", *common, "--out=table"]) == 0
        (row,) = json.loads(Path("table/metrics.json").read_text())
        draw = ["visualize", "--before=a.safetensors", "--after=a.safetensors", "--count=100", "--out=drawn"]
        assert main([*draw, *common]) == 0
        drawn = [one["energy_before"] for one in json.loads(Path("drawn/pictures.json").read_text())]
        assert row["energy_pointing"] == pytest.approx(sum(drawn) / len(drawn), rel=1e-4)
        energies[bool(more)] = row["energy_pointing"]
    assert energies[True] != energies[False]
