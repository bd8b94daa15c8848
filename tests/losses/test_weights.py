"""Images that count more or less: none at 0, as often as its weight says otherwise, whatever the loss."""

from pathlib import Path

import pytest
import torch

from wheretolook.data.loading import ImageData
from wheretolook.errors import DataError
from wheretolook.losses.objective import LOSSES
from wheretolook.losses.reduce import average_images, pair_shares
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import Batch, collate
from wheretolook.training.stage import Stage

from ..training.made import changed, made_network, made_samples, weighing

OPTIONS = {"robust_gradients.samples": 0, "channel_weights": "second_order", "freeze_classifier": False}


def learned(name: str, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The value of a loss and its gradient, all in a row."""
    stage = Stage.guidance(
        made_network(smooth=True),
        TrainingOptions(),
        changed(ObjectiveOptions(), {**weighing(**{name: 1.3}), **OPTIONS}),
    )
    if stage.earlier:
        stage.earlier = (made_network(smooth=True, seed=2),)
    total, _ = stage.terms(batch)
    weights = [weight for weight in stage.network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(total, weights, allow_unused=True)
    rows = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
    return total.detach(), torch.cat([row.flatten() for row in rows])


def made(order: list[int], weights: list[float] | None = None) -> Batch:
    samples = [made_samples()[index] for index in order]
    if weights is not None:
        samples = [one._replace(weight=weight) for one, weight in zip(samples, weights, strict=True)]
    return collate(samples)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"segmentation"}))
def test_a_weight_of_0_leaves_out_and_one_of_2_counts_twice(name: str, monkeypatch: pytest.MonkeyPatch):
    """Mixed backgrounds are the neighbour's, so there each image keeps its own."""
    monkeypatch.setattr("wheretolook.losses.mixed_background.next_of", lambda which: torch.arange(len(which)))
    plain = learned(name, made([0, 1, 3, 5]))
    assert plain[1].abs().max() > 0
    for weighted, same in (
        (made([0, 1, 3, 5], [1, 0, 1, 1]), made([0, 3, 5])),
        (made([0, 1, 3, 5], [1, 2, 1, 1]), made([0, 1, 1, 3, 5])),
        (made([0, 1, 3, 5], [0.3] * 4), made([0, 1, 3, 5])),
        (made([0, 2, 4, 5], [1, 2, 0, 1]), made([0, 2, 2, 5])),
    ):
        for found, expected in zip(learned(name, weighted), learned(name, same), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    other = learned(name, made([0, 1, 3, 5], [1, 2, 1, 1]))
    assert not torch.allclose(other[1], plain[1], rtol=1e-3)
    nothing = learned(name, made([0, 1, 3, 5], [0] * 4))
    assert nothing[0] == 0 and not nothing[1].any()


def test_segmentation_keeps_every_image():
    found, expected = (learned("segmentation", made([0, 1, 5], weights)) for weights in ([1, 0, 2], None))
    assert torch.equal(found[1], expected[1])


def test_averages_are_weighted():
    values, weights = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0.5, 0.0, 1.5, 1.0])
    assert average_images(values, weights=weights) == pytest.approx((0.5 + 6 + 8) / 3)
    counted = torch.tensor([True, True, True, False])
    assert average_images(values, counted, weights) == pytest.approx((0.5 + 6) / 2)
    assert average_images(values, torch.tensor([False, True, False, False]), weights) == 0
    pairs = torch.tensor([[0, 0], [0, 2], [2, 1]])
    assert pair_shares(pairs, 4, weights).tolist() == pytest.approx([0.25 / 3, 0.25 / 3, 0.5])


SCENES = ScenesOptions(size=32, classes=3, images=6)


def table(path: Path, weights: dict[str, str], heading: str = "image,weight") -> str:
    path.write_text("\n".join([heading, *(f"{name},{weight}" for name, weight in weights.items())]) + "\n")
    return str(path)


def test_a_table_weighs_what_is_trained_on_and_nothing_else(tmp_path: Path):
    plain = ImageData(DataOptions(scenes=SCENES, batch_size=6), steps=1)
    names = plain.train_set.names
    weights = {name: str(0.5 * number) for number, name in enumerate(names)}
    file = table(tmp_path / "weights.csv", {**weights, "another": "7"})
    data = ImageData(
        DataOptions(scenes=SCENES, batch_size=6, weights=file, annotated_fraction=0.5, annotations="boxes"), steps=1
    )
    batch = next(iter(data.train_dataloader()))
    assert batch.weights.tolist() == [0.5 * names.index(name) for name in batch.names]
    assert sum(data.train_set.is_annotated(index) for index in range(6)) == 3 and data.train_set.has_annotations
    assert data.train_set.classes_of_images == plain.train_set.classes_of_images
    assert next(iter(data.val_dataloader())).weights is None
    assert next(iter(plain.train_dataloader())).weights is None


def test_weights_come_with_batches_from_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ImageData(DataOptions(scenes=SCENES), steps=1).train_set.names
    file = table(tmp_path / "weights.csv", dict.fromkeys(names, "2"))
    for piped in (False, True):
        monkeypatch.setattr("wheretolook.data.loading.fits_shared_memory", lambda *_, piped=piped: not piped)
        data = ImageData(DataOptions(scenes=SCENES, batch_size=6, weights=file, workers=1), steps=1)
        assert next(iter(data.train_dataloader())).weights.tolist() == [2.0] * 6


def test_a_table_that_does_not_fit_is_said(tmp_path: Path):
    names = ImageData(DataOptions(scenes=SCENES), steps=1).train_set.names
    ones = dict.fromkeys(names, "1")
    for weights, heading, words in (
        ({**ones, names[0]: "-1"}, "image,weight", "line 2: expected a weight of at least 0, got '-1'"),
        ({**ones, names[1]: "much"}, "image,weight", "line 3: expected a weight of at least 0, got 'much'"),
        ({**ones, names[1]: "nan"}, "image,weight", "expected a weight of at least 0, got 'nan'"),
        (dict.fromkeys(names, "0"), "image,weight", "expected an image with a weight above 0, got none"),
        ({names[0]: "1"}, "image,weight", "has no row for 5 of 6 images"),
        ({**ones, f"{names[0]}.png": "3"}, "image,weight", "expected one row an image, got another for"),
        (ones, "image,heavy", "has no column 'weight'"),
        (ones, "picture,weight", "has no column of images"),
    ):
        file = table(tmp_path / "weights.csv", weights, heading)
        with pytest.raises(DataError, match=words):
            ImageData(DataOptions(scenes=SCENES, weights=file), steps=1)
