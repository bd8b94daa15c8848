"""What an audit leaves, key by key and column by column, and what its page says of records made by hand."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from wheretolook.evaluation.audit import Audit
from wheretolook.evaluation.exchange import CHANGES
from wheretolook.evaluation.judged import Verdict
from wheretolook.options.audit import RuleOptions
from wheretolook.report import charts
from wheretolook.report.audit import audit_record, audit_table, in_short, percent, worst_first, write_classes
from wheretolook.report.audit_page import CHARTED, audit_sections, verdict_of
from wheretolook.report.audit_pictures import AuditPictures
from wheretolook.report.components import Card, Chart, Details, Gallery, Part, Section, Table, Text

from .audited import made_audit, one_class

RULE = RuleOptions()
DASH = "\N{EN DASH}"
ORDER = ["goat", "sheep", "bird", "cow", "tree", "fish", "boat"]  # by verdict, then by fall; what is not known is last
NOTHING = AuditPictures([], [], [])


def test_the_record_has_every_figure_under_its_own_name() -> None:
    found = made_audit()
    record = json.loads(json.dumps(audit_record(found, RULE)))
    assert list(record) == [
        *("shortcut_classes", "figures", "classes", "wrong_reasons", "wrong", "groups", "trials"),
    ]
    assert record["shortcut_classes"] == ["sheep", "goat"] and record["figures"]["energy_pointing"] == 0.375
    assert record["wrong_reasons"] == [{"image": name, "class": "cow"} for name in ("b", "c")]
    assert record["wrong"] == [{"image": name, "class": "cow"} for name in ("e", "d")]
    assert record["groups"][0] == {"name": "land", "pairs": 11, "right": 0.25, "energy": 0.5, "spread": 0.125}
    assert record["trials"] == [
        {
            **{"name": "a", "class_index": 1, "right": {"as_it_is": True, "object_erased": False}},
            **{"probability": {"as_it_is": 0.5}, "lent": [2], "predicted": 0},
        }
    ]
    for said, one in zip(record["classes"], found.classes, strict=True):
        assert said.keys() == {
            *("name", "evidence", "spread", "empty", "probability", "places", "contexts", "word", "reason")
        }
        assert (said["name"], said["word"], said["reason"]) == (one.name, one.verdict.word, one.verdict.reason)
        assert (said["spread"], said["empty"]) == (one.spread, one.empty) and said["probability"] == one.probability
        assert said["places"] == {"over_chance": one.places.over_chance, "where": one.places.where}
        for interval in ("recognised", "fall", "focus", "border"):
            of = getattr(one.evidence, interval)
            assert repr(said["evidence"][interval]) == repr({"value": of.value, "low": of.low, "high": of.high})
        assert said["evidence"]["rates"] == one.evidence.rates and said["evidence"]["ceiling"] == one.evidence.ceiling
        for context, of in zip(said["contexts"], one.contexts, strict=True):
            patches = [{"image": patch.name, "share": patch.share, "box": [*patch.box]} for patch in of.patches]
            assert context == {**{"images": of.images, "share": of.share, "likeness": of.likeness, "patches": patches}}


def test_every_column_of_the_table_of_classes_is_the_figure_that_it_is_named_for(tmp_path: Path) -> None:
    classes = made_audit().classes
    write_classes(tmp_path / "classes.csv", [*classes, replace(classes[0], name="none", contexts=())])
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, one in zip(rows, classes, strict=False):
        of = one.evidence
        expected = {name: getattr(of, name) for name in ("images", "annotated", "tried", "mistaken", "follows")}
        expected |= {name: getattr(of, name) for name in ("energy", "chance", "ceiling")}
        for name in ("recognised", "focus", "fall", "border"):
            interval = getattr(of, name)
            expected |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        for change in CHANGES:
            expected |= {f"right_{change}": of.rates[change], f"probability_{change}": one.probability[change]}
        expected |= {"spread": one.spread, "empty": one.empty, "place_over_chance": one.places.over_chance}
        expected["shared_patches"] = max(context.share for context in one.contexts)
        words = {
            "class": one.name,
            "verdict": one.verdict.word,
            "reason": one.verdict.reason,
            "place": one.places.where,
        }
        assert row == {**words, **{name: "" if math.isnan(of) else f"{of:g}" for name, of in expected.items()}}
    assert rows[-1]["shared_patches"] == "0"


def test_the_worst_verdict_comes_first_and_within_one_the_largest_fall() -> None:
    found = made_audit()
    assert [one.name for one in worst_first(found.classes)] == ORDER
    assert in_short(found) == [
        *("shortcut: goat, sheep: because of shortcut", "suspicious: bird, cow, tree: because of suspicious"),
        *("too few to say: fish: because of too few to say", "fine: boat: because of fine"),
    ]
    many = Audit({}, [one_class(f"{number}", "fine", 1) for number in range(41)], [], [], [])
    assert in_short(many) == [f"fine: {', '.join(map(str, range(40)))}: because of fine"]


def test_the_terminal_says_of_each_class_what_its_columns_are_named_for() -> None:
    found = made_audit()
    made = audit_table(found)
    assert [str(column.header) for column in made.columns] == [
        *("Class", "verdict", "images", "right", "its own", "another's", "erased", "looks", "way")
    ]
    by_name = {one.name: one for one in found.classes}
    for place, name in enumerate(ORDER):
        one, of = by_name[name], by_name[name].evidence
        rates = [of.rates[key] for key in ("own_background", "other_background", "object_erased")]
        shares = [of.recognised.value, *rates, of.energy, of.focus.value]
        expected = [name, one.verdict.word, str(of.images), *(f"{100 * share:.0f}" for share in shares)]
        assert [str(list(column.cells)[place]) for column in made.columns] == expected
    for word in ("right:", "its own, another's:", "erased:", "looks:", "way:"):
        assert word in str(made.caption)
    assert (percent(math.nan), percent(0.125), percent(1.0)) == (DASH, "12", "100")


def parts(section: Section) -> list[Part]:
    """All of a section, those that are folded away among them."""
    return [inner for part in section.parts for inner in (part.parts if isinstance(part, Details) else [part])]


def table(found: Audit, title: str, place: int = 0, shown: AuditPictures = NOTHING) -> Table:
    """The so-manieth table of a section."""
    (section,) = [one for one in audit_sections(found, RULE, shown, "settings") if one.title == title]
    return [part for part in parts(section) if isinstance(part, Table)][place]


def test_the_sections_of_the_page_answer_one_after_the_other() -> None:
    titles = [section.title for section in audit_sections(made_audit(), RULE, NOTHING, "settings")]
    assert titles == [
        *("Verdict", "Does it matter?", "Right for the wrong reason", "What attracts attention beside the object"),
        *("Wrong", "Where it looks", "Figures and settings"),
    ]


def test_the_classes_stand_worst_first_with_their_figures_and_reasons() -> None:
    found = made_audit()
    classes, why, thresholds = (table(found, "Verdict", place) for place in range(3))
    assert classes.headings == [
        *("Class", "verdict", "images", "right", "its background", "another's background", "object erased", "fall"),
        "on the object",
    ]
    assert [row[0] for row in classes.rows] == [row[0] for row in why.rows] == ORDER
    by_name = {one.name: one for one in found.classes}
    for row, reason in zip(classes.rows, why.rows, strict=True):
        one, of = by_name[row[0]], by_name[row[0]].evidence
        word = one.verdict.word.replace(" ", "\N{NO-BREAK SPACE}")
        shares = [of.recognised.value, *(of.rates[key] for key in ("own_background", "other_background"))]
        shares += [of.rates["object_erased"], of.fall.value, of.energy]
        assert row == [row[0], word, str(of.images), *map(percent, shares)]
        assert reason == [row[0], word, one.verdict.reason]
    assert not why.numbers and classes.numbers
    assert dict(thresholds.rows) == {f"rule.{name}": f"{value:g}" for name, value in vars(RULE).items()}


def test_what_exchanged_backgrounds_do_is_charted_and_tabled_class_by_class() -> None:
    found = made_audit()
    chart, said, *_ = parts(audit_sections(found, RULE, NOTHING, "")[1])
    assert isinstance(chart, Chart) and isinstance(said, Table)
    changes = {
        **{"as it is": "as_it_is", "its background": "own_background"},
        **{"another's background": "other_background", "object erased": "object_erased"},
    }
    by_name = {one.name: one for one in found.classes}
    assert {bar["name"]: bar["y"] for bar in chart.figure["data"]} == dict.fromkeys(changes, ORDER)
    for bar in chart.figure["data"]:
        assert bar["x"] == [100 * by_name[name].evidence.rates[changes[bar["name"]]] for name in ORDER]
        assert "%{x:.1f} %<" in bar["hovertemplate"]
    assert said.headings[:2] == ["Class", "images tried"] and said.headings[-2:] == ["fall", "95 % interval"]
    for row in said.rows:
        of = by_name[row[0]].evidence
        rates = [percent(of.rates[change]) for change in CHANGES]
        fall = [percent(of.fall.value), f"{percent(of.fall.low)} to {percent(of.fall.high)}"]
        assert row == [row[0], str(of.tried), *rates, *fall]
    untried = replace(found.classes[0], evidence=replace(found.classes[0].evidence, tried=0))
    assert [row[0] for row in table(replace(found, classes=[untried, found.classes[1]]), "Does it matter?").rows] == [
        "cow"
    ]
    (alone,) = parts(audit_sections(replace(found, classes=[untried]), RULE, NOTHING, "")[1])
    assert isinstance(alone, Text)


def test_a_chart_shows_the_worst_classes_and_the_table_all() -> None:
    many = Audit({}, [one_class(f"{number}", "shortcut", 1, number / 99) for number in range(CHARTED + 2)], [], [], [])
    chart, said, *_ = parts(audit_sections(many, RULE, NOTHING, "")[1])
    order = [str(number) for number in reversed(range(CHARTED + 2))]
    assert all(bar["y"] == order[:CHARTED] for bar in chart.figure["data"])
    assert [row[0] for row in said.rows] == order


@pytest.mark.parametrize(
    ("words", "tone", "counted"),
    [
        (["shortcut", "fine", "suspicious", "too few to say"], "bad", "1 of 4"),
        (["suspicious", "suspicious", "too few to say"], "unclear", "2 of 3"),
        (["too few to say", "fine", "fine"], "unclear", "1 of 3"),
        (["fine", "fine"], "good", "2"),
    ],
)
def test_the_answer_counts_the_worst_verdict_that_there_is(words: list[str], tone: str, counted: str) -> None:
    found = [one_class(f"class{number}", word, 1) for number, word in enumerate(words)]
    said = verdict_of(Audit({}, found, [], [], []))
    assert said.tone == tone and counted in said.answer
    of_word = {word: [one.name for one in found if one.verdict.word == word] for word in words}
    assert all(", ".join(names) in said.more for names in of_word.values())
    first = {"bad": "No", "good": "Yes"}.get(tone)
    assert first is None or said.answer.startswith(first)
    assert said.answer.startswith("Not surely") == ("suspicious" in words and "shortcut" not in words)


def test_galleries_say_of_how_many_they_are_and_none_is_said_in_words() -> None:
    found = made_audit()
    cards = [[Card(name, [])] for name in ("reason", "wrong", "context")]
    _, _, reasons, contexts, wrong, *_ = audit_sections(found, RULE, AuditPictures(*cards), "")
    (reasons,), (contexts,), (wrong,) = (one.parts for one in (reasons, contexts, wrong))
    assert isinstance(reasons, Gallery) and isinstance(contexts, Gallery) and isinstance(wrong, Gallery)
    assert [one.cards[0].title for one in (reasons, wrong, contexts)] == ["reason", "wrong", "context"]
    assert (reasons.title, reasons.total) == ("2 of 3 right answers", 2)  # of a, b and c, since f has no mask
    assert (wrong.title, wrong.total) == ("2 of 6 answers", 2) and contexts.total == 0
    assert reasons.gain_name == wrong.gain_name == "attention over chance" and contexts.gain_name == "share of images"
    assert reasons.ramp == wrong.ramp != "" == contexts.ramp
    nothing = replace(found, pairs=[one for one in found.pairs if one.name == "a"])
    _, _, reasons, contexts, wrong, *_ = audit_sections(nothing, RULE, NOTHING, "")
    assert [type(one.parts[0]) for one in (reasons, contexts, wrong)] == [Text] * 3
    assert "None of 1 answers" in reasons.parts[0].text and wrong.parts[0].text == "None of 1."


def test_how_little_attention_is_off_the_object_is_said_as_the_rule_has_it() -> None:
    def rule(factor: float) -> str:
        (gallery,) = audit_sections(made_audit(), RuleOptions(off_object=factor), NOTHING, "")[2].parts
        return gallery.rule

    assert "more attention on the object than a uniform map" in rule(1.0)
    assert "more attention on the object than 1.5 times what a uniform map" in rule(1.5)


def test_groups_have_their_figures_and_no_spread_where_nothing_is_known() -> None:
    said = table(made_audit(), "Where it looks", 1)
    assert said.headings == ["Group", "images", "right", "on the object"]
    assert said.rows == [["land", "11", "25", "50 \N{PLUS-MINUS SIGN} 12"], ["sea", "12", "75", DASH]]
    assert len(parts(audit_sections(replace(made_audit(), groups=[]), RULE, NOTHING, "")[5])) == 1


def test_settings_and_figures_end_the_page() -> None:
    figures, settings = parts(audit_sections(made_audit(), RULE, NOTHING, "a: 1")[6])
    assert figures.rows == [["Energy pointing", "37.50"], ["Images", "6"]] and settings.text == "a: 1"


def test_a_verdict_without_a_second_sentence_is_told_whole() -> None:
    one = replace(one_class("boat", "fine", 1), verdict=Verdict("fine", "All is well."))
    assert in_short(Audit({}, [one], [], [], [])) == ["fine: boat: all is well"]
    assert charts.colour(0) == charts.COLOURS[0] == charts.colour(len(charts.COLOURS))
