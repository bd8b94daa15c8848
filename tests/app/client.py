"""A visitor without a browser: what a page's script sends, and what comes back."""

import json
import secrets
import urllib.request
from pathlib import Path
from typing import Any


class Visitor:
    """One session on a page.

    Args:
        address: of the page.
    """

    def __init__(self, address: str) -> None:
        self.address, self.session = address.rstrip("/"), secrets.token_hex(6)
        self.config = json.loads(self._open("config"))
        self.parts = {part["id"]: part["props"].get("elem_id") for part in self.config["components"]}
        self.defaults = {part["id"]: part["props"].get("value") for part in self.config["components"]}

    def upload(self, path: Path) -> dict[str, Any]:
        """Send a file, and give what the page knows it by."""
        edge = secrets.token_hex(8)
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n'
        body = (head + "Content-Type: image/png\r\n\r\n").encode() + path.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        kind = f"multipart/form-data; boundary={edge}"
        (where,) = json.loads(self._open("gradio_api/upload", body, kind))
        return {"path": where, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def ask(self, part: str, event: str, **given: Any) -> list[Any]:
        """Send an event of a part, with values of parts by name; others have those that the page began with.

        Returns:
            The page's answer, a value for each output.
        """
        self.send(part, event, **given)
        with urllib.request.urlopen(f"{self.address}/gradio_api/queue/data?session_hash={self.session}") as answer:
            for line in answer:
                message = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if message.get("msg") == "process_completed":
                    assert message["success"], message
                    found: list[Any] = message["output"]["data"]
                    return found
        raise AssertionError("the page did not answer")

    def send(self, part: str, event: str, **given: Any) -> None:
        """Send an event and wait for nothing."""
        (call,) = (
            call
            for call in self.config["dependencies"]
            if any(self.parts.get(where) == part and what == event for where, what in call["targets"])
        )
        data = [given.get(str(self.parts.get(where)), self.defaults.get(where)) for where in call["inputs"]]
        sent = {"data": data, "fn_index": call["id"], "session_hash": self.session, "trigger_id": None}
        self._open("gradio_api/queue/join", json.dumps(sent).encode(), "application/json")

    def _open(self, where: str, body: bytes | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(f"{self.address}/{where}", body, {"Content-Type": kind} if kind else {})
        with urllib.request.urlopen(request) as answer:
            found: bytes = answer.read()
            return found
