"""A TCP proxy before a real server: passes bytes on, or fails as networks and overloaded servers do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Proxy:
    """A proxy that listens on loopback.

    Attributes
    ----------
    target : tuple of str and int
        Where the real server listens.
    failing : str
        What happens to a new connection: ``"no"``: it is passed on; ``"busy"``: each request is answered 503; ``"closed"``: it is closed
        at once; ``"cut"``: it is closed after ``bytes`` of what the client sends; ``"slow"``: what the server says comes ``seconds`` late.
    times : int or None
        How many connections fail before all is well again; None: every one.
    failed : int
        How many connections have failed.
    """

    target: tuple[str, int]
    failing: str = "no"
    times: int | None = None
    bytes: int = 2000
    seconds: float = 0.3
    failed: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def fail(self, how: str, times: int | None = None) -> None:
        """Fail from now on, connections that are open included."""
        with self._lock:
            self.failing, self.times, self.failed = how, times, 0
            for each in self._open:  # a client keeps connections alive: it shall open new ones
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.fail("closed")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _fault(self) -> str:
        """Return what happens to a new connection, and count it."""
        with self._lock:
            if self.failing == "no" or (self.times is not None and self.failed >= self.times):
                return "no"
            self.failed += 1
            return self.failing

    def _serve(self, client: socket.socket) -> None:
        fault = self._fault()
        with contextlib.suppress(OSError), client:
            if fault == "busy":
                if b"websocket" in client.recv(1 << 16).lower():  # a stream of events is no request: its client says nothing of a 503
                    with self._lock:
                        self.failed -= 1
                client.sendall(_BUSY)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):  # else the answer may be lost with what was not read
                    pass
            elif fault != "closed":
                with socket.create_connection(self.target, timeout=30) as server:
                    server.settimeout(None)
                    with self._lock:
                        self._open += [client, server]
                    late = self.seconds if fault == "slow" else 0.0
                    backwards = threading.Thread(target=self._pass_on, args=(server, client, late), daemon=True)
                    backwards.start()
                    self._pass_on(client, server, 0.0, self.bytes if fault == "cut" else None)
                    backwards.join()

    def _pass_on(self, giver: socket.socket, taker: socket.socket, late: float, limit: int | None = None) -> None:
        """Pass bytes on until one side ends, or so many have passed."""
        passed = 0
        with contextlib.suppress(OSError):
            while data := giver.recv(1 << 16):
                time.sleep(late)
                if limit is not None and passed + len(data) > limit:
                    giver.shutdown(socket.SHUT_RDWR)
                    break
                passed += len(data)
                taker.sendall(data)
        with contextlib.suppress(OSError):
            taker.shutdown(socket.SHUT_RDWR if limit is not None else socket.SHUT_WR)


@contextlib.contextmanager
def proxy_of(url: str) -> Iterator[Proxy]:
    """Hold a proxy before the server of a URL."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    proxy = Proxy((place.hostname, place.port))
    try:
        yield proxy
    finally:
        proxy.close()
