"""The command `app` before its page is there: what it refuses, and that the password stays off the command line."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from wheretolook.cli import app as command
from wheretolook.cli.app import read_login
from wheretolook.cli.main import main
from wheretolook.errors import ConfigError
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from ..command_line import CLASSES, NARROW, SERVED, complaint
from ..data.folders_on_disk import write_lines


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by its default name lands here."""
    monkeypatch.chdir(tmp_path)
    save_network(FCN8s(CLASSES, **NARROW), "net.safetensors")
    save_network(FCN8s(("x", "y", "z"), **NARROW), "other.safetensors")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, dict[str, object]]]:
    """What would have been served: the desk and how."""
    pytest.importorskip("gradio")
    from wheretolook.app import server

    found = []

    @contextmanager
    def serving(desk: object, **how: object):
        found.append((desk, how))
        yield "http://there/"

    monkeypatch.setattr(server, "serving", serving)
    monkeypatch.setattr(command, "_wait", lambda: None)
    return found


def test_without_gradio_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "wheretolook.app.server", raising=False)
    monkeypatch.delitem(sys.modules, "wheretolook.app.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    said = complaint(capsys, "app", "--weights=net.safetensors")
    assert said.startswith("expected Gradio") and said.endswith("pip install 'wheretolook[app]'")


def test_a_login_is_read_from_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGIN", "ann:a:b c")
    write_lines(tmp_path / "login.txt", "ben:x")
    assert read_login("env:LOGIN") == ("ann", "a:b c") and read_login(str(tmp_path / "login.txt")) == ("ben", "x")
    write_lines(tmp_path / "half.txt", "secret")
    for where, words in (
        ("env:NONE", "no environment variable NONE"),
        ("half.txt", "expected user:password in half.txt"),
        ("missing.txt", "cannot read the login from missing.txt"),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            read_login(where)
        assert "secret" not in str(error.value)


def test_the_page_is_of_this_machine_alone_and_of_scenes_for_their_networks(served: list) -> None:
    assert main(["app", "--weights=net.safetensors", *SERVED]) == 0
    ((desk, how),) = served
    assert how["host"] == "127.0.0.1" and how["login"] is None and not how["exclusive"]
    assert len(desk.examples.names) == 5 and desk.titles == ["net.safetensors"]
    assert not Path("runs").exists()  # nothing is made until something is drawn


def test_two_networks_of_other_classes_are_refused(served: list, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "app", "--weights=net.safetensors", "--after=other.safetensors")
    assert said.startswith("other.safetensors: expected the classes of net.safetensors, striped_disc")
    assert not served


def test_images_of_a_folder_and_a_login(served: list, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (8, 8)).save("photos/a.png")
    monkeypatch.setenv("LOGIN", "ann:secret")
    argv = ["app", "--weights=other.safetensors", "--after=other.safetensors", "--images=photos", "--login=env:LOGIN"]
    assert main(argv) == 0
    ((desk, how),) = served
    assert desk.examples.names == ("a",) and how["login"] == ("ann", "secret")
    assert desk.titles == ["before", "after"]


def test_images_to_draw_on_are_suggested_with_reasons(served: list) -> None:
    """The annotation of the scenes is left out by its fraction."""
    Path("data/images").mkdir(parents=True)
    for index in range(4):
        Image.new("RGB", (40, 40), (60 * index, 0, 0)).save(f"data/images/{index}.png")
    write_lines(Path("data/labels.csv"), "image,classes", *(f"{index},x" for index in range(4)))
    write_lines(Path("data/classes.txt"), "x", "y", "z")
    write_lines(Path("data/splits/train.txt"), *"0123")
    argv = ["app", "--weights=other.safetensors", "--data.root=data", "--suggest=diverse"]
    assert main(argv) == 0
    ((desk, _),) = served
    assert set(desk.examples.reasons) == set("0123")
    first = desk.next_example(None)
    assert first == next(iter(desk.examples.reasons))
    assert desk.about(desk.examples.picture(first)).startswith(f"{first}, 40x40 pixels; suggested: ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--images=photos", "--data.root=photos"], "expected images or data.root, got both"),
        (["--port=70000"], "a port below 65536"),
        (["--upload_limit=0"], "expected upload_limit > 0"),
        (["--images=nowhere"], "found none; check the path"),
        (["--login=env:NOT_THERE"], "no environment variable"),
    ],
)
def test_what_cannot_work_is_said(
    served: list, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert words in complaint(capsys, "app", "--weights=net.safetensors", *argv)
    assert not served


def test_neither_weights_nor_names_is_said(served: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "app").startswith("expected --weights of a trained network, or --network that has them")
