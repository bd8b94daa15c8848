"""Which field reaches which figure: outputs and batches made by hand, so that each figure has its own value."""

import math

import pytest
import torch
from torch import nn

from wheretolook.evaluation.evaluate import Evaluator
from wheretolook.evaluation.explain import explain
from wheretolook.metrics import AttentionMetric, grid_ceiling
from wheretolook.metrics.figures import FIGURES
from wheretolook.records import VOID, Batch, GuidedNetwork, GuidedOutput, Preprocessing, Sample, collate


def sample(plane: torch.Tensor, label: int = 0, classes: int = 3, **facts: object) -> Sample:
    """An image of one class, whose plane says where it is."""
    labels = torch.zeros(classes, dtype=torch.bool)
    labels[label] = True
    mask = torch.where(plane == 1, 1 + label, plane.long())
    facts = {"segmented": True, "name": "a", **facts}
    return Sample(torch.zeros(3, *plane.shape), mask, labels, plane[None].to(torch.uint8), **facts)


def seen(maps: torch.Tensor, scores: torch.Tensor, segmentation: torch.Tensor | None = None) -> GuidedOutput:
    """What a network gives that sees these maps, "batch h w", whatever the class."""
    features = maps[:, None].clone().requires_grad_()
    linked = scores + (features - features.detach()).sum(dim=(1, 2, 3))[:, None]  # a gradient of 1, a value of 0
    return GuidedOutput(linked, features, segmentation)


def measured(output: GuidedOutput, batch: Batch) -> dict[str, object]:
    evaluator = Evaluator(batch.labels.shape[1])
    evaluator.update(output, batch)
    return evaluator.compute()


def corner(height: int, width: int, size: tuple[int, int] = (12, 12)) -> torch.Tensor:
    plane = torch.zeros(size)
    plane[:height, :width] = 1
    return plane


def test_the_ceiling_is_the_best_iou_of_a_perfect_map_on_the_grid():
    """At the threshold that serves it best, as the IoU beside it; at 20 % of the maximum it would be another."""
    planes = [corner(5, 7), corner(3, 10)]
    batch = collate([sample(plane) for plane in planes])
    found = measured(seen(torch.rand(2, 3, 3), torch.zeros(2, 3)), batch)
    target = torch.stack(planes) == 1
    perfect = grid_ceiling(target, (3, 3))
    curve = []
    for step in range(1, 101):
        above = perfect >= step / 100 * perfect.amax(dim=(1, 2), keepdim=True)
        both, either = (above & target).sum(dim=(1, 2)), (above | target).sum(dim=(1, 2))
        curve.append((both / either).mean().item())
    assert found["attention_iou_ceiling"] == pytest.approx(max(curve))
    assert curve[19] < max(curve) - 0.05
    assert found["attention_iou"] != pytest.approx(max(curve), abs=0.05)


def test_iou_at_20_percent_counts_what_reaches_a_fifth_of_the_maximum():
    """Pixels at 20.5 % count and those at 19.5 % do not; the object is the first three of four."""
    plane = torch.tensor([[1.0, 1, 1, 0]])
    maps = torch.tensor([[[1000.0, 205, 195, 195]]])
    found = measured(seen(maps, torch.zeros(1, 3)), collate([sample(plane)]))
    assert found["attention_iou_20"] == pytest.approx(2 / 3)
    exactly = torch.tensor([[[1.0, 0.2, 0.1, 0.1]]])
    assert measured(seen(exactly, torch.zeros(1, 3)), collate([sample(plane)]))["attention_iou_20"] == pytest.approx(
        2 / 3
    )


def test_groups_and_classes_reach_their_accuracies():
    """Of four images three are right: sea 1 of 1, land 1 of 2, none of the group 1 of 1; classes 1/1, 1/2, 1/1."""
    facts = [("sea", 0), ("land", 1), ("land", 1), ("", 2)]
    batch = collate([sample(corner(2, 2), label, group=group) for group, label in facts])
    scores = torch.eye(3)[[0, 1, 2, 2]] - 5
    found = measured(seen(torch.rand(4, 2, 2), scores), batch)
    accuracies = {key: found[key] for key in ("image_accuracy", "worst_class_accuracy", "worst_group_accuracy")}
    assert list(accuracies.values()) == [0.75, 0.5, 0.5]
    assert found["accuracy_per_class"] == [1.0, 0.5, 1.0]
    assert found["accuracy_per_group"] == {"land": 0.5, "sea": 1.0}
    assert found["f1"] == 0  # every score is below 0
    exclusive = measured(seen(torch.rand(4, 2, 2), scores), batch._replace(exclusive=True))
    assert exclusive["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_each_figure_of_attention_is_its_own():
    """A map of 4 cells of which the object is 2: shares by hand, all different."""
    plane = torch.tensor([[1.0, 1, 0, 0, 0, 0, 0, 0, VOID, VOID]])
    maps = torch.tensor([[[2.0, 0, 3, 0, 0, 0, 0, 0, 9, 9]]])
    found = measured(seen(maps, torch.zeros(1, 3)), collate([sample(plane)]))
    assert found["energy_pointing"] == pytest.approx(0.4)
    assert found["energy_pointing_over_chance"] == pytest.approx(0.4 / 0.25)
    assert found["pointing_game"] == 0 and found["empty_maps"] == 0 and found["pairs"] == 1
    assert found["attention_iou_20"] == pytest.approx(1 / 3) == found["attention_iou"]


@pytest.mark.parametrize("exact", [0, 1])
def test_what_is_measured_of_the_segmentation_is_the_largest_score_of_images_with_exact_masks(exact: int):
    planes = torch.stack([corner(6, 12), corner(12, 6)])
    batch = collate([sample(plane, segmented=image == exact) for image, plane in enumerate(planes)])
    answer = torch.nn.functional.one_hot(planes.long(), 4).permute(0, 3, 1, 2).float()
    answer[1 - exact] = answer[1 - exact].flip(0)  # wrong everywhere, and not to be counted
    found = measured(seen(torch.rand(2, 3, 3), torch.zeros(2, 3), answer), batch)
    assert (found["accuracy"], found["masks"], found["images"]) == (1.0, 1, 2)
    assert found["iu_per_class"] == pytest.approx([1.0, 1.0, math.nan, math.nan], nan_ok=True)


def test_a_figure_that_nobody_can_measure_leaves_the_others_alone():
    """Nothing is annotated and nothing segments: NaN there, and figures of classification all the same."""
    plane = torch.full((4, 4), VOID)
    batch = collate([sample(plane, 0, segmented=False), sample(plane, 1, segmented=False)])
    found = measured(seen(torch.rand(2, 2, 2), torch.tensor([[1.0, 0, 0], [0, 1, 0]])), batch)
    for key, figure in FIGURES.items():
        missing = (figure.family in ("segmentation", "attention") and key != "pairs") or key == "worst_group_accuracy"
        assert math.isnan(found[key]) == missing, key
    assert (found["image_accuracy"], found["mean_average_precision"], found["pairs"], found["masks"]) == (1, 1, 0, 0)


class Looking(GuidedNetwork):
    """Its map is the image's red channel, whatever the class; its scores' gradient at it is 1."""

    class_names = ("a", "b", "c")
    preprocessing = Preprocessing(mean=(0.0, 0.0, 0.0))

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor, *, segment: bool = True) -> GuidedOutput:
        with torch.inference_mode(False), torch.enable_grad():
            features = images[:, :1].clone() * self.scale
            return GuidedOutput(features.sum(dim=(2, 3)).expand(-1, 3), features)


def test_each_explanation_has_the_image_the_map_and_the_plane_of_its_pair():
    planes = [corner(1, 2, (2, 4)), corner(2, 1, (2, 4))]
    samples = []
    for index, plane in enumerate(planes):
        image = torch.rand(3, 2, 4)
        samples.append(sample(plane, index, name=f"{index}.png")._replace(image=image))
    found = list(explain(Looking(), [collate(samples)]))
    assert [(one.name, one.class_index) for one in found] == [("0.png", 0), ("1.png", 1)]
    for one, expected, plane in zip(found, samples, planes, strict=True):
        torch.testing.assert_close(one.image, expected.image)
        torch.testing.assert_close(one.attention, expected.image[0])
        torch.testing.assert_close(one.target, plane.to(torch.uint8))
        torch.testing.assert_close(one.truth, expected.mask)
        red = expected.image[0]
        assert one.energy_inside == pytest.approx((red * plane).sum().item() / red.sum().item())
        assert one.prediction is None


def test_classes_that_nothing_shows_are_explained_when_asked_for():
    nothing = torch.full((2, 4), VOID)
    samples = [
        sample(nothing, 2, name="0")._replace(image=torch.rand(3, 2, 4)),
        sample(corner(1, 1, (2, 4)), 1, name="1"),
    ]
    batches = [collate(samples)]
    assert [one.name for one in explain(Looking(), batches)] == ["1"]
    everything = list(explain(Looking(), batches, only_annotated=False))
    assert [(one.name, one.class_index) for one in everything] == [("0", 2), ("1", 1)]
    assert [math.isnan(one.energy_inside) for one in everything] == [True, False]
    torch.testing.assert_close(everything[0].attention, samples[0].image[0])


def test_pairs_that_nothing_shows_do_not_count():
    """In figures and in the ceiling alike."""
    shown, hidden = sample(corner(3, 4)), sample(torch.full((12, 12), VOID), 1, segmented=False)
    maps = torch.rand(2, 3, 3)
    both = measured(seen(maps, torch.zeros(2, 3)), collate([shown, hidden]))
    alone = measured(seen(maps[:1], torch.zeros(1, 3)), collate([shown]))
    keys = [key for key, figure in FIGURES.items() if figure.family == "attention"] + ["pairs"]
    assert {key: both[key] for key in keys} == pytest.approx({key: alone[key] for key in keys}, nan_ok=True)


def test_the_metric_of_pairs_and_the_evaluator_agree_on_void():
    """Where a plane says nothing, neither energy nor maximum is looked at."""
    plane = corner(4, 6)
    plane[:, 9:] = VOID
    maps = torch.rand(1, 12, 12)
    maps[..., 9:] = 50
    found = measured(seen(maps, torch.zeros(1, 3)), collate([sample(plane)]))
    metric = AttentionMetric()
    metric.update(maps[..., :9], plane[None, :, :9] == 1, torch.ones(1, 12, 9, dtype=torch.bool))
    expected = metric.compute()
    assert found["energy_pointing"] == pytest.approx(expected.energy_pointing)
    assert found["attention_iou"] == pytest.approx(expected.attention_iou)
    assert found["pointing_game"] == expected.pointing_game
