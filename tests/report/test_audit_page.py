"""The pages of audits and repairs: valid whatever the names, with the numbers that were found."""

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from wheretolook.evaluation.audit import Audit, audit
from wheretolook.options.audit import RuleOptions
from wheretolook.records import collate
from wheretolook.report import page
from wheretolook.report.audit import audit_record
from wheretolook.report.audit_page import audit_sections, verdict_of
from wheretolook.report.audit_pictures import audit_pictures, contexts_sheet
from wheretolook.report.page import rendered
from wheretolook.report.repair import Audited, repair_sections

from ..evaluation.faint_squares import Squares, trained
from ..evaluation.test_exchange import SCENES, Background, Scenes
from .test_page import EVIL, named, parsed

RULE = RuleOptions(least_images=1)


@pytest.fixture(autouse=True)
def light_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_plotly", lambda: "window.Plotly = undefined;")


def drawn(name: str) -> tuple[Audit, str]:
    """An audit and its page of classes, images and groups of that name."""
    network = Background((name, "bar", "ring"))
    samples = [one._replace(name=f"{name}{number}", group=name) for number, one in enumerate(SCENES.samples)]
    scenes = Scenes(*samples)
    found = audit(network, scenes, [collate(samples)], rule=RULE)
    shown = audit_pictures(network, scenes, found, RULE, 3)
    return found, rendered(name, audit_sections(found, RULE, shown, name), subtitle=name)


def test_hostile_names_make_the_same_valid_page():
    plain, evil = (parsed(drawn(name)[1]) for name in ("plain", EVIL))
    tags = [Counter(element.tag for element in root.iter()) for root in (plain, evil)]
    assert tags[0] == tags[1] and tags[0]["img"] > 0
    assert not [attribute for element in evil.iter() for attribute in element.attrib if attribute.startswith("on")]
    assert all(link.startswith(("data:image/", "#")) for link in [*named(evil, "src"), *named(evil, "href")])


def test_a_repair_page_is_valid_with_hostile_names_too():
    pages = []
    for name in ("plain", EVIL):
        found, _ = drawn(name)
        record = json.loads(json.dumps(audit_record(found, RULE), default=str))
        both = Audited(record, found.pairs), Audited(record, found.pairs)
        pages.append(parsed(rendered(name, repair_sections(*both, 4, name), subtitle=name)))
    tags = [Counter(element.tag for element in root.iter()) for root in pages]
    assert tags[0] == tags[1]


def test_every_class_stands_there_with_its_verdict_and_reason():
    found, html = drawn("boat")
    root = parsed(html)
    text = "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ")
    lines = [[cell.text for cell in line] for line in root.findall(".//tbody/tr")]
    for one in found.classes:
        assert [one.name, one.verdict.word.replace(" ", "\N{NO-BREAK SPACE}"), one.verdict.reason] in lines
    assert "rule.large_fall" in text and "surely falls by more than large_fall" in " ".join(text.split())
    assert verdict_of(found).tone in ("bad", "unclear")


def test_where_nothing_is_annotated_the_page_says_so_and_shows_what_is_known():
    shown = Squares(30, framed=True, seed=1, annotated=False)
    network = trained(None)
    found = audit(network, shown, shown.batches(), rule=RULE)
    pictures = audit_pictures(network, shown, found, RULE, 2)
    text = "".join(parsed(rendered("a", audit_sections(found, RULE, pictures, ""))).itertext())
    assert "No image has a mask or box" in text and "on the border" in text and "nan" not in text.lower()
    assert {one.verdict.word for one in found.classes} <= {"too few to say", "suspicious"}
    assert pictures.contexts and len(pictures.wrong) == 2 and not pictures.wrong_reasons


def test_an_audit_without_classes_claims_nothing():
    empty = Audit({}, [], [], [], [])
    assert verdict_of(empty).tone == "unclear" and "no image shows a class" in verdict_of(empty).answer


def test_shared_patches_are_drawn_a_row_each(tmp_path: Path):
    shown = Squares(30, framed=True, seed=1)
    found = audit(trained(None), shown, shown.batches())
    contexts_sheet(shown, found, tmp_path / "contexts.png", 2)
    with Image.open(tmp_path / "contexts.png") as one:
        first = one.size
    contexts_sheet(shown, found, tmp_path / "contexts.png", 3)
    with Image.open(tmp_path / "contexts.png") as more:
        assert more.size[0] == first[0] and more.size[1] > first[1]
