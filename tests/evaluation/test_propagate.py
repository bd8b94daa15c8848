"""Propagation: a probe that must find what can be found, and masks that guide the images that nobody annotated."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from wheretolook.cli.main import main
from wheretolook.data import open_dataset
from wheretolook.evaluation.propagate import Seen, cross_validated, fitted, overlap, probable_mask, propagated, seen_in
from wheretolook.networks.guide import guide
from wheretolook.networks.hypercolumns import Hypercolumns
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.records import VOID

from ..training.made import made_network


def drawn(places: int, seed: int, noise: float = 0.0) -> Seen:
    """Columns of which the second tells objects and the third which of two classes; the first is of another scale."""
    random = torch.Generator().manual_seed(seed)
    columns = torch.randn(places, 3, generator=random) * torch.tensor([500.0, 1.0, 2.0]) + 7
    shares = (columns[:, 1] + noise * torch.randn(places, generator=random) > 7).float()
    return Seen(columns, shares, torch.where(shares > 0, (columns[:, 2] > 7).long(), -1))


def test_the_probe_finds_the_channel_that_tells():
    probe = fitted([drawn(400, seed) for seed in range(3)], 2, 1e-3)
    assert overlap(probe, [drawn(400, 9)]) > 0.95
    assert probe.weight[1].abs() > 10 * probe.weight[[0, 2]].abs().max()


def test_at_the_optimum_the_gradient_vanishes_and_the_penalty_shrinks_the_weights():
    seen = [drawn(300, 0, noise=1.0)]
    weights = []
    for penalty in (1e-3, 1e-1):
        probe = fitted(seen, 2, penalty)
        columns = ((seen[0].columns - seen[0].columns.mean(dim=0)) / seen[0].columns.std(dim=0)).double()
        said = torch.sigmoid(columns @ probe.weight.double() + probe.bias.double())
        slope = columns.T @ (said - seen[0].shares) / 300 + 2 * penalty * probe.weight
        assert slope.abs().max() < 1e-3 and (said - seen[0].shares).mean().abs() < 1e-3
        weights.append(probe.weight.norm())
    assert weights[1] < 0.8 * weights[0]


def test_held_out_overlap_is_not_that_of_what_was_learned():
    """Labels without a rule: learned by heart with many channels, and no better than chance where held out."""
    random = torch.Generator().manual_seed(0)
    seen = [
        Seen(
            torch.randn(40, 300, generator=random),
            torch.randint(2, (40,), generator=random).float(),
            torch.zeros(40).long(),
        )
        for _ in range(5)
    ]
    _, held_out = cross_validated(seen, 1)
    assert overlap(fitted(seen, 1, 1e-3), seen) > 0.99 > 0.5 > held_out
    assert np.isnan(cross_validated(seen[:1], 1)[1])


def test_a_mask_is_of_the_present_classes_with_void_between():
    probe = fitted([drawn(400, seed) for seed in range(3)], 2, 1e-3)
    columns = torch.full((3, 4, 4), 7.0)
    columns[1, :, :2], columns[1, :, 2:] = 10.0, 4.0  # the left half is an object's
    columns[2, :2], columns[2, 2:] = 3.0, 11.0  # of class 0 above, of class 1 below
    sure = float(probe.logits(columns.flatten(1).T).abs().min())
    mask = probable_mask(probe, columns, torch.tensor([True, True]), (16, 16), 0.4 * sure)
    assert (mask[:8, :6] == 1).all() and (mask[8:, :6] == 2).all() and (mask[:, 10:] == 0).all()
    one = probable_mask(probe, columns, torch.tensor([False, True]), (16, 16), 0.4 * sure)
    assert set(one.unique().tolist()) == {0, 2, VOID}
    wide = probable_mask(probe, columns, torch.tensor([False, True]), (16, 16), 0.9 * sure)
    assert (wide == VOID).sum() > (one == VOID).sum() > 0
    columns[1] = 4.0  # no object anywhere: the surest place is taken for it
    assert (probable_mask(probe, columns, torch.tensor([True, False]), (16, 16), 0.5) == 1).any()


def test_columns_are_the_features_of_every_resolution_at_their_places():
    stem, body = nn.Conv2d(3, 5, 3, 2, 1), nn.Conv2d(5, 6, 3, 4, 1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    module = nn.Sequential(stem, nn.ReLU(), nn.Conv2d(5, 5, 1), nn.ReLU(), body, nn.ReLU(), head)
    network = guide(module, class_names=("one", "two"), input_size=(32, 32))
    images = torch.rand(2, 3, 32, 48)
    columns = Hypercolumns(network, images)
    found = columns(images)
    assert found.shape == (2, 11, 8, 12) and len(columns.layers) == 2
    fine = module[:3](network.preprocessing(images))
    coarse = module[:5](network.preprocessing(images))
    for expected, part in ((fine, found[:, :5]), (coarse, found[:, 5:])):
        stretched = nn.functional.interpolate(expected, size=(8, 12), mode="bilinear")
        torch.testing.assert_close(part, stretched)
    assert not found.requires_grad and module.training


def test_an_fcn_has_columns_too_and_finds_made_objects():
    network = made_network().float()
    options = DataOptions(scenes=ScenesOptions(size=48, classes=3, images=12), annotated_fraction=0.5)
    dataset = open_dataset(options, "train", training=True)
    columns = Hypercolumns(network, dataset[0].image[None])
    score, masks = propagated(dataset, columns)
    found = dict(masks)
    assert sorted(found) == [index for index in range(12) if not dataset.is_annotated(index)] and 0 < score <= 1
    for index, mask in found.items():
        present = {0, VOID, *(1 + dataset[index].labels.nonzero().flatten()).tolist()}
        assert set(mask.unique().tolist()) <= present and mask.shape == dataset[index].mask.shape


def test_the_command_writes_masks_that_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    scenes = [
        "--data.scenes.size=48",
        "--data.scenes.classes=3",
        "--data.scenes.images=10",
        "--data.annotated_fraction=0.4",
    ]
    network = ["--network=torchvision:resnet18", "--network.input_size", "64", "64"]
    assert main(["propagate", *network, *scenes, "--out=masks"]) == 0
    assert "learned from 4 images; overlap" in capsys.readouterr().out
    assert json.loads(Path("masks/propagated.json").read_text())["annotated"] == 4
    options = DataOptions(scenes=ScenesOptions(48, 3, 10), annotated_fraction=0.4, propagated="masks")
    plain, dataset = open_dataset(DataOptions(scenes=ScenesOptions(48, 3, 10)), "train"), None
    dataset = open_dataset(options, "train", training=True)
    for index in range(10):
        if dataset.is_annotated(index):
            assert torch.equal(dataset[index].targets, plain[index].targets)
            continue
        mask = np.asarray(Image.open(f"masks/{dataset.names[index]}.png"))
        for plane, class_index in zip(dataset[index].targets, plain[index].labels.nonzero().flatten(), strict=True):
            shown = (mask == 1 + int(class_index)).any()
            expected = np.where(mask == VOID, VOID, mask == 1 + int(class_index)) if shown else np.full_like(mask, VOID)
            assert np.array_equal(plane.numpy(), expected)
        assert torch.equal(dataset[index].mask, plain[index].mask)


def test_what_cannot_be_propagated_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    scenes = ["--data.scenes.size=48", "--data.scenes.classes=3", "--data.scenes.images=6"]
    network = ["--network=torchvision:resnet18"]
    for options, said in (
        ([*network, *scenes], "expected some images with annotations and some without, got 6 of 6"),
        ([*scenes, "--data.annotated_fraction=0.5"], "expected --weights of a trained network, or --network"),
        ([*network, *scenes, "--margin=-1"], "expected a margin of at least 0, got -1"),
        ([*network, *scenes, "--data.propagated=nowhere"], "there is no folder nowhere"),
    ):
        assert main(["propagate", *options, "--out=masks"]) == 2
        assert said in capsys.readouterr().err and not Path("masks").exists()


def test_an_annotated_image_without_objects_is_background():
    sample = open_dataset(DataOptions(scenes=ScenesOptions(48, 3, 4)), "train")[0]
    mask = torch.zeros_like(sample.mask)
    mask[:24] = VOID
    nothing = torch.zeros_like(sample.labels)
    bare = sample._replace(mask=mask, labels=nothing, targets=sample.targets[:0])
    seen = seen_in(bare, lambda image: torch.rand(1, 2, 12, 12))
    assert seen.columns.shape == (72, 2) and not seen.shares.any() and (seen.classes == -1).all()


def test_columns_are_of_the_image_when_its_size_is_new():
    """The network runs again on an image of nothing to find its cells; that is not what is seen."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            extra = 1 if images.shape[-1] % 2 == 0 else 2
            return self.head(
                self.conv(nn.functional.pad(images, (extra // 2, extra - extra // 2) * 2)).mean(dim=(2, 3))
            )

    network = guide(Padded(), class_names=("one", "two"), input_size=(32, 32))
    columns = Hypercolumns(network, torch.rand(1, 3, 32, 32))
    images = torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(columns(images), columns(images))
