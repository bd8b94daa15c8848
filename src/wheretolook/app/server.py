"""Serve the page: on this machine alone unless told otherwise, with limits, and without a word to anybody outside."""

import os
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: no telemetry and no look for newer versions
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from PIL import Image

from wheretolook.app import views
from wheretolook.app.desk import Desk
from wheretolook.app.page import CSS, Page, theme
from wheretolook.errors import ConfigError

SESSIONS = 100  # whose state is kept at once; the one that was used longest ago goes first
MEGABYTE = 1 << 20
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]


@contextmanager
def serving(
    desk: Desk,
    *,
    exclusive: bool,
    host: str = "127.0.0.1",
    port: int = 7860,
    login: tuple[str, str] | None = None,
    upload_limit: float = 20,
) -> Iterator[str]:
    """Serve the page for as long as the block runs.

    Args:
        desk: what answers.
        exclusive: whether images show exactly one class, until somebody says otherwise.
        host: the address to listen at.
        port: 0 for any that is free.
        login: user and password that everybody has to give; None for none.
        upload_limit: megabytes of a file, and of anything else that is sent.

    Yields:
        The page's address.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    Image.MAX_IMAGE_PIXELS = views.MOST_PIXELS // 2  # Pillow refuses twice as many, and only warns of fewer
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with _uploads():
        page = Page(desk, exclusive=exclusive)
        limit = int(upload_limit * MEGABYTE)
        try:
            _, address, _ = page.blocks.launch(
                server_name=host,
                server_port=port or _free_port(host),
                auth=None if login is None else [login],
                auth_message="Where does a network look? This page asks for a user and a password.",
                max_file_size=limit,
                app_kwargs={"middleware": [(BodyLimit, (), {"limit": limit})]},
                state_session_capacity=SESSIONS,
                theme=theme(),
                css=CSS,
                share=False,
                inbrowser=False,
                ssr_mode=False,
                run_history=False,
                enable_monitoring=False,
                mcp_server=False,
                footer_links=[],
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen at {host}:{port}; is something else there? give another --port"
            ) from error
        try:
            yield address
        finally:
            page.blocks.close(verbose=False)


@contextmanager
def _uploads() -> Iterator[None]:
    """A folder for uploads and pictures, gone when the page is; then those of a page around this one count again."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="wheretolook-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = before


class BodyLimit:
    """Refuses what is longer than it should be, whether or not it says so.

    Args:
        app: what is served.
        limit: bytes of a request's body.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Callable[..., Awaitable[None]]) -> None:
        """Pass a request on, and no more of its body than the limit."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and _length(headers.get(b"content-length", b"0")) > self.limit + MEGABYTE:
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"too large"})
            return
        passed = 0

        async def counted() -> dict[str, Any]:
            nonlocal passed
            message = await receive()
            passed += len(message.get("body", b""))
            return {"type": "http.disconnect"} if passed > self.limit + MEGABYTE else message

        await self.app(scope, counted, send)


def _length(written: bytes) -> int:
    return int(written) if written.isdigit() else 0


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])
