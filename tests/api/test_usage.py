"""Where the bytes are, over HTTP and the command line: what each caller is told, and a quota that does not give way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.api.status_models import StoreState, Usage
from tests.service import serving
from tests.support import CliResult, start_cli, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two producers with content of their own and some that both have; ``small`` may have ten bytes."""
    settings = {"ARTIFACTSTORE_QUOTAS": "small=10"}
    with serving(tmp_path_factory.mktemp("usage") / "home", environment=settings) as server:
        folder = tmp_path_factory.mktemp("runs")
        for producer, files in (("p", {"a": b"123", "b": b"4567"}), ("q", {"a": b"123"})):
            pushed(server, write_tree(folder / producer, files), producer)
        yield server


def pushed(server: Server, folder: Path, producer: str, *more: str, code: int = 0) -> dict[str, Any]:
    result = CliResult(
        start_cli(server.home, "push", str(folder), "--producer", producer, *more, settings=server.environment())
    )
    assert code == result.code, result.stderr
    return json.loads(result.stdout) if code == 0 else {"error": result.stderr}


def usage(server: Server, token: str, query: str = "") -> dict[str, Any]:
    answer = server.ask("GET", f"/usage{query}", token=token)
    assert 200 == answer.status
    Usage.model_validate(answer.json)
    return dict(answer.json)


def test_an_administrator_sees_producers_and_backends(shared: Server) -> None:
    found = usage(shared, "admin")

    by_name = {each["producer"]: each for each in found["producers"]}
    numbers = ("packages", "logical_bytes", "unique_bytes", "shared_bytes")
    assert [1, 7, 4, 3] == [by_name["p"][name] for name in numbers]
    assert [1, 3, 0, 3] == [by_name["q"][name] for name in numbers]
    assert ["default"] == [each["backend"] for each in found["backends"]]


def test_a_reader_is_told_nothing_of_backends(shared: Server) -> None:
    assert {"producers", "next_after"} == usage(shared, "reader").keys()


def test_who_may_read_one_producer_is_not_told_whether_others_have_the_same(shared: Server) -> None:
    (found,) = usage(shared, "writer")["producers"]

    assert {"producer": "p", "packages": 1, "files": 2, "logical_bytes": 7, "quota": None} == found
    assert [] == usage(shared, "writer", "?producer=q")["producers"]


def test_pages_follow_one_another(shared: Server) -> None:
    first = usage(shared, "admin", "?limit=1")

    assert (["p"], "p") == ([each["producer"] for each in first["producers"]], first["next_after"])
    assert "q" == usage(shared, "admin", "?limit=1&after=p")["producers"][0]["producer"]


@pytest.mark.parametrize(("token", "told"), [("reader", {"unique_bytes": 4, "shared_bytes": 3}), ("writer", None)])
def test_a_package_says_what_it_shares_to_who_may_read_everything(shared: Server, token: str, told: object) -> None:
    package_id = shared.ask("GET", "/packages?producer=p").json["packages"][0]["package_id"]

    assert told == shared.ask("GET", f"/packages/{package_id}", token=token).json["usage"]


def test_the_status_says_what_is_used_of_each_backend(shared: Server) -> None:
    document = shared.ask("GET", "/status").json

    StoreState.model_validate(document)
    (space,) = document["space"]
    assert space["stored_bytes"] == space["used_bytes"] > 0
    assert 0 == space["reclaimable_bytes"] == space["condemned_bytes"]


def test_the_command_says_the_same_on_a_server_and_on_its_store(shared: Server) -> None:
    over_http = CliResult(start_cli(shared.home, "usage", settings=shared.environment()))
    embedded = CliResult(start_cli(shared.home, "usage", settings={"ARTIFACTSTORE_QUOTAS": "small=10"}))

    assert (0, 0) == (over_http.code, embedded.code)
    assert json.loads(over_http.stdout) == json.loads(embedded.stdout)


def test_the_command_says_it_of_one_package(shared: Server) -> None:
    package_id = shared.ask("GET", "/packages?producer=p").json["packages"][0]["package_id"]

    found = json.loads(
        CliResult(start_cli(shared.home, "usage", "--package", package_id, settings=shared.environment())).stdout
    )

    expected = {"package_id": package_id, "producer": "p", "logical_bytes": 7, "unique_bytes": 4, "shared_bytes": 3}
    assert expected == found


def test_preflight_says_the_quota_and_refuses_what_does_not_fit(shared: Server) -> None:
    body = {"producer": "small", "external_id": "new", "files": [{"path": "a", "size": 11}]}

    document = shared.ask("POST", "/packages:preflight", json_body=body).json

    assert {"quota_bytes": 10, "used_bytes": 0, "free_bytes": 10} == document["quota"]
    assert ["QUOTA_EXCEEDED"] == [each["code"] for each in document["problems"]]
    assert None is shared.ask("POST", "/packages:preflight", token="writer", json_body=body).json["quota"]


def test_a_push_that_does_not_fit_is_refused_with_nothing_sent(shared: Server, tmp_path: Path) -> None:
    before = shared.ask("GET", "/objects?limit=1000").json

    refused = pushed(shared, write_tree(tmp_path / "run", {"a": b"x" * 11}), "small", code=1)

    assert "QUOTA_EXCEEDED" in refused["error"]
    assert before == shared.ask("GET", "/objects?limit=1000").json
