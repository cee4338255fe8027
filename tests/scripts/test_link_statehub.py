"""scripts/link_statehub.py between a real registry and a server that takes State Hub's place."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from tests.scripts.running import ROOT, run_plain

if TYPE_CHECKING:
    from artifactstore.domain.package import PackageReceipt
    from tests.scripts.conftest import Listener
    from tests.scripts.running import Done
    from tests.service import Server

NAME = "link_statehub.py"
IDS = {
    "STATE_HUB_WORKSTREAM_ID": "0b6d3f0e-52e4-4d26-9a55-0d7a5c7d0b11",
    "STATE_HUB_TASK_ID": "5f1c6f0e-7f7e-4a3e-8a3d-4c1f0f6f2a22",
}


def link(server: Server, hub: Listener, *arguments: str, token: str = "reader", **more: str) -> Done:
    environment = {**server.environment(token), "STATE_HUB_URL": hub.url, **IDS, **more}
    return run_plain(NAME, *arguments, environment=environment)


def test_the_entry_has_the_published_shape(server: Server, listener: Listener, linked_run: PackageReceipt) -> None:
    done = link(server, listener, linked_run.package_id)

    package = server.ask("GET", f"/packages/{linked_run.package_id}").json
    metadata = package["metadata"]
    ((method, path, headers, body),) = listener.requests
    assert (0, "") == (done.exit_code, done.stderr)
    assert ("POST", "/progress/") == (method, path)
    assert ("application/json", "application/json") == (headers["content-type"], headers["accept"])
    assert {
        "summary": f"guide-board run {metadata['run_id']} artifacts stored in artifact-store package"
        f" {linked_run.package_id}",
        "event_type": "artifact_link",
        "author": "artifact-store",
        "workstream_id": IDS["STATE_HUB_WORKSTREAM_ID"],
        "task_id": IDS["STATE_HUB_TASK_ID"],
        "detail": {
            "producer": "guide-board",
            "artifact_store_api_url": server.url,
            "run_dir": f"runs/{metadata['run_id']}",
            "run_id": "2026-05-18-quince-cmis-browser",
            "target_profile_ref": metadata["target_profile_ref"],
            "assessment_profile_ref": metadata["assessment_profile_ref"],
            "result_status": metadata["result_status"],
            "evidence_counts": metadata["evidence_counts"],
            "finding_counts": metadata["finding_counts"],
            "package_id": linked_run.package_id,
            "manifest_digest": linked_run.manifest_digest,
            "file_count": 8,
            "retention_class": "raw-evidence",
            "expires_at": package["expires_at"],
        },
    } == body
    assert all(str(UUID(body[name])) == body[name] for name in ("workstream_id", "task_id"))


def test_the_page_shows_the_call_as_it_is(server: Server, listener: Listener, linked_run: PackageReceipt) -> None:
    page = (ROOT / "docs/pilots/guide-board.md").read_text().partition("## State Hub")[2]
    (shown,) = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))

    link(server, listener, linked_run.package_id)

    ((method, path, _, body),) = listener.requests
    for own in ("package_id", "artifact_store_api_url", "expires_at"):
        body["detail"][own] = shown["detail"][own]
    body["summary"] = body["summary"].replace(linked_run.package_id, shown["detail"]["package_id"])
    assert f"{method} {path}\n" in page
    assert shown == body | {name: shown[name] for name in ("workstream_id", "task_id")}
    assert list(shown) == list(body)


def test_state_hub_does_not_see_the_registrys_token(
    server: Server, listener: Listener, linked_run: PackageReceipt
) -> None:
    link(server, listener, linked_run.package_id)

    ((_, _, headers, body),) = listener.requests
    assert "authorization" not in headers
    assert server.tokens["reader"] not in f"{headers} {body}"


def test_what_state_hub_answers_is_shown(server: Server, listener: Listener, linked_run: PackageReceipt) -> None:
    listener.answer = b'{"id": "an-entry"}'

    done = link(server, listener, linked_run.package_id)

    url = f"{listener.url}/progress/"
    answer = {"dry_run": False, "method": "POST", "url": url, "status": 201, "answer": {"id": "an-entry"}}
    assert answer == done.json


def test_a_dry_run_shows_the_same_call_and_sends_nothing(
    server: Server, listener: Listener, linked_run: PackageReceipt
) -> None:
    dry = link(server, listener, "--dry-run", linked_run.package_id)
    requests_then = list(listener.requests)
    link(server, listener, linked_run.package_id)

    ((method, path, headers, body),) = listener.requests
    assert [] == requests_then
    assert (True, method, listener.url + path, body) == (
        dry.json["dry_run"], dry.json["method"], dry.json["url"], dry.json["body"]
    )  # fmt: skip
    assert {name.lower(): value for name, value in dry.json["headers"].items()}.items() <= headers.items()


def test_everything_may_come_from_the_environment(
    server: Server, listener: Listener, linked_run: PackageReceipt
) -> None:
    topic, decision = "d5a2b1f0-0000-4000-8000-000000000001", "d5a2b1f0-0000-4000-8000-000000000002"

    link(
        server, listener, STATE_HUB_PACKAGE_ID=linked_run.package_id, STATE_HUB_RUN_DIR="runs/elsewhere",
        STATE_HUB_TOPIC_ID=topic, STATE_HUB_DECISION_ID=decision,
    )  # fmt: skip

    ((_, _, _, body),) = listener.requests
    assert (topic, decision, "runs/elsewhere") == (body["topic_id"], body["decision_id"], body["detail"]["run_dir"])


@pytest.mark.parametrize("name", ["STATE_HUB_WORKSTREAM_ID", "STATE_HUB_TASK_ID", "STATE_HUB_TOPIC_ID"])
def test_an_id_that_is_no_uuid_is_refused(
    server: Server, listener: Listener, linked_run: PackageReceipt, name: str
) -> None:
    done = link(server, listener, linked_run.package_id, **{name: "17"})

    assert (1, "", f"error: {name} is not a UUID: '17'\n", []) == (*done, listener.requests)


@pytest.mark.parametrize("name", [*IDS, "ARTIFACTSTORE_API_URL", "ARTIFACTSTORE_API_TOKEN", "STATE_HUB_PACKAGE_ID"])
def test_what_is_missing_is_named(server: Server, listener: Listener, name: str) -> None:
    given = {} if name == "STATE_HUB_PACKAGE_ID" else {"STATE_HUB_PACKAGE_ID": "x"}

    done = link(server, listener, **given, **{name: ""})

    assert (1, "", []) == (done.exit_code, done.stdout, listener.requests)
    assert done.stderr.startswith(f"error: {name} is not set\n")


def test_registry_and_hub_at_one_address_are_refused(server: Server, linked_run: PackageReceipt) -> None:
    environment = {**server.environment("reader"), **IDS, "STATE_HUB_URL": f"{server.url}/"}

    done = run_plain(NAME, linked_run.package_id, environment=environment)

    assert 1 == done.exit_code
    assert f"error: the registry and State Hub cannot both be at {server.url}\n" in done.stderr


def test_state_hub_is_at_port_8000_unless_told_otherwise(server: Server, linked_run: PackageReceipt) -> None:
    environment = {**server.environment("reader"), **IDS}

    done = run_plain(NAME, "--dry-run", linked_run.package_id, environment=environment)

    assert "http://127.0.0.1:8000/progress/" == done.json["url"]


def test_a_package_that_is_no_guide_board_run_is_refused(server: Server, listener: Listener) -> None:
    registry = server.registry()
    package_id = ingest(registry, package_draft()).package_id
    registry.close()

    done = link(server, listener, package_id)

    assert (1, "", []) == (done.exit_code, done.stdout, listener.requests)
    assert f"package {package_id} is finalized, with schema None" in done.stderr


def test_a_package_that_may_not_be_read_is_unknown(
    server: Server, listener: Listener, linked_run: PackageReceipt
) -> None:
    done = link(server, listener, linked_run.package_id, token="other-reader")

    assert (1, []) == (done.exit_code, listener.requests)
    assert done.stderr.startswith("error: PACKAGE_UNKNOWN: ")


def test_state_hubs_refusal_is_shown(server: Server, listener: Listener, linked_run: PackageReceipt) -> None:
    listener.status, listener.answer = 422, b'{"detail": "no such task"}'

    done = link(server, listener, linked_run.package_id)

    assert (1, "") == (done.exit_code, done.stdout)
    assert f'error: {listener.url} answered 422: {{"detail": "no such task"}}\n' == done.stderr


def test_a_failing_state_hub_is_the_systems_failure(
    server: Server, listener: Listener, linked_run: PackageReceipt
) -> None:
    listener.status, listener.answer = 500, b""

    done = link(server, listener, linked_run.package_id)

    assert (2, "", f"error: {listener.url} answered 500\n") == done
