"""The page's server without a browser: who is let in, how much may be sent, and who waits for whom."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.app.desk import Desk, Session, Settings
from wheretolook.app.shared import SharedNetwork

from ..networks.narrow import narrow
from .client import Visitor

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def slow() -> threading.Event:
    """Set once the image called slow may be answered."""
    return threading.Event()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, slow: threading.Event) -> Iterator[str]:
    from wheretolook.app.server import serving

    class Waiting(Desk):
        def look(self, picture, settings: Settings, zones=None) -> Session:
            if picture.name == "slow":
                slow.wait(30)
            return super().look(picture, settings, zones)

    desk = Waiting([SharedNetwork("net", narrow())], None, tmp_path_factory.mktemp("drawn"))
    with serving(desk, exclusive=False, port=0, upload_limit=0.5) as found:
        yield found
        slow.set()


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


def test_nothing_large_is_taken(address: str, tmp_path: Path) -> None:
    visitor = Visitor(address)
    with pytest.raises(urllib.error.HTTPError) as error:
        visitor.upload(picture(tmp_path / "large.png", 500))
    assert error.value.code == 413
    for where in ("gradio_api/component_server", "gradio_api/queue/join"):
        request = urllib.request.Request(f"{address}{where}", bytes(2_000_000), {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request)
        assert error.value.code == 413


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
