"""A page in a real browser: it filters, sorts, slides and prints, asks for nothing and complains of nothing."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from wheretolook.report import charts
from wheretolook.report.components import Card, Code, Columns, Details, Gallery, Section, Slide, Slider, Table, Text
from wheretolook.report.page import write_page

from .test_page import EVIL, everything, picture

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip(f"there is no browser at {CHROMIUM}", allow_module_level=True)

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
GAINS = [float(math.floor(40 * math.sin(5 * number))) for number in range(20)]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty cards, two slides, a chart, and every component with a hostile name."""
    cards = [
        Card(f"n{number}", [picture()], "ab"[number % 2], "xyz"[number % 3], gain) for number, gain in enumerate(GAINS)
    ]
    slides = [Slide("one", picture("a", 1), picture("b", 2)), Slide("two", picture("c", 3), picture("d", 4))]
    parts = [Gallery("g", cards), Slider("s", slides), charts.histogram("h", GAINS, across="x", description="d")]
    path = tmp_path_factory.mktemp("page") / "a.html"
    write_page(path, "t", [Section("first", [*parts, Details("folded", [Text("inside")])]), *everything(EVIL)])
    return path


@pytest.fixture
def page(browser: sync_api.Browser, file: Path) -> Iterator[sync_api.Page]:
    """The page, opened from disk; whatever it says on the console or asks for is a failure."""
    said: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert said == [file.as_uri()]


def shown(page: sync_api.Page) -> list[str]:
    cards = page.locator(".gallery").first.locator(".card")
    return [card.locator("strong").inner_text() for card in cards.all() if card.is_visible()]


def test_cards_are_filtered_sorted_and_counted(page: sync_api.Page):
    gallery = page.locator(".gallery").first
    assert shown(page) == [f"n{number}" for number in range(12)]
    assert gallery.locator("output").inner_text() == "12 of 20 shown"
    gallery.get_by_role("button", name="Show all 20").click()
    assert shown(page) == [f"n{number}" for number in range(20)] and not gallery.locator("button.more").is_visible()
    gallery.get_by_label("Order").select_option("largest gain first")
    assert shown(page) == [f"n{number}" for number in sorted(range(20), key=lambda number: -GAINS[number])]
    gallery.get_by_label("Order").select_option("smallest gain first")
    assert shown(page) == [f"n{number}" for number in sorted(range(20), key=lambda number: GAINS[number])]
    gallery.get_by_label("Order").select_option("by name")
    gallery.get_by_label("Class").select_option("b")
    gallery.get_by_label("Group").select_option("y")
    assert shown(page) == ["n1", "n7", "n13", "n19"]
    assert gallery.locator("output").inner_text() == "4 of 20 shown"


def test_the_slider_moves_by_keyboard_and_mouse(page: sync_api.Page):
    slider = page.locator(".slider").first
    handle = slider.get_by_role("slider")
    handle.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert handle.input_value() == "60" and handle.get_attribute("aria-valuetext") == "60 % before, 40 % after"
    after = slider.locator(".slide").first.locator("img").nth(1)
    assert after.evaluate("image => getComputedStyle(image).clipPath") == "inset(0px 0px 0px 60%)"
    page.keyboard.press("Home")
    assert handle.input_value() == "0"
    slider.locator(".pair").first.scroll_into_view_if_needed()
    box = slider.locator(".pair").first.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    assert handle.input_value() == "25"
    slider.get_by_label("Image").select_option("two")
    assert [slide.is_visible() for slide in slider.locator(".slide").all()] == [False, True]


def test_charts_are_drawn_and_follow_dark_and_light(page: sync_api.Page):
    chart = page.locator(".plot").first
    assert chart.locator("svg .bars path").count() > 5
    colour = "document.querySelector('.plot .xtick text').style.fill"
    light = page.evaluate(colour)
    page.get_by_role("button", name="Dark").click()
    assert page.get_by_role("button", name="Light").is_visible()
    assert page.evaluate(colour) != light
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 30)"
    page.emulate_media(color_scheme="dark")
    assert page.get_by_role("button", name="Light").is_visible()


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(page: sync_api.Page, width: int):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_paper_everything_is_open_and_nothing_to_press(page: sync_api.Page):
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert len(shown(page)) == 20 and page.get_by_text("inside", exact=True).is_visible()
    assert not any(one.is_visible() for one in page.locator("button, select, input, nav, .figures").all())
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(shown(page)) == 12 and not page.get_by_text("inside", exact=True).is_visible()


def test_without_scripts_all_is_there(browser: sync_api.Browser, file: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert len(shown(page)) == 20 and page.locator(".slide").nth(1).is_visible()
    assert not any(one.is_visible() for one in page.locator("button, select, input").all())
    context.close()


@pytest.fixture(scope="module")
def charted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Charts of each kind, with long names in their legends, one of them folded away; and many settings."""
    names = ["Control + classification and more", "Guided by sixteen masks", "the third of them", "other"]
    values = [30.0, 60.0]
    many = dict.fromkeys(names, values)
    drawn = [
        charts.bars("b", ["first", "second"], many, up="percent", description="d"),
        charts.lines("l", {name: ([0, 1], values) for name in names}, across="step", up=""),
        charts.histogram("h", GAINS, across="x", description="d"),
    ]
    rows = [[f"data.setting_{number}", str(number)] for number in range(160)]
    text = "\n".join(f"  setting_{number}: null" for number in range(300))
    folded = [Details("f", drawn[:1]), Details("table", [Table("t", ["", "value"], rows, numbers=False)])]
    path = tmp_path_factory.mktemp("page") / "charted.html"
    write_page(path, "t", [Section("s", [*drawn, Columns(drawn), *folded, Details("text", [Code(text)])])])
    return path


@pytest.mark.parametrize(("width", "touch"), [(360, True), (390, True), (820, True), (1280, False)])
def test_buttons_of_charts_cover_nothing(browser: sync_api.Browser, charted: Path, width: int, touch: bool):
    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=touch, is_mobile=touch)
    page = context.new_page()
    page.goto(charted.as_uri())
    page.locator("summary", has_text="f").last.scroll_into_view_if_needed()
    page.locator("details.fold > summary").first.click()
    page.wait_for_selector("details.fold .modebar-btn", state="attached")
    covered = page.evaluate(
        """() => Array.from(document.querySelectorAll('.modebar-btn')).flatMap((button) => {
          const mine = button.getBoundingClientRect();
          const others = button.closest('.chart').querySelectorAll('figcaption, p, summary, .legend, .plot text, .bg');
          return Array.from(others).filter((other) => {
            const box = other.getBoundingClientRect();
            return box.left < mine.right && mine.left < box.right && box.top < mine.bottom && mine.top < box.bottom;
          }).map((other) => other.outerHTML.slice(0, 80));
        })"""
    )
    inside = page.evaluate(
        """() => Array.from(document.querySelectorAll('.modebar-btn')).every((button) => {
          const mine = button.getBoundingClientRect(), box = button.closest('.chart').getBoundingClientRect();
          return mine.width && mine.right <= box.right && mine.bottom <= box.bottom;
        })"""
    )
    assert page.locator(".modebar-btn").count() > 20 and covered == [] and inside
    page.locator(".figures > summary").first.click()  # nothing lies over it either
    assert page.locator(".figures table").first.is_visible()
    modes = page.evaluate("Array.from(document.querySelectorAll('.plot'), (plot) => plot._fullLayout.dragmode)")
    assert set(modes) == ({False} if touch else {"zoom"})  # a finger on a chart moves the page
    context.close()


def test_settings_fill_their_sheets_of_paper(browser: sync_api.Browser, charted: Path):
    """Rows of two short cells, and lines of text: of 160 and 300 hardly 40 would fit below each other."""
    page = browser.new_page()
    page.goto(charted.as_uri())
    sheets = len(re.findall(rb"/Type /Page\b(?!s)", page.pdf(format="A4")))
    page.evaluate("document.querySelectorAll('.fold:has(.pairs), .fold:has(.code)').forEach((each) => each.remove())")
    assert sheets - len(re.findall(rb"/Type /Page\b(?!s)", page.pdf(format="A4"))) <= 5
    page.close()


LONG = [
    "Bacillariophyceae_indet_forma_longissima_pseudotenuis <b>&",
    "jigsaw puzzle of interlocking wooden pieces",
    "cat",
]


def test_long_names_leave_room_for_numbers_and_bars(browser: sync_api.Browser, tmp_path: Path):
    chart = charts.bars("b", LONG, {name: [1.0, 2.0, 3.0] for name in LONG}, up="percent", description="d")
    table = Table("t", ["Class", "right"], [[name, "17"] for name in LONG])
    write_page(tmp_path / "a.html", "t", [Section("s", [chart, table])])
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto((tmp_path / "a.html").as_uri())
    ticks = page.locator(".plot .ytick text")
    assert [tick.text_content() for tick in ticks.all()][2] == "cat"
    boxes = [one.bounding_box() for one in [*ticks.all(), *page.locator(".plot .legendtext").all()]]
    chart_box = page.locator(".chart").bounding_box()
    for box in boxes:
        assert chart_box["x"] <= box["x"] and box["x"] + box["width"] <= chart_box["x"] + chart_box["width"]
    assert max(tick.bounding_box()["width"] for tick in ticks.all()) < 0.45 * chart_box["width"]
    assert ticks.first.text_content().startswith("Bacill") and ticks.first.text_content().endswith("<b>&")
    for number in page.locator("table").last.get_by_text("17").all():
        assert number.bounding_box()["x"] < 370
    page.close()
