"""Figures of networks whose answers are known, and explanations one by one."""

import math

import pytest
import torch

from wheretolook.evaluation.evaluate import Evaluator, evaluate
from wheretolook.evaluation.explain import explain
from wheretolook.options.objective import ObjectiveOptions
from wheretolook.records import VOID, Batch, Sample, collate

from ..training.made import NAMES, ConstantNetwork, floats, made_network, made_samples, planes, sample
from ..training.reference import attention, stretched

DEFAULTS = ObjectiveOptions()


def drawn(
    rows: list[str], segmentation: list[str] | None = None, seen: list[str] | None = None, **facts: bool
) -> Sample:
    """A scene of letters: `.` background, `A`, `B`, `C` the classes, `?` void; by default both answers are perfect."""

    def values(lines: list[str]) -> torch.Tensor:
        return torch.tensor([[".ABC".find(letter) if letter != "?" else VOID for letter in line] for line in lines])

    mask = values(rows)
    red, green = (values(rows if lines is None else lines) % VOID for lines in (segmentation, seen))
    labels = torch.tensor([bool((mask == 1 + index).any()) for index in range(3)])
    image = torch.stack([red / 10, green / 10, torch.zeros_like(red) / 1])
    facts = {"annotated": True, "segmented": True, **facts}
    classes = tuple(labels.nonzero().flatten().tolist())
    shown = planes(mask if facts["annotated"] else torch.full_like(mask, 255), classes)
    return Sample(image.float(), mask, labels, shown, facts["segmented"], "".join(rows))


def figures(*samples: Sample) -> dict[str, object]:
    return evaluate(ConstantNetwork(), [collate([one]) for one in samples])


def test_perfect_answers_have_perfect_figures():
    """Sizes differ; void pixels are answered wrongly; every class is there."""
    found = figures(drawn(["AA??", "AA..", "...."]), drawn(["BBC", "BB."]), drawn(["..", ".."]))
    chances = [4 / 10, 4 / 6, 1 / 6]
    ones = (
        "accuracy",
        "accuracy_class",
        "mean_iu",
        "fwavacc",
        "mean_average_precision",
        "f1",
        "energy_pointing",
        "attention_iou",
    )
    assert {name: found.pop(name) for name in ones} == pytest.approx(dict.fromkeys(ones, 1.0))
    assert found.pop("iu_per_class") == pytest.approx([1.0] * 4)
    assert found.pop("energy_pointing_over_chance") == pytest.approx(3 / sum(chances))
    assert found.pop("average_precision_per_class") == pytest.approx([1.0] * 3)
    unasked = ("deletion", "insertion", "energy_on_mark", "energy_on_mark_over_chance")
    assert all(math.isnan(value) for value in [*map(found.pop, unasked), *found.pop("energy_on_mark_per_class")])
    of_one_class = ("image_accuracy", "worst_class_accuracy", "worst_group_accuracy")
    assert all(math.isnan(value) for value in [*map(found.pop, of_one_class), *found.pop("accuracy_per_class")])
    assert found == {
        **{"attention_iou_20": 1.0, "attention_iou_ceiling": 1.0, "pointing_game": 1.0, "empty_maps": 0.0},
        **{"attention_recall": 1.0, "attention_precision": 1.0},
        **{"images": 3, "masks": 3, "pairs": 3, "accuracy_per_group": {}},
    }


def test_half_right_answers_have_the_figures_that_a_pencil_gives():
    found = figures(
        drawn(["AA..", "AA.."], segmentation=["AAAA", "...."], seen=["A.A.", "...."]),  # half of the map on the object
        drawn(["BB..", "BB.."], segmentation=["BB..", "BB.."], seen=["....", "...."]),  # nothing seen
    )
    # confusion of the first: 2 of 4 background, 2 of 4 A; the second is right: background 6 of 8, A 2 of 4, B 4 of 4
    assert found["accuracy"] == pytest.approx(12 / 16)
    assert found["accuracy_class"] == pytest.approx((6 / 8 + 2 / 4 + 4 / 4) / 3)
    assert found["iu_per_class"] == pytest.approx([6 / 10, 2 / 6, 1.0, math.nan], nan_ok=True)
    assert found["mean_iu"] == pytest.approx((6 / 10 + 2 / 6 + 1) / 3)
    assert found["fwavacc"] == pytest.approx(8 / 16 * 6 / 10 + 4 / 16 * 2 / 6 + 4 / 16)
    assert found["energy_pointing"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["energy_pointing_over_chance"] == pytest.approx((1 / 2 + 0) / (1 / 2 + 1 / 2))
    assert found["attention_iou"] == pytest.approx((1 / 5 + 0) / 2)
    assert found["pointing_game"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["attention_recall"] == pytest.approx((1 / 4 + 0) / 2)
    assert found["attention_precision"] == pytest.approx((1 / 2 + 0) / 2)
    assert (found["empty_maps"], found["images"], found["pairs"]) == (0.5, 2, 2)
    assert found["f1"] == pytest.approx((1 + 0) / 2)  # A is recognised, B is not
    assert found["mean_average_precision"] == pytest.approx((1 + 1 / 2) / 2)  # B's two scores are equal


def test_only_exact_masks_count_for_segmentation_and_only_annotated_images_for_attention():
    right, wrong = ["AA", ".."], ["..", "AA"]
    boxes = drawn(right, segmentation=wrong, segmented=False)
    labels = drawn(right, seen=wrong, annotated=False, segmented=False)
    found = figures(drawn(right), boxes, labels)
    assert (found["mean_iu"], found["energy_pointing"], found["images"], found["pairs"]) == (1.0, 1.0, 3, 2)
    found = figures(labels)
    assert math.isnan(found["mean_iu"]) and math.isnan(found["energy_pointing"])
    assert (found["mean_average_precision"], found["images"], found["pairs"]) == (1.0, 1, 0)


def test_all_that_was_gathered_can_be_forgotten():
    evaluator, network = Evaluator(3), ConstantNetwork()
    for one in (drawn(["AA", ".."], segmentation=["..", ".."], seen=["BB", "BB"]), drawn(["AB", ".."])):
        evaluator.reset()
        batch = collate([one])
        evaluator.update(network(batch.images), batch)
    found = evaluator.compute()
    assert (found["accuracy"], found["energy_pointing"], found["images"], found["pairs"]) == (1.0, 1.0, 1, 2)


def flat(found: dict[str, object]) -> dict[str, object]:
    lists = [key for key in found if key.endswith("per_class")]
    parts = {f"{key} {index}": value for key in lists for index, value in enumerate(found[key])}
    return {**{key: value for key, value in found.items() if "_per_" not in key}, **parts}


def batches(size: int) -> list[Batch]:
    """The made samples, and as many of half their height."""
    samples = [one._replace(image=one.image.float()) for one in made_samples()]
    low = [one._replace(image=one.image[:, :32], mask=one.mask[:32], targets=one.targets[:, :32]) for one in samples]
    groups = (samples, low)
    return [collate(group[start : start + size]) for group in groups for start in range(0, len(group), size)]


def test_batches_of_four_and_of_one_have_the_same_figures():
    network = made_network().float()
    fours, ones = flat(evaluate(network, batches(4))), flat(evaluate(network, batches(1)))
    assert fours == pytest.approx(ones, nan_ok=True, rel=1e-5)
    assert 0 < ones["mean_iu"] < 1 and 0 < ones["energy_pointing"] < 1 and ones["images"] == 12


def test_a_network_is_measured_in_evaluation_mode_and_left_as_it_was():
    """Dropout of nine in ten would show."""
    network = made_network(dropout=0.9).float()
    expected = evaluate(network, batches(3))
    network.train()
    network.segmenter.eval()
    network.trunk.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert flat(evaluate(network, batches(3))) == pytest.approx(flat(expected), nan_ok=True)
    assert list(explain(network, batches(3)))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.classifier.score_cl.weight.requires_grad and not network.trunk.conv1_1.weight.requires_grad


def test_explanations_come_one_for_each_present_pair_in_order():
    samples = made_samples()
    network = made_network()
    found = list(explain(network, [collate(samples[:4]), collate(samples[4:])]))
    pairs = [
        (one, index) for one in samples if (one.targets == 1).any() for index in one.labels.nonzero().flatten().tolist()
    ]
    assert [(e.name, e.class_index) for e in found] == [(one.name, index) for one, index in pairs]
    for explanation, (one, index) in zip(found, pairs, strict=True):
        output = network(network.preprocessing(one.image[None]))
        torch.testing.assert_close(explanation.image, one.image)
        torch.testing.assert_close(explanation.truth, one.mask)
        torch.testing.assert_close(explanation.prediction, output.mask_scores[0].argmax(dim=0))
        small = attention(output, index, DEFAULTS)
        full = stretched(small.relu(), (48, 32), "bilinear").detach()
        torch.testing.assert_close(explanation.attention, full.float())
        valid = explanation.attention[one.mask != VOID]
        inside = explanation.attention[one.mask == 1 + index]
        assert explanation.energy_inside == pytest.approx((inside.sum() / valid.sum()).item())
        assert not explanation.attention.requires_grad


def test_a_labelled_class_that_no_mask_or_box_shows_is_not_explained():
    one = sample("three", (0, 1, 2))
    mask = torch.where(one.mask == 2, VOID, one.mask)
    hidden = one._replace(mask=mask, targets=planes(mask, (0, 1, 2)), segmented=False)
    assert [found.class_index for found in explain(made_network(), [collate([hidden])])] == [0, 2]


def test_explanations_agree_with_the_evaluation():
    network = made_network().float()
    energies = [explanation.energy_inside for explanation in explain(network, batches(4)[:2])]
    assert sum(energies) / len(energies) == pytest.approx(evaluate(network, batches(4)[:2])["energy_pointing"])


def test_an_image_without_classes_has_no_explanation_and_stops_nothing():
    empty = collate([sample("empty", ())])
    assert list(explain(made_network(), [empty])) == []
    assert evaluate(made_network().float(), [floats(empty)])["pairs"] == 0


def test_a_network_that_cannot_segment_is_measured_and_explained():
    class Classifier(ConstantNetwork):
        def forward(self, images: torch.Tensor, *, segment: bool = True) -> object:
            return super().forward(images, segment=False)

    batch = collate([drawn(["AA", ".."])])
    found = evaluate(Classifier(), [batch])
    assert math.isnan(found["mean_iu"]) and found["energy_pointing"] == 1.0
    (explanation,) = explain(Classifier(), [batch])
    assert explanation.prediction is None and NAMES[explanation.class_index] == "disc"
