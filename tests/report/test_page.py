"""Pages in one file, read by a second parser: valid, whole, quiet, and inert whatever names they show."""

import base64
import hashlib
import io
import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import numpy as np
import pytest
from PIL import Image

from wheretolook.errors import DataError
from wheretolook.report import charts, page
from wheretolook.report.components import (
    Card,
    Code,
    Details,
    Gallery,
    Picture,
    Section,
    Slide,
    Slider,
    Step,
    Steps,
    Table,
    Text,
    Verdict,
    thumbnail,
)
from wheretolook.report.page import rendered, write_page
from wheretolook.report.tables import ABSENT

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;{{ 7 * 7 }}"


def picture(alt: str = "a boat", noise: int = 0, side: int = 60) -> Picture:
    pixels = np.random.default_rng(noise).integers(0, 256, (side, side + 20, 3), dtype=np.uint8)
    return thumbnail(pixels, alt, side=side, caption=alt)


def card(name: str, gain: float | None = 0.5, **known: object) -> Card:
    return Card(name, [picture(name), picture(name, 1)], gain=gain, facts=[(name, name)], **known)


def everything(name: str) -> list[Section]:
    """Every component, with one name wherever a name may stand."""
    table = Table(name, ["", name], [[name, "1"], ["b", name]], note=name)
    steps = list(range(50))
    cards = [card(name, class_name=name, group=name, tone="good"), card("b", None, class_name="b", group="c")]
    return [
        Section(
            name,
            [Verdict(name, name, "good", name), Steps([Step(name, name, name)] * 2), table, Text(f"{name}\n\n{name}")],
            note=name,
        ),
        Section(
            "Charts",
            [
                charts.lines(name, {name: (steps, steps)}, across=name, up=name, description=name),
                charts.bars(
                    name, [name, "b"], {name: [1, math.nan], "b": [2, 3]}, up=name, description=name, unit=" %"
                ),
                charts.histogram(name, [1.0, -2.0], across=name, description=name),
            ],
        ),
        Section(
            "Pictures",
            [
                Slider(
                    name, [Slide(name, picture(name), picture(name, 2)), Slide("b", picture(), picture())], name, name
                ),
                Gallery(name, cards, 9, name, name, legend=[(name, "#006fb1")], ramp=name),
                Details(name, [Code(name, name), table]),
            ],
        ),
    ]


@pytest.fixture(autouse=True)
def light_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the 4.7 MB of the library, which a strict parser reads for a minute."""
    monkeypatch.setattr(page, "_plotly", lambda: "window.Plotly = undefined;")


def parsed(html: str) -> Element:
    """The page as a strict HTML5 parser has it: it raises on every error."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)


def named(root: Element, attribute: str) -> list[str]:
    return [element.attrib[attribute] for element in root.iter() if attribute in element.attrib]


@pytest.fixture(scope="module", params=["plain", EVIL], ids=["plain", "evil"])
def both(request: pytest.FixtureRequest) -> tuple[str, Element]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_plotly", lambda: "window.Plotly = undefined;")
        return request.param, parsed(rendered(request.param, everything(request.param), subtitle=request.param))


def test_a_page_is_valid_and_its_references_lead_somewhere(both: tuple[str, Element]):
    _, root = both
    ids = named(root, "id")
    assert len(ids) == len(set(ids)) > 10
    assert {*named(root, "aria-labelledby"), *(link[1:] for link in named(root, "href") if link[0] == "#")} <= set(ids)
    assert all(image.attrib["alt"] for image in root.iter("img"))
    assert len(list(root.iter("main"))) == len(list(root.iter("h1"))) == 1
    levels = [int(element.tag[1]) for element in root.iter() if element.tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for table in root.iter("table"):
        assert "".join(table.find("caption").itertext())
        assert {cell.attrib["scope"] for cell in table.iter("th")} == {"col", "row"}


def test_names_come_out_as_they_are_and_as_nothing_else(both: tuple[str, Element]):
    """The same elements with either name, and the name in all its places."""
    name, root = both
    tags = Counter(element.tag for element in root.iter())
    assert tags == Counter(element.tag for element in parsed(rendered("x", everything("x"), subtitle="x")).iter())
    assert not [attribute for element in root.iter() for attribute in element.attrib if attribute.startswith("on")]
    assert "".join(root.find(".//h1").itertext()) == name
    assert [option.text for option in root.iter("option")].count(name) == 3  # class, group, slide
    assert named(root, "data-class") == [name, "b"] and named(root, "alt").count(name) == 4
    for block in root.iterfind(".//script[@type='application/json']"):
        figure = json.loads(block.text)
        assert figure["layout"]["xaxis"]["title"]["text"] in ("", charts.plain(name))
        assert "<script" not in block.text and "<img" not in json.dumps(figure)


def test_nothing_is_asked_for_and_only_our_scripts_run(both: tuple[str, Element]):
    _, root = both
    links = [*named(root, "src"), *named(root, "href")]
    assert all(link.startswith(("data:image/", "#")) for link in links)
    (policy,) = (meta.attrib["content"] for meta in root.iter("meta") if "http-equiv" in meta.attrib)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data: blob:"
    scripts = [script.text for script in root.iter("script") if "type" not in script.attrib]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests] and len(digests) == 2
    style = root.find(".//style").text
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style


def test_plotly_comes_once_and_only_where_there_is_a_chart(monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(page, "_plotly", lambda: calls.append(1) or "plotly")
    rendered("a", [Section("b", [Text("c")])])
    assert not calls
    chart = charts.histogram("d", [1.0], across="e", description="f")
    html = rendered("a", [Section("b", [chart, Details("g", [chart])])])
    assert len(calls) == 1 and html.count("<script>plotly</script>") == 1


def test_the_library_itself_is_in_the_page_and_cannot_end_its_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.undo()
    write_page(tmp_path / "a.html", "a", [Section("b", [charts.histogram("d", [1.0], across="e", description="f")])])
    html = (tmp_path / "a.html").read_text()
    start = html.index("<script>", html.index("</footer>")) + len("<script>")
    script = html[start : html.index("</script>", start)]
    assert script == page._plotly() and 4e6 < len(script) < 6e6 and "<!--" not in script and "<script" not in script


def test_pictures_have_room_and_the_last_ones_are_left_out(tmp_path: Path):
    """Noise is what compresses worst."""
    cards = [Card(f"n{i}", [picture(f"p{i}", i, 200)] * 4) for i in range(60)]
    slider = Slider("s", [Slide("x", picture("q", 1, 300), picture("q", 2, 300))])
    sections = [Section("a", [slider]), Section("b", [Gallery("c", cards, total=500)])]
    write_page(tmp_path / "a.html", "t", sections)
    html = (tmp_path / "a.html").read_text()
    kept = [i for i in range(60) if f"<strong>n{i}</strong>" in html]
    sizes = [sum(len(each.data) for each in one.pictures) for one in cards]
    left = page.PICTURES_BUDGET - sum(len(each.data) for each in (slider.slides[0].before, slider.slides[0].after))
    assert kept == list(range(len(kept)))
    assert sum(sizes[: len(kept)]) <= left < sum(sizes[: len(kept) + 1])
    assert f"{len(kept)} of 500 are here; {500 - len(kept)} are left out" in html
    assert (tmp_path / "a.html").stat().st_size + 4.8e6 < 8e6


def test_what_has_no_group_has_no_filter_by_group():
    def filters(*cards: Card) -> list[str]:
        return named(parsed(rendered("a", [Section("b", [Gallery("c", cards)])])), "data-filter")

    assert filters(card("a", class_name="x"), card("b", class_name="y")) == ["class"]
    assert filters(card("a", class_name="x", group="g"), card("b", class_name="x", group="h")) == ["group"]
    assert filters(card("a", class_name="x")) == []
    html = rendered("a", [Section("b", [Gallery("c", [card("a", None), card("b", None)])])])
    assert 'value="gain"' not in html and "data-order" in html


def test_a_page_that_fails_leaves_the_old_one(tmp_path: Path):
    file = tmp_path / "a.html"
    file.write_text("old")
    broken = Picture(b"no picture", "c")
    with pytest.raises(OSError, match="identify"):
        write_page(file, "a", [Section("b", [Slider("c", [Slide("d", broken, broken)])])])
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
    (tmp_path / "folder").touch()
    with pytest.raises(DataError, match="cannot write"):
        write_page(tmp_path / "folder" / "a.html", "a", [])


def test_thumbnails_are_small_and_nothing_is_enlarged():
    wide = thumbnail(np.zeros((100, 300, 3), np.uint8), "a", side=90)
    assert wide.size == (90, 30) and wide.mime == "image/webp"
    assert thumbnail(Image.new("L", (20, 10)), "a", side=90).size == (20, 10)
    half = Image.open(io.BytesIO(thumbnail(np.full((8, 8, 3), 0.5), "a").data))
    assert np.abs(np.asarray(half).astype(int) - 128).max() <= 2
    for format, mime in (("PNG", "image/png"), ("JPEG", "image/jpeg")):
        file = io.BytesIO()
        Image.new("RGB", (5, 4)).save(file, format)
        assert Picture(file.getvalue(), "a").mime == mime


def test_a_histogram_counts_every_finite_value_once():
    values = [*np.random.default_rng(0).normal(3, 20, 400).tolist(), 0.0, math.nan]
    chart = charts.histogram("t", values, across="x", description="d", steps=20)
    (bar,) = chart.figure["data"]
    edges = np.array([middle - bar["width"] / 2 for middle in bar["x"]] + [bar["x"][-1] + bar["width"] / 2])
    assert bar["y"] == np.histogram(values[:-1], np.round(edges, 9))[0].tolist() and sum(bar["y"]) == 401
    assert min(abs(edges)) < 1e-9  # zero lies between two bars, so that none is half a gain
    assert [cells[1] for cells in chart.table.rows] == [str(count) for count in bar["y"]]
    for few in ([], [0.0], [1e-9], [-3.0, 3.0]):
        assert sum(charts.histogram("t", few, across="x", description="d").figure["data"][0]["y"]) == len(few)


def test_the_table_of_lines_has_some_steps_with_the_first_and_the_last():
    long = list(range(1000))
    chart = charts.lines(
        "t", {"a": (long, long), "b": ([0, 999], [7.0, math.nan])}, across="step", up="y", description="d"
    )
    rows = chart.table.rows
    assert len(rows) == charts.ROWS and rows[0] == ["0", "0", "7"] and rows[-1] == ["999", "999", ABSENT]
    assert chart.table.headings == ["step", "a", "b"]
    assert [line["name"] for line in chart.figure["data"]] == ["a", "b"]
