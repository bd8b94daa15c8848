"""The page's server without a browser: who is let in, how much may be sent, and who waits for whom."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.app.desk import Desk, Session, Settings
from wheretolook.app.shared import SharedNetwork
from wheretolook.app.views import LOOK_COLOUR

from ..networks.narrow import narrow
from .client import Visitor

pytest.importorskip("gradio")

SLOW_CLASS = 1


@pytest.fixture(scope="module")
def slow() -> threading.Event:
    """Set once the image called slow may be answered."""
    return threading.Event()


@pytest.fixture(scope="module")
def hang() -> threading.Event:
    """Set once what is drawn for the slow class may be answered."""
    return threading.Event()


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def address(drawings: Path, slow: threading.Event, hang: threading.Event) -> Iterator[str]:
    from wheretolook.app.server import serving

    class Waiting(Desk):
        def look(self, picture, settings: Settings) -> Session:
            if picture.name == "slow":
                slow.wait(30)
            return super().look(picture, settings)

        def inside(self, session: Session, zones) -> str:
            if zones[0].any() and session.class_index == SLOW_CLASS:
                hang.wait(30)
            return super().inside(session, zones)

    desk = Waiting([SharedNetwork("net", narrow())], None, drawings)
    with serving(desk, exclusive=False, port=0, upload_limit=0.5) as found:
        yield found
        slow.set()
        hang.set()


def picture(path: Path, side: int = 48) -> Path:
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)).save(path)
    return path


def test_a_click_does_not_wait_behind_one_that_hangs_and_late_answers_change_nothing(
    address: str, tmp_path: Path, slow: threading.Event
) -> None:
    visitor, other = Visitor(address), Visitor(address)
    visitor.send("file", "upload", file=visitor.upload(picture(tmp_path / "slow.png")))
    quick = visitor.upload(picture(tmp_path / "quick.png"))
    answer = visitor.ask("file", "upload", file=quick)
    assert "quick, 48x48 pixels" in answer[1] and not slow.is_set()
    assert "quick" in other.ask("file", "upload", file=quick)[1]
    slow.set()
    late = visitor.ask("opacity", "input")  # of the session as it is: that of the quick one
    assert late[1] is not None


def test_a_late_answer_to_a_stroke_does_not_bring_the_class_before_back(
    address: str, tmp_path: Path, hang: threading.Event, drawings: Path
) -> None:
    visitor = Visitor(address)
    drawn = np.zeros((48, 48, 4), np.uint8)
    drawn[10:20, 10:20] = (*LOOK_COLOUR, 255)
    Image.fromarray(drawn).save(tmp_path / "layer.png")
    visitor.ask("file", "upload", file=visitor.upload(picture(tmp_path / "late.png")))
    visitor.ask("class", "input", **{"class": SLOW_CLASS})
    sheet = {"background": None, "layers": [visitor.upload(tmp_path / "layer.png")], "composite": None}
    visitor.send("editor", "input", editor=sheet)
    visitor.ask("class", "input", **{"class": SLOW_CLASS + 1})
    hang.set()
    time.sleep(0.3)  # the stroke is answered by now
    visitor.send("save", "click", editor=sheet)
    mask = drawings / "masks/late.png"
    for _ in range(100):
        if mask.exists():
            break
        time.sleep(0.1)
    with Image.open(mask) as saved:
        assert set(np.unique(saved).tolist()) == {0, 1 + SLOW_CLASS + 1}


def test_nothing_large_is_taken(address: str, tmp_path: Path) -> None:
    visitor = Visitor(address)
    with pytest.raises(OSError) as error:
        visitor.upload(picture(tmp_path / "large.png", 500))
    assert refused(error.value)
    for where in ("gradio_api/component_server", "gradio_api/queue/join"):
        request = urllib.request.Request(f"{address}{where}", bytes(2_000_000), {"Content-Type": "application/json"})
        with pytest.raises(OSError) as error:
            urllib.request.urlopen(request)
        assert refused(error.value)
    visitor.upload(picture(tmp_path / "small.png"))


def refused(error: OSError) -> bool:
    """An answer, or a connection that was closed before all was sent: which one, the sender's speed decides."""
    return getattr(error, "code", None) == 413 or "reset" in str(error).lower() or "broken pipe" in str(error).lower()


def test_files_of_the_machine_are_not_served(address: str) -> None:
    for where in ("/etc/passwd", str(Path(__file__))):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{address}gradio_api/file={where}")
        assert error.value.code in (403, 404)


def test_a_login_keeps_everything_from_others(tmp_path: Path) -> None:
    from wheretolook.app.server import serving

    desk = Desk([SharedNetwork("net", narrow())], None, tmp_path)
    with serving(desk, exclusive=False, port=0, login=("ann", "secret")) as address:
        for where, body in (("config", None), ("gradio_api/upload", b"x"), ("gradio_api/component_server", b"{}")):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(f"{address}{where}", body)
            assert error.value.code == 401, where
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        for password, code in (("wrong", 400), ("secret", 200)):
            request = urllib.request.Request(f"{address}login", f"username=ann&password={password}".encode(), kind)
            try:
                found = urllib.request.urlopen(request).status
            except urllib.error.HTTPError as error:
                found = error.code
            assert found == code


def test_a_page_that_ends_takes_no_other_pages_uploads_along(address: str, tmp_path: Path) -> None:
    from wheretolook.app.server import serving

    with serving(Desk([SharedNetwork("net", narrow())], None, tmp_path / "drawn"), exclusive=False, port=0):
        pass
    visitor = Visitor(address)
    assert "kept" in visitor.ask("file", "upload", file=visitor.upload(picture(tmp_path / "kept.png")))[1]
