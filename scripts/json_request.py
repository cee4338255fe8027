"""One JSON request with nothing but the standard library, for the scripts beside this file.

Redirects are not followed and proxies not asked, so a token goes to the server that was named and to no other; over
plain HTTP it goes to this host only. `artifactstore.client` is the client for programs; this is one for scripts that
are to run where nothing is installed.
"""

from __future__ import annotations

import json
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

TIMEOUT_S = 60
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""What is longer is cut, and then no JSON."""
CALLER_CAN_MEND_IT, SYSTEM_FAILED = 1, 2
_SUCCESS = range(200, 300)
_SERVER_FAILED = 500


class RequestFailed(Exception):  # noqa: N818 - what it stands for is said by its exit code
    """No answer, or one that is no success: words for people, and the exit code that the command line would have."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = CALLER_CAN_MEND_IT) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


def told(failure: RequestFailed) -> int:
    """Tell people what failed, as the command line does; the exit code."""
    sys.stderr.write(f"error: {failure}\n" + (f"hint: {failure.hint}\n" if failure.hint else ""))
    return failure.exit_code


class Answer(NamedTuple):
    """A successful answer."""

    status: int
    document: Any


def ask(server: str, method: str, path: str, *, token: str | None = None, document: object = None) -> Answer:
    """Make a request below a server's address. Raises ``RequestFailed`` for every answer but a success with JSON."""
    address = _address(server, has_token=token is not None)
    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = None
    if document is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(document).encode()
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, address.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        status, data = answer.status, answer.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        raise RequestFailed(f"{server}: {error or type(error).__name__}", exit_code=SYSTEM_FAILED) from error
    finally:
        connection.close()
    if status not in _SUCCESS:
        raise _refusal(server, status, data)
    return Answer(status, _parsed(server, data))


def _address(server: str, *, has_token: bool) -> SplitResult:
    try:
        address = urlsplit(server)
        is_one = address.scheme in {"http", "https"} and address.hostname and address.port != 0
    except ValueError:
        is_one = False
    if not is_one or "@" in address.netloc or address.query or address.fragment:
        raise RequestFailed("the address of a server is written like https://artifacts.example.org")
    if has_token and address.scheme != "https" and not _is_loopback(address.hostname or ""):
        raise RequestFailed(
            f"{server} is not encrypted: the token would travel for everyone to read",
            hint="Use https://, or reach the server by a tunnel that ends on this host.",
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _parsed(server: str, data: bytes) -> Any:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise RequestFailed(f"{server} answered with what is not JSON", exit_code=SYSTEM_FAILED) from error
    return document


def _refusal(server: str, status: int, data: bytes) -> RequestFailed:
    """The server's own words where it has some: a problem document, or its beginning."""
    try:
        problem = json.loads(data)
    except ValueError:
        problem = None
    exit_code = SYSTEM_FAILED if status >= _SERVER_FAILED else CALLER_CAN_MEND_IT
    if isinstance(problem, dict) and "code" in problem:
        message = f"{problem['code']}: {problem.get('detail', '')}"
        return RequestFailed(message, hint=str(problem.get("hint", "")), exit_code=exit_code)
    words = data[:300].decode(errors="replace").strip()
    return RequestFailed(f"{server} answered {status}" + (f": {words}" if words else ""), exit_code=exit_code)
