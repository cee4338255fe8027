"""The plug-in ``core``: the words that everyone may use, without a dot in their names."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

from artifactstore.domain.vocabulary import CORE, IdentifierKind, LocationKind, Scoping, Words
from artifactstore.plugins.contract import Plugin

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_UNRESERVED = re.compile(r"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ssh": 22}
_LOCAL_HOSTS = frozenset({"", "localhost"})
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def normalise_url(text: str) -> str:
    """Syntax-based normalisation (RFC 3986 section 6.2.2) and the scheme's default port; without the fragment."""
    parts = urlsplit(text.strip())
    path = _without_dots(_plainly_escaped(parts.path)) or ("/" if parts.netloc else "")
    return urlunsplit((parts.scheme.lower(), _authority(parts), path, _plainly_escaped(parts.query), ""))


def url_problem(url: str) -> str | None:
    """A URL names a host; it holds no password, which would be recorded for good."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname:
        return "must have a scheme and a host, such as https://example.org/reports"
    return "must not hold a user name or password" if "@" in parts.netloc else None


def normalise_file(text: str) -> str:
    """A path, or a ``file:`` URI (RFC 8089), as the URI: ``/srv/a b`` is ``file:///srv/a%20b``."""
    if not text.startswith("file:"):
        return f"file://{quote(posixpath.normpath(text), safe=_PATH_CHARACTERS)}"
    parts = urlsplit(text)
    host = "" if parts.netloc.lower() in _LOCAL_HOSTS else parts.netloc.lower()
    path = quote(unquote_to_bytes(parts.path), safe=_PATH_CHARACTERS)
    return f"file://{host}{posixpath.normpath(path) if path else ''}"


def file_problem(uri: str) -> str | None:
    """An absolute path without ``..``, whose meaning links decide."""
    path = urlsplit(uri).path
    if not path.startswith("/") or path.startswith("//"):
        return "must be an absolute path, or file://host/path for another host's"
    return "must not have .. in it" if ".." in path.split("/") else None


def normalise_email(text: str) -> str:
    """The domain in lower case; what stands before the @ is its host's to compare (RFC 5321 section 2.4)."""
    local, at, domain = text.strip().rpartition("@")
    return f"{local}{at}{domain.lower()}"


def email_problem(address: str) -> str | None:
    """One address, without a display name."""
    return None if _EMAIL.fullmatch(address) else "must be one address such as jane@example.org"


def _authority(parts: SplitResult) -> str:
    netloc = parts.netloc
    user, at, _ = netloc.rpartition("@")
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    shown_port = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme.lower()) else f":{port}"
    return f"{user}{at}{host}{shown_port}"


def _plainly_escaped(text: str) -> str:
    """Escapes of unreserved characters resolved, the others in upper case."""
    plain = _UNRESERVED.sub(lambda found: unquote_to_bytes(found[0]).decode("ascii"), text)
    return _ESCAPE.sub(lambda found: found[0].upper(), plain)


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[1:][-1:]
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    ends_in_dots = segments[-1] in {".", ".."}
    return "/".join(kept) + ("/" if ends_in_dots and (not kept or kept[-1]) else "")


def _words() -> Words:
    return Words(
        location_kinds=(
            LocationKind(
                "file", "An absolute path, or file://host/path on another host.", normalise_file, file_problem
            ),
            LocationKind("url", "A URL with a host, without user or password.", normalise_url, url_problem),
        ),
        identifier_kinds=(
            IdentifierKind("email", "One e-mail address.", Scoping.GLOBAL, normalise_email, email_problem),
            IdentifierKind("service", "A service's name, within who runs it.", Scoping.SCOPED, str.strip),
            IdentifierKind(
                "person", "A person's name or account, within where it is known.", Scoping.SCOPED, str.strip
            ),
        ),
        roles=("author", "operator", "recipient", "requester", "reviewer", "runner", "sender", "witness"),
        trust_levels=("verified", "claimed", "inferred"),
    )


PLUGIN = Plugin(name=CORE, summary="The words that every plug-in may use.", words=_words)
