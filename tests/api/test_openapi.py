"""The OpenAPI document, held against the running server by schemathesis: over HTTP, from a process of its own.

``LONG=1`` asks 1,000 cases of every operation instead of a few.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.test_rights import OWN, TABLE, World
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Server

CASES = 1_000 if os.environ.get("LONG") else 12
TIMEOUT_S = 3_600 if os.environ.get("LONG") else 300
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
ENDS_A_PACKAGE = {"POST /packages/{package_id}/finalize", "DELETE /packages/{package_id}"}
ENDLESS = "/events/stream"
"""Its answer never ends; tests of the event stream hold it against the document."""

HOOKS = """
import io, zipfile
import schemathesis
from hypothesis import strategies as st


@st.composite
def archives(draw):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in draw(st.lists(st.from_regex("[a-z]{1,4}(/[a-z]{1,4})?", fullmatch=True), max_size=3, unique=True)):
            archive.writestr(zipfile.ZipInfo(path), draw(st.binary(max_size=20)))
    data = bytearray(buffer.getvalue())
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] ^= 1
    return bytes(data)


schemathesis.openapi.media_type("application/zip", archives())
schemathesis.openapi.media_type("application/partial-upload", st.binary(max_size=20))
schemathesis.openapi.media_type("application/octet-stream", st.binary(max_size=20))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server of its own: what is generated may sweep, verify and abandon."""
    with serving(tmp_path_factory.mktemp("openapi") / "home") as server:
        yield World(server, opener="admin")


@pytest.fixture(scope="module")
def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.server.ask("GET", "/openapi.json", token=None).json
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def names_of_what_is_there(world: World) -> str:
    """A configuration in which each identifier is one of something, so that requests get to where the work is done."""
    opened, spare = world.open_package(), world.open_package()
    kept, spared = (_begin_upload(world, opened, path) for path in ("kept.bin", "spared.bin"))
    held = world.server.ask("POST", f"/packages/{world.recorded}/holds", json_body={"reason": "r"}).json
    known = {
        "package_id": world.recorded,
        "path": "a.txt",
        "file_id": f"{world.recorded}:0",
        "hold_id": held["hold_id"],
        "slug": "rights.v1",
        "source_id": world.source_id,
        "envelope_id": world.envelope_id,
    }
    lines = ["[parameters]", *(f'"path.{name}" = {json.dumps(value)}' for name, value in known.items())]
    for name in sorted(name for name, row in TABLE.items() if row.needs == OWN):
        package = spare if name in ENDS_A_PACKAGE else opened
        upload = spared if name.startswith("DELETE") else kept
        lines += ["[[operations]]", f"include-name = {json.dumps(name)}", "[operations.parameters]"]
        lines += [f'"path.package_id" = "{package}"', f'"path.upload_id" = "{upload}"']
        if name.startswith("PUT"):
            lines += ['"path.path" = "b.txt"']
    return "\n".join(lines)


def _begin_upload(world: World, package_id: str, path: str) -> str:
    body = {"path": path, "size": 1_000}
    upload_id: str = world.server.ask("POST", f"/packages/{package_id}/uploads", json_body=body).json["upload_id"]
    return upload_id


def explore(world: World, folder: Path, *options: str, configuration: str = "") -> dict[str, Any]:
    """Run schemathesis; its report. Nothing in it is random, so that a failure comes again."""
    (folder / "schemathesis.toml").write_text(configuration)
    (folder / "hooks_of_this_run.py").write_text(HOOKS)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{world.server.url}/openapi.json", *options,
        "--checks", ",".join(CHECKS), "--generation-deterministic", "--exclude-path", ENDLESS, "--continue-on-failure",
        "--no-color", "--warnings", "off", "--report", "json", "--report-json-path", "report.json",
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks_of_this_run", "PYTHONPATH": str(folder)}
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert 0 == run.returncode, run.stdout[-20_000:] + run.stderr[-2_000:]
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert len(TABLE) - 1 == report["operations"]["tested"]
    assert [] == _defects(world.server)
    return report


def phases(names: str, cases: int) -> tuple[str, ...]:
    return ("--phases", names, "--max-examples", str(cases))


def with_every_right(world: World) -> tuple[str, ...]:
    return ("--header", f"Authorization: Bearer {world.server.tokens['admin']}")


def test_what_is_asked_of_what_is_there_is_answered_as_the_document_says(world: World, tmp_path: Path) -> None:
    options = (*with_every_right(world), *phases("examples,coverage,fuzzing", CASES))

    report = explore(world, tmp_path, *options, configuration=names_of_what_is_there(world))

    assert report["test_cases"]["generated"] > 1_000
    assert report["valid_rates"]["POST /packages/{package_id}/packs"]["fuzzing"]["accepted"]


def test_what_is_asked_of_what_may_not_be_there_is_answered_as_the_document_says(world: World, tmp_path: Path) -> None:
    report = explore(world, tmp_path, *with_every_right(world), *phases("examples,fuzzing", max(5, CASES // 2)))

    assert report["test_cases"]["generated"] > 100


def test_what_is_asked_without_a_token_is_answered_as_the_document_says(world: World, tmp_path: Path) -> None:
    options = phases("examples,fuzzing", max(3, CASES // 5))

    report = explore(world, tmp_path, *options, configuration=names_of_what_is_there(world))

    assert report["test_cases"]["generated"] > 100


def _defects(server: Server) -> list[str]:
    return [line for line in list(server.log) if '"defect"' in line or "Traceback" in line]


def test_the_store_is_what_its_log_says_after_all_of_that(world: World) -> None:
    checked = world.server.ask("POST", "/replay:check")
    verified = world.server.ask("POST", "/verification", json_body={"what": "all"})

    assert ("reproduced", "verified") == (checked.json["status"], verified.json["status"])


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document: dict[str, Any]) -> None:
    found = operations(document)
    tags = {tag["name"] for tag in document["tags"]}

    names = Counter(operation["operationId"] for operation in found.values())

    assert {} == {name: count for name, count in names.items() if count > 1}
    for name, operation in found.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) < tags, name
        assert 1 == len(operation["tags"]), name


def test_the_document_is_the_same_from_every_process() -> None:
    program = (
        "import json; from artifactstore.api.app import build_app;"
        "print(json.dumps(build_app(None).openapi(), sort_keys=True))"
    )

    texts = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }

    assert 1 == len(texts)


def test_every_body_that_is_sent_has_a_schema(document: dict[str, Any]) -> None:
    bodies = {
        f"{name} {media_type}": content.get("schema")
        for name, operation in operations(document).items()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
    }

    assert {name for name, row in TABLE.items() if row.json is not None or row.body is not None} == {
        name.rpartition(" ")[0] for name in bodies
    }
    assert [] == [name for name, schema in bodies.items() if not schema]


def test_every_json_answer_has_a_schema_that_allows_nothing_else(document: dict[str, Any]) -> None:
    answers = {
        f"{name} {status}": content.get("schema")
        for name, operation in operations(document).items()
        for status, response in operation["responses"].items()
        for media_type, content in response.get("content", {}).items()
        if media_type in {"application/json", "application/problem+json"}
    }

    loose = [
        name for name, schema in answers.items() if not all(_is_closed(document, each) for each in _any_of(schema))
    ]

    assert ["GET /packages/{package_id}/manifest.json 200"] == loose, "docs/reference/manifest.md has that one"


def _any_of(schema: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{}] if schema is None else schema.get("anyOf", [schema])


def _is_closed(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    named = document["components"]["schemas"].get(name, {})
    return named.get("items", named).get("additionalProperties") is False


def test_every_error_answer_is_a_problem_document(document: dict[str, Any]) -> None:
    others = [
        (name, status)
        for name, operation in operations(document).items()
        for status, response in operation["responses"].items()
        if status >= "400"
        and response["content"].get("application/problem+json") != {"schema": {"$ref": "#/components/schemas/Problem"}}
    ]

    assert [] == others


def test_the_page_to_read_it_has_every_operation(world: World, document: dict[str, Any]) -> None:
    page = world.server.ask("GET", "/docs", token=None)

    assert (200, "text/html; charset=utf-8") == (page.status, page.headers["content-type"])
    text = page.body.decode()
    assert "/openapi.json" in text
    assert [] == [path for path in document["paths"] if f"{html.escape(path)}</code></h3>" not in text]


def test_the_page_runs_no_script_and_asks_nobody_else(world: World) -> None:
    page = world.server.ask("GET", "/docs", token=None)

    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert [] == re.findall(rb"<script|<link|<img|<iframe|https?://", page.body)
