"""What a repair leaves, key by key, and what its chart and tables say, against two audits made by hand."""

import json
import math
from dataclasses import replace

import pytest

from wheretolook.metrics.figures import FIGURES
from wheretolook.options.audit import RuleOptions
from wheretolook.report.audit import audit_record, percent
from wheretolook.report.components import Chart, Links, Table, Verdict
from wheretolook.report.repair import (
    CHARTED,
    SHADES,
    Audited,
    Done,
    cost,
    repair_answer,
    repair_record,
    repair_sections,
    repair_table,
    repair_tone,
)

from .audited import made_audit, one_class
from .test_audits import parts
from .test_changes import pair

ARROW = " \N{RIGHTWARDS ARROW} "


def audited(first: int, words: dict[str, str], rights: str, **figures: float) -> Audited:
    """An audit whose class shares count on from `first`, and whose pairs are right where there is a one."""
    classes = [one_class(name, word, first + 20 * place) for place, (name, word) in enumerate(words.items())]
    pairs = [pair(0.5, str(number), right=right == "1") for number, right in enumerate(rights)]
    found = replace(made_audit(), classes=classes, pairs=pairs, figures=figures, trials=[])
    return Audited(json.loads(json.dumps(audit_record(found, RuleOptions()))), pairs)


@pytest.fixture
def both() -> tuple[Audited, Audited]:
    before = audited(1, {"cow": "shortcut", "boat": "fine"}, "11110", mean_iu=0.5, energy_pointing=0.25, images=5)
    after = audited(9, {"cow": "suspicious", "boat": "fine"}, "10100", mean_iu=0.375, energy_pointing=0.25, images=7)
    return before, after


def test_the_record_of_a_repair_has_its_words_its_price_and_every_figure_twice(both: tuple[Audited, Audited]) -> None:
    record = json.loads(json.dumps(repair_record(*both, 16)))
    assert list(record) == ["answer", "annotated_images", "accuracy_lost", "verdicts", "figures"]
    assert record["answer"] == repair_answer(*both) and record["annotated_images"] == 16
    lost = cost(*both)
    assert record["accuracy_lost"] == {"value": lost.value, "low": lost.low, "high": lost.high}
    assert lost.value == pytest.approx(2 / 5) and lost.low < lost.value < lost.high
    assert record["verdicts"] == {
        **{"cow": {"before": "shortcut", "after": "suspicious"}, "boat": {"before": "fine", "after": "fine"}},
    }
    assert list(record["figures"]) == list(FIGURES)
    assert record["figures"]["mean_iu"] == {"before": 0.5, "after": 0.375}
    assert record["figures"]["images"] == {"before": 5, "after": 7}
    assert record["figures"]["f1"] == {"before": None, "after": None}


def test_classes_of_which_nothing_is_known_afterwards_have_no_verdict() -> None:
    before, after = audited(1, {"cow": "fine", "boat": "fine"}, "1"), audited(1, {"cow": "fine"}, "1")
    assert repair_record(before, after, 1)["verdicts"]["boat"] == {"before": "fine", "after": None}


def test_the_price_is_of_the_pairs_that_both_audits_have(both: tuple[Audited, Audited]) -> None:
    before, after = both
    more = Audited(before.record, [*before.pairs, pair(0.5, "only before", right=True)])
    assert cost(more, after) == cost(before, after)
    others = [one._replace(class_index=2, right=not one.right) for one in after.pairs]
    assert cost(before, Audited(after.record, [*others, *after.pairs])) == cost(before, after)
    answer = repair_answer(before, after)
    lost = cost(before, after)
    assert "-40.0 points of accuracy" in answer
    assert f"({-100 * lost.high:+.1f} to {-100 * lost.low:+.1f}, 95 % interval)" in answer


@pytest.mark.parametrize(
    ("before", "after", "tone"),
    [
        *(("ss", "ff", "good"), ("sf", "ff", "good"), ("ss", "sf", "unclear"), ("ss", "?f", "unclear")),
        *(("sf", "sf", "bad"), ("sf", "ss", "bad"), ("ff", "sf", "bad"), ("ff", "ff", "unclear"), ("sf", "fs", "bad")),
        ("ssf", "ffs", "unclear"),
    ],
)
def test_a_repair_is_good_news_where_every_shortcut_is_fine_and_there_is_no_new_one(
    before: str, after: str, tone: str
) -> None:
    words = {"s": "shortcut", "f": "fine", "?": "too few to say"}
    one, other = ({str(place): words[letter] for place, letter in enumerate(each)} for each in (before, after))
    assert repair_tone(audited(1, one, "1"), audited(1, other, "1")) == tone
    answer = repair_answer(audited(1, one, "1"), audited(1, other, "1"))
    assert answer.startswith("Repaired") == (tone == "good")


def test_every_class_has_its_verdicts_and_its_shares_before_and_after(both: tuple[Audited, Audited]) -> None:
    before, after = both
    table = repair_table(*both)
    assert [str(column.header) for column in table.columns] == [
        *("Class", "before", "after", "right", "other background", "on the object")
    ]
    of = [{one["name"]: one["evidence"] for one in each.record["classes"]} for each in both]
    rows = [
        [
            *(name, before.words()[name], after.words()[name]),
            ARROW.join(percent(each[name]["recognised"]["value"]) for each in of),
            ARROW.join(percent(each[name]["rates"]["other_background"]) for each in of),
            ARROW.join(percent(each[name]["energy"]) for each in of),
        ]
        for name in ("cow", "boat")
    ]
    assert [[str(list(column.cells)[line]) for column in table.columns] for line in range(2)] == rows
    turned = Audited({**after.record, "classes": after.record["classes"][::-1]}, after.pairs)
    assert [
        [str(list(column.cells)[line]) for column in repair_table(before, turned).columns] for line in (0, 1)
    ] == rows
    verdict, _, classes, links = parts(repair_sections(*both, Done(16, 250, True, 150), "a: 1")[0])
    assert isinstance(classes, Table) and classes.rows == rows and len(classes.headings) == 6
    assert isinstance(verdict, Verdict) and verdict.tone == "unclear"
    assert isinstance(links, Links)
    assert links.links == [("before", "before/audit.html"), ("after", "after/audit.html")]


def test_the_chart_has_each_background_pale_before_and_strong_after(both: tuple[Audited, Audited]) -> None:
    titled = {one.title: one for one in repair_sections(*both, Done(16, 250, True, 150), "a: 1")}
    chart, table = parts(titled["What changed"])
    assert isinstance(chart, Chart) and isinstance(table, Table)
    expected = [
        [100 * one["evidence"]["rates"][key] for one in each.record["classes"]]
        for key in ("own_background", "other_background")
        for each in both
    ]
    bars = chart.figure["data"]
    assert [bar["x"] for bar in bars] == expected and all(bar["y"] == ["cow", "boat"] for bar in bars)
    assert [bar["name"] for bar in bars] == [
        *("own background, before", "own background, after", "another class's, before", "another class's, after")
    ]
    assert [bar["marker"]["color"] for bar in bars] == list(SHADES) and "%{x:.1f} %<" in bars[0]["hovertemplate"]
    assert table.headings == ["Figure", "Before", "After", "Change"]
    assert table.rows == [["Mean IU", "50.0000", "37.5000", "-12.5000"], ["Energy pointing", "25.00", "25.00", "+0.00"]]
    (settings,) = parts(titled["Settings"])
    assert settings.text == "a: 1"


def test_a_figure_that_was_measured_once_has_no_change_and_of_many_classes_the_first_are_charted() -> None:
    words = {str(place): "fine" for place in range(CHARTED + 1)}
    before, after = (
        Audited(
            {
                **{"trials": [], "figures": {"f1": math.nan if place else 0.5, "image_accuracy": 0.25 + place / 4}},
                "classes": [
                    {
                        **{"name": name, "word": word, "contexts": []},
                        "evidence": {
                            **{"recognised": {"value": 0.5}, "energy": 0.5, "images": 1},
                            "rates": {"own_background": int(name) / 99, "other_background": None},
                        },
                    }
                    for name, word in words.items()
                ],
            },
            [pair()],
        )
        for place in range(2)
    )
    chart, table = parts(repair_sections(before, after, Done(1, 2, False, 3), "")[1])
    assert [bar["y"] for bar in chart.figure["data"]] == [[str(place) for place in range(CHARTED)]] * 4
    assert all(len(bar["x"]) == CHARTED for bar in chart.figure["data"])
    assert all(math.isnan(value) for value in chart.figure["data"][2]["x"])
    assert [(row[0], row[3]) for row in table.rows] == [("Image accuracy", "+25.00")]
