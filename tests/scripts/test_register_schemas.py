"""scripts/register_schemas.py against a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.scripts.running import ROOT, free_port, run_plain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scripts.conftest import Listener
    from tests.scripts.running import Done
    from tests.service import Server

NAME = "register_schemas.py"
SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}


def folder_with(tmp_path: Path, slug: str, schema: object = SCHEMA) -> str:
    folder = tmp_path / "schemas"
    folder.mkdir(exist_ok=True)
    (folder / f"{slug}.json").write_text(json.dumps(schema))
    return str(folder)


def register(server: Server, *arguments: str, token: str = "admin") -> Done:
    return run_plain(NAME, *arguments, environment=server.environment(token))


def test_every_schema_of_the_checkout_is_registered_as_it_is(server: Server) -> None:
    done = register(server)

    files = sorted((ROOT / "schemas").glob("*.json"))
    assert (0, "") == (done.exit_code, done.stderr)
    assert [file.stem for file in files] == [schema["slug"] for schema in done.json["schemas"]]
    for file in files:
        assert json.loads(file.read_text()) == server.ask("GET", f"/metadata-schemas/{file.stem}").json["json_schema"]


def test_a_second_time_is_harmless(server: Server, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "twice.v1")

    first, second = register(server, folder), register(server, folder)

    assert (0, [{"slug": "twice.v1", "new": True}]) == (first.exit_code, first.json["schemas"])
    assert (0, [{"slug": "twice.v1", "new": False}]) == (second.exit_code, second.json["schemas"])


def test_another_schema_under_a_slug_is_refused_in_the_servers_words(server: Server, tmp_path: Path) -> None:
    register(server, folder_with(tmp_path, "other.v1"))

    done = register(server, folder_with(tmp_path, "other.v1", {**SCHEMA, "type": "array"}))

    refusal = server.ask(
        "POST", "/metadata-schemas", json_body={"slug": "other.v1", "json_schema": {**SCHEMA, "type": "array"}}
    ).json
    assert (1, "") == (done.exit_code, done.stdout)
    assert f"error: SCHEMA_CONFLICT: {refusal['detail']}\nhint: {refusal['hint']}\n" == done.stderr


def test_it_takes_an_administrator(server: Server, tmp_path: Path) -> None:
    done = register(server, folder_with(tmp_path, "forbidden.v1"), token="writer")

    assert (1, "") == (done.exit_code, done.stdout)
    assert done.stderr.startswith("error: FORBIDDEN: ")


@pytest.mark.parametrize("name", ["ARTIFACTSTORE_API_URL", "ARTIFACTSTORE_API_TOKEN"])
def test_a_setting_that_is_missing_is_named(server: Server, name: str) -> None:
    environment = {**server.environment(), name: ""}

    done = run_plain(NAME, environment=environment)

    assert (1, "") == (done.exit_code, done.stdout)
    assert done.stderr.startswith(f"error: {name} is not set\n")


def test_a_token_is_not_sent_unencrypted_to_another_host() -> None:
    environment = {"ARTIFACTSTORE_API_URL": "http://192.0.2.1", "ARTIFACTSTORE_API_TOKEN": "secret"}

    done = run_plain(NAME, environment=environment)

    assert 1 == done.exit_code
    assert "http://192.0.2.1 is not encrypted" in done.stderr


def test_a_redirect_is_not_followed(listener: Listener, server: Server) -> None:
    listener.status, listener.headers = 307, {"Location": f"{server.url}/metadata-schemas"}
    before = server.ask("GET", "/metadata-schemas").json

    done = run_plain(NAME, environment={**server.environment(), "ARTIFACTSTORE_API_URL": listener.url})

    assert (1, "") == (done.exit_code, done.stdout)
    assert f"error: {listener.url} answered 307" in done.stderr
    assert 1 == len(listener.requests)
    assert before == server.ask("GET", "/metadata-schemas").json


def test_proxies_of_the_environment_are_not_asked(listener: Listener, server: Server, tmp_path: Path) -> None:
    proxies = {"http_proxy": listener.url, "HTTP_PROXY": listener.url, "all_proxy": listener.url}

    done = run_plain(NAME, folder_with(tmp_path, "proxy.v1"), environment={**server.environment(), **proxies})

    assert (0, []) == (done.exit_code, listener.requests)


def test_a_server_that_cannot_be_reached_is_the_systems_failure() -> None:
    address = f"http://127.0.0.1:{free_port()}"

    done = run_plain(NAME, environment={"ARTIFACTSTORE_API_URL": address, "ARTIFACTSTORE_API_TOKEN": "t"})

    assert (2, "") == (done.exit_code, done.stdout)
    assert done.stderr.startswith(f"error: {address}: ")


def test_an_answer_that_is_not_json_is_the_systems_failure(listener: Listener) -> None:
    listener.answer = b"<html>"

    done = run_plain(NAME, environment={"ARTIFACTSTORE_API_URL": listener.url, "ARTIFACTSTORE_API_TOKEN": "t"})

    assert (2, "", f"error: {listener.url} answered with what is not JSON\n") == done


@pytest.mark.parametrize("content", ["{", None], ids=["no JSON", "no files"])
def test_what_cannot_be_read_is_named_before_anything_is_sent(
    listener: Listener, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "x.v1.json").write_text(content)

    done = run_plain(
        NAME, str(tmp_path), environment={"ARTIFACTSTORE_API_URL": listener.url, "ARTIFACTSTORE_API_TOKEN": "t"}
    )

    assert (1, "") == (done.exit_code, done.stdout)
    assert str(tmp_path) in done.stderr
    assert [] == listener.requests
