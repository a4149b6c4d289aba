"""An HTTP server on loopback that keeps what is posted to it: a catalogue of lineage, a channel for messages."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Posted(NamedTuple):
    """One request that was answered well: its path, headers with lower-case names, and its body, read as JSON."""

    path: str
    headers: dict[str, str]
    body: Any


class Receiver(ThreadingHTTPServer):
    """The server.

    Attributes
    ----------
    posted : list of Posted
        What it took, in order.
    refusals : list of int
        Status codes with which it answers the next requests, instead of taking them.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[Posted] = []
        self.refusals: list[int] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            status = self.server.refusals.pop(0) if self.server.refusals else 200
            if status == 200:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.server.posted.append(Posted(self.path, headers, json.loads(body)))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on the terminal of the tests."""


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Hold a receiver."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
