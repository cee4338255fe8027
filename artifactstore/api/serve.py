"""Running the service: what must hold before it listens, the listening socket, workers, and the ready line."""

from __future__ import annotations

import gc
import ipaddress
import logging
import signal
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from artifactstore.api.app import build_app
from artifactstore.api.frontier import CutShortError
from artifactstore.api.protocol import BoundedProtocol
from artifactstore.api.service import Service, check_backend, check_names
from artifactstore.bootstrap import host_of, open_registry
from artifactstore.config import Settings, shared_metrics_folder
from artifactstore.errors import ConfigurationError
from artifactstore.registry.tokens import is_in_force, list_tokens
from artifactstore.subscribers import subscribers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

GRACE_S = 60
"""How long a request may go on after the server has been asked to end."""
_KEEP_ALIVE_S = 65
_BACKLOG = 1024
_ANSWER_S = 60.0
_ASK_AGAIN_S = 0.1


def serve(settings: Settings, *, host: str, port: int, workers: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal ends it. ``ready`` is called with the address once requests are answered.

    Raises ``ConfigurationError`` if the address cannot be had, or is not loopback and there is no token,
    ``DatabaseVersionError`` if the database is not at head, ``BackendRefusedError`` if a probe refused the backend.
    """
    configure_logging(settings.log_level)
    _check_store(settings, host)
    listener = _listen(host, port)
    threading.Thread(target=_announce, args=(listener, ready), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ended)
    if workers == 1:
        config = _config(build_app(Service.open(settings)))
        _calm_collector()
        uvicorn.Server(config).run(sockets=[listener])
        return
    with TemporaryDirectory(prefix="artifactstore-metrics-") as folder, shared_metrics_folder(folder):
        config = _config("artifactstore.api.serve:worker_app", workers=workers)
        Multiprocess(config, [listener]).run()


def _calm_collector() -> None:
    """Requests make many values in no cycles; walking them again and again would take a third of a large push."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def worker_app() -> FastAPI:
    """The application of one of several worker processes, which inherit the settings."""
    settings = Settings.from_environment()
    configure_logging(settings.log_level)
    _calm_collector()
    return build_app(Service.open(settings, metrics_folder=settings.metrics_folder))


def configure_logging(level: str) -> None:
    """One JSON object a line on standard error. Headers and bodies are never logged, so no token is."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(handlers=[_OurLine()], level=logging.WARNING, force=True)


class _OurLine(logging.Handler):
    """What libraries have to say, in the same form. An answer that was cut short has its line already."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        if not (record.exc_info and isinstance(record.exc_info[1], CutShortError)):
            structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _config(app: FastAPI | str, *, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        http=BoundedProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=_BACKLOG,
    )


def _check_store(settings: Settings, host: str) -> None:
    """Before there are workers, which would be started again and again. What the webhooks lack is found here, too."""
    registry = open_registry(settings, upgrade=False)
    try:
        check_names(registry)
        check_backend(registry)
        subscribers_of(host_of(registry, settings), settings.webhook_configuration(), trouble=lambda _: None)
        has_tokens = bool(settings.auth_tokens) or any(
            is_in_force(token, registry.clock()) for token in list_tokens(registry)
        )
    finally:
        registry.close()
    if not has_tokens and not _is_loopback(host):
        raise ConfigurationError(
            f"there is no token, so nobody could write, and {host} is reachable from elsewhere",
            hint="Make one first: artifactstore token create NAME --scope admin",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} cannot be had: {error.strerror or error}", hint="Choose another one with --port."
        ) from error
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _ended(*_: object) -> None:
    """Uvicorn raises the signal that ended it once more when it is done; being asked to end is no failure."""


def _announce(listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Ask until the service answers, as its first client."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to ask, not to listen
    while not _answers(name, port):
        time.sleep(_ASK_AGAIN_S)
    ready(f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}")


def _answers(name: str, port: int) -> bool:
    """A worker may die over the question, and another one takes its place."""
    connection = HTTPConnection(name, port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/health", headers={"Host": f"localhost:{port}"})
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True
