"""Between a client and an HTTP server: every byte is passed on as it is, and the requests are counted by method.

Not for timing. It reads no more of a request than its first line and the length of its body.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from benchmarks.over_http.servers import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE_BYTES = 256 * 1024
_END_OF_HEAD = b"\r\n\r\n"
WRITING = ("PUT", "POST")
"""The methods that write objects: puts, parts, and the beginning and the end of an upload in parts."""


class Relay:
    """Where to send requests instead, and how many there were of each method."""

    def __init__(self, address: str, listener: socket.socket) -> None:
        self.counts = Counter[str]()
        self.url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        host, _, port = address.rpartition(":")
        self._target = host, int(port)
        self._listener = listener
        self._lock = threading.Lock()

    @property
    def writes(self) -> int:
        """Requests that wrote an object, or a piece of one."""
        return sum(self.counts[method] for method in WRITING)

    def forget(self) -> None:
        """Count from nothing again."""
        with self._lock:
            self.counts.clear()

    def accept(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for way in (self._pass_requests, _pass_on):
                    ends = (client, server) if way == self._pass_requests else (server, client)
                    threading.Thread(target=way, args=ends, daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        seen = _Requests()
        with suppress(OSError):
            while data := client.recv(_PIECE_BYTES):
                methods = seen.methods_in(data)
                with self._lock:
                    self.counts.update(methods)
                server.sendall(data)
        _end(server)


class _Requests:
    """Follows one connection's requests through its bytes."""

    def __init__(self) -> None:
        self._head = b""
        self._body_bytes_left = 0

    def methods_in(self, data: bytes) -> list[str]:
        """The methods of the requests whose heads end in this piece."""
        found = []
        while data:
            passed = min(self._body_bytes_left, len(data))
            self._body_bytes_left -= passed
            self._head += data[passed:]
            head, end, data = self._head.partition(_END_OF_HEAD)
            if not end:
                break
            self._head = b""
            found.append(head.partition(b" ")[0].decode("latin-1"))
            self._body_bytes_left = _body_bytes(head)
        return found


def _body_bytes(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
        if name.strip().lower() == b"transfer-encoding":
            raise ValueError("a request whose length is not told cannot be followed")
    return 0


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_PIECE_BYTES):
            target.sendall(data)
    _end(target)


def _end(target: socket.socket) -> None:
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
    target.close()


@contextmanager
def relaying(address: str) -> Iterator[Relay]:
    """A relay to the server at ``host:port``."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        relay = Relay(address, listener)
        accepting = threading.Thread(target=relay.accept, daemon=True)
        accepting.start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
