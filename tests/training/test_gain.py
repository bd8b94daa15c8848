"""The guided objective against a plain second implementation, and what each of its parts may change."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from wheretolook.errors import ConfigError
from wheretolook.networks.modes import training_only
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, Batch, collate
from wheretolook.training.gain import GainStage

from .made import EVERYTHING, VARIANTS, made_batch, made_network, made_samples, sample
from .reference import reference_terms

LOSSES = ("classification", "mining", "external", "segmentation")


def stage_with(smooth: bool = True, **options: object) -> GainStage:
    return GainStage(made_network(smooth=smooth), TrainingOptions(), replace(EVERYTHING, **options))


def gradients(network, loss) -> dict[str, torch.Tensor]:
    """Of every parameter that the loss reaches with something other than zero."""
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: value for name, value in zip(parameters, found, strict=True) if value is not None and value.any()}


def parts(found: dict[str, torch.Tensor]) -> set[str]:
    return {name.split(".")[0] for name in found}


RELU = [
    "defaults",
    "channel_weights",
    "freeze_classifier",
]  # with the real classifier; a smooth one is harder to please


@pytest.mark.parametrize(
    ("variant", "smooth"), [*((name, True) for name in VARIANTS), *((name, False) for name in RELU)]
)
def test_terms_and_gradients_equal_a_plain_implementation(variant: str, smooth: bool):
    stage = stage_with(smooth, **VARIANTS[variant])
    batch = made_batch()
    terms, expected = stage.terms(batch), reference_terms(stage.network, stage.objective, batch)
    for name in ("total", *LOSSES):
        if name == "total" or getattr(stage.objective, f"{name}_weight"):
            torch.testing.assert_close(getattr(terms, name), expected[name], rtol=1e-6, atol=1e-9)
    ours, theirs = gradients(stage.network, terms.total), gradients(stage.network, expected["total"])
    assert parts(ours) == parts(theirs)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-6 * gradient.abs().max().item())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("defaults", "freeze_classifier")])
def test_every_option_changes_what_is_learned(variant: str):
    batch, learned = made_batch(), []
    for options in ({}, VARIANTS[variant]):
        stage = stage_with(**options)
        learned.append(gradients(stage.network, stage.terms(batch).total))
    usual, found = learned
    assert any(name not in found or not torch.allclose(usual[name], found[name], rtol=1e-3) for name in usual)


def test_every_option_of_the_objective_is_tried_here():
    tried = {name for options in VARIANTS.values() for name in options}
    elsewhere = {"masked_pass", "classes_per_image", "mining_chunk"}
    assert tried | elsewhere == {field.name for field in fields(ObjectiveOptions)}


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_of_the_masked_pass_change_nothing(chunk: int):
    batch, results = made_batch(), []
    for size in (2, chunk):
        stage = stage_with(mining_chunk=size)
        terms = stage.terms(batch)
        results.append((terms, gradients(stage.network, terms.total)))
    (terms, first), (other_terms, second) = results
    torch.testing.assert_close(terms, other_terms, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-12)


def test_total_is_the_weighted_sum():
    terms = stage_with().terms(made_batch())
    weights = [getattr(EVERYTHING, f"{name}_weight") for name in LOSSES]
    expected = sum(weight * getattr(terms, name) for weight, name in zip(weights, LOSSES, strict=True))
    torch.testing.assert_close(terms.total, expected)
    assert all(getattr(terms, name) > 0 for name in LOSSES)


@pytest.mark.parametrize("loss", ["mining", "external", "segmentation"])
def test_a_weight_of_zero_takes_the_term_out(loss: str):
    """It is 0 in the record, and what it depends on may be as bad as it likes."""
    batch = made_batch()
    stage = stage_with(**{f"{loss}_weight": 0.0})
    before = stage.terms(batch)
    assert getattr(before, loss) == 0
    breaking = {
        "mining": lambda: setattr(stage, "mining", lambda *_: 1 / 0),
        "external": lambda: setattr(stage, "external", lambda *_: 1 / 0),
        "segmentation": lambda: setattr(stage.network.segmenter, "forward", lambda *_: 1 / 0),
    }
    breaking[loss]()
    torch.testing.assert_close(stage.terms(batch), before, rtol=0, atol=0)


def test_without_guidance_no_map_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wheretolook.attention.maps.channel_weights", lambda *_, **__: 1 / 0)
    stage_with(mining_weight=0.0, external_weight=0.0).terms(made_batch())
    with pytest.raises(ZeroDivisionError):
        stage_with(mining_weight=0.0).terms(made_batch())


def test_classification_of_weight_zero_is_shown_but_teaches_nothing():
    stage = stage_with(classification_weight=0.0, mining_weight=0.0, external_weight=0.0)
    terms = stage.terms(made_batch())
    assert terms.classification > 0
    assert parts(gradients(stage.network, terms.total)) == {"trunk", "segmenter"}
    torch.testing.assert_close(terms.total, 1.1 * terms.segmentation)


# which parts each loss reaches, the classifier being free
REACHES = [
    ("classification", {}, {"trunk", "classifier"}),
    ("mining", {}, {"trunk", "classifier"}),
    ("mining", {"mining_updates": "attention"}, {"trunk"}),
    ("mining", {"mining_updates": "attention", "channel_weights": "second_order"}, {"trunk", "classifier"}),
    ("external", {}, {"trunk"}),
    ("external", {"channel_weights": "second_order"}, {"trunk", "classifier"}),
    ("external", {"external": "sum"}, {"trunk"}),
    ("external", {"external": "energy"}, {"trunk"}),
    ("segmentation", {}, {"trunk", "segmenter"}),
]


@pytest.mark.parametrize(("loss", "options", "reached"), REACHES)
def test_each_loss_reaches_what_it_should_and_no_more(loss: str, options: dict[str, object], reached: set[str]):
    weights = {f"{name}_weight": float(name == loss) for name in LOSSES}
    stage = stage_with(**weights, **options)
    found = gradients(stage.network, stage.terms(made_batch()).total)
    assert parts(found) == reached
    if loss != "segmentation":
        trunk = {name.removesuffix(".weight") for name in found if name.startswith("trunk") and "weight" in name}
        assert len(trunk) == 13  # every convolution of it


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_frozen_classifier_gets_no_gradient_and_neither_does_an_unweighted_segmenter(options: dict[str, object]):
    stage = stage_with(smooth=False, **options)
    stage.network.segmenter.upscore8.requires_grad_(False)
    with training_only(stage.network, stage.trained_modules()):
        stage.terms(made_batch()).total.backward()
    reached = {name.split(".")[0] for name, value in stage.network.named_parameters() if value.grad is not None}
    expected = {"trunk"}
    expected |= {"classifier"} if not stage.objective.freeze_classifier else set()
    expected |= {"segmenter"} if stage.objective.segmentation_weight else set()
    assert reached == expected
    assert all(value.grad is None for name, value in stage.network.named_parameters() if ".upscore" in name)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_batch_is_the_average_of_its_images(options: dict[str, object]):
    """Over all images, over those annotated, or over those segmented, as the term has it."""
    stage = stage_with(**options)
    whole = stage.terms(made_batch())
    singles = [(one, stage.terms(collate([one]))) for one in made_samples()]
    counted = {
        "classification": [terms.classification for _, terms in singles],
        "mining": [terms.mining for _, terms in singles],
        "external": [terms.external for one, terms in singles if one.annotated and one.labels.any()],
        "segmentation": [terms.segmentation for one, terms in singles if one.segmented],
    }
    assert [len(values) for values in counted.values()] == [6, 6, 4, 4]
    for name, values in counted.items():
        torch.testing.assert_close(getattr(whole, name), torch.stack(values).mean(), rtol=1e-6, atol=1e-9)


def test_an_image_keeps_its_maps_whatever_else_is_in_the_batch():
    """The predecessor mixed all images of a batch into one map."""
    stage = stage_with()

    def maps_of(batch: Batch) -> torch.Tensor:
        output = stage.network(stage.network.preprocessing(batch.images))
        return stage.maps(output, batch.labels.nonzero())

    samples = made_samples()
    together = maps_of(collate(samples))
    alone = torch.cat([maps_of(collate([one])) for one in samples])
    torch.testing.assert_close(together, alone)
    backwards = maps_of(collate(samples[::-1]))
    torch.testing.assert_close(backwards[-3:], together[:3])


def test_a_batch_without_classes_or_masks_has_the_terms_that_remain():
    stage = stage_with()
    terms = stage.terms(collate([sample("bare", (), annotated=False, segmented=False)]))
    assert (terms.mining, terms.external, terms.segmentation) == (0, 0, 0)
    torch.testing.assert_close(terms.total, 0.7 * terms.classification)
    terms.total.backward()


def test_void_pixels_do_not_count():
    stage = stage_with(external="squared")
    batch = made_batch()
    loud = batch._replace(masks=batch.masks.masked_fill(torch.rand(batch.masks.shape) < 0.3, 255))
    terms, expected = stage.terms(loud), reference_terms(stage.network, stage.objective, loud)
    torch.testing.assert_close(terms.external, expected["external"], rtol=1e-6, atol=0)
    torch.testing.assert_close(terms.segmentation, expected["segmentation"], rtol=1e-6, atol=0)


def test_drawn_classes_are_present_ones_and_all_get_their_turn():
    """One class an image: the loss is that of one of its classes alone."""
    stage = stage_with(classes_per_image=1)
    image = sample("three", (0, 2))
    both = image.labels.clone()
    alone = []
    for index in (0, 2):
        image.labels.copy_(torch.arange(3) == index)
        alone.append(stage.terms(collate([image])).mining.item())
    image.labels.copy_(both)
    drawn = []
    for seed in range(12):
        torch.manual_seed(seed)
        drawn.append(stage.terms(collate([image])).mining.item())
    assert {min(range(2), key=lambda n: abs(alone[n] - value)) for value in drawn} == {0, 1}
    assert all(min(abs(value - one) for one in alone) < 1e-9 for value in drawn)
    assert abs(alone[0] - alone[1]) > 1e-3
    stage.objective = replace(stage.objective, classes_per_image=2)
    assert stage.terms(collate([image])).mining.item() == pytest.approx(sum(alone) / 2)


def with_batch_norm() -> GainStage:
    stage = GainStage(made_network(dropout=0.5), TrainingOptions(), replace(EVERYTHING, freeze_classifier=False))
    stage.network.classifier = torch.nn.Sequential(torch.nn.BatchNorm2d(12).double(), stage.network.classifier)
    stage.network.train()
    return stage


def test_masked_images_pass_in_evaluation_mode_unless_told_otherwise():
    """In training mode they would move batch norm's statistics once more for every part, and drop out."""
    batch, moved, mining = made_batch(), {}, {}
    for masked_pass in ("eval", "train"):
        stage = with_batch_norm()
        stage.objective = replace(stage.objective, masked_pass=masked_pass, mining_chunk=3)
        norm = stage.network.classifier[0]
        torch.manual_seed(0)
        mining[masked_pass] = stage.terms(batch).mining
        moved[masked_pass] = int(norm.num_batches_tracked)
        assert all(module.training for module in stage.network.modules())
    pairs = int(batch.labels.sum())
    assert moved == {"eval": 1, "train": 1 + (pairs + 2) // 3}
    assert not torch.allclose(mining["eval"], mining["train"])


def test_modes_come_back_when_the_masked_pass_fails(monkeypatch: pytest.MonkeyPatch):
    stage = with_batch_norm()
    stage.network.classifier.eval()
    monkeypatch.setattr("wheretolook.training.gain.mining_loss", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stage.terms(made_batch())
    assert stage.network.trunk.training
    assert not any(module.training for module in stage.network.classifier.modules())


def test_half_precision_finds_nearly_the_same():
    stage = GainStage(made_network().float(), TrainingOptions(), EVERYTHING)
    batch = made_batch()
    batch = batch._replace(images=batch.images.float())
    full = stage.terms(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = stage.terms(batch)
    torch.testing.assert_close(half, full, rtol=0.03, atol=0.01)  # the losses themselves are in single precision


def test_a_labelled_class_without_a_box_is_not_taught_to_be_nowhere():
    """The dog has a label but no box: its maps take no part, and the cat counts as if it were alone."""
    both = sample("three", (0, 1, 2))
    shown = both._replace(mask=torch.where(both.mask == 2, VOID, both.mask), segmented=False)
    alone = shown._replace(labels=torch.tensor([True, False, True]))
    for external in ("squared", "sum", "energy"):
        stage = stage_with(external_weight=1.0, mining_weight=0.0, segmentation_weight=0.0, external=external)
        found, expected = (stage.terms(collate([one])).external for one in (shown, alone))
        torch.testing.assert_close(found, expected)


WRONG = [
    ({"mining_weight": -1.0}, "mining_weight"),
    ({"segmentation_weight": -0.5}, "segmentation_weight"),
    ({"mining_chunk": 0}, "mining_chunk"),
    ({"classes_per_image": 0}, "classes_per_image"),
    ({f"{name}_weight": 0.0 for name in LOSSES}, "weight"),
]


@pytest.mark.parametrize(("options", "named"), WRONG)
def test_an_objective_that_cannot_work_is_refused(options: dict[str, object], named: str):
    with pytest.raises(ConfigError, match=named):
        stage_with(**options)


def test_mining_gradients_travel_at_the_trainers_scale():
    """In half precision the trainer scales its losses; what is differentiated ahead of it must be scaled alike."""
    stage = stage_with()
    assert stage.loss_scale() == 1.0
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    for plugin, scale in ((SimpleNamespace(scaler=scaler), 1024.0), (SimpleNamespace(scaler=None), 1.0)):
        stage._trainer = SimpleNamespace(precision_plugin=plugin)
        assert stage.loss_scale() == scale


def test_an_external_loss_that_is_chosen_but_not_weighed_is_told(caplog: pytest.LogCaptureFixture):
    stage_with(external="energy")
    assert not caplog.messages
    stage_with(external="energy", external_weight=0.0)
    assert caplog.messages == ["external energy has no effect: external_weight is 0"]
