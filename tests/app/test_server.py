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

from wheretolook.app.desk import Desk, Session, Settings, without_folders
from wheretolook.app.examples import folder_examples
from wheretolook.app.shared import SharedNetwork
from wheretolook.app.views import LOOK_COLOUR, Fit, Look, look, open_picture
from wheretolook.report.style import class_colour

from ..networks.narrow import NAMES, narrow
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


def test_no_visitor_is_told_where_things_lie(tmp_path: Path) -> None:
    """Neither where drawings go, nor where examples or uploads are, nor when all goes well."""
    from wheretolook.app.server import serving

    private, out = tmp_path / "private one", tmp_path / "out"
    private.mkdir()
    (private / "broken.png").write_bytes(b"no image")
    picture(private / "good.png")
    drawn = np.zeros((48, 48, 4), np.uint8)
    drawn[10:20, 10:20] = (*LOOK_COLOUR, 255)
    Image.fromarray(drawn).save(tmp_path / "layer.png")
    desk = Desk([SharedNetwork("net", narrow())], folder_examples(private, Fit()), out, folders=[private])
    with serving(desk, exclusive=False, port=0) as found:
        visitor = Visitor(found)
        said = [visitor.ask("example", "input", example="broken")[1]]
        assert "broken.png is no image file" in said[0]
        shown = visitor.ask("example", "input", example="good")[1]
        sheet = {"background": None, "layers": [visitor.upload(tmp_path / "layer.png")], "composite": None}
        said += [visitor.ask("save", "click", editor=sheet)[0]]
        assert "masks/good.png" in said[-1] and (out / "masks/good.png").exists()
        (out / "classes.txt").write_text("others\n")
        sheet["layers"] = [visitor.upload(tmp_path / "layer.png")]
        said += [shown, visitor.ask("save", "click", editor=sheet)[0]]
        assert "classes.txt: expected the" in said[-1]
        (out / "classes.txt").unlink()
        (out / "masks/good.png").write_bytes(b"no image")
        sheet["layers"] = [visitor.upload(tmp_path / "layer.png")]
        said += [visitor.ask("save", "click", editor=sheet)[0]]
        assert "masks/good.png" in said[-1] and 'role="alert"' in said[-1]
    assert not [words for words in said if str(tmp_path) in words or "private" in words or str(out.parent) in words]


@pytest.mark.parametrize(
    ("words", "folders", "left"),
    [
        ("/srv/x/masks/a.png is broken", ["/srv/x"], "masks/a.png is broken"),
        ("cannot write /srv/x/y: no space", ["/srv/x", "/srv/x/y"], "cannot write y: no space"),
        ("/srv/xy/a.png and /srv/x/a.png", ["/srv/x"], "/srv/xy/a.png and a.png"),
        ("look into runs/drawn. Then", ["runs/drawn"], "look into drawn. Then"),
        ("a.b is no image.", ["."], "a.b is no image."),
    ],
)
def test_folders_are_left_out_of_what_is_said(words: str, folders: list[str], left: str) -> None:
    assert without_folders(words, map(Path, folders)) == left


def test_without_an_image_a_visitor_is_told_to_choose_one(address: str) -> None:
    visitor = Visitor(address)
    for part in ("erase", "save"):
        (status,) = (each for each in visitor.ask(part, "click") if isinstance(each, str) and "alert" in each)
        assert "drop one first" in status  # this page has no examples to choose


def test_the_colours_of_a_segmentation_are_named(address: str, tmp_path: Path) -> None:
    network = narrow()
    visitor = Visitor(address)
    path = picture(tmp_path / "colours.png")
    answer = visitor.ask("file", "upload", file=visitor.upload(path))
    colours = answer[6]
    prediction = look(network.eval(), open_picture(path).pixels, None, "grad_cam", exclusive=False)[1].prediction
    present = set(np.unique(prediction).tolist()) - {0}
    for index, name in enumerate(network.class_names):
        here = f'<span style="background: {class_colour(index)}"></span>{name}</li>'
        assert (here in colours) == (1 + index in present)


def test_classes_are_named_from_the_largest_and_only_those_of_either_network(tmp_path: Path) -> None:
    network = narrow()
    desk = Desk([SharedNetwork("a", network), SharedNetwork("b", network)], None, tmp_path)
    shown = open_picture(picture(tmp_path / "a.png", 8))
    before, after = np.zeros((8, 8), int), np.zeros((8, 8), int)
    nothing = Look(np.zeros(len(NAMES)), np.zeros((8, 8)), before)
    assert "No class" in desk.colours(Session(shown, (nothing, nothing._replace(prediction=after)), 0))
    before[0, :2], after[:4] = 1, 3
    colours = desk.colours(Session(shown, (nothing, nothing._replace(prediction=after)), 0))
    assert colours.index(NAMES[2]) < colours.index(NAMES[0]) and NAMES[1] not in colours
