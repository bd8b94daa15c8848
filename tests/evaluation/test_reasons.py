"""Why an image is suggested, in words, and where a map is largest, on planted looks."""

import math

import pytest
import torch

from wheretolook.evaluation.suggest import Looks, _distances, _diverse, _peaks, _reason, recurrence

NAMED = {
    ("top", "left"): "at the top left",
    ("top", "middle"): "at the top",
    ("top", "right"): "at the top right",
    ("middle", "left"): "at the left",
    ("middle", "middle"): "in the middle",
    ("middle", "right"): "at the right",
    ("bottom", "left"): "at the bottom left",
    ("bottom", "middle"): "at the bottom",
    ("bottom", "right"): "at the bottom right",
}
DOWN = {"top": (0.0, 0.33), "middle": (0.34, 0.66), "bottom": (0.67, 0.999)}
ACROSS = {"left": (0.0, 0.33), "middle": (0.34, 0.66), "right": (0.67, 0.999)}


def looks(place: tuple[float, float], beside: float = 0.75) -> Looks:
    """Two rows; the second is that which is spoken of."""
    other = torch.tensor([[0.5, 0.5], place])
    empty = torch.zeros(2, 1)
    return Looks(
        torch.arange(2),
        torch.zeros(2).long(),
        torch.tensor([0.1, 0.875]),
        torch.tensor([0.1, beside]),
        other,
        empty,
        empty,
    )


@pytest.mark.parametrize(("down", "across"), NAMED)
def test_every_ninth_of_the_image_has_its_words(down: str, across: str):
    for place in zip(DOWN[down], ACROSS[across], strict=True):
        said = _reason("confident_elsewhere", looks(place), 1, "cat", 0.5)
        assert said == f"88 % sure of cat; 75 % of its attention is beside the object, most {NAMED[down, across]}"


def test_without_masks_it_is_what_recurs_and_an_empty_map_is_said_to_be_one():
    said = _reason("confident_elsewhere", looks((0.9, 0.1), math.nan), 1, "cat", 0.5)
    assert said == "88 % sure of cat; what it attends to, at the bottom left, recurs in other images of cat"
    for beside in (math.nan, 0.75):
        said = _reason("confident_elsewhere", looks((math.nan, math.nan), beside), 1, "cat", 0.5)
        assert said == "88 % sure of cat, with an empty map"


def test_the_most_typical_image_and_those_unlike_it():
    assert _reason("diverse", looks((0, 0)), 1, "cat", 1.0) == "the most typical image of cat"
    said = _reason("diverse", looks((0, 0)), 1, "cat", 0.256)
    assert said == "unlike the images of cat that are annotated or listed before (distance 0.26 of 1)"
    assert _reason("random", looks((0, 0)), 1, "cat", 0.0) == "drawn at random of the images of cat"


def test_a_maps_largest_pixel_is_told_in_shares_of_its_sides():
    maps = torch.zeros(3, 4, 6)
    maps[0, 1, 5], maps[0, 3, 0], maps[2, 2, 0] = 2.0, 1.0, 1e-20
    found = _peaks(maps)
    assert found[0].tolist() == pytest.approx([1 / 4, 5 / 6]) and found[2].tolist() == pytest.approx([2 / 4, 0])
    assert found[1].isnan().all()
    assert _peaks(maps[:0]).shape == (0, 2)


def test_distances_are_none_to_a_twin_half_to_what_has_nothing_in_common_and_one_to_the_opposite():
    units = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0.6, 0.8]])
    every = torch.arange(4)
    assert _distances(units, every, every[:1]).tolist() == pytest.approx([0, 0.5, 1, 0.2])
    assert _distances(units, every, every[:2]).tolist() == pytest.approx([0, 0, 0.5, 0.1])  # to the nearest
    assert _distances(units, every, every[:0]).tolist() == [1, 1, 1, 1]


def test_a_diverse_images_score_is_its_distance():
    seen = looks((0, 0))._replace(pooled=torch.tensor([[3.0, 1.0], [1.0, 3.0]]))  # opposite, once their mean is gone
    assert _diverse(seen, 0)(torch.tensor([1]), torch.tensor([0])) == (1, pytest.approx(1.0))


def test_of_two_images_of_a_class_each_recurs_in_the_other():
    attended = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-4.0, -4.0]])
    seen = Looks(*(torch.zeros(4),) * 5, attended, attended)
    seen = seen._replace(images=torch.arange(4), classes=torch.tensor([0, 0, 1, 1]))
    alike = attended - attended.mean(dim=0)
    expected = [max(0.0, float(torch.cosine_similarity(alike[a], alike[b], dim=0))) for a, b in ((0, 1), (2, 3))]
    assert recurrence(seen).tolist() == pytest.approx([expected[0]] * 2 + [expected[1]] * 2)
    assert expected[0] > 0.9
