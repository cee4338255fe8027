"""Plans, approval, tombstones and certificates over HTTP."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import cbor2
import pytest

from artifactstore.client import Client
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import NotDestroyedError, PlanNotApprovedError
from artifactstore.registry.collecting import collect
from artifactstore.registry.tokens import create_token
from tests.api.stored import draft_of, record_in
from tests.retention import expire, soon_over, without_grace
from tests.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where two must agree."""
    two = {"ARTIFACTSTORE_RETENTION_APPROVALS": "2"}
    with serving(tmp_path_factory.mktemp("deleting") / "home", environment=two) as running:
        with closing(running.registry()) as registry:
            running.tokens["auditor"] = create_token(registry, "auditor", ["admin"])[0]
        yield running


@pytest.fixture
def expired(server: Server) -> str:
    with closing(server.registry()) as registry:
        draft = draft_of({"a.txt": new_uuid7().encode()}, retention=RetentionClass.TRANSIENT)
        package_id = record_in(soon_over(registry), draft)
        expire(registry)
    return package_id


def collect_all(server: Server) -> None:
    with closing(server.registry()) as registry:
        assert collect(without_grace(registry), wait_s=60).is_done


def plan(server: Server) -> dict[str, Any]:
    answer = server.ask("POST", "/retention/plans")
    assert answer.status == 201
    return dict(answer.json)


def test_two_agree_and_a_package_is_deleted(server: Server, expired: str) -> None:
    digest = plan(server)["plan_digest"]
    application = f"/retention/plans/{digest}/application"

    alone = server.ask("POST", application, json_body={"reason": "space"})
    approved = server.ask("POST", f"/retention/plans/{digest}/approval", token="auditor")
    applied = server.ask("POST", application, json_body={"reason": "space"})
    again = server.ask("POST", application, json_body={"reason": "space"})

    assert (409, "PLAN_NOT_APPROVED") == (alone.status, alone.json["code"])
    assert ["token:auditor"] == approved.json["approved_by"]
    assert (1, 0) == (applied.json["deleted"], again.json["deleted"])
    deletion = server.ask("GET", f"/packages/{expired}").json["deletion"]
    assert ("space", "token:admin", digest) == (deletion["reason"], deletion["deleted_by"], deletion["plan_digest"])


def deleted(server: Server) -> str:
    digest = plan(server)["plan_digest"]
    server.ask("POST", f"/retention/plans/{digest}/approval", token="auditor")
    answer = server.ask("POST", f"/retention/plans/{digest}/application", json_body={"reason": "the project ended"})
    assert answer.status == 200
    return str(digest)


@pytest.mark.parametrize("what", ["manifest", "manifest.json", "files", "files/a.txt", "archive.zip"])
def test_what_a_deleted_package_had_is_gone_with_the_reason(server: Server, expired: str, what: str) -> None:
    deleted(server)

    answer = server.ask("GET", f"/packages/{expired}/{what}")

    assert (410, "PACKAGE_DELETED") == (answer.status, answer.json["code"])
    assert "the project ended" in answer.json["detail"]


def test_a_tombstone_still_has_the_digest_and_who_made_it(server: Server, expired: str) -> None:
    before = server.ask("GET", f"/packages/{expired}").json
    deleted(server)

    after = server.ask("GET", f"/packages/{expired}").json

    changed = {"status", "deletion", "usage"}
    assert {key: value for key, value in before.items() if key not in changed} == {
        key: value for key, value in after.items() if key not in changed
    }
    assert "deleted" == after["status"]


def test_nobody_pushes_what_looks_like_a_plan(server: Server) -> None:
    opened = server.ask("POST", "/packages", json_body={"producer": "artifactstore"})

    assert (403, "FORBIDDEN", "POST to /retention/plans instead.") == (
        opened.status, opened.json["code"], opened.json["hint"]
    )  # fmt: skip


def test_a_pin_keeps_a_package_out_of_a_plan(server: Server, expired: str) -> None:
    pinned = server.ask("POST", f"/packages/{expired}/pin", token="writer", json_body={"reason": "reference"})
    deleted(server)
    kept = server.ask("GET", f"/packages/{expired}").json

    unpinned = server.ask("POST", f"/packages/{expired}/unpin", json_body={"reason": "superseded"})
    deleted(server)

    assert ("reference", "token:writer") == (pinned.json["pin"]["reason"], pinned.json["pin"]["pinned_by"])
    assert ("expired", None) == (kept["status"], unpinned.json["pin"])
    assert "deleted" == server.ask("GET", f"/packages/{expired}").json["status"]


def test_the_client_plans_approves_applies_and_fetches_the_certificate(server: Server, expired: str) -> None:
    with Client(server.url, server.tokens["admin"]) as client, Client(server.url, server.tokens["auditor"]) as auditor:
        made = client.make_plan()
        with pytest.raises(PlanNotApprovedError):
            client.apply_plan(made["plan_digest"], reason="space")
        auditor.approve_plan(made["plan_digest"])
        applied = client.apply_plan(made["plan_digest"], reason="space")
        with pytest.raises(NotDestroyedError):
            client.certificate(expired)
        collect_all(server)
        certificate = cbor2.loads(client.certificate(expired))

    assert 1 <= applied["deleted"]
    assert (expired, "token:admin", 1) == (
        certificate["package_id"], certificate["deleted_by"], len(certificate["blobs"]),
    )  # fmt: skip


@pytest.mark.parametrize("digest", ["blake3:" + "0" * 64, "sha256:" + "0" * 64])
@pytest.mark.parametrize("what", ["approval", "application"])
def test_a_plan_that_is_not_there(server: Server, digest: str, what: str) -> None:
    answer = server.ask("POST", f"/retention/plans/{digest}/{what}", json_body={"reason": "r"})

    assert (404, "PLAN_UNKNOWN") == (answer.status, answer.json["code"])
