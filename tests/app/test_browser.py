"""The page in a real browser, which asks nobody outside for anything, whatever is done: see `visit`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wheretolook.data import open_dataset
from wheretolook.networks.files import save_network
from wheretolook.options.data import DataOptions

from ..data.folders_on_disk import write_lines
from ..networks.narrow import NAMES, narrow
from .client import Visitor
from .test_views import bomb

CHROMIUM = "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
PATIENCE = 20_000  # milliseconds

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
if not Path(CHROMIUM).exists():
    pytest.skip(f"there is no browser at {CHROMIUM}", allow_module_level=True)


class Server:
    """The command itself, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.out, self.kept = folder / "drawn", folder / "kept"
        self.kept.mkdir()
        for seed, name in enumerate(("before", "after")):
            save_network(narrow(seed=seed), folder / f"{name}.safetensors")
        (folder / "photos").mkdir()
        for name in ("one", "two"):
            picture(folder / "photos" / f"{name}.png")
        argv = ["app", "--weights", "before.safetensors", "--after", "after.safetensors", "--port", "0"]
        argv += ["--out", str(self.out), "--images", "photos"]
        code = "import sys; from wheretolook.cli.main import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", code, *argv],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(self.kept)},
            stdout=subprocess.PIPE,
            text=True,
        )
        line = next(line for line in self.process.stdout if "the page is at" in line)
        self.address = line.split("the page is at ")[1].split(";")[0]

    def memory(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("served"))
    yield found
    assert any(found.kept.rglob("*.png"))
    found.process.terminate()
    found.process.wait(20)
    assert not any(found.kept.rglob("*.*"))  # uploads go with the page


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Every address that a page has asked for."""
    return []


@pytest.fixture(scope="module")
def visit(server: Server, asked: list[str]) -> Iterator[Callable[[], Any]]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)

        def visited() -> Any:
            page = browser.new_context().new_page()
            page.set_default_timeout(PATIENCE)
            page.on("request", lambda request: asked.append(request.url))
            page.goto(server.address)
            page.wait_for_selector("#file input[type=file]", state="attached")
            return page

        yield visited
        browser.close()
    own = (server.address, "data:", f"blob:{server.address}")
    assert len(asked) > 50 and not [address for address in asked if not address.startswith(own)]


@pytest.fixture
def page(visit: Callable[[], Any]) -> Iterator[Any]:
    found = visit()
    yield found
    found.context.close()


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (90, 120)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def drop(page: Any, path: Path) -> None:
    if page.locator("#file button[aria-label*='emove'], #file button[aria-label*='lear']").count():
        page.locator("#file button[aria-label*='emove'], #file button[aria-label*='lear']").first.click()
    page.set_input_files("#file input[type=file]", path)


def says(page: Any, words: str) -> None:
    page.wait_for_function(f"document.querySelector('#status').innerText.includes({words!r})")


def shown(page: Any, name: str = "attention") -> list[str]:
    return page.eval_on_selector_all(f"#{name} img", "found => found.map(image => image.src)")


def changes(page: Any, act: Callable[[], object], name: str = "attention") -> None:
    before = shown(page, name)
    act()
    page.wait_for_function(
        "([name, before]) => JSON.stringify([...document.querySelectorAll(`#${name} img`)].map(image => image.src))"
        " != JSON.stringify(before)",
        arg=[name, before],
    )


def choose(page: Any, part: str, words: str) -> None:
    page.click(f"#{part} input")
    page.locator("[role=option]").filter(has_text=words).first.click()


def test_the_page_is_as_wide_in_every_tab(page: Any) -> None:
    """Also while nothing is shown that would hold it open."""
    widths = set()
    for name in ("Erase", "Draw", "Look"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(300)
        widths.add(page.locator("#pictures").bounding_box()["width"])
    assert len(widths) == 1 and widths.pop() > 700


def test_an_image_is_dropped_a_class_chosen_and_attention_seen_through(page: Any, tmp_path: Path) -> None:
    changes(page, lambda: drop(page, picture(tmp_path / "mine.png")))
    says(page, "mine, 120x90 pixels")
    chances = page.inner_text("#chances")
    assert all(name in chances for name in (*NAMES, "before", "after"))
    other = next(name for name in NAMES if f"►\N{NO-BREAK SPACE}{name}" not in chances)
    changes(page, lambda: choose(page, "class", other))
    page.wait_for_function(f"document.querySelector('#chances').innerText.includes('►\N{NO-BREAK SPACE}{other}')")
    changes(page, lambda: page.locator("#opacity input[type=range]").press("ArrowLeft"))
    page.get_by_text("How attention is made").click()
    changes(page, lambda: choose(page, "method", "layer cam"))
    assert len(shown(page, "masks")) == 2  # it segments, before and after


def test_before_and_after_are_moved_apart(page: Any, tmp_path: Path) -> None:
    changes(page, lambda: drop(page, picture(tmp_path / "mine.png")))
    page.wait_for_timeout(500)
    handle, frame = page.locator("#attention .slider-wrap .inner"), page.locator("#attention").bounding_box()
    before = handle.bounding_box()
    page.mouse.move(before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.7 * frame["width"], before["y"] + 20, steps=4)
    page.mouse.up()
    assert handle.bounding_box()["x"] > before["x"] + 20


def test_what_is_attended_to_is_erased(page: Any, tmp_path: Path) -> None:
    changes(page, lambda: drop(page, picture(tmp_path / "mine.png")))
    page.get_by_role("tab", name="Erase").click()
    page.click("#erase")
    page.wait_for_selector("#falls table")
    assert page.inner_text("#falls").count("→") == 2 * len(NAMES) + 1  # each class before and after, and the heading
    changes(page, lambda: page.locator("#threshold input[type=range]").press("ArrowLeft"), "erased")


def test_a_drawing_is_kept_and_read_back_and_the_next_image_comes(page: Any, server: Server) -> None:
    changes(page, lambda: choose(page, "example", "one"))
    says(page, "one, 120x90 pixels")
    page.get_by_role("tab", name="Draw").click()
    canvas = page.locator("#editor canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    box = canvas.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle - 60, height)
    page.mouse.down()
    page.mouse.move(middle + 60, height, steps=6)
    page.mouse.up()
    page.wait_for_selector("#inside table")
    assert "look here" in page.inner_text("#inside")
    page.click("#save")
    says(page, "masks/one.png")
    write_lines(server.out / "all.txt", "one")
    dataset = open_dataset(DataOptions(root=str(server.out)), str(server.out / "all.txt"))
    (plane,) = dataset[0].targets
    assert dataset.class_names == NAMES and plane.shape == (90, 120)
    rows, columns = np.nonzero(plane.numpy() == 1)
    assert abs(rows.mean() - 45) < 4 and abs(columns.mean() - 60) < 4 and np.ptp(columns) > 1.5 * np.ptp(rows) > 0
    assert np.ptp(rows) < 8  # a brush suits its picture, small ones too
    page.click("#next")
    says(page, "two, 120x90 pixels")


def test_what_is_shown_came_from_the_part_that_names_it(page: Any, tmp_path: Path) -> None:
    """An example puts the upload's name away, and an upload the example's."""
    changes(page, lambda: drop(page, picture(tmp_path / "mine.png", seed=3)))
    assert "mine" in page.inner_text("#file")
    changes(page, lambda: choose(page, "example", "two"))
    page.wait_for_function("!document.querySelector('#file').innerText.includes('mine')")
    assert page.input_value("#example input") == "two"
    changes(page, lambda: page.set_input_files("#file input[type=file]", picture(tmp_path / "other.png", seed=5)))
    says(page, "other, 120x90 pixels")
    page.wait_for_function("document.querySelector('#example input').value === ''")


def test_files_that_are_not_what_they_seem_are_said_and_the_page_goes_on(page: Any, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image at all")
    drop(page, tmp_path / "text.jpg")
    says(page, "text.jpg is no image file, or a broken one")
    assert "/" not in page.inner_text("#status")  # where it lies on the server is nobody's business
    drop(page, bomb(tmp_path / "bomb.png", 50_000))
    says(page, "more than 64,000,000 pixels; make it smaller")
    drop(page, picture(tmp_path / "good.png"))
    says(page, "good, 120x90 pixels")


def test_two_people_at_once_see_their_own(visit: Callable[[], Any], tmp_path: Path) -> None:
    pages = [visit(), visit()]
    for number, page in enumerate(pages):
        drop(page, picture(tmp_path / f"of {number}.png", seed=number, size=(60 + number, 80)))
    for number, page in enumerate(pages):
        says(page, f"of {number}, 80x{60 + number} pixels")
    assert len({page.inner_text("#chances") for page in pages}) == 2
    changes(pages[0], lambda: pages[0].locator("#opacity input[type=range]").press("ArrowLeft"))
    assert "of 1" in pages[1].inner_text("#status")
    for page in pages:
        page.context.close()


def test_memory_stays_over_two_hundred_requests(server: Server, tmp_path: Path) -> None:
    """Each of another visitor with another image."""
    kept = []
    for number in range(200):
        visitor = Visitor(server.address)
        visitor.ask("file", "upload", file=visitor.upload(picture(tmp_path / "some.png", seed=number)))
        if number in (99, 199):
            time.sleep(0.5)
            kept.append(server.memory())
    assert kept[1] - kept[0] < 15, kept  # megabytes
