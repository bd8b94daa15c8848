"""Fetching by name, against a server of our own on this machine."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wheretolook.errors import ConfigError, DataError
from wheretolook.public import BLOCK, PUBLIC_FILES, VOC_CLASSES, PublicFile, fetch

CONTENT = bytes(range(256)) * 5000  # more than one block


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "fcn.npz").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def files(address: str, content: bytes = CONTENT) -> dict[str, PublicFile]:
    return {"fcn.npz": PublicFile(address, hashlib.md5(content).hexdigest(), "a network")}


def test_the_right_file_comes_with_progress_and_is_not_fetched_twice(address, tmp_path):
    seen = []
    known = files(f"{address}/fcn.npz")
    path = fetch("fcn.npz", tmp_path / "new", files=known, progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "new" / "fcn.npz" and path.read_bytes() == CONTENT
    assert seen == [(BLOCK, len(CONTENT)), (len(CONTENT), len(CONTENT))]
    assert fetch("fcn.npz", tmp_path / "new", files=files("http://127.0.0.1:1/gone")) == path


def test_a_wrong_checksum_leaves_nothing_behind(address, tmp_path):
    known = files(f"{address}/fcn.npz", b"what was published")
    with pytest.raises(DataError) as caught:
        fetch("fcn.npz", tmp_path, files=known)
    got, message = hashlib.md5(CONTENT).hexdigest(), str(caught.value)
    assert f"cannot fetch fcn.npz: expected MD5 {known['fcn.npz'].md5}, got {got}" in message
    assert f"put it at {tmp_path / 'fcn.npz'}" in message and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_that_is_there_already_is_named_and_kept(tmp_path):
    path = tmp_path / "fcn.npz"
    path.write_bytes(b"half a download")
    with pytest.raises(
        DataError, match=f"^{re.escape(str(path))}: expected MD5 .*; remove it and fetch it again from http://x/y$"
    ):
        fetch("fcn.npz", tmp_path, files=files("http://x/y"))
    assert path.read_bytes() == b"half a download"


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def test_a_server_that_is_down_or_has_no_such_file_tells_how_to_help_oneself(address, tmp_path):
    down = f"http://127.0.0.1:{closed_port()}/fcn.npz"
    for where, why in ((down, "refused"), (f"{address}/missing.npz", "not found")):
        with pytest.raises(DataError, match=f"(?i)cannot fetch fcn.npz .*{why}") as caught:
            fetch("fcn.npz", tmp_path, files=files(where))
        message = str(caught.value)
        assert message.endswith(f"fetch it by hand from {where} and put it at {tmp_path / 'fcn.npz'}")
        assert "\n" not in message and not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", [b"", b"220 mail.example.org ESMTP\r\n\r\n"])
def test_a_server_that_hangs_up_or_speaks_another_language(answer, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(DataError, match=r"^cannot fetch fcn\.npz \(.+\); fetch it by hand from .*$"):
            fetch("fcn.npz", tmp_path, files=files(f"http://127.0.0.1:{server.getsockname()[1]}/fcn.npz"))
        thread.join()
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_lists_the_known_and_the_nearest(tmp_path):
    with pytest.raises(
        ConfigError, match=r"got fcn8s_from_cafe\.npz; did you mean 'fcn8s_from_caffe\.npz'\?"
    ) as caught:
        fetch("fcn8s_from_cafe.npz", tmp_path)
    assert all(name in str(caught.value) for name in PUBLIC_FILES)


def test_the_published_checksums_and_classes():
    """As published with the predecessor's files; VOC's classes in the order of its mask values."""
    assert PUBLIC_FILES["fcn8s_from_caffe.npz"].md5 == "256c2a8235c1c65e62e48d3284fbd384"
    assert all(re.fullmatch("[0-9a-f]{32}", file.md5) for file in PUBLIC_FILES.values())
    assert len({file.md5 for file in PUBLIC_FILES.values()}) == len(PUBLIC_FILES)
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES) and len(VOC_CLASSES) == 20
    assert PUBLIC_FILES["fcn8s-atonce_from_caffe.npz"].scales == {"score_pool4": 0.01, "score_pool3": 0.0001}
