"""Every pair before and after, and which of them a page shows: against a second way of choosing."""

import math
import random
from pathlib import Path

import pytest
import torch

from wheretolook.errors import DataError
from wheretolook.evaluation.explain import explain
from wheretolook.evaluation.pairs import PairFigures, measure_pairs
from wheretolook.files import write_json
from wheretolook.report import changes as module
from wheretolook.report.changes import Change, Telling, answers, changes, gain_of
from wheretolook.report.gallery import SLIDES, drawn, read_gallery, tone_of, write_gallery
from wheretolook.report.panels import Comparison

from ..training.made import NAMES, floats, made_batch, made_network
from .seen import explanation


def pair(energy: float = 0.5, name: str = "a", **known: object) -> PairFigures:
    fields = dict.fromkeys(PairFigures._fields, 0.25) | {"name": name, "class_index": 1, "class_name": "cow"}
    fields |= {"group": "", "right": True, "predicted": "cow", "empty": False, "energy": energy}
    return PairFigures(**{**fields, **known})


def change(before: float, after: float, name: str = "a", **known: torch.Tensor) -> Change:
    shown = Comparison(explanation(name, energy=before, **known), explanation(name, energy=after, **known))
    return Change(shown, pair(before, name), pair(after, name))


def test_one_pass_gives_what_the_two_networks_give_by_themselves():
    networks = [made_network(seed=seed).float() for seed in (1, 2)]
    batches = [floats(made_batch()), floats(made_batch())]
    for only in (True, False):
        found = list(changes(*networks, (batches, batches), only_annotated=only))
        for side, network in zip(("before", "after"), networks, strict=True):
            pairs = [one for one in measure_pairs(network, batches) if one.annotated or not only]
            assert [repr(getattr(one, side)) for one in found] == [repr(one) for one in pairs]
            for one, other in zip(found, explain(network, batches, only_annotated=only), strict=True):
                shown = getattr(one.comparison, side)
                assert (shown.name, shown.class_index) == (other.name, other.class_index)
                assert torch.equal(shown.attention, other.attention)
                assert repr(shown.energy_inside) == repr(other.energy_inside)


def test_where_nobody_said_where_the_object_is_the_probability_tells():
    assert gain_of(pair(0.25), pair(0.75)) == 0.5
    unknown = {"energy": math.nan}
    assert gain_of(pair(**unknown, probability=0.25), pair(**unknown, probability=0.125)) == -0.125
    assert answers(pair(right=True), pair(right=True)) == "right"
    assert answers(pair(right=True), pair(right=False)) == "right \N{RIGHTWARDS ARROW} wrong"
    assert [tone_of(gain) for gain in (0.1, -0.1, 0.001, math.nan)] == ["good", "bad", "unclear", "unclear"]


def test_the_largest_gains_and_losses_come_in_turn_and_the_lottery_after_them(monkeypatch: pytest.MonkeyPatch):
    for name, most in (("GAINS", 5), ("LOSSES", 3), ("AT_RANDOM", 4)):
        monkeypatch.setattr(module, name, most)
    source = random.Random(4)
    values = [source.randint(-30, 30) / 40 for _ in range(80)]  # some of them equal
    stream = [change(0.5, 0.5 + value / 2, str(number)) for number, value in enumerate(values)]
    telling = Telling(seed=3)
    assert list(telling.passing(stream)) == stream
    assert [one.name for one in telling.before] == [str(number) for number in range(80)]
    assert [one.energy for one in telling.after] == [0.5 + value / 2 for value in values]
    order = sorted(range(80), key=lambda number: (-values[number], number))
    gains = [number for number in order if values[number] > 0][:5]
    losses = sorted((number for number in order if values[number] < 0), key=lambda number: (values[number], number))
    turns = [gains[0], losses[0], gains[1], losses[1], gains[2], losses[2], gains[3], gains[4]]
    lottery = random.Random(3)
    drawn_numbers = [lottery.random() for _ in values]
    chance = sorted(range(80), key=lambda number: -drawn_numbers[number])[:4]
    expected = [*turns, *(number for number in chance if number not in turns)]
    assert [one.before.name for one in telling.chosen()] == [str(number) for number in expected]


def test_a_gallery_is_of_sixteen_gains_sixteen_losses_and_up_to_eight_others():
    telling = Telling(seed=1)
    list(telling.passing(change(0.5, 0.5 + number / 1000, str(number)) for number in range(-200, 201)))
    gains = [round(1000 * one.gain) for one in telling.chosen()]
    turns = [value for number in range(200, 184, -1) for value in (number, -number)]
    lottery = random.Random(1)
    drawn_numbers = [lottery.random() for _ in range(401)]
    lucky = sorted(range(401), key=lambda number: -drawn_numbers[number])[:8]
    assert gains == [*turns, *(number - 200 for number in lucky if abs(number - 200) <= 184)]


def test_what_is_kept_is_no_larger_than_pictures_and_leaves_its_batch():
    images = torch.rand(2, 3, 600, 960)
    telling = Telling()
    known = {"image": images[0], "truth": torch.ones(600, 960, dtype=torch.long), "attention": torch.rand(600, 960)}
    list(telling.passing([change(0.1, 0.9, **known)]))
    (kept,) = telling.chosen()
    assert kept.comparison.before.image.shape == (3, 300, 480) and kept.comparison.after.attention.shape == (300, 480)
    assert kept.comparison.before.image is kept.comparison.after.image
    assert kept.comparison.before.image.untyped_storage().nbytes() == 4 * 3 * 300 * 480
    assert set(kept.comparison.before.truth.unique().tolist()) == {1}
    assert kept.comparison.after.energy_inside == 0.9


def test_a_gallery_can_be_read_again(tmp_path: Path):
    segmented = {"prediction": torch.full((24, 32), 2)}
    found = [change(0.25, 0.75, "a & <b>", **segmented), change(0.5, 0.25, "b", **segmented), change(0.5, 0.5, "c")]
    write_gallery(tmp_path / "gallery.json", found, ["boat", "cow", "sheep"], 9)
    assert read_gallery(tmp_path / "gallery.json") == drawn(found, ["boat", "cow", "sheep"], 9)
    gallery, slider = read_gallery(tmp_path / "gallery.json")
    assert [card.gain for card in gallery.cards] == [50.0, -25.0, 0.0]
    assert [card.tone for card in gallery.cards] == ["good", "bad", "unclear"]
    captions = [picture.caption for picture in gallery.cards[0].pictures]
    assert captions == [
        *("image", "truth", "segmentation before", "segmentation after"),
        *("attention before: 25 % on the object", "attention after: 75 % on the object"),
    ]
    assert [picture.caption for picture in gallery.cards[2].pictures][:3] == [
        *("image", "truth", "attention before: 50 % on the object")
    ]
    assert gallery.legend == [("cow", "#d36400")] and gallery.total == 9
    assert len(slider.slides) == 3 <= SLIDES and slider.slides[0].before.size == (480, 360)
    assert {picture.size for picture in gallery.cards[0].pictures} == {(224, 168)}


def test_without_annotation_there_is_no_truth_and_no_segmentation():
    shown = {"truth": torch.full((24, 32), 255), "target": torch.full((24, 32), 255, dtype=torch.uint8)}
    blind = Comparison(explanation(energy=math.nan, **shown), explanation(energy=math.nan, **shown))
    unknown = [Change(blind, pair(math.nan, probability=0.25), pair(math.nan, probability=0.5))]
    gallery, _ = drawn(unknown, NAMES, 1)
    (card,) = gallery.cards
    assert [picture.caption for picture in card.pictures] == ["image", "attention before", "attention after"]
    assert card.gain == 25.0 and [name for name, _ in card.facts] == ["probability", "answer"]
    assert gallery.gain_name == "rise of the class's probability" and gallery.legend == []


def test_empty_maps_are_drawn_and_named():
    empty = {"attention": torch.zeros(24, 32)}
    gallery, _ = drawn([change(0.0, 0.0, **empty)], ["boat", "cow", "sheep"], 1)
    assert [picture.caption for picture in gallery.cards[0].pictures][-2:] == [
        *("attention before: empty", "attention after: empty")
    ]


@pytest.mark.parametrize(
    "content",
    [
        *([], {}, {"gallery": 3, "slider": {}}, {"gallery": {"cards": []}, "slider": {"slides": []}}),
        {"gallery": {"title": "a", "cards": [{"title": "b"}], "legend": []}, "slider": {"title": "", "slides": []}},
        {
            "gallery": {"title": "a", "cards": [], "legend": [["b", "red; position: fixed"]]},
            "slider": {"title": "", "slides": []},
        },
    ],
)
def test_another_file_is_no_gallery(tmp_path: Path, content: object):
    write_json(tmp_path / "gallery.json", content)
    with pytest.raises(DataError, match=r"gallery\.json: expected the pictures of a run"):
        read_gallery(tmp_path / "gallery.json")
