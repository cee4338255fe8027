"""Stored content cannot act as this site: a browser is to save it, whatever it is, and never to guess or run it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from tests.api.test_rights import TABLE

if TYPE_CHECKING:
    from tests.service import Answer, Server

SCRIPT = b"<html><body onload=alert(1)><script>fetch('/whoami')</script></body></html>"
DANGEROUS = {
    "page.html": "text/html",
    "page.htm": "text/html",
    "picture.svg": "image/svg+xml",
    "program.js": "text/javascript",
    "module.mjs": "text/javascript",
    "feed.xml": "application/xml",
    "style.xsl": "application/xslt+xml",
    "document.pdf": "application/pdf",
    "program.wasm": "application/wasm",
    "picture.png": "image/png",
    "notes.txt": "text/plain",
    "nothing": "application/octet-stream",
}
FORBIDDEN_ANYWHERE = (
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "set-cookie",
    "server",
)
ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def store(server: Server, files: dict[str, bytes], **query: str) -> str:
    """A package of these files; what the query says is said of each."""
    package_id: str = server.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    options = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    for path, data in files.items():
        url = f"/packages/{package_id}/files/{quote(path)}?{options}"
        assert 201 == server.ask("PUT", url, token="writer", body=data).status
    receipt = server.ask("POST", f"/packages/{package_id}/finalize", token="writer")
    recorded: str = receipt.json["package_id"]
    return recorded


def downloads(server: Server, package_id: str, path: str) -> list[Answer]:
    """Every way to a file's bytes."""
    url = f"/packages/{package_id}/files/{quote(path)}"
    page = server.ask("GET", f"/packages/{package_id}/files?limit=1000").json["files"]
    (file_id,) = (file["file_id"] for file in page if file["path"] == path)
    return [
        server.ask("GET", url),
        server.ask("HEAD", url),
        server.ask("GET", url, headers={"Range": "bytes=0-0", "Accept": "text/html"}),
        server.ask("GET", f"/files/{file_id}/download", headers={"Sec-Fetch-Dest": "document"}),
        server.ask("HEAD", f"/files/{file_id}/download"),
    ]


_PARAMETER = re.compile(r""";\s*([a-z*]+)=("(?:[^"\\]|\\.)*"|[^\s";,]+)""")


def saved_as(answer: Answer) -> tuple[str, str]:
    """What a browser makes of ``Content-Disposition`` (RFC 6266): how, and under which name."""
    kind, semicolon, rest = answer.headers["content-disposition"].partition(";")
    found = dict(_PARAMETER.findall(semicolon + rest))
    assert _PARAMETER.sub("", semicolon + rest) == "", "there is nothing else"
    if "filename*" in found:
        charset, _, name = found["filename*"].split("'")
        return kind, unquote(name, charset, errors="strict")
    return kind, re.sub(r"\\(.)", r"\1", found["filename"][1:-1])


@pytest.mark.parametrize("path", list(DANGEROUS))
def test_stored_content_is_to_be_saved_in_a_sandbox_as_what_the_manifest_says(server: Server, path: str) -> None:
    package_id = store(server, {path: SCRIPT})

    answers = downloads(server, package_id, path)

    assert {200, 206} == {answer.status for answer in answers}
    for answer in answers:
        assert DANGEROUS[path] == answer.headers["content-type"]
        assert "attachment" == saved_as(answer)[0]
        assert "sandbox; default-src 'none'" == answer.headers["content-security-policy"]
        assert ALWAYS.items() <= lowered(answer).items()


def lowered(answer: Answer) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


@pytest.mark.parametrize("media_type", ["text/html", "text/html; charset=utf-7", "application/xhtml+xml"])
def test_the_type_is_the_one_given_and_never_one_that_is_guessed(server: Server, media_type: str) -> None:
    package_id = store(server, {"given": SCRIPT}, media_type=media_type)

    answers = downloads(server, package_id, "given")

    assert {media_type} == {answer.headers["content-type"] for answer in answers}
    assert {"attachment"} == {saved_as(answer)[0] for answer in answers}
    assert {"sandbox; default-src 'none'"} == {answer.headers["content-security-policy"] for answer in answers}


NAMES = [
    'quoted".txt',
    "'single'.txt",
    'a"; filename="evil.exe',
    "semi;colon.txt",
    "per%cent%22.txt",
    "%0d%0aX-Evil: 1.txt",
    "comma, and = equals.txt",
    "grüße.txt",
    "日本語.html",
    "😀.txt",
    "invoice\u202excod.exe",
    "\u2066isolated\u2069.txt",
    "zero\u200bwidth.txt",
    " spaces .txt",
    "trailing.",
    ".hidden",
    "(comment).txt",
    "<script>.html",
    "filename*=UTF-8''evil.exe",
    "a" * 900 + ".txt",
    "é" * 500,
    "\ufeffbom.txt",
    "line\u2028separator.txt",
    "NUL",
    "~",
    "@;x=y",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_hostile_name_is_read_back_as_itself_and_says_nothing_else(server: Server, name: str) -> None:
    package_id = store(server, {f"folder/{name}": b"x"})

    for answer in downloads(server, package_id, f"folder/{name}"):
        value = answer.headers["content-disposition"]

        assert ("attachment", name) == saved_as(answer)
        assert value.isascii()
        assert value.isprintable()
        assert _plain_name(value).isprintable()
        assert not {'"', "\\", "/", "%"} & set(_plain_name(value)), "clients differ in how they read these"
        assert "x-evil" not in lowered(answer)


def _plain_name(value: str) -> str:
    """The ``filename`` that a client takes which does not know ``filename*``."""
    assert value.startswith('attachment; filename="')
    name, _, rest = value.removeprefix('attachment; filename="').partition('"')
    assert rest == "" or rest.startswith("; filename*=UTF-8''")
    assert rest.count(";") <= 1
    return name


@pytest.mark.parametrize(
    "name", ["a\r\nX-Evil: 1.txt", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\x85b", "a\\b", "../up", "/root"]
)
def test_a_name_that_could_end_a_header_is_not_stored(server: Server, name: str) -> None:
    package_id = server.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    url = f"/packages/{package_id}/files/{quote(name, safe='')}"
    form = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nx\r\n--x--\r\n'.encode()
    form_type = {"Content-Type": "multipart/form-data; boundary=x"}
    declared = {"path": name, "size": 1, "blake3": "blake3:" + "0" * 64, "sha256": "sha256:" + "0" * 64}
    opening = {"producer": "p", "files": [declared]}
    upload = {"path": name, "size": 1}

    answers = [
        server.ask("PUT", url, token="writer", body=b"x"),
        server.ask("POST", f"/packages/{package_id}/uploads", token="writer", json_body=upload),
        server.ask("POST", "/packages", token="writer", json_body=opening),
    ]
    sent = server.ask("POST", f"/packages/{package_id}/files", token="writer", headers=form_type, body=form)

    assert [400] * 3 == [answer.status for answer in answers]
    assert 400 == sent.status or name not in {file["path"] for file in sent.json["files"]}


INJECTIONS = [
    "text/html\r\nX-Evil: 1",
    "text/html\nX-Evil: 1",
    "text/html\r",
    "text/plain\0",
    "text/plain; charset=utf-8\r\n\r\n<script>",
    "text/plain\u2028x",
    "text/plainü",
    "text",
    "text/",
    "/html",
    "text/plain;",
    "text/plain; charset",
    'text/plain; charset="utf-8',
    'text/plain; charset="a\r\nb"',
    "text/plain, text/html",
    " text/plain",
    "text/plain ",
    "text /plain",
    "*/*/*",
    "text/html;\tcharset=utf-7",
    "a" * 300 + "/b",
]


@pytest.mark.parametrize("media_type", INJECTIONS, ids=lambda text: ascii(text)[:30])
def test_a_media_type_that_is_none_is_refused_by_every_way_in(server: Server, media_type: str) -> None:
    package_id = server.ask("POST", "/packages", token="writer", json_body={"producer": "p"}).json["package_id"]
    url = f"/packages/{package_id}/files/a.txt?media_type={quote(media_type)}"
    file = {"path": "a.txt", "size": 1, "media_type": media_type}
    digests = {"blake3": "blake3:" + "0" * 64, "sha256": "sha256:" + "0" * 64}

    answers = [
        server.ask("PUT", url, token="writer", body=b"x"),
        server.ask("POST", f"/packages/{package_id}/uploads", token="writer", json_body=file),
        server.ask("POST", "/packages", token="writer", json_body={"producer": "p", "files": [{**file, **digests}]}),
    ]

    assert [400] * 3 == [answer.status for answer in answers]
    assert {"application/problem+json"} == {answer.headers["content-type"] for answer in answers}


def test_a_manifest_stays_what_it_is_whatever_it_holds(server: Server) -> None:
    opening = {
        "producer": "p",
        "subject": "<script>alert(1)</script>",
        "metadata": {"<img src=x onerror=alert(1)>": "</a>"},
    }
    package_id = server.ask("POST", "/packages", token="writer", json_body=opening).json["package_id"]
    server.ask("PUT", f"/packages/{package_id}/files/{quote('<b>.html')}", token="writer", body=SCRIPT)
    server.ask("POST", f"/packages/{package_id}/finalize", token="writer")
    as_page = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}

    view, manifest, archive, shown = (
        server.ask("GET", f"/packages/{package_id}{what}", headers=as_page)
        for what in ("/manifest.json", "/manifest", "/archive.zip", "")
    )

    assert "application/json" == view.headers["content-type"] == shown.headers["content-type"]
    assert opening["metadata"] == view.json["metadata"]
    assert ("application/cbor", "attachment") == (manifest.headers["content-type"], saved_as(manifest)[0])
    assert ("application/zip", "attachment") == (archive.headers["content-type"], saved_as(archive)[0])
    for answer in (view, manifest, archive, shown):
        assert ALWAYS.items() <= lowered(answer).items()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/packages/<script>alert(1)<%2Fscript>", None),
        ("GET", "/<svg onload=alert(1)>", None),
        ("GET", "/files/<script>:0", None),
        ("GET", "/packages?limit=<script>", None),
        ("GET", "/packages?digest=<script>", None),
        ("GET", "/metadata-schemas/<script>", None),
        ("GET", "/packages?after=<script>", None),
        ("POST", "/packages", {"producer": "<script>"}),
        ("POST", "/packages", {"<script>": 1, "producer": "p"}),
        ("POST", "/metadata-schemas", {"slug": "x", "json_schema": {"type": "<script>"}}),
        ("BREW", "/packages", None),
    ],
)
def test_a_problem_document_stays_what_it_is_whatever_it_quotes(
    server: Server, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = server.ask(method, quote(path, safe="/?=%:"), json_body=body, headers={"Accept": "text/html"})

    assert 400 <= answer.status < 500
    assert "application/problem+json" == answer.headers["content-type"]
    assert answer.status == json.loads(answer.body)["status"]
    assert answer.body.isascii()
    assert ALWAYS.items() <= lowered(answer).items()


SAFE_TO_ASK = sorted(name for name, row in TABLE.items() if name.startswith(("GET", "HEAD")) and "stream" not in name)


@pytest.mark.parametrize("operation", SAFE_TO_ASK)
def test_no_answer_lets_another_site_in(server: Server, operation: str) -> None:
    method, _, template = operation.partition(" ")
    package_id = store(server, {"a.txt": b"x"})
    path = template.format(
        package_id=package_id, path="a.txt", file_id=f"{package_id}:0", slug="none", upload_id="none",
        source_id="none", envelope_id="none", org="none", repo="none",
    )  # fmt: skip
    host = server.url.removeprefix("http://")
    asked = {
        "same site": server.ask(method, path, headers={"Origin": f"http://{host}"}),
        "another site": server.ask(method, path, headers={"Origin": "https://evil.example"}),
        "no site": server.ask(method, path, headers={"Origin": "null"}),
        "nobody": server.ask(method, path),
    }
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": method}
    asked["preflight"] = server.ask("OPTIONS", path, headers=preflight, token=None)

    assert (403, 403, 403) == tuple(asked[who].status for who in ("another site", "no site", "preflight"))
    for who, answer in asked.items():
        assert set() == set(FORBIDDEN_ANYWHERE) & set(lowered(answer)), who
        assert ALWAYS.items() <= lowered(answer).items(), who
    assert asked["nobody"].status == asked["same site"].status


def test_a_write_from_another_site_does_nothing_even_with_a_token(server: Server) -> None:
    slug = "from-another-site"
    body = {"slug": slug, "json_schema": {}}

    answer = server.ask("POST", "/metadata-schemas", headers={"Origin": "https://evil.example"}, json_body=body)

    assert (403, 404) == (answer.status, server.ask("GET", f"/metadata-schemas/{slug}").status)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_of_another_page_cannot_pass_for_json(server: Server, kind: str) -> None:
    body = json.dumps({"producer": "p"})

    answer = server.ask("POST", "/packages", headers={"Content-Type": kind}, body=body)

    assert 415 == answer.status
