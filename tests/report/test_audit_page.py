"""The pages of audits and repairs: valid whatever the names, with the numbers that were found."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.evaluation.audit import Audit, audit
from wheretolook.options.audit import RuleOptions
from wheretolook.records import collate
from wheretolook.report import page
from wheretolook.report.audit import audit_record
from wheretolook.report.audit_page import audit_sections, verdict_of
from wheretolook.report.audit_pictures import audit_pictures, contexts_sheet, recorded_patches
from wheretolook.report.components import Card, thumbnail
from wheretolook.report.page import rendered
from wheretolook.report.repair import Audited, Done, patch_cards, repair_sections

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
        cards = [Card(name, [thumbnail(np.zeros((9, 9, 3)), name)], facts=[(name, name)])]
        pages.append(parsed(rendered(name, repair_sections(*both, Done(4, 9, True, 5), name, cards), subtitle=name)))
    tags = [Counter(element.tag for element in root.iter()) for root in pages]
    assert tags[0] == tags[1] and tags[0]["img"] == 1


def recorded(words: dict[str, str], right: float) -> Audited:
    """What an audit left of so many trials, of which that share is right in front of another class's background."""
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    rates = {"own_background": 0.5, "other_background": right}
    classes = [
        {
            "name": name,
            "word": word,
            "evidence": {"recognised": interval, "rates": rates, "energy": 0.2, "images": 9},
            "contexts": [{"images": 4, "share": 0.4, "patches": []}] if name != "plain" else [],
        }
        for name, word in words.items()
    ]
    trials = [{"lent": [0], "right": {"other_background": number < 10 * right}} for number in range(10)]
    return Audited({"classes": classes, "trials": trials, "figures": {}}, [])


def test_a_repair_begins_with_its_story():
    """Found, annotated, guided, proved: before any table."""
    before = recorded({"bird": "shortcut", "fish": "shortcut", "fruit": "fine"}, 0.2)
    after = recorded({"bird": "fine", "fish": "shortcut", "fruit": "fine"}, 0.7)
    html = rendered("a", repair_sections(before, after, Done(16, 250, True, 150), ""))
    root = parsed(html)
    steps = [[paragraph.text for paragraph in step.iter("p")] for step in root.find(".//ol[@class='steps']")]
    assert [step[0] for step in steps] == ["Found", "Annotated", "Guided", "Audited again"]
    assert [step[1] for step in steps] == ["2 of 3 classes", "16 of 250 images", "150 steps", "1 of 3 classes"]
    said = " ".join(step[2] for step in steps).replace("\N{NO-BREAK SPACE}", " ")
    assert "shortcut: bird, fish. In front of another class's background 20 % are right." in said
    assert "still recognised by a shortcut: fish." in said and "70 % are right" in said and "from these" in said
    assert html.index('class="steps"') < html.index("<table")
    steps = rendered("a", repair_sections(before, after, Done(9, 9, False, 1), ""))
    assert "all have masks or boxes" in steps and "from these" not in steps


def test_a_repair_shows_what_its_classes_went_by():
    words = {"plain": "shortcut", "fine": "fine", "odd": "suspicious", "bird": "shortcut"}
    before, after = recorded(words, 0.2), recorded(dict.fromkeys(words, "fine"), 0.7)
    cards = patch_cards(before, after, lambda context: [thumbnail(np.zeros((9, 9, 3)), f"{context['images']}")])
    assert [(card.title, card.tone) for card in cards] == [("bird", "bad"), ("odd", "unclear")]
    assert cards[0].facts == [("verdict", "shortcut → fine"), ("in", "4 of 9 images")]


def test_recorded_patches_are_those_of_the_audit():
    shown = Squares(30, framed=True, seed=1)
    found = audit(trained(None), shown, shown.batches())
    cards = audit_pictures(trained(None), shown, found, RULE, 50).contexts
    record = audit_record(found, RULE)
    for one in (each for each in record["classes"] if each["contexts"]):
        drawn = recorded_patches(shown, one["contexts"][0])
        (card,) = (card for card in cards if card.class_name == one["name"] and card.pictures[0].data == drawn[0].data)
        assert [picture.data for picture in drawn] == [picture.data for picture in card.pictures]


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
