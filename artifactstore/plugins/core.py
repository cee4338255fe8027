"""The plug-in ``core``: the words that everyone may use, without a dot in their names."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from artifactstore.domain.vocabulary import CORE, IdentifierKind, LocationKind, Scoping, Words
from artifactstore.plugins.contract import Plugin

_URI = re.compile(r"(?:([^:/?#]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)
"""RFC 3986 appendix B; every text matches."""
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*")
_HOST = re.compile(r"(?:[a-zA-Z0-9._~!$&'()*+,;=-]|%[0-9a-fA-F]{2})+|\[[0-9a-fA-F:.]+\]")
_PORT = re.compile(r"[0-9]{0,5}")
_RELATIVE = re.compile(r"\A(?:\.\.?/)+")
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})?")
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"
_QUERY_CHARACTERS = f"{_PATH_CHARACTERS}?"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ssh": 22}
_LAST_PORT = 65_535
_LOCAL_HOSTS = frozenset({"", "localhost"})
_ATOM = r"[^@\s<>()\[\]\\,;:\"]"
_EMAIL = re.compile(rf"{_ATOM}{{1,64}}@{_ATOM}{{1,255}}")


class _Uri(NamedTuple):
    """The parts of RFC 3986; None where one is not there at all."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None

    @classmethod
    def of(cls, text: str) -> _Uri:
        found = _URI.fullmatch(text)
        assert found is not None, "every text matches"
        scheme, authority, path, query, fragment = found.groups()
        return cls(scheme, authority, path, query, fragment)


def normalise_url(text: str) -> str:
    """Syntax-based normalisation (RFC 3986 section 6.2.2) and the scheme's default port; without the fragment.

    What could not stand in a URL is escaped; what is no URL stays as it is.
    """
    uri = _Uri.of(text.strip())
    if uri.authority is None or not _SCHEME.fullmatch(uri.scheme or ""):
        return text
    scheme = (uri.scheme or "").lower()
    path = without_dots(_escaped(uri.path, _PATH_CHARACTERS)) or "/"
    query = "" if uri.query is None else f"?{_escaped(uri.query, _QUERY_CHARACTERS)}"
    return f"{scheme}://{_normal_authority(uri.authority, scheme)}{path}{query}"


def url_problem(url: str) -> str | None:
    """A URL names a host; it holds no password, which would be recorded for good."""
    uri = _Uri.of(url)
    if uri.authority is None or not _SCHEME.fullmatch(uri.scheme or ""):
        return "must have a scheme and a host, such as https://example.org/reports"
    if "@" in uri.authority:
        return "must not hold a user name or password"
    host, port = _host_and_port(uri.authority)
    if not _HOST.fullmatch(host):
        return "must have a host, in ASCII, such as https://example.org/reports"
    return None if _is_port(port) else f"must have a port from 0 to {_LAST_PORT}, or none"


def normalise_file(text: str) -> str:
    """A path, or a ``file:`` URI (RFC 8089), as the URI: ``/srv/a b`` is ``file:///srv/a%20b``.

    What is neither stays as it is. ``..`` does too, because links decide what it means.
    """
    if text.startswith("/"):
        return f"file://{_normal_path(quote(text, safe=_PATH_CHARACTERS))}"
    uri = _Uri.of(text)
    is_one = (uri.scheme or "").lower() == "file" and uri.path.startswith("/")
    if not is_one or uri.query is not None or uri.fragment is not None:
        return text
    host = (uri.authority or "").lower()
    path = _normal_path(quote(unquote_to_bytes(uri.path), safe=_PATH_CHARACTERS))
    return f"file://{'' if host in _LOCAL_HOSTS else host}{path}"


def file_problem(uri: str) -> str | None:
    """An absolute path without ``..``, whose meaning links decide."""
    parts = _Uri.of(uri)
    is_absolute = parts.scheme == "file" and parts.path.startswith("/") and not parts.path.startswith("//")
    if not is_absolute or parts.query is not None or parts.fragment is not None:
        return "must be an absolute path, or file://host/path for another host's"
    if parts.authority and not _HOST.fullmatch(parts.authority):
        return "must name the other host as file://host/path, without user and port"
    if "%00" in parts.path:
        return "must not have NUL in it"
    return "must not have .. in it" if ".." in parts.path.split("/") else None


def normalise_email(text: str) -> str:
    """The domain in lower case; what stands before the @ is its host's to compare (RFC 5321 section 2.4)."""
    local, at, domain = text.strip().rpartition("@")
    return f"{local}{at}{domain.lower()}"


def email_problem(address: str) -> str | None:
    """One address, without a display name."""
    return None if _EMAIL.fullmatch(address) else "must be one address such as jane@example.org"


def without_dots(path: str) -> str:
    """A path without ``.`` and ``..`` (RFC 3986 section 5.2.4).

    Each segment is with the slash before it. ``..`` takes away the one before; a dot segment at the end leaves a slash.
    """
    first, *segments = re.split(r"(?=/)", _RELATIVE.sub("", path))
    kept: list[str] = [] if first in {"", ".", ".."} else [first]
    for segment in segments:
        if segment == "/..":
            del kept[-1:]
        elif segment != "/.":
            kept.append(segment)
    ends_in_dots = bool(segments) and segments[-1] in {"/.", "/.."}
    return "".join(kept) + ("/" if ends_in_dots else "")


def _normal_path(path: str) -> str:
    """One slash between names, none at the end, no ``.``; two at the beginning mean something else (POSIX) and stay."""
    root = "//" if path.startswith("//") and not path.startswith("///") else "/" if path.startswith("/") else ""
    return root + "/".join(name for name in path.split("/") if name not in {"", "."})


def _normal_authority(authority: str, scheme: str) -> str:
    user, at, place = authority.rpartition("@")
    host, port = _host_and_port(place)
    if not _HOST.fullmatch(host) or not _is_port(port):
        return authority
    host = _plainly_escaped(_plainly_escaped(host).lower())
    shown_port = "" if not port or int(port) == _DEFAULT_PORTS.get(scheme) else f":{int(port)}"
    return f"{user}{at}{host}{shown_port}"


def _host_and_port(place: str) -> tuple[str, str]:
    """What follows the last colon is the port, unless that stands in an address between brackets."""
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and "]" not in port else (place, "")


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text or "0") <= _LAST_PORT


def _escaped(text: str, safe: str) -> str:
    """Escaped where it must be and only there, in upper case (RFC 3986 sections 6.2.2.1 and 6.2.2.2)."""
    return quote(_plainly_escaped(text), safe=f"{safe}%")


def _plainly_escaped(text: str) -> str:
    """Escapes of unreserved characters resolved, the others in upper case; a sign that begins none is escaped."""
    return _ESCAPE.sub(lambda found: _plain(found[1]) if found[1] else "%25", text)


def _plain(digits: str) -> str:
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"


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
        roles=("author", "operator", "recipient", "requester", "reviewer", "runner", "sender"),
        trust_levels=("verified", "claimed", "inferred"),
    )


PLUGIN = Plugin(name=CORE, summary="The words that every plug-in may use.", words=_words)
