"""Requests to the GitHub API: one method, bounded in every way, repeated where that may help.

The token goes to the server that was named and to no other: redirects (GitHub's answer for a repository that was
renamed) are followed within that server only, proxies of the environment are never asked, and over plain HTTP it
goes to loopback only. It is in no message and no ``repr``.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from functools import cached_property
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from artifactstore.errors import ConfigurationError
from artifactstore.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3.response import BaseHTTPResponse

PUBLIC_API = "https://api.github.com"
TIMEOUT_S = 30.0
"""How long one attempt may take, from the name's resolution to the last byte."""
DEADLINE_S = 90.0
"""How long all attempts and the waiting between them may take, for one run or for all definitions of a submission."""
MAX_ANSWER_BYTES = 1024 * 1024

_WAITS_S = (0.25, 0.5)
"""Before the second attempt and the third."""
_LONGEST_RETRY_AFTER_S = 30.0
"""Who is asked to wait longer is told so, and does not ask before."""
_MAX_REDIRECTS = 3
_PIECE_BYTES = 64 * 1024
_VISIBLE_ASCII = range(0x21, 0x7F)
_OK, _FORBIDDEN, _NOT_FOUND, _TOO_SLOW, _TOO_MANY, _SERVER_FAILED = 200, 403, 404, 408, 429, 500
_REDIRECTS = frozenset({301, 302, 307, 308})
_PORTS = {"https": 443, "http": 80}


class Answer(NamedTuple):
    """What GitHub answered: that there is something (200) or nothing (404)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut_off: bool
    """Whether there was more of it than was wanted."""


class GitHubFailedError(Exception):
    """GitHub gave no answer; the text says why in a few words, none of them the other side's."""

    def __init__(
        self, why: str, *, retryable: bool = False, was_time_out: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(why)
        self.retryable = retryable
        self.was_time_out = was_time_out
        self.retry_after_s = retry_after_s

    @property
    def hint(self) -> str | None:
        """When to try again, if GitHub has said so."""
        asked = f"GitHub asks to wait {self.retry_after_s:.0f} s" if self.retry_after_s else None
        return asked and f"Nothing was recorded. {asked}; then send the submission again."


class GitHubApi:
    """The API at one address. Any number of threads may use it; it keeps no connection."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = PUBLIC_API,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
        sleep: Callable[[float], object] = time.sleep,
        make_trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """Raises ``ConfigurationError`` for an address or a token that cannot be one."""
        self._base = _checked_base(base_url)
        if not token or not _is_visible(token):
            raise ConfigurationError("the token for GitHub is empty or has a character that no token has")
        self._token = token
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._sleep = sleep
        self._make_trust = make_trust

    def ends_at(self) -> float:
        """The deadline of what begins now, by the monotonic clock."""
        return time.monotonic() + self._deadline_s

    def get(self, path: str, *, accept: str, limit: int = MAX_ANSWER_BYTES, ends_at: float | None = None) -> Answer:
        """What there is at a path below the address, tried up to three times.

        Raises ``GitHubFailedError``, at ``ends_at`` at the latest, which is a deadline of its own unless it shares one.
        """
        ends_at = self.ends_at() if ends_at is None else ends_at
        for wait_s in (*_WAITS_S, None):
            left_s = max(ends_at - time.monotonic(), 0)
            try:
                return self._attempt(path, accept, limit, min(self._timeout_s, left_s))
            except GitHubFailedError as failure:
                if wait_s is None or not failure.retryable:
                    raise
                pause_s = max(wait_s, failure.retry_after_s)
                if pause_s > _LONGEST_RETRY_AFTER_S or time.monotonic() + pause_s >= ends_at:
                    raise
            self._sleep(pause_s)
        raise AssertionError("the last attempt answers or raises")

    def get_once(self, path: str, *, accept: str, limit: int = MAX_ANSWER_BYTES) -> Answer:
        """The same, tried once."""
        return self._attempt(path, accept, limit, self._timeout_s)

    def _attempt(self, path: str, accept: str, limit: int, timeout_s: float) -> Answer:
        """One answer, redirects within the server followed, all of it within the time."""
        ends_at, target = time.monotonic() + timeout_s, self._base.prefix + path
        for _ in range(_MAX_REDIRECTS + 1):
            left_s = max(ends_at - time.monotonic(), 0.001)  # 0 would mean without waiting
            answer = _within(left_s, self._connection(left_s), self._request(target, accept, limit))
            if answer is None:
                raise GitHubFailedError(
                    f"GitHub API timeout after {timeout_s * 1000:.0f}ms", retryable=True, was_time_out=True
                )
            if answer.status not in _REDIRECTS:
                _check_status(answer)
                return answer
            target = self._base.redirected(target, answer)
        raise GitHubFailedError("GitHub API redirects again and again")

    def _request(self, target: str, accept: str, limit: int) -> Callable[[_Watched], Answer]:
        headers = {
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {self._token}",
            "User-Agent": f"artifactstore/{VERSION}",
            "X-GitHub-Api-Version": "2022-11-28",
        }

        def ask(connection: _Watched) -> Answer:
            connection.request("GET", target, headers=headers, preload_content=False, decode_content=False)
            with closing(connection.getresponse()) as response:
                return _read(response, limit)

        return ask

    def _connection(self, timeout_s: float) -> _Watched:
        host, port = self._base.host, self._base.port
        if self._base.scheme == "http":
            return _Watched(host, port, timeout=timeout_s)
        return _WatchedTls(host, port, timeout=timeout_s, ssl_context=self._trust, cert_reqs=ssl.CERT_REQUIRED)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return self._make_trust()


class _Base(NamedTuple):
    """Where the API is."""

    scheme: str
    host: str
    port: int
    prefix: str

    def redirected(self, target: str, answer: Answer) -> str:
        """Where a redirect leads within the server. Raises ``GitHubFailedError`` if it leads to another."""
        location = answer.headers.get("Location", "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        try:
            parts = urlsplit(urljoin(f"{self.scheme}://{host}:{self.port}{target}", location))
            origin = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme))
        except ValueError:
            origin = ("", None, None)
        if not location or origin != (self.scheme, self.host, self.port) or not _is_visible(location):
            raise GitHubFailedError("GitHub API redirects to where the token must not go")
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Watched(HTTPConnection):
    """A connection that another thread can end at any moment."""

    _cut: socket.socket | None = None

    def end(self) -> None:
        """Let whatever waits for this connection fail now."""
        if (cut := self._cut) is not None:
            with suppress(OSError):
                cut.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        if self._cut is not None:
            self._cut.close()
            self._cut = None

    def _new_conn(self) -> socket.socket:  # a descriptor of our own: TLS takes the other one away
        connected = super()._new_conn()
        self._cut = connected.dup()
        return connected


class _WatchedTls(_Watched, HTTPSConnection):
    """The same, encrypted."""


def _within(timeout_s: float, connection: _Watched, ask: Callable[[_Watched], Answer]) -> Answer | None:
    """The answer; None if there is none in time. In a thread, because nothing else ends a resolver or a drip."""
    found: SimpleQueue[Answer | Exception] = SimpleQueue()

    def run() -> None:
        try:
            found.put(ask(connection))
        except Exception as error:  # noqa: BLE001 - raised by who waits, if somebody still does
            found.put(error)
        finally:
            connection.close()

    threading.Thread(target=run, name="ask GitHub", daemon=True).start()
    try:
        answer = found.get(timeout=timeout_s)
    except Empty:
        connection.end()
        return None
    match answer:
        case TimeoutError() | exceptions.TimeoutError() if not isinstance(answer, exceptions.NewConnectionError):
            return None
        case ssl.SSLCertVerificationError():
            raise GitHubFailedError("the certificate of the GitHub API cannot be trusted") from answer
        case exceptions.HTTPError() | OSError() | http.client.HTTPException() | UnicodeError():
            raise GitHubFailedError(f"network error: {_reason(answer)}", retryable=True) from answer
        case Exception():
            raise answer
    return answer


def _read(response: BaseHTTPResponse, limit: int) -> Answer:
    """An answer with no more of its body than is wanted."""
    parts, size = [], 0
    while size <= limit and (piece := response.read(_PIECE_BYTES, decode_content=False)):
        parts.append(piece)
        size += len(piece)
    return Answer(response.status, response.headers, b"".join(parts), is_cut_off=size > limit)


def _check_status(answer: Answer) -> None:
    """Raises ``GitHubFailedError`` for a status that is neither yes nor no."""
    status, headers = answer.status, answer.headers
    if status in {_OK, _NOT_FOUND}:
        return
    is_limited = "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"
    passes = status in {_TOO_MANY, _TOO_SLOW} or status >= _SERVER_FAILED or (status == _FORBIDDEN and is_limited)
    raise GitHubFailedError(
        f"GitHub API returned {status}", retryable=passes, retry_after_s=_seconds(headers.get("Retry-After", ""))
    )


def _checked_base(url: str) -> _Base:
    """Where a URL leads. Raises ``ConfigurationError``, which does not repeat it: there may be a password in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError("the address of the GitHub API is none") from None
    is_one = parts.scheme in _PORTS and host and port != 0 and "@" not in parts.netloc and _is_visible(url)
    if not is_one or "?" in url or "#" in url:
        raise ConfigurationError("the address of the GitHub API is none", hint=f"Write it like {PUBLIC_API}.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError("the GitHub API is asked over https:// only: the token would travel for all to read")
    return _Base(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def _is_visible(text: str) -> bool:
    return all(ord(character) in _VISIBLE_ASCII for character in text)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(text: str) -> float:
    """A Retry-After in seconds; 0 for a date, which nobody sends here, and for nonsense."""
    return float(text[:9]) if text.isascii() and text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    """Why, without what the other side has sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    is_no_http = isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected)
    return "the answer is not HTTP" if is_no_http else "the connection was cut"
