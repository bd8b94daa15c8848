"""The guided objective against a plain second implementation, and what each of its parts may change."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType, SimpleNamespace

import pytest
import torch

from wheretolook.errors import ConfigError
from wheretolook.losses.objective import LOSSES as LOSS_TABLE
from wheretolook.networks.modes import training_only
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.options.training import TrainingOptions
from wheretolook.records import VOID, Batch, Sample, collate
from wheretolook.training.stage import Stage

from .made import (
    EVERY,
    EVERYTHING,
    LOSSES,
    VARIANTS,
    changed,
    guided_stage,
    made_batch,
    made_network,
    made_samples,
    planes,
    sample,
    weighing,
)
from .reference import COMPARED, GRADIENTS, OTHERS, reference_terms

Terms = dict[str, torch.Tensor]


def stage_with(options: Mapping[str, object] = MappingProxyType({}), *, smooth: bool = True) -> Stage:
    return guided_stage(options, smooth=smooth)


def terms_of(stage: Stage, batch: Batch) -> Terms:
    """Each loss that is weighed, unweighted, and their total."""
    total, losses = stage.terms(batch)
    return {**losses, "total": total}


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
    stage = stage_with(VARIANTS[variant], smooth=smooth)
    batch = made_batch()
    terms = terms_of(stage, batch)
    expected = reference_terms(stage.network, stage.objective, batch, *stage.earlier)
    assert terms.keys() == {"total", *(name for name in LOSSES if getattr(stage.objective, name).weight)}
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-9)
    ours, theirs = gradients(stage.network, terms["total"]), gradients(stage.network, expected["total"])
    assert parts(ours) == parts(theirs)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-6 * gradient.abs().max().item())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("defaults", "freeze_classifier")])
def test_every_option_changes_what_is_learned(variant: str):
    batch, learned = made_batch(), []
    for options in ({}, VARIANTS[variant]):
        stage = stage_with(options)
        learned.append(gradients(stage.network, stage.terms(batch)[0]))
    usual, found = learned
    assert any(name not in found or not torch.allclose(usual[name], found[name], rtol=1e-3) for name in usual)


def test_every_option_of_the_objective_is_tried_here():
    tried = {name for options in VARIANTS.values() for name in options}
    elsewhere = {"mining.masked_pass", "classes_per_image", "mining.chunk", "warmup", "off_after"}
    elsewhere |= {"robust_gradients.samples", "mining.half_size"}  # drawn; of images that are larger
    elsewhere |= {"mixed_background.weight", "mixed_background.donors"}  # they hang on other images
    groups = {field.name: getattr(EVERYTHING, field.name) for field in fields(ObjectiveOptions)}
    every = {f"{name}.{inner.name}" for name, group in groups.items() if is_dataclass(group) for inner in fields(group)}
    every |= {name for name, value in groups.items() if not is_dataclass(value)}
    assert tried | elsewhere == every


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_of_the_masked_pass_change_nothing(chunk: int):
    batch, results = made_batch(), []
    for size in (2, chunk):
        stage = stage_with({"mining.chunk": size})
        terms = terms_of(stage, batch)
        results.append((terms, gradients(stage.network, terms["total"])))
    (terms, first), (other_terms, second) = results
    torch.testing.assert_close(terms, other_terms, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-12)


def test_total_is_the_weighted_sum():
    total, losses = stage_with(EVERY).terms(made_batch())
    weights = {name.removesuffix(".weight"): weight for name, weight in EVERY.items()}
    torch.testing.assert_close(total, sum(weight * losses[name] for name, weight in weights.items()))
    assert all(losses[name] > 0 for name in weights)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_of_zero_leaves_the_loss_out(loss: str, monkeypatch: pytest.MonkeyPatch):
    """It is not computed, and not in the record."""
    stage = stage_with({**EVERY, f"{loss}.weight": 0.0})
    monkeypatch.setitem(LOSS_TABLE, loss, LOSS_TABLE[loss]._replace(compute=lambda *_: 1 / 0))
    total, losses = stage.terms(made_batch())
    assert losses.keys() == {*LOSSES} - {loss} and total.isfinite()
    with pytest.raises(ZeroDivisionError):
        stage_with({f"{loss}.weight": 1.0}).terms(made_batch())


def test_without_segmentation_the_segmenter_does_not_run(monkeypatch: pytest.MonkeyPatch):
    stage = stage_with({"segmentation.weight": 0.0})
    monkeypatch.setattr(stage.network.segmenter, "forward", lambda *_: 1 / 0)
    stage.terms(made_batch())


def test_without_guidance_no_map_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wheretolook.attention.grad_cam.channel_weights", lambda *_, **__: 1 / 0)
    stage_with({"mining.weight": 0.0, "squared.weight": 0.0}).terms(made_batch())
    with pytest.raises(ZeroDivisionError):
        stage_with({"mining.weight": 0.0}).terms(made_batch())


# which parts each loss reaches, the classifier being free
REACHES = [
    ("classification", {}, {"trunk", "classifier"}),
    ("mining", {}, {"trunk", "classifier"}),
    ("mining", {"mining.updates": "attention"}, {"trunk"}),
    ("mining", {"mining.updates": "attention", "channel_weights": "second_order"}, {"trunk", "classifier"}),
    ("squared", {"channel_weights": "second_order"}, {"trunk", "classifier"}),
    ("squared", {"squared.reduction": "sum"}, {"trunk"}),
    *((name, {}, {"trunk"}) for name in (*COMPARED, *OTHERS)),
    *((name, {}, {"trunk", "classifier"}) for name in GRADIENTS),
    ("segmentation", {}, {"trunk", "segmenter"}),
]


@pytest.mark.parametrize(("loss", "options", "reached"), REACHES)
def test_each_loss_reaches_what_it_should_and_no_more(loss: str, options: dict[str, object], reached: set[str]):
    stage = stage_with({**weighing(**{loss: 1.0}), "freeze_classifier": False, **options})
    found = gradients(stage.network, stage.terms(made_batch())[0])
    assert parts(found) == reached == stage.trains
    if loss != "segmentation":
        trunk = {name.removesuffix(".weight") for name in found if name.startswith("trunk") and "weight" in name}
        assert len(trunk) == 13  # every convolution of it


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_frozen_classifier_gets_no_gradient_and_neither_does_an_unweighted_segmenter(options: dict[str, object]):
    stage = stage_with(options, smooth=False)
    stage.network.segmenter.upscore8.requires_grad_(False)
    with training_only(stage.network, stage.trained_modules()):
        stage.terms(made_batch())[0].backward()
    reached = {name.split(".")[0] for name, value in stage.network.named_parameters() if value.grad is not None}
    expected = {"trunk"}
    expected |= {"classifier"} if not stage.objective.freeze_classifier else set()
    expected |= {"segmenter"} if stage.objective.segmentation.weight else set()
    assert reached == expected
    assert all(value.grad is None for name, value in stage.network.named_parameters() if ".upscore" in name)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_a_batch_is_the_average_of_its_images(options: dict[str, object]):
    """Over all images, over those annotated, or over those segmented, as the term has it."""
    stage = stage_with(options)
    whole = terms_of(stage, made_batch())
    singles = [(one, terms_of(stage, collate([one]))) for one in made_samples()]
    annotated = [terms for one, terms in singles if (one.targets == 1).any()]
    segmented = [terms for one, terms in singles if one.segmented]
    every = [terms for _, terms in singles]
    assert [len(counted) for counted in (every, annotated, segmented)] == [6, 4, 4]
    guided = {"separability": [terms for one, terms in singles if 0 < one.labels.sum() < len(one.labels)]}
    guided["attention_distillation"] = [terms for terms in every if terms.get("attention_distillation", 0) > 0]
    guided["layer_consistency"] = [terms for one, terms in singles if one.labels.any()]
    guided |= {**dict.fromkeys((*COMPARED, *GRADIENTS), annotated), "segmentation": segmented}
    for name in whole.keys() - {"total"}:
        values = torch.stack([terms[name] for terms in guided.get(name, every)])
        torch.testing.assert_close(whole[name], values.mean(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("done", "off_after", "share"),
    [(0, 1.0, 0.0), (3, 1.0, 0.25), (12, 1.0, 1.0), (30, 1.0, 1.0), (14, 0.5, 1.0), (15, 0.5, 0.0), (29, 0.5, 0.0)],
)
def test_weights_of_attention_rise_from_zero_and_end_and_those_of_other_losses_do_not(
    done: int, off_after: float, share: float
):
    """Thirty steps, of which the first two fifths warm up."""
    objective = changed(EVERYTHING, {"warmup": 0.4, "off_after": off_after, "energy.weight": 3.0})
    stage = Stage.guidance(made_network(), TrainingOptions(steps=30), objective)
    stage._trainer = SimpleNamespace(global_step=done, precision_plugin=None)
    total, losses = stage.terms(made_batch())
    plain = 0.7 * losses["classification"] + 1.1 * losses["segmentation"]
    guiding = 1.3 * losses["mining"] + 2.0 * losses["squared"] + 3.0 * losses["energy"]
    torch.testing.assert_close(total, plain + share * guiding)
    assert guiding > 1


def test_an_image_keeps_its_maps_whatever_else_is_in_the_batch():
    """The predecessor mixed all images of a batch into one map."""
    stage = stage_with()

    def maps_of(batch: Batch) -> torch.Tensor:
        return stage.forward_step(batch).maps

    samples = made_samples()
    together = maps_of(collate(samples))
    alone = torch.cat([maps_of(collate([one])) for one in samples])
    torch.testing.assert_close(together, alone)
    backwards = maps_of(collate(samples[::-1]))
    torch.testing.assert_close(backwards[-3:], together[:3])


def test_a_batch_without_classes_or_masks_has_the_terms_that_remain():
    stage = stage_with()
    terms = terms_of(stage, collate([sample("bare", (), annotated=False, segmented=False)]))
    assert (terms["mining"], terms["squared"], terms["segmentation"]) == (0, 0, 0)
    torch.testing.assert_close(terms["total"], 0.7 * terms["classification"])
    terms["total"].backward()


def test_void_pixels_do_not_count():
    stage = stage_with({"energy.weight": 1.0})
    batch = made_batch()
    holes = torch.rand(batch.masks.shape) < 0.3
    targets = batch.targets.masked_fill(holes[batch.pairs[:, 0]], VOID)
    loud = batch._replace(masks=batch.masks.masked_fill(holes, VOID), targets=targets)
    terms, expected = terms_of(stage, loud), reference_terms(stage.network, stage.objective, loud)
    for name in ("squared", "energy", "segmentation"):
        torch.testing.assert_close(terms[name], expected[name], rtol=1e-6, atol=0)


def test_drawn_classes_are_present_ones_and_all_get_their_turn():
    """One class an image: the loss is that of one of its classes alone."""
    stage = stage_with({"classes_per_image": 1})
    image = sample("three", (0, 2))

    def mined(of: Sample) -> float:
        return terms_of(stage, collate([of]))["mining"].item()

    alone = [
        mined(image._replace(labels=torch.arange(3) == index, targets=image.targets[[place]]))
        for place, index in enumerate((0, 2))
    ]
    drawn = []
    for seed in range(12):
        torch.manual_seed(seed)
        drawn.append(mined(image))
    assert {min(range(2), key=lambda n: abs(alone[n] - value)) for value in drawn} == {0, 1}
    assert all(min(abs(value - one) for one in alone) < 1e-9 for value in drawn)
    assert abs(alone[0] - alone[1]) > 1e-3
    stage.objective = replace(stage.objective, classes_per_image=2)
    assert mined(image) == pytest.approx(sum(alone) / 2)


def with_batch_norm(options: Mapping[str, object]) -> Stage:
    objective = changed(EVERYTHING, {"freeze_classifier": False, **options})
    stage = Stage.guidance(made_network(dropout=0.5), TrainingOptions(), objective)
    stage.network.classifier = torch.nn.Sequential(torch.nn.BatchNorm2d(12).double(), stage.network.classifier)
    stage.network.train()
    return stage


def test_masked_images_pass_in_evaluation_mode_unless_told_otherwise():
    """In training mode they would move batch norm's statistics once more for every part, and drop out."""
    batch, moved, mining = made_batch(), {}, {}
    for masked_pass in ("eval", "train"):
        stage = with_batch_norm({"mining.masked_pass": masked_pass, "mining.chunk": 3})
        norm = stage.network.classifier[0]
        torch.manual_seed(0)
        mining[masked_pass] = terms_of(stage, batch)["mining"]
        moved[masked_pass] = int(norm.num_batches_tracked)
        assert all(module.training for module in stage.network.modules())
    pairs = int(batch.labels.sum())
    assert moved == {"eval": 1, "train": 1 + (pairs + 2) // 3}
    assert not torch.allclose(mining["eval"], mining["train"])


def test_modes_come_back_when_the_masked_pass_fails(monkeypatch: pytest.MonkeyPatch):
    stage = with_batch_norm({})
    stage.network.classifier.eval()
    monkeypatch.setattr("wheretolook.losses.mining.mining_loss", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stage.terms(made_batch())
    assert stage.network.trunk.training
    assert not any(module.training for module in stage.network.classifier.modules())


def test_half_precision_finds_nearly_the_same():
    stage = Stage.guidance(made_network().float(), TrainingOptions(), EVERYTHING)
    batch = made_batch()
    batch = batch._replace(images=batch.images.float())
    full = terms_of(stage, batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = terms_of(stage, batch)
    torch.testing.assert_close(half, full, rtol=0.03, atol=0.01)  # the losses themselves are in single precision


def test_a_labelled_class_without_a_box_is_not_taught_to_be_nowhere():
    """The dog has a label but no box: its maps take no part, and the cat counts as if it were alone."""
    both = sample("three", (0, 1, 2))
    mask = torch.where(both.mask == 2, VOID, both.mask)
    shown = both._replace(mask=mask, targets=planes(mask, (0, 1, 2)), segmented=False)
    alone = shown._replace(labels=torch.tensor([True, False, True]), targets=planes(mask, (0, 2)))
    for loss, options in (("squared", {"squared.reduction": "sum"}), *((name, {}) for name in COMPARED)):
        stage = stage_with({**weighing(**{loss: 1.0}), **options})
        found, expected = (terms_of(stage, collate([one]))[loss] for one in (shown, alone))
        torch.testing.assert_close(found, expected)


WRONG = [
    ({"mining.weight": -1.0}, r"mining\.weight"),
    ({"segmentation.weight": float("nan")}, r"segmentation\.weight"),
    ({"mining.chunk": 0}, r"mining\.chunk"),
    ({"warmup": 1.5}, "warmup between 0 and 1"),
    ({"off_after": 1.5}, "off_after above 0, no less than warmup"),
    ({"off_after": 0.0}, "off_after above 0, no less than warmup"),
    ({"off_after": 0.3, "warmup": 0.5}, r"no less than warmup \(0\.5\) and at most 1, a share of the steps, got 0\.3"),
    ({"layer_consistency.threshold": 2.0}, r"layer_consistency\.threshold between 0 and 1"),
    ({"mining.least_score": 60.0}, r"mining\.least_score between 0 and 1, a probability, got 60"),
    ({"res.blur": -1.0}, r"res\.blur of at least 0, got -1\.0"),
    ({"separability.threshold": float("nan")}, r"separability\.threshold between 0 and 1"),
    ({"attention_distillation.least_inside": 1.1}, r"least_inside between 0 and 1"),
    ({"robust_gradients.epsilon": 0.0}, r"robust_gradients\.epsilon above 0"),
    ({"robust_gradients.samples": 0, "robust_gradients.ascent": 0}, "weigh input_gradients for no change"),
    ({"softmax_energy.temperature": 0.0}, r"softmax_energy\.temperature above 0"),
    ({"classes_per_image": 0}, "classes_per_image"),
    (weighing(), "weight"),
]


@pytest.mark.parametrize(("options", "named"), WRONG)
def test_an_objective_that_cannot_work_is_refused(options: dict[str, object], named: str):
    with pytest.raises(ConfigError, match=named):
        stage_with(options)


def test_mining_gradients_travel_at_the_trainers_scale():
    """In half precision the trainer scales its losses; what is differentiated ahead of it must be scaled alike."""
    stage = stage_with()
    assert stage.loss_scale() == 1.0
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    for plugin, scale in ((SimpleNamespace(scaler=scaler), 1024.0), (SimpleNamespace(scaler=None), 1.0)):
        stage._trainer = SimpleNamespace(precision_plugin=plugin)
        assert stage.loss_scale() == scale


@pytest.mark.parametrize("loss", ["mining", *COMPARED, *OTHERS, *GRADIENTS])
def test_a_batch_without_any_class_leaves_a_loss_of_zero_that_can_be_differentiated(loss: str):
    stage = stage_with({**weighing(**{loss: 1.0}), "freeze_classifier": False, "channel_weights": "second_order"})
    total, _ = stage.terms(collate([sample("bare", ()), sample("empty", ())]))
    total.backward()
    assert total == 0
    reached = [weight for part in ("trunk", "classifier") for weight in stage.network.part(part)[0].parameters()]
    assert all(weight.grad is not None and not weight.grad.any() for weight in reached)
