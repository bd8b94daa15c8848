"""Every field of a part of a page stands in its place, once, and a field that is empty leaves nothing behind."""

import json
from xml.etree.ElementTree import Element

import pytest

from wheretolook.report import charts, page
from wheretolook.report.components import (
    Card,
    Code,
    Columns,
    Details,
    Gallery,
    Links,
    Part,
    Section,
    Slide,
    Slider,
    Table,
    Text,
    Verdict,
)
from wheretolook.report.page import rendered

from .test_page import named, parsed, picture


@pytest.fixture(autouse=True)
def light_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_plotly", lambda: "window.Plotly = undefined;")


def made(*some: Part, **known: str) -> Element:
    return parsed(rendered("the title", [Section("the heading", some)], **known))


def text(element: Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())


def all_of(root: Element, tag: str, name: str = "") -> list[Element]:
    """The elements of a tag, and of a class if one is named."""
    return [one for one in root.iter(tag) if not name or name in one.attrib.get("class", "").split()]


def texts(root: Element, tag: str, name: str = "") -> list[str]:
    return [text(one) for one in all_of(root, tag, name)]


def test_a_page_has_its_title_twice_and_its_sections_in_order_with_links_to_them() -> None:
    sections = [Section("first", [Text("a")], note="noted"), Section("second", [Text("b"), Text("c")])]
    root = parsed(rendered("the title", sections, subtitle="below"))
    assert texts(root, "title") == texts(root, "h1") == ["the title"] and texts(root, "p", "subtitle") == ["below"]
    assert texts(root, "h2") == ["first", "second"] and texts(root, "p", "note") == ["noted"]
    (contents,) = all_of(root, "nav")
    targets = [root.find(f".//section[@id='{link.attrib['href'][1:]}']") for link in contents.iter("a")]
    assert [text(one.find("h2")) for one in targets] == texts(contents, "a") == ["first", "second"]
    assert [texts(one, "p")[-1] for one in targets] == ["a", "c"]
    for one in targets:
        assert one.attrib["aria-labelledby"] == one.find("h2").attrib["id"]
    alone = made(Text("a"))
    assert not all_of(alone, "nav") and not texts(alone, "p", "subtitle") and not texts(alone, "p", "note")


@pytest.mark.parametrize(("tone", "sign"), [("good", "✓"), ("bad", "✗"), ("unclear", "?")])
def test_a_verdict_has_its_tone_its_sign_its_question_and_its_answer(tone: str, sign: str) -> None:
    root = made(Verdict("asked?", "answered", tone, "and more"))
    (box,) = all_of(root, "div", "verdict")
    assert tone in box.attrib["class"].split()
    assert texts(box, "p") == ["asked?", f"{sign} answered", "and more"]
    assert len(all_of(made(Verdict("asked?", "answered", tone)), "p", "more")) == 0


def test_a_table_has_its_cells_in_their_places_and_the_strong_ones_strong() -> None:
    rows = [["a", "1", "2"], ["b 5 %", "3", "4"]]
    root = made(Table("caption", ["", "x", "y"], rows, "noted", strong={(0, 2), (1, 1)}))
    (table,) = all_of(root, "table")
    assert "numbers" in table.attrib["class"] and text(table.find("caption")) == "caption"
    assert [text(cell) for cell in table.find("thead/tr")] == ["", "x", "y"]
    assert [cell.tag for cell in table.find("thead/tr")] == ["td", "th", "th"]
    lines = table.findall("tbody/tr")
    assert [[text(cell) for cell in line] for line in lines] == rows
    assert [[cell.tag for cell in line] for line in lines] == [["th", "td", "td"]] * 2
    assert texts(table, "strong") == ["2", "3"] and texts(root, "p", "note") == ["noted"]
    box = next(one for one in root.iter("div") if "scroll" in one.attrib.get("class", ""))
    assert box.attrib["aria-labelledby"] == table.find("caption").attrib["id"]
    words = made(Table("caption", ["x", "y", "z"], rows, numbers=False))
    assert "numbers" not in all_of(words, "table")[0].attrib.get("class", "") and not texts(words, "p", "note")
    assert not texts(words, "strong") and texts(words, "th") == ["x", "y", "z", "a", "b 5 %"]


def test_a_chart_has_its_figure_and_the_same_in_a_table() -> None:
    chart = charts.bars("the chart", ["a"], {"one": [1], "two": [float("nan")]}, up="up", description="said")
    root = made(chart)
    (figure,) = all_of(root, "figure", "chart")
    assert text(figure.find("figcaption")) == "the chart" and texts(figure, "p", "note") == ["said"]
    (plot,) = all_of(figure, "div", "plot")
    assert plot.attrib["data-height"] == str(chart.height) and plot.attrib["aria-label"] == "the chart. said"
    (block,) = all_of(figure, "script")
    assert block.attrib["id"] == f"{plot.attrib['id']}-figure"  # by which the script of pages finds it
    told = json.loads(block.text)
    assert told["layout"] == chart.figure["layout"]
    assert [bar["x"] for bar in told["data"]] == [[1], [None]]
    (table,) = all_of(all_of(figure, "details")[0], "table")
    assert [[text(cell) for cell in line] for line in table.findall("tbody/tr")] == [["a", "1", "\N{EN DASH}"]]
    assert not texts(made(charts.lines("t", {"a": ([0], [1])}, across="", up="")), "p", "note")


def test_text_code_links_and_what_is_folded_away_or_stands_side_by_side() -> None:
    root = made(
        Text("one\n\n two \n\n\n"), Code("the code", "the caption"), Code("bare"),
        Links("See", [("this", "a.html"), ("that", "b.html")]),
        Details("more", [Text("inside"), Text("and after")]), Columns([Text("left"), Code("right")]),
    )  # fmt: skip
    (section,) = all_of(root, "section")
    assert [text(one) for one in section.findall("p")] == ["one", "two", "See this, that."]
    assert [(text(one), one.attrib["href"]) for one in all_of(section, "a")] == [("this", "a.html"), ("that", "b.html")]
    codes = all_of(section, "figure", "code")
    assert [text(one.find("pre/code")) for one in codes] == ["the code", "bare", "right"]
    assert texts(codes[0], "figcaption") == ["the caption"] and not texts(codes[1], "figcaption")
    (fold,) = all_of(section, "details")
    assert text(fold.find("summary")) == "more" and [text(one) for one in fold.findall("p")] == ["inside", "and after"]
    (columns,) = all_of(section, "div", "columns")
    assert [text(one) for one in columns] == ["left", "right"]


def cards() -> list[Card]:
    facts = [("called", "cow"), ("probability", "50 %")]
    return [
        Card("first", [picture("a"), picture("b", 1)], "boat", "land", 0.5, facts, "good"),
        Card("second", [picture("c")] * 4, "cow", "sea", None, (), "bad"),
        Card("third", [picture("d")], "boat", "", 0.0),
    ]


def test_a_gallery_has_its_cards_with_what_they_are_filtered_and_sorted_by() -> None:
    shown = cards()
    root = made(Gallery("the gallery", shown, 9, "rise", "the rule", [("boat", "#112233"), ("cow", "#445566")], "ramp"))
    (box,) = all_of(root, "div", "gallery")
    assert texts(box, "h3") == ["the gallery"]
    assert texts(box, "p", "note")[0].startswith("the rule 3 of 9 are here; 6 are left out")
    (legend,) = all_of(box, "ul", "legend")
    assert texts(legend, "li") == ["boat", "cow", "ramp"] and len(all_of(legend, "span", "ramp")) == 1
    swatches = [one.attrib["style"] for one in all_of(legend, "span", "swatch")]
    assert swatches == ["background: #112233", "background: #445566"]
    items = all_of(box, "li", "card")
    keys = ("data-class", "data-group", "data-gain", "data-place")
    assert [[one.attrib[key] for key in keys] for one in items] == [
        *(["boat", "land", "0.5", "1"], ["cow", "sea", "", "2"], ["boat", "", "0.0", "3"])
    ]
    for item, card in zip(items, shown, strict=True):
        assert card.tone in item.attrib["class"].split() and texts(item, "strong") == [card.title]
        assert texts(item, "span", "chip") == [name for name in (card.class_name, card.group) if name]
        facts = [(text(one.find("dt")), text(one.find("dd"))) for one in item.iterfind(".//dl/div")]
        assert facts == list(card.facts) and len(all_of(item, "dl")) == bool(card.facts)
        assert named(item, "alt") == texts(item, "figcaption") == [one.alt for one in card.pictures]
        (row,) = all_of(item, "div", "pictures")
        assert ("few" in row.attrib["class"].split()) == (len(card.pictures) < 4)
        for image, one in zip(all_of(item, "img"), card.pictures, strict=True):
            assert (int(image.attrib["width"]), int(image.attrib["height"])) == one.size == (60, 45)
            assert image.attrib["src"].startswith("data:image/webp;base64,")


def test_a_gallery_is_filtered_and_sorted_by_what_its_cards_have() -> None:
    root = made(Gallery("g", cards(), gain_name="rise"))
    selects = {one.attrib.get("data-filter", "order"): [text(option) for option in one] for one in root.iter("select")}
    assert selects["class"] == ["all", "boat", "cow"] and selects["group"] == ["all", "land", "sea"]
    assert [one.attrib["value"] for one in root.findall(".//select[@data-order]/option")] == [
        "",
        "gain",
        "loss",
        "title",
    ]
    assert selects["order"][1:3] == ["largest rise first", "smallest rise first"]
    note = texts(root, "p", "note")
    assert note == [""] and not all_of(root, "ul", "legend")  # all are here, no rule, no colours
    assert not list(made(Gallery("g", cards()[:1])).iter("select"))  # one card alone is in order
    ramp = made(Gallery("g", cards(), ramp="ramp"))
    assert texts(all_of(ramp, "ul", "legend")[0], "li") == ["ramp"]
    legend = made(Gallery("g", cards(), legend=[("boat", "#112233")]))
    assert texts(all_of(legend, "ul", "legend")[0], "li") == ["boat"] and not all_of(legend, "span", "ramp")


def test_a_slider_has_both_pictures_of_each_slide_and_says_which_is_which() -> None:
    pairs = [(picture("a", 1), picture("b", 2)), (picture("c", 3), picture("d", 4))]
    slides = [Slide(f"slide {place}", *pair) for place, pair in enumerate(pairs)]
    root = made(Slider("the slider", slides, "plain", "guided"))
    (box,) = all_of(root, "div", "slider")
    assert texts(box, "h3") == ["the slider"]
    assert [(text(one), one.attrib["value"]) for one in all_of(box, "option")] == [("slide 0", "0"), ("slide 1", "1")]
    (way,) = all_of(box, "input")
    assert (way.attrib["data-before"], way.attrib["data-after"]) == ("plain", "guided")
    assert texts(box, "label", "range") == ["Plain or guided"]
    figures = all_of(box, "figure", "slide")
    assert [one.attrib["aria-label"] for one in figures] == ["slide 0", "slide 1"]
    assert [named(one, "alt") for one in figures] == [["a", "b"], ["c", "d"]]
    assert [texts(one, "span", "tag") for one in figures] == [["plain", "guided"]] * 2
    assert [texts(one, "figcaption") for one in figures] == [
        ["slide 0: a plain, b guided"],
        ["slide 1: c plain, d guided"],
    ]
    for image in all_of(box, "img"):
        assert (image.attrib["width"], image.attrib["height"]) == ("60", "45")
    alone = made(Slider("the slider", slides[:1]))
    assert not all_of(alone, "select") and len(all_of(alone, "figure", "slide")) == 1
    assert not all_of(made(Slider("the slider", [])), "h3")
