"""Audits of networks of which it is known how they recognise their classes: they must be told apart."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from wheretolook.evaluation.audit import Audit, audit
from wheretolook.evaluation.evaluate import evaluate
from wheretolook.evaluation.intervals import Interval
from wheretolook.evaluation.judged import Evidence, judged
from wheretolook.evaluation.pairs import measure_pairs
from wheretolook.options.audit import RuleOptions
from wheretolook.records import collate

from ..training.made import ConstantNetwork, floats, made_batch, made_network, made_samples
from .faint_squares import Squares, trained
from .test_exchange import SCENES, Scenes

RULE = RuleOptions()


@pytest.fixture(scope="module")
def found() -> dict[str, Audit]:
    """Audits on images as each network has learned them, none of which it has seen."""
    audits = {}
    for name, framed in (("shortcut", True), ("honest", False)):
        shown = Squares(90, framed=framed, seed=1)
        audits[name] = audit(trained(Squares(144, framed=framed, seed=0)), shown, shown.batches())
    shown = Squares(90, framed=True, seed=1)
    audits["untrained"] = audit(trained(None), shown, shown.batches())
    return audits


def test_a_network_that_reads_the_frame_is_found_out(found: dict[str, Audit]):
    audited = found["shortcut"]
    assert audited.figures["image_accuracy"] > 0.95  # nothing seems to be wrong with it
    for one in audited.classes:
        assert one.verdict.word == "shortcut", one.verdict
        assert one.evidence.fall.value > 0.5 and one.evidence.rates["object_erased"] > 0.9
        assert one.evidence.follows > 0.8 and one.evidence.border.low > 1.5
        assert one.places.over_chance > 1.5 and one.contexts[0].share > 0.3
    assert len(audited.wrong_reasons(RULE)) > 45


def test_a_network_that_learned_the_same_squares_without_frames_is_fine(found: dict[str, Audit]):
    audited = found["honest"]
    assert [one.verdict.word for one in audited.classes] == ["fine"] * 3, [one.verdict for one in audited.classes]
    assert len(audited.wrong_reasons(RULE)) < 5


def test_right_for_the_wrong_reason_is_off_the_object_or_betrayed_by_what_was_tried(found: dict[str, Audit]):
    audited = found["shortcut"]
    listed = [(pair.name, pair.class_index) for pair in audited.wrong_reasons(replace(RULE, off_object=0.0))]
    tried = {(trial.name, trial.class_index): trial.right for trial in audited.trials}
    assert len(listed) > 45 and len(set(listed)) == len(listed)
    for pair in audited.pairs:
        right = tried[pair.name, pair.class_index]
        betrayed = pair.right and right["object_erased"] and not right["other_background"]
        assert ((pair.name, pair.class_index) in listed) == betrayed or pair.energy == 0
    bare = replace(audited, trials=[])
    off = bare.wrong_reasons(RULE)
    assert off == sorted(off, key=lambda pair: (pair.energy / pair.chance, -pair.probability)) and off
    assert {pair.name for pair in off} == {
        pair.name for pair in audited.pairs if pair.right and pair.energy <= pair.chance and not pair.empty
    }


def test_a_network_that_learned_nothing_is_not_called_fine(found: dict[str, Audit]):
    assert not {one.verdict.word for one in found["untrained"].classes} & {"fine", "shortcut"}


def test_what_nobody_annotated_is_too_little_to_say_but_for_the_border():
    network = trained(Squares(144, framed=True, seed=0))
    shown = Squares(60, framed=True, seed=1, annotated=False)
    audited = audit(network, shown, shown.batches())
    assert not audited.trials and math.isnan(audited.figures["energy_pointing"])
    for one in audited.classes:
        assert one.verdict.word == "suspicious" and "border" in one.verdict.reason
    few = Squares(12, framed=True, seed=2)
    assert {one.verdict.word for one in audit(network, few, few.batches()).classes} == {"too few to say"}


def test_its_figures_and_pairs_are_those_of_evaluate_and_measure_pairs():
    network, batches = made_network().float(), [floats(made_batch())]
    samples = [one._replace(image=one.image.float()) for one in made_samples()]
    audited = audit(network, Scenes(*samples), batches)
    single = {key: value for key, value in audited.figures.items() if "_per_" not in key}
    expected = evaluate(network, batches)
    assert single == pytest.approx({key: expected[key] for key in single}, nan_ok=True)
    assert str(audited.pairs) == str(measure_pairs(network, batches))  # as text NaN equals NaN
    assert {(trial.name, trial.class_index) for trial in audited.trials} == {
        (pair.name, pair.class_index) for pair in audited.pairs if pair.annotated
    }


def test_groups_have_means_of_their_own(found: dict[str, Audit]):
    audited = found["honest"]
    assert [group.name for group in audited.groups] == ["even", "odd"]
    for group in audited.groups:
        pairs = [pair for pair in audited.pairs if pair.group == group.name]
        assert (group.pairs, group.energy) == (45, pytest.approx(fmean(pair.energy for pair in pairs)))
        assert group.right == fmean(pair.right for pair in pairs)


def test_how_often_a_class_is_seen_where_it_is_not_is_counted():
    """A network that always says the first class recognises all of it and means nothing by it."""

    class Always(ConstantNetwork):
        def forward(self, images: torch.Tensor, *, segment: bool = True) -> object:
            output = super().forward(images, segment=False)
            with torch.inference_mode(False), torch.enable_grad():
                scores = 0 * output.class_scores + torch.tensor([1.0, 0.0, 0.0])
            return output._replace(class_scores=scores)

    audited = audit(Always(), SCENES, [collate(list(SCENES.samples))])
    first, second = audited.classes
    assert (first.evidence.recognised.value, first.evidence.mistaken) == (1, 1)
    assert (second.evidence.recognised.value, second.evidence.mistaken) == (0, 0)
    assert judged(replace(first.evidence, tried=20, annotated=20), RULE).word == "suspicious"


def test_no_more_than_so_many_images_of_a_class_are_changed():
    shown = Squares(30, framed=False, seed=1)
    audited = audit(trained(None), shown, shown.batches(), limit=3)
    assert len(audited.trials) == 9 and [one.evidence.tried for one in audited.classes] == [3] * 3


FINE = Evidence(
    images=40,
    annotated=40,
    tried=40,
    recognised=Interval(0.9, 0.8, 0.95),
    mistaken=0.02,
    rates={"own_background": 0.88, "other_background": 0.86, "object_erased": 0.2},
    fall=Interval(0.02, -0.08, 0.12),
    follows=0.01,
    focus=Interval(0.5, 0.4, 0.6),
    energy=0.4,
    chance=0.2,
    ceiling=0.6,
    border=Interval(0.8, 0.7, 0.9),
)
SURE, UNSURE, AWAY = Interval(0.5, 0.4, 0.6), Interval(0.3, 0.02, 0.58), Interval(0.05, -0.05, 0.15)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "fine"),
        ({"fall": SURE, "focus": AWAY}, "shortcut"),
        ({"fall": SURE}, "shortcut"),  # a cell on the object may have seen all of the image
        ({"fall": Interval(0.2, 0.1, 0.3)}, "suspicious"),
        ({"focus": AWAY}, "suspicious"),
        ({"fall": UNSURE, "focus": AWAY}, "suspicious"),
        ({"fall": UNSURE}, "too few to say"),
        ({"recognised": Interval(0.1, 0.01, 0.3)}, "suspicious"),
        ({"rates": {**FINE.rates, "own_background": 0.01}}, "too few to say"),
        # one of eight: with so little to lose, that little is lost says nothing
        ({"rates": {**FINE.rates, "own_background": 0.125}, "tried": 8, "mistaken": 0.06}, "too few to say"),
        ({"focus": Interval(0.3, -0.1, 0.7)}, "too few to say"),
        ({"fall": SURE, "focus": AWAY, "tried": 7}, "too few to say"),
        ({"annotated": 0, "tried": 0, "border": Interval(2.0, 1.8, 2.2)}, "suspicious"),
    ],
)
def test_the_rule(changes: dict[str, object], word: str):
    verdict = judged(replace(FINE, **changes), RULE)
    assert verdict.word == word and verdict.reason.endswith(".")


def test_every_threshold_of_the_rule_matters():
    assert judged(FINE, replace(RULE, least_images=41)).word == "too few to say"
    assert judged(FINE, replace(RULE, least_focus=0.7)).word == "suspicious"
    assert judged(FINE, replace(RULE, large_fall=0.1)).word == "too few to say"
    lost = replace(FINE, fall=Interval(0.5, 0.3, 0.7))
    assert judged(lost, RULE).word == "shortcut"
    assert judged(lost, replace(RULE, large_fall=0.4)).word == "suspicious"
    assert judged(lost, replace(RULE, large_fall=0.4, small_fall=0.35)).word == "too few to say"
    bare = replace(FINE, annotated=0, border=Interval(2.0, 1.8, 2.2))
    assert judged(bare, replace(RULE, border_over_chance=2.0)).word == "too few to say"
