"""A network that fails: a TCP proxy on loopback that cuts connections after so many bytes."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 16 * 1024


class CuttingProxy:
    """Passes bytes on. Budgets in ``up_cuts`` and ``down_cuts`` are taken one for each connection that carries more."""

    def __init__(self, url: str) -> None:
        self._target = (urlsplit(url).hostname, urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.up_cuts: list[int] = []
        self.down_cuts: list[int] = []
        self.up_bytes = 0
        self.down_bytes = 0
        self.on_up: Callable[[int], object] = lambda _: None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for source, sink, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, sink, up), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        """One direction of one connection."""
        passed, cuts = 0, self.up_cuts if up else self.down_cuts
        with suppress(OSError):
            while data := source.recv(_PIECE):
                passed += len(data)
                if up:
                    self.up_bytes += len(data)
                    self.on_up(self.up_bytes)
                else:
                    self.down_bytes += len(data)
                if cuts and passed >= cuts[0]:
                    cuts.pop(0)
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def cutting(url: str) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
