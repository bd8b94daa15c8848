"""What tables, cards and charts say, heading by heading and cell by cell: against the records that they are of."""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest
import torch
from PIL import Image

from wheretolook.evaluation.audit import Audit, audit
from wheretolook.evaluation.exchange import Trial
from wheretolook.files import write_json, write_text
from wheretolook.metrics.figures import FIGURES
from wheretolook.options.audit import RuleOptions
from wheretolook.records import VOID, collate
from wheretolook.report import audit_pictures, charts, gallery
from wheretolook.report.audit import percent, worst_first
from wheretolook.report.audit_page import audit_sections
from wheretolook.report.audit_pictures import AuditPictures
from wheretolook.report.components import Chart, Details, Part, Table, Text
from wheretolook.report.gallery import facts
from wheretolook.report.losses import loss_charts
from wheretolook.report.recorded import read_run

from ..evaluation.test_exchange import SCENES, Background, Scenes
from .seen import explanation
from .test_changes import change, pair
from .test_pictures import COLUMNS, sheet, text_of
from .test_pictures import pair as comparison

RULE = RuleOptions(least_images=1)


@pytest.fixture(scope="module")
def found() -> Audit:
    samples = [one._replace(group="a group") for one in SCENES.samples]
    return audit(Background(("boat", "bar", "ring")), Scenes(*samples), [collate(samples)], rule=RULE)


@pytest.fixture(scope="module")
def parts(found: Audit) -> list[Part]:
    """All parts of its page, those that are folded away among them."""

    def unfolded(some: list[Part]) -> list[Part]:
        return [inner for one in some for inner in (unfolded(list(one.parts)) if isinstance(one, Details) else [one])]

    pages = audit_sections(found, RULE, AuditPictures([], [], []), "settings")
    return unfolded([part for section in pages for part in section.parts])


def table(parts: list[Part], caption: str) -> Table:
    (one,) = [part for part in parts if isinstance(part, Table) and part.caption == caption]
    return one


def test_the_tables_of_an_audit_say_what_was_found(found: Audit, parts: list[Part]) -> None:
    where = table(parts, "By class")
    assert where.headings == [
        *("Class", "images", "on the object", "by chance", "at best", "way", "on the border", "empty maps", "place")
    ]
    for row, one in zip(where.rows, found.classes, strict=True):
        of = one.evidence
        assert (row[0], row[1], row[3], row[4]) == (one.name, str(of.images), percent(of.chance), percent(of.ceiling))
        assert row[2].startswith(percent(of.energy)) and row[5] == percent(of.focus.value)
        assert row[6] == f"{of.border.value:.2f}x" and row[7] == percent(one.empty)
        assert row[8] == f"{one.places.where} {one.places.over_chance:.1f}x"
    assert where.note.startswith("In percent of a map's energy") and where.note.endswith("the object, over chance.")
    changes = ["as it is", "object erased", "background erased", "its background", "another's background"]
    sure = table(parts, "Mean probability of the class, in percent")
    assert sure.headings == ["Class", *changes, "another's mark"]
    for row, one in zip(sure.rows, worst_first(found.classes), strict=True):
        assert row == [one.name, *(percent(value) for value in one.probability.values())]
    figures = table(parts, "Figures")
    assert figures.headings == ["Figure", "Value"] and figures.note == "shares in percent"
    known = dict(figures.rows)
    assert known["Energy pointing"] == f"{100 * float(found.figures['energy_pointing']):.2f}"
    assert {figure.alone or figure.heading for figure in FIGURES.values()} >= known.keys()


def test_the_rule_is_told_without_what_programs_need(parts: list[Part]) -> None:
    (told,) = [part for part in parts if isinstance(part, Text) and "Surely" in part.text]
    assert "Args" not in told.text and told.text.endswith('"Surely" is of 95 % intervals.')
    assert told.paragraphs[0].startswith("too few to say: fewer than least_images of its images")


def test_an_audit_without_figures_has_none() -> None:
    pages = audit_sections(Audit({}, [], [], [], []), RULE, AuditPictures([], [], []), "settings")
    assert not any(isinstance(part, Table) and part.caption == "Figures" for one in pages for part in one.parts)


def test_every_chart_is_one_that_plotly_knows() -> None:
    """It says nothing of a property that it does not know, and leaves it out."""
    history = [{"step": float(step), "train/total": 1 / (1 + step)} for step in range(40)]
    made = [
        charts.bars("a", ["x", "y"], {"one": [1, math.nan], "two": [2, 3]}, up="up", description="d", unit=" %"),
        charts.bars("a", ["x"], {"one": [1]}, up="up", description="d", stacked=True),
        charts.lines("b", {"one": ([0, 1], [2, 3])}, across="step", up="percent", faint={"one": ([0, 1], [1, 4])}),
        *loss_charts({"a": history, "b": history}),
    ]
    for one in made:
        assert isinstance(one, Chart) and plotly.graph_objects.Figure(dict(one.figure)).data
    bars, _, lines, *_ = (one.figure for one in made)
    assert bars["layout"]["yaxis"]["type"] == "category" and bars["data"][0]["orientation"] == "h"
    assert [axis_title(lines, axis) for axis in ("xaxis", "yaxis")] == ["step", "percent"]
    assert axis_title(bars, "xaxis") == "up"


def axis_title(figure: Mapping[str, dict], axis: str) -> str:
    return figure["layout"][axis]["title"]["text"]


def test_a_card_says_where_attention_went_and_what_the_answer_is() -> None:
    arrow = "\N{RIGHTWARDS ARROW}"
    assert facts(change(0.25, 0.75)) == [
        ("attention on the object", f"25 {arrow} 75 % (+50 points)"),
        ("probability", f"25 {arrow} 25 %"),
        ("answer", "right"),
    ]
    known = change(0.25, 0.75)._replace(before=pair(math.nan), after=pair(math.nan, probability=0.5, right=False))
    assert facts(known) == [("probability", f"25 {arrow} 50 %"), ("answer", f"right {arrow} wrong")]


def test_without_a_mask_the_truth_is_the_plane_of_the_class() -> None:
    target = torch.zeros(24, 32, dtype=torch.uint8)
    target[:4], target[4:8] = 1, VOID
    shown = explanation(class_index=2, truth=torch.full((24, 32), VOID), target=target)
    expected = torch.zeros(24, 32, dtype=torch.long)
    expected[:4], expected[4:8] = 3, VOID
    assert torch.equal(gallery._truth(shown).long(), expected)
    masked = explanation(truth=expected)
    assert torch.equal(gallery._truth(masked), expected)


def test_a_card_of_an_audit_shows_the_image_as_it_is(found: Audit) -> None:
    network, sample = Background(("boat", "bar", "ring")), SCENES.samples[0]
    one = next(one for one in found.pairs if one.name == sample.name)
    card = audit_pictures._card(network, Scenes(*SCENES.samples), {sample.name: 0}, one, None)
    with Image.open(io.BytesIO(card.pictures[0].data)) as image:
        small = image.convert("RGB").resize(sample.image.shape[:0:-1], Image.Resampling.BOX)
    expected = sample.image.permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(small, float) / 255 - expected).mean() < 0.12  # enlarged smoothly, and WebP is not exact
    assert [name for name, _ in card.facts] == ["called", "probability", "on the object"]


def test_a_card_of_an_audit_says_what_became_of_the_changed_image(found: Audit) -> None:
    """As far as it could be changed; of how much the attention is, beside chance, where anybody knows."""
    network, sample = Background(("boat", "bar", "ring")), SCENES.samples[0]
    scenes, numbers = Scenes(*SCENES.samples), {sample.name: 0}
    one = next(one for one in found.pairs if one.name == sample.name)
    one = one._replace(predicted="ring", probability=0.25, energy=0.5, chance=0.125, group="land")
    erased = {True: "recognised", False: "not recognised"}
    for right, word in erased.items():
        trial = Trial(one.name, one.class_index, {"object_erased": right}, {}, (1,), 1)
        card = audit_pictures._card(network, scenes, numbers, one, trial)
        assert card.facts == [
            *(("called", "ring"), ("probability", "25 %"), ("on the object", "50 %, of a uniform map 12 %")),
            *(("without the object", word), ("on another's background", "called bar")),
        ]
        assert (card.title, card.class_name, card.group) == (one.name, one.class_name, "land")
        assert (card.gain, card.tone) == (4.0, "bad")
    nothing = Trial(one.name, one.class_index, {"as_it_is": True}, {}, (), None)
    unknown = one._replace(energy=math.nan)
    card = audit_pictures._card(network, scenes, numbers, unknown, nothing)
    assert [name for name, _ in card.facts] == ["called", "probability"] and card.gain is None


def test_headings_stand_just_above_their_columns_and_objects_have_a_line() -> None:
    figure = sheet(comparison())
    tops = {1 - text_of(figure, name).get_position()[1] for name in COLUMNS}
    (top,) = {round(one * figure.get_size_inches()[1], 3) for one in tops}
    first = min(1 - axes.get_position().y1 for axes in figure.axes) * figure.get_size_inches()[1]
    assert 0 < first - top < 0.15  # inches
    truth = next(axes for axes in figure.axes if len(axes.collections) == 2)
    assert [round(float(lines.get_linewidths()[0]), 2) for lines in truth.collections] == [2.1, 1.1]


def test_the_options_of_a_training_are_those_of_its_record(tmp_path: Path) -> None:
    write_text(tmp_path / "history.csv", "step,train/total\n1,0.5\n")
    write_json(tmp_path / "options.json", {"options": {"out": "of the start"}})
    write_json(tmp_path / "run.json", {"options": {"out": "of the end"}, "command": "wheretolook train-gain"})
    assert read_run(tmp_path).options == {"out": "of the end"}
