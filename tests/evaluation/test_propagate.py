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
from wheretolook.data.dataset import ImagesOf
from wheretolook.errors import DataError
from wheretolook.evaluation.propagate import (
    PENALTIES,
    Gathered,
    Seen,
    cross_validated,
    fitted,
    gathered,
    overlap,
    probable_mask,
    propagated,
    seen_in,
)
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
    probe = fitted(gathered([drawn(400, seed) for seed in range(3)]), 2, 1e-3)
    others = drawn(400, 9)
    assert overlap(probe.logits(others.columns), others.shares) > 0.95
    assert probe.weight[1].abs() > 10 * probe.weight[[0, 2]].abs().max()


def test_at_the_optimum_the_gradient_vanishes_and_the_penalty_shrinks_the_weights():
    seen = [drawn(300, 0, noise=1.0)]
    weights = []
    for penalty in (1e-3, 1e-1):
        probe = fitted(gathered(seen), 2, penalty)
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
    known = gathered(seen)
    _, held_out = cross_validated(known, 1)
    probe = fitted(known, 1, 1e-3)
    said = torch.cat([probe.logits(one.columns) for one in seen])
    assert overlap(said, known.shares) > 0.99 > 0.5 > held_out
    assert np.isnan(cross_validated(gathered(seen[:1]), 1)[1])


def test_a_fold_learns_from_the_other_images_alone():
    """By hand: each fifth image is left out, and what is left is fitted as if it were all that there is."""
    seen = [drawn(60 + 10 * number, number, noise=1.0) for number in range(7)]
    known = gathered(seen)
    scores = {}
    for penalty in PENALTIES:
        found = []
        for fold in range(5):
            others = [one for number, one in enumerate(seen) if number % 5 != fold]
            held_out = [one for number, one in enumerate(seen) if number % 5 == fold]
            columns = (torch.cat([one.columns for one in others]) - known.mean) / known.spread
            rest = Gathered(
                torch.zeros(3),
                torch.ones(3),
                columns,
                *(torch.cat([getattr(one, name) for one in others]) for name in ("shares", "classes")),
                torch.zeros(len(columns)),
            )
            probe = fitted(rest, 2, penalty)
            said = [probe.logits((one.columns - known.mean) / known.spread) > 0 for one in held_out]
            true = [one.shares > 0.5 for one in held_out]
            both = sum(int((a & b).sum()) for a, b in zip(said, true, strict=True))
            found.append(both / sum(int((a | b).sum()) for a, b in zip(said, true, strict=True)))
        scores[penalty] = sum(found) / 5
    best, score = cross_validated(known, 2)
    assert best == max(scores, key=scores.__getitem__) and score == pytest.approx(max(scores.values()), abs=0.01)


def test_scaled_columns_have_mean_zero_and_spread_one_and_know_their_images():
    seen = [drawn(50, 0), drawn(30, 1)]
    before = seen[0].columns.clone()
    known = gathered(seen)
    torch.testing.assert_close(known.columns.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(known.columns.std(dim=0), torch.ones(3))
    assert known.images.tolist() == [0] * 50 + [1] * 30 and torch.equal(seen[0].columns, before)
    torch.testing.assert_close(known.columns * known.spread + known.mean, torch.cat([one.columns for one in seen]))


def test_of_a_large_image_so_many_places_are_kept_each_with_what_is_told_of_it():
    """The columns say where they are from, so that what is drawn can be compared with all of it."""
    sample = open_dataset(DataOptions(scenes=ScenesOptions(48, 3, 4)), "train")[0]
    places = torch.arange(48 * 48.0).view(1, 1, 48, 48)
    every = seen_in(sample, lambda image: places, places=48 * 48)
    assert 100 < len(every.columns) < 48 * 48  # without what is void
    some, same, other = (seen_in(sample, lambda image: places, 100, seed) for seed in (1, 1, 2))
    assert torch.equal(some.columns, same.columns) and not torch.equal(some.columns, other.columns)
    chosen = torch.searchsorted(every.columns.flatten(), some.columns.flatten())
    assert len(chosen.unique()) == 100 and torch.equal(every.columns[chosen], some.columns)
    assert torch.equal(every.shares[chosen], some.shares) and torch.equal(every.classes[chosen], some.classes)


def test_what_is_held_of_many_images_is_bounded(monkeypatch: pytest.MonkeyPatch):
    options = DataOptions(scenes=ScenesOptions(size=48, classes=3, images=12), annotated_fraction=0.5)
    dataset = open_dataset(options, "train", training=True)
    monkeypatch.setattr("wheretolook.evaluation.propagate.ALL_PLACES", 600)
    held: list[int] = []
    gather = gathered

    def watched(seen):
        held.append(sum(one.columns.numel() for one in seen))
        return gather(seen)

    monkeypatch.setattr("wheretolook.evaluation.propagate.gathered", watched)
    score, masks = propagated(dataset, lambda image: torch.nn.functional.avg_pool2d(image, 2))
    assert held == [600 * 3] and 0 <= score <= 1 and len(list(masks)) == 6


def test_a_mask_is_of_the_present_classes_with_void_between():
    probe = fitted(gathered([drawn(400, seed) for seed in range(3)]), 2, 1e-3)
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


def test_points_and_strokes_teach_what_they_mark():
    """Cells of 4 pixels: one has a mark on the object, one a mark beside it, one both."""
    sample = open_dataset(DataOptions(scenes=ScenesOptions(48, 3, 4)), "train")[0]
    plane = torch.full((1, 48, 48), VOID, dtype=torch.uint8)
    plane[0, 0:2, 1], plane[0, 9, 40:42], plane[0, 20, 20], plane[0, 20, 21:24] = 1, 0, 1, 0
    labels = torch.zeros_like(sample.labels)
    labels[1] = True
    numbers = torch.arange(144.0).view(1, 1, 12, 12)
    seen = seen_in(sample._replace(labels=labels, targets=plane), lambda image: numbers)
    assert seen.columns.flatten().tolist() == [0, 2 * 12 + 10, 5 * 12 + 5]
    assert seen.shares.tolist() == [1.0, 0.0, 0.25] and seen.classes.tolist() == [1, -1, -1]


def test_marks_on_objects_alone_tell_nothing_from_them():
    options = DataOptions(scenes=ScenesOptions(48, 3, 6), annotated_fraction=0.5, annotations="points")
    dataset = open_dataset(options, "train", training=True)

    class Objects(ImagesOf):
        def is_annotated(self, index: int) -> bool:
            return dataset.is_annotated(index)

        def __getitem__(self, index: int):
            sample = dataset[index]
            return sample._replace(targets=sample.targets.masked_fill((sample.targets != 1).all(dim=0), VOID))

    with pytest.raises(DataError, match="got places of objects alone; mark or outline the others too"):
        propagated(Objects(dataset), lambda image: torch.rand(1, 2, 12, 12))
    assert 0 <= propagated(dataset, lambda image: torch.rand(1, 2, 12, 12))[0] <= 1
